# SPDX-License-Identifier: Apache-2.0
"""The names of all pseudo-anomalies: of the mixture, of patches, and those that packages add."""

from __future__ import annotations

from typing import Literal, get_args

from intravariance.extensions import added

Kind = Literal["normal", "swelling", "turn", "bite", "cut", "groove"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PatchGenerator = Literal[
    "da_gen_paper", "da_gen_radial", "da_gen_released", "da_gen_prerelease", "norm_as",
    "norm_as_signed",
]  # fmt: skip
GeneratorName = Literal[PatchGenerator, "af3ad"]
GENERATOR_NAMES: tuple[str, ...] = get_args(GeneratorName)
OWN = (*KINDS, *GENERATOR_NAMES)


def added_names() -> list[str]:
    """List the pseudo-anomalies that installed packages add."""
    return added("pseudo-anomaly", OWN)
