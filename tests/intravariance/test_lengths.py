# SPDX-License-Identifier: Apache-2.0
"""Lengths in millimetres and in radii."""

import math
from types import SimpleNamespace

import pytest

from intravariance.errors import InputError
from intravariance.lengths import Length, noise_text, parse_length, sphere_radii


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.05 mm", Length(0.05, "mm")), ("2inch", Length(2, "inch")), ("1e-4 m", Length(1e-4, "m")),
     ("0.002", 0.002), ("0 mm", Length(0, "mm"))],
)  # fmt: skip
def test_lengths_are_read(text, expected):
    assert parse_length("noise_sigma", text) == expected


@pytest.mark.parametrize(
    "text", ["", "mm", "1 furlong", "-1 mm", "nan", "inf mm", "1 mm mm", "1,5"]
)
def test_what_is_no_length_is_named(text):
    with pytest.raises(InputError, match=r"noise_sigma = .*0\.05 mm"):
        parse_length("noise_sigma", text)


@pytest.mark.parametrize(
    ("length", "radius", "unit", "radii"),
    [
        (Length(0.05, "mm"), 25, "mm", 0.002),
        (Length(0.05, "mm"), 2.5, "cm", 0.002),
        (Length(0.05, "mm"), 0.025, "m", 0.002),
        (Length(1, "inch"), 254, "mm", 0.1),
        (Length(20, "um"), 1, "inch", 0.02 / 25.4),
    ],
)
def test_radii_of_a_sphere_in_the_files_unit(length, radius, unit, radii):
    assert length.in_radii(radius, unit) == pytest.approx(radii, rel=1e-8)


def rows(*radii):
    return [SimpleNamespace(category="c", subcategory=str(i), unit_radius=r)
            for i, r in enumerate(radii)]  # fmt: skip


def test_reports_have_both():
    known = sphere_radii(rows(10, 20), {"c": "mm"})
    assert noise_text({"noise_sigma": 0.05}, known) == "0.05 radii (0.5 to 1 mm)"
    each = {"noise_sigma": 0.05, "noise_sigmas": {"c/0": 0.05, "c/1": 0.025}}
    assert noise_text(each, known) == "0.025 to 0.05 radii (0.5 mm)"


@pytest.mark.parametrize(("radius", "unit"), [(10, ""), (math.nan, "mm")])
def test_what_nobody_knows_is_left_out(radius, unit):
    radii = sphere_radii(rows(10, radius), {"c": unit})
    assert noise_text({"noise_sigma": 0.05}, radii) == ""
