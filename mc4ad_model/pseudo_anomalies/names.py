# SPDX-License-Identifier: Apache-2.0
"""The names of all pseudo-anomalies: of the mixture, of patches, and those that packages add."""

from __future__ import annotations

from intravariance.extensions import added

KINDS = ("normal", "swelling", "turn", "bite", "cut", "groove")
PATCH_GENERATORS = (
    "da_gen_paper", "da_gen_radial", "da_gen_released", "da_gen_prerelease", "norm_as",
    "norm_as_signed",
)  # fmt: skip
GENERATOR_NAMES = (*PATCH_GENERATORS, "af3ad")
OWN = (*KINDS, *GENERATOR_NAMES)


def added_names() -> list[str]:
    """List the pseudo-anomalies that installed packages add."""
    return added("pseudo-anomaly", OWN)
