# SPDX-License-Identifier: Apache-2.0
"""Wrong parts in a build: who gives them, and what is said where nobody can."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intravariance import load_specification, open_dataset
from intravariance.building.blender import Defective, ImpossibleDefect
from intravariance.building.plan import SampleJob
from intravariance.building.run import build
from intravariance.building.sample import Donors, SampleSettings, make_sample
from intravariance.building.settings import BuildSettings
from intravariance.dataset.store import Sample
from intravariance.errors import InputError
from intravariance.executors.serial import SerialExecutor
from intravariance.geometry.mesh import Mesh
from intravariance.verification.verify import verify
from tests.conftest import run_iv
from tests.support.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES, off_text
from tests.support.samples import product

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
KNOBS = {"long": (0.2, 0.3, 0.6), "short": (0.3, 0.2, 0.25)}


def write_knobs(folder: Path) -> None:
    (folder / "meshes/knob").mkdir(parents=True)
    cube, faces = np.array(CUBE_VERTICES, dtype=float), np.array(CUBE_TRIANGLES)
    for name, half in KNOBS.items():
        knob = cube * half + (0.1, 0, 0.61 + half[2])
        vertices = np.concatenate([cube * (0.8, 0.7, 0.6), knob])
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


def test_checking_meshes_tries_the_other_products_too(folder: Path) -> None:
    (folder / "donors.toml").write_text(SPECIFICATION)
    command = ["build", "--spec", folder / "donors.toml", "--source", f"folder:{folder}/meshes"]
    command += ["--dry-run", "--check-meshes", "--cache", folder / "cache", "--jobs", 1, "--json"]
    result = run_iv(*command, folder=folder)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)["base_meshes"]
    assert [(row["parts"], row["impossible"]) for row in rows] == [(2, []), (2, [])]


class Choosy:
    """Stands for Blender where the order of donors is what is tested: takes parts of `good`."""

    def __init__(self, good: Mesh | None) -> None:
        self.good = good
        self.asked: list[Mesh | None] = []

    def defect(self, kind, mesh, entropy, severity, size, donor):
        self.asked.append(donor)
        if donor is not self.good:
            raise ImpossibleDefect("it has no part")
        return Defective(
            mesh=mesh,
            displacement=np.zeros_like(mesh.vertices),
            cut=np.arange(len(mesh.faces)) < 20,
            rim=np.zeros((0, 3), dtype=np.float32),
            parameters={"departure": 0.1},
            rejections=[],
            severity=severity,
        )


def made(number: int, blender: Choosy, meshes: dict[str, Mesh]) -> Sample:
    job = SampleJob(f"knob_test_{number:03d}", "knob", "own", "test", "wrong_part", 1500, 0.5)
    settings = SampleSettings(0, "so3", 0.01, 0.0, (1000, 2000))
    donors = Donors(tuple(meshes), meshes.__getitem__)
    return make_sample(job, product("round_ball"), "test", settings, blender, donors=donors)


def test_a_donor_without_a_part_is_passed_over_in_an_order_of_its_own() -> None:
    meshes = {name: replace(product("round_ball")) for name in "abc"}
    first = set()
    for number in range(12):
        blender, again = Choosy(meshes["b"]), Choosy(meshes["b"])
        assert made(number, blender, meshes).parameters["defect"]["donor"] == "b"
        assert len(blender.asked) == len(set(map(id, blender.asked))) <= 3
        first.add(next(name for name, mesh in meshes.items() if mesh is blender.asked[0]))
        made(number, again, meshes)
        assert list(map(id, again.asked)) == list(map(id, blender.asked))
    assert first == {"a", "b", "c"}


def test_where_no_donor_fits_each_is_told() -> None:
    meshes = {name: replace(product("round_ball")) for name in "ab"}
    with pytest.raises(ImpossibleDefect, match=r"no product of knob .* fits own: from .*; from .*"):
        made(0, Choosy(None), meshes)


def test_one_product_alone_is_refused(tmp_path: Path) -> None:
    alone = SPECIFICATION.replace(', "short"]', "]")
    with pytest.raises(InputError, match=r"defects.wrong_part = 2, expected at least two"):
        settings(tmp_path, alone)
