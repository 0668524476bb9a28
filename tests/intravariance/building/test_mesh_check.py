# SPDX-License-Identifier: Apache-2.0
"""Base meshes looked at before a build."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from intravariance.building.mesh_check import thickness
from intravariance.geometry.mesh import Mesh, mesh_from_arrays
from tests.conftest import run_iv
from tests.support.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES, off_text

SPECIFICATION = """
name = "checked"
points = [2000, 2100]
[[category]]
name = "part"
subcategories = ["block", "sheet", "cloud"]
unit = "inch"
templates = 3
positives = 0
defects = { bulge = 1, hole = 1 }
"""


def as_mesh(shape: trimesh.Trimesh) -> Mesh:
    return mesh_from_arrays(np.asarray(shape.vertices), np.asarray(shape.faces))


def test_thickness_of_plates_and_shells() -> None:
    plate = as_mesh(trimesh.creation.box((1.2, 1.0, 0.1)))
    assert thickness(plate) == pytest.approx((0.1, 0.1), rel=1e-3)
    ball = trimesh.creation.icosphere(subdivisions=4)
    inner = ball.copy()
    inner.apply_scale(0.8)
    inner.invert()
    shell = as_mesh(trimesh.util.concatenate([ball, inner]))
    middle, thin = thickness(shell)
    assert middle == pytest.approx(0.2, rel=0.02)
    assert thin == pytest.approx(0.2, rel=0.03)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    (folder / "meshes/part").mkdir(parents=True)
    corners = np.array(CUBE_VERTICES) * [1.0, 0.7, 0.5]
    for name, faces in {
        "block": CUBE_TRIANGLES,
        "sheet": CUBE_TRIANGLES[:2],
        "cloud": [],
    }.items():
        (folder / f"meshes/part/{name}.off").write_text(off_text(corners.tolist(), faces))
    (folder / "checked.toml").write_text(SPECIFICATION)
    return folder


def test_each_mesh_is_told_and_a_bad_one_stops(folder: Path) -> None:
    command = ["build", "--spec", folder / "checked.toml", "--source", f"folder:{folder}/meshes"]
    command += ["--dry-run", "--check-meshes", "--cache", folder / "cache", "--jobs", 1]
    result = run_iv(*command, "--json", folder=folder)
    assert result.returncode == 2
    assert "part/cloud (folder:part/cloud.off): " in result.stderr
    assert "it has no faces" in result.stderr
    block, sheet, cloud = json.loads(result.stdout)["base_meshes"]
    radius = float(np.linalg.norm([1.0, 0.7, 0.5]))
    assert block["repair"] == "kept"
    assert block["parts"] == 1
    assert block["millimetres"] == pytest.approx(25.4 * radius, rel=1e-4)
    assert block["size"] == pytest.approx([2 / radius, 1.4 / radius, 1 / radius], rel=1e-3)
    assert block["impossible"] == []
    assert sheet["repair"].startswith("made watertight, octree of")
    assert cloud["problem"] and cloud["millimetres"] is None
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "checked.toml", "meshes"]
    shown = run_iv(*command, folder=folder)
    assert shown.stdout.splitlines()[1].split()[:2] == ["part/block", "kept"]
    assert "mm)" in shown.stdout


def test_it_is_for_dry_runs(folder: Path) -> None:
    result = run_iv("build", "--spec", folder / "checked.toml", "--check-meshes")
    assert result.returncode == 2
    assert "--check-meshes goes with --dry-run" in result.stderr
