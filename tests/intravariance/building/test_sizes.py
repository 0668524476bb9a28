# SPDX-License-Identifier: Apache-2.0
"""Defects whose size is asked for in millimetres: severity = ["0.5 mm", "1 mm"]."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intravariance import load_specification, open_dataset
from intravariance.building.plan import make_plan
from intravariance.building.run import build
from intravariance.dataset.specification_reader import specification_from_dict
from intravariance.errors import InputError
from intravariance.executors.serial import SerialExecutor
from intravariance.lengths import Length, parse_span
from intravariance.verification.verify import verify
from tests.conftest import run_iv
from tests.intravariance.building.test_units import meshes, settings

# The cubes have radii of 10 and 40 mm; a bulge departs by 0.017 to 0.05 radii.
SPECIFICATION = """
name = "sizes"
points = [1500, 1600]
severity = ["0.4 mm", "0.5 mm"]
[[category]]
name = "part"
subcategories = ["small"]
unit = "cm"
templates = 1
positives = 1
defects = { bulge = 2, missing = 1 }
"""


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> Path:
    folder = tmp_path_factory.mktemp("sized")
    meshes(folder)
    wanted = settings(folder, SPECIFICATION.replace("missing = 1", "crack = 1"))
    build(replace(wanted, noise=Length(0.05, "mm")), folder / "sized.h5", SerialExecutor())
    return folder / "sized.h5"


def test_the_departure_is_the_size_asked_for(sized: Path) -> None:
    with open_dataset(sized) as dataset:
        defective = [record for record in dataset if record.defect != "normal"]
        assert len(defective) == 3
        for record in defective:
            parameters = record.parameters
            asked, unit = parameters["size"].split()
            assert unit == "mm" and 0.4 <= float(asked) <= 0.5
            departure = parameters["defect"]["departure"] * record.unit_radius * 10  # mm
            assert departure == pytest.approx(float(asked), rel=0.11)
            assert record.snr == pytest.approx(departure / 0.05, rel=0.01)
            assert 0 <= parameters["severity"] <= 1 and record.difficulty
        assert dataset.specification.given["severity"] == "0.4 mm to 0.5 mm"
        assert dataset.specification.sizes == (Length(0.4, "mm"), Length(0.5, "mm"))


def test_reports_print_radii_and_millimetres(sized: Path) -> None:
    assert verify(sized, probes=False).passed
    rows = json.loads(run_iv("info", sized, "--json").stdout)["difficulty"]
    for row in rows:
        low, _, high = row["departure_mm"].partition(" to ")
        assert 0.35 < float(low) <= float(high or low) < 0.56
        assert float(row["departure"].split(" to ")[0]) == pytest.approx(float(low) / 10, rel=0.02)
    card = run_iv("card", sized).stdout
    assert "Each defect was given a size of 0.4 mm to 0.5 mm" in card


def test_a_size_that_the_type_cannot_have_says_which_it_has(tmp_path: Path, needs_blender) -> None:
    meshes(tmp_path)
    wanted = settings(tmp_path, SPECIFICATION.replace("0.4 mm", "4 mm").replace("0.5 mm", "5 mm"))
    (job,) = [job for job in make_plan(wanted.specification, 0) if job.defect == "missing"]
    assert job.severity is None and job.size is not None and 4 <= job.size.value <= 5
    command = ["build", "--spec", tmp_path / "sizes.toml", "--source", f"folder:{tmp_path}/meshes"]
    command += ["--dry-run", "--check-meshes", "--cache", tmp_path / "cache", "--jobs", 1]
    result = run_iv(*command, folder=tmp_path)
    assert result.returncode == 2
    assert "no bulge fits: of a size of 0.4 radii there is none; those that were tried have" in (
        result.stderr
    )


def test_sizes_are_spread_over_the_range_and_converted() -> None:
    content = {
        "name": "s", "points": [100, 200], "severity": ["500 um", "2 mm"],
        "category": [{"name": "c", "subcategories": ["a"], "unit": "mm", "templates": 1,
                      "positives": 1, "defects": {"bulge": 200}}],
    }  # fmt: skip
    specification = specification_from_dict(content, "test")
    assert specification_from_dict(specification.to_dict(), "file") == specification
    sizes = [job.size for job in make_plan(specification, 0) if job.size is not None]
    assert len(sizes) == 200
    assert {size.unit for size in sizes} == {"um"}
    values = np.array([size.value for size in sizes])
    assert values.min() >= 500 and values.max() <= 2000
    assert np.abs(np.quantile(values, [0.25, 0.5, 0.75]) - [875, 1250, 1625]).max() < 250
    assert make_plan(specification, 0) == make_plan(specification, 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('["2 mm", "1 mm"]', "smallest first"),
        ('["0 mm", "1 mm"]', "above 0"),
        ('["1", "2"]', "expected two lengths"),
        ('["1 mile", "2 mm"]', "severity = '1 mile', expected a number of radii"),
        ('["1 mm", 2]', "expected float from 0.0 to 1.0"),
        ('["1 mm"]', r"expected \[smallest, largest\]"),
    ],
)
def test_what_is_no_range_of_sizes_is_refused(tmp_path: Path, value: str, reason: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(SPECIFICATION.replace('["0.4 mm", "0.5 mm"]', value))
    with pytest.raises(InputError, match=reason):
        load_specification(path)


def test_sizes_need_the_unit_of_the_meshes(tmp_path: Path) -> None:
    meshes(tmp_path)
    with pytest.raises(InputError, match=r"severity = 0.4 mm to 0.5 mm.*nobody says which unit"):
        replace(
            settings(tmp_path, SPECIFICATION.replace('unit = "cm"', "")), noise=None
        ).check_units()


def test_spans_are_read() -> None:
    assert parse_span("x", "0.5 mm to 2 cm") == (Length(0.5, "mm"), Length(2, "cm"))


def test_a_range_of_which_one_end_cannot_be_made_is_told_before_the_build(
    tmp_path: Path, needs_blender
) -> None:
    meshes(tmp_path)
    settings(tmp_path, SPECIFICATION.replace("0.5 mm", "5 mm"))
    command = ["build", "--spec", tmp_path / "sizes.toml", "--source", f"folder:{tmp_path}/meshes"]
    command += ["--dry-run", "--check-meshes", "--cache", tmp_path / "cache", "--jobs", 1]
    result = run_iv(*command, folder=tmp_path)
    assert result.returncode == 2
    assert "no bulge fits: of a size of 0.5 radii there is none" in result.stderr
