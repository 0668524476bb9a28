# SPDX-License-Identifier: Apache-2.0
"""Wrong parts in a build: who gives them, and what is said where nobody can."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from intravariance import load_specification, open_dataset
from intravariance.building.run import BuildSettings, build
from intravariance.building.sample import SampleSettings
from intravariance.errors import InputError, IVError
from intravariance.executors.serial import SerialExecutor
from intravariance.verification.verify import verify
from tests.conftest import run_iv
from tests.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES, off_text

SPECIFICATION = """
name = "donors"
points = [1500, 1600]
[[category]]
name = "knob"
subcategories = ["long", "short"]
templates = 2
positives = 1
defects = { wrong_part = 2 }
"""
# A knob on a block, each a solid of its own: its half sides.
KNOBS = {"long": (0.2, 0.3, 0.6), "short": (0.3, 0.2, 0.25), "plain": None}


def write_knobs(folder: Path) -> None:
    (folder / "meshes/knob").mkdir(parents=True)
    cube, faces = np.array(CUBE_VERTICES, dtype=float), np.array(CUBE_TRIANGLES)
    for name, half in KNOBS.items():
        vertices, triangles = cube * (0.8, 0.7, 0.6), faces
        if half is not None:
            vertices = np.concatenate([vertices, cube * half + (0.1, 0, 0.61 + half[2])])
            triangles = np.concatenate([faces, faces + len(cube)])
        path = folder / f"meshes/knob/{name}.off"
        path.write_text(off_text(vertices.tolist(), triangles.tolist()))


def settings(folder: Path, text: str = SPECIFICATION) -> BuildSettings:
    (folder / "donors.toml").write_text(text)
    specification = load_specification(folder / "donors.toml")
    samples = SampleSettings(0, "so3", 0.01, 0.0, specification.points)
    source = f"folder:{folder}/meshes"
    return BuildSettings(specification, samples, source, folder / "cache", quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> Path:
    folder = tmp_path_factory.mktemp("donors")
    write_knobs(folder)
    return folder


def test_the_part_comes_from_the_other_product_and_the_file_verifies(folder: Path) -> None:
    first = build(settings(folder), folder / "first.h5", SerialExecutor())
    again = build(settings(folder), folder / "again.h5", SerialExecutor())
    assert first.digest == again.digest
    assert verify(folder / "first.h5", probes=False).passed
    with open_dataset(folder / "first.h5") as dataset:
        defective = [record for record in dataset if record.defect == "wrong_part"]
        assert {record.subcategory for record in defective} == {"long", "short"}
        for record in defective:
            donor = record.parameters["defect"]["donor"]
            assert donor == {"long": "short", "short": "long"}[record.subcategory]
            # the wrong part is no moved part: its points have no displacement
            labelled = record.labels == 1
            assert 0.002 < labelled.mean() < 0.4
            assert np.isnan(record.displacement[labelled]).any()


def test_a_donor_without_a_part_is_passed_over_and_alone_it_stops(folder: Path) -> None:
    three = SPECIFICATION.replace('"short"]', '"short", "plain"]').replace("= 2\np", "= 3\np")
    with pytest.raises(IVError, match=r"no product of knob has a part that fits plain: from"):
        build(settings(folder, three.replace("= 2 }", "= 3 }")), folder / "x.h5", SerialExecutor())
    two = SPECIFICATION.replace('"short"]', '"plain"]')
    (folder / "two.toml").write_text(two)
    command = ["build", "--spec", folder / "two.toml", "--source", f"folder:{folder}/meshes"]
    command += ["--dry-run", "--check-meshes", "--cache", folder / "cache", "--jobs", 1, "--json"]
    result = run_iv(*command, folder=folder)
    assert result.returncode == 2
    rows = json.loads(result.stdout)["base_meshes"]
    assert [[kind for kind, _ in row["impossible"]] for row in rows] == [["wrong_part"]] * 2


def test_one_product_alone_is_refused(tmp_path: Path) -> None:
    alone = SPECIFICATION.replace(', "short"]', "]")
    with pytest.raises(InputError, match=r"defects.wrong_part = 2, expected at least two"):
        settings(tmp_path, alone)
