# SPDX-License-Identifier: Apache-2.0
"""Noise and tolerance in millimetres: the same length on products of any size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from intravariance import load_specification, open_dataset
from intravariance.building.run import build
from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.errors import InputError
from intravariance.executors.serial import SerialExecutor
from intravariance.lengths import Length
from intravariance.verification.verify import verify
from tests.conftest import run_iv
from tests.support.meshes_on_disk import CUBE_VERTICES, off_text

SPECIFICATION = """
name = "sizes"
points = [1500, 1600]
tolerance = "0.2 mm"
noise_sigma = "0.1 mm"
[[category]]
name = "part"
subcategories = ["small", "large"]
unit = "cm"
templates = 2
positives = 2
defects = { bulge = 2 }
"""
RADII = {"small": 1.0, "large": 4.0}  # cm


def meshes(folder: Path) -> Path:
    (folder / "meshes/part").mkdir(parents=True)
    for name, radius in RADII.items():
        corners = np.array(CUBE_VERTICES) * [1.0, 0.9, 0.8 + radius / 100]
        corners *= radius / np.linalg.norm(corners[0])
        (folder / f"meshes/part/{name}.off").write_text(off_text(corners.tolist()))
    return folder / "meshes"


def settings(folder: Path, text: str = SPECIFICATION) -> BuildSettings:
    (folder / "sizes.toml").write_text(text)
    specification = load_specification(folder / "sizes.toml")
    samples = SampleSettings(0, "so3", float("nan"), specification.tolerance, specification.points)
    source = f"folder:{folder}/meshes"
    return BuildSettings(
        specification, samples, source, folder / "cache", quiet=True, noise=Length(0.1, "mm")
    )


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> Path:
    folder = tmp_path_factory.mktemp("sizes")
    meshes(folder)
    build(settings(folder), folder / "sizes.h5", SerialExecutor())
    return folder / "sizes.h5"


def test_the_same_length_is_another_number_of_radii(sizes: Path) -> None:
    with open_dataset(sizes) as dataset:
        identity = dataset.metadata["identity"]
        assert identity["noise_sigmas"] == pytest.approx({"part/small": 0.01, "part/large": 0.0025})
        assert identity["noise_sigma"] == pytest.approx(0.01)
        assert dataset.specification.tolerance == pytest.approx(0.02)
        assert dataset.specification.given == {"noise_sigma": "0.1 mm", "tolerance": "0.2 mm"}
        assert {(r.subcategory, round(r.unit_radius, 4)) for r in dataset} == set(RADII.items())


def test_the_points_have_that_noise(sizes: Path) -> None:
    """A cube's faces are planes: the spread across one is the noise."""
    with open_dataset(sizes) as dataset:
        for record in dataset:
            if record.split == "train":
                heights = record.points[np.abs(record.normals[:, 0]) > 0.99]
                ends = heights[heights[:, 0] > 0, 0]
                spread = float(np.std(ends)) * record.unit_radius * 10
                assert spread == pytest.approx(0.1, rel=0.15)


def test_reports_print_both(sizes: Path) -> None:
    report = verify(sizes, probes=False)
    (noise,) = [check for check in report.checks if check.name == "noise"]
    assert noise.passed, noise
    assert "recorded 0.0025 to 0.01 radii (0.1 mm)" in noise.message
    shown = json.loads(run_iv("info", sizes, "--json").stdout)
    assert shown["noise_text"] == "0.0025 to 0.01 radii (0.1 mm)"
    card = run_iv("card", sizes).stdout
    assert "standard deviation 0.0025 to 0.01 radii (0.1 mm)" in card
    assert "--noise-sigma '0.1 mm'" in card


@pytest.mark.parametrize(
    ("change", "source", "reason"),
    [
        (('unit = "cm"', ""), None, "nobody says which unit the mesh files of part have"),
        (("", ""), "procedural", "embedded designs have no unit"),
        (('"0.2 mm"', '"3 mm"'), None, "tolerance = 3 mm is 0.3 radii of part/small"),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path, change, source, reason) -> None:
    meshes(tmp_path)
    wanted = settings(tmp_path, SPECIFICATION.replace(*change))
    wanted = BuildSettings(**(vars(wanted) | {"source": source or wanted.source}))
    with pytest.raises(InputError, match=reason):
        wanted.check_units()
        build(wanted, tmp_path / "x.h5", SerialExecutor())
