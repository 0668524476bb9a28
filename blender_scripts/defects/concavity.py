# SPDX-License-Identifier: GPL-3.0-or-later
"""Concavity: a smooth local dent, the opposite of a bulge (see `swelling`).

Severity 0 .. 1: radius 0.20 .. 0.38, depth 0.40 .. 0.50 of the radius (0.08 .. 0.19), less where
the product is too thin for that or another part in the way, but at least 0.05. Labelled is
what moved.
"""

from blender_scripts.defects.swelling import swelling


def concavity(surface, rng, severity):
    """One dent at a random place that is visible from outside."""
    return swelling(surface, rng, severity, outwards=False)
