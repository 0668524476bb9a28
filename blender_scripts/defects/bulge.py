# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulge: a smooth local swelling of the surface outwards (see `swelling`).

Severity 0 .. 1: radius 0.20 .. 0.38, height 0.40 .. 0.50 of the radius (0.08 .. 0.19). Labelled is
what moved.
"""

from blender_scripts.defects.swelling import swelling


def bulge(surface, rng, severity):
    """One bulge at a random place that is visible from outside."""
    return swelling(surface, rng, severity, outwards=True)
