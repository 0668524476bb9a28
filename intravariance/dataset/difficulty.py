# SPDX-License-Identifier: Apache-2.0
"""How hard a defect is to find: names for ranges of its severity, and its signal-to-noise.

Severity runs from 0 (slight) to 1 (severe). Each defect type maps it to a size that is a property
of the product: geometry does not depend on the noise, so that files with different noise have the
same products in them. The sizes are chosen at the default noise, see docs/building.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Severities from the first number up to, without it, the second; the last band has its end too.
BANDS: Mapping[str, tuple[float, float]] = {
    "hard": (0.0, 1 / 3),
    "medium": (1 / 3, 2 / 3),
    "easy": (2 / 3, 1.0),
}
MIXED = "mixed"
# Ranges of severity that a specification may ask for.
RANGES: Mapping[str, tuple[float, float]] = {**BANDS, MIXED: (0.0, 1.0)}


def difficulty_of(severity: float) -> str:
    """Return the band that a severity in [0, 1] lies in."""
    return next((name for name, (_, end) in BANDS.items() if severity < end), "easy")


def signal_to_noise(departure: float, noise_sigma: float) -> float | None:
    """Divide a defect's departure from the pristine surface by the noise, rounded to 6 digits.

    departure : in unit-sphere radii, as `blender_scripts.defects.checks` measures it: the root mean
    square distance of the labelled surface from the pristine surface, or the depth of a cut.
    noise_sigma : standard deviation of the noise on each coordinate, in the same unit. None where
    there is no noise.
    """
    if noise_sigma <= 0:
        return None
    return float(f"{departure / noise_sigma:.6g}")


def described(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table of samples says of a sample's parameters.

    difficulty : "" where it has none, as normal and foreign samples. snr and unit_radius : NaN
    where they are not known.
    """
    difficulty = parameters.get("difficulty")
    return {
        "difficulty": difficulty if difficulty in BANDS else "",
        **{name: _number(parameters.get(name)) for name in ("snr", "unit_radius")},
    }


def _number(value: Any) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain else float("nan")
