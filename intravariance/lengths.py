# SPDX-License-Identifier: Apache-2.0
"""Lengths in units of measure, and in radii: what a sample's unit sphere measures in its file.

A base mesh is scaled to a sphere of radius 1. The sample table keeps that radius in units of the
mesh file (`unit_radius`), and a category tells which unit that is (`unit`), so that a length such
as "0.05 mm" is another number of radii for each product, and a length in radii can be told in mm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from intravariance.errors import InputError

# Millimetres in one of each.
UNITS: Mapping[str, float] = {"um": 0.001, "mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4}
_SHORTEST, _LONGEST = 1e-9, 1e9  # of a size of a defect, in mm
FORM = f"a number of radii, or a number and a unit ({', '.join(UNITS)}) as in 0.05 mm"


@dataclass(frozen=True)
class Length:
    """value : in `unit`, a key of UNITS."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    def in_radii(self, unit_radius: float, unit: str) -> float:
        """Return it in radii of a sphere of `unit_radius` units of a mesh file, to 9 digits."""
        return float(f"{self.value * UNITS[self.unit] / (unit_radius * UNITS[unit]):.9g}")


def parse_length(what: str, text: str) -> float | Length:
    """Read "0.05 mm", or a plain number, which is in radii.

    Raises InputError naming `what` when it is neither, negative or not finite.
    """
    match = re.fullmatch(r"\s*(\S+?)\s*([a-z]*)\s*", text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    if match is None or not 0 <= value < math.inf or match[2] not in ("", *UNITS):
        raise InputError(f"{what} = {text!r}, expected {FORM}")
    return Length(value, match[2]) if match[2] else value


def parse_span(what: str, text: str) -> tuple[Length, Length]:
    """Read "0.5 mm to 2 mm": the smallest and the largest.

    Raises InputError naming `what` where it is none, or its first length is not above 0 and at most
    its second.
    """
    low, _, high = text.partition(" to ")
    ends = parse_length(what, low), parse_length(what, high)
    first, last = ends
    if not (isinstance(first, Length) and isinstance(last, Length)):
        raise InputError(f'{what} = {text!r}, expected two lengths, as ["0.5 mm", "2 mm"]')
    small, large = (end.value * UNITS[end.unit] for end in (first, last))
    if not _SHORTEST <= small <= large <= _LONGEST:
        raise InputError(
            f"{what} = {text!r}, expected lengths above 0, the smallest first, of {_SHORTEST:g} to "
            f"{_LONGEST:g} mm"
        )
    return first, last


def noise_of(identity: Mapping[str, Any], product: str) -> float:
    """Return the noise (radii) of a "category/subcategory"; most files have the same for all."""
    return float(identity.get("noise_sigmas", {}).get(product, identity["noise_sigma"]))


class _Row(Protocol):
    """The attributes of a file's sample that are needed here."""

    @property
    def category(self) -> str: ...
    @property
    def subcategory(self) -> str: ...
    @property
    def snr(self) -> float: ...
    @property
    def unit_radius(self) -> float: ...


def sphere_radii(rows: Iterable[_Row], units: Mapping[str, str]) -> dict[str, float]:
    """Return the radius of each product's unit sphere in mm, NaN where nobody knows.

    units : of each category's mesh files, "" where not known.
    """
    return {
        f"{row.category}/{row.subcategory}": row.unit_radius
        * UNITS.get(units.get(row.category, ""), math.nan)
        for row in rows
    }


def departure_texts(
    identity: Mapping[str, Any], rows: Iterable[_Row], radii: Mapping[str, float]
) -> tuple[str, str]:
    """Write how far defects depart from the pristine surface, in radii and in mm: "0.01 to 0.03".

    rows : samples with a signal-to-noise, whose product with the noise the departure is. radii : of
    each product's unit sphere in mm. A text is "" where it is not known of some row, or of none.
    """
    departures, lengths = [], []
    for row in rows:
        product = f"{row.category}/{row.subcategory}"
        departures.append(row.snr * noise_of(identity, product))
        lengths.append(departures[-1] * radii[product])
    shown = [
        _span(values) if values and all(map(math.isfinite, values)) else ""
        for values in (departures, lengths)
    ]
    return shown[0], shown[1]


def noise_text(identity: Mapping[str, Any], radii: Mapping[str, float]) -> str:
    """Write the noise in radii and mm, "0.0447 radii (1.2 to 2.3 mm)"; "" where mm are not known.

    radii : of each product's unit sphere in mm.
    """
    sigmas = {product: noise_of(identity, product) for product in radii}
    lengths = [sigma * radii[product] for product, sigma in sigmas.items()]
    if not all(map(math.isfinite, lengths)):
        return ""
    return f"{_span(list(sigmas.values()))} radii ({_span(lengths)} mm)"


def _span(values: Sequence[float]) -> str:
    low, high = (f"{value:.3g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
