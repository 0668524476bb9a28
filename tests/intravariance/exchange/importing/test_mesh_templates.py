# SPDX-License-Identifier: Apache-2.0
"""A mesh as a template beside scans: its surface, its unit, its place, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intravariance.commands.info import describe
from intravariance.errors import InputError
from intravariance.exchange.importing.mesh_templates import MeshTemplates
from intravariance.geometry.topology import closed_problem
from intravariance.looking.pristine import surface_of
from intravariance.verification.verify import verify
from tests.support.box_scans import PLACE, SIZE, box, tree
from tests.support.foreign_trees import write_tree
from tests.support.unlabelled_trees import import_scans


def from_box(points: NDArray[np.floating], centre: NDArray[np.float64], size) -> float:
    """Return the largest distance of points from the surface of a box."""
    inside = np.abs(points - centre) - size / 2
    return float(np.abs(inside.max(axis=1)).max())


@pytest.mark.parametrize("kind", ["stl", "glb"])
def test_points_lie_on_the_mesh_in_the_unit_of_the_scans(tmp_path: Path, kind: str) -> None:
    dataset = import_scans(tree(tmp_path / "boxes", kind), tmp_path / "a.h5")
    (template,) = dataset.filter(split="train")
    sample, radius = template.load(), float(np.linalg.norm(SIZE) / 2)
    assert sample.mesh is not None and not closed_problem(sample.mesh)
    assert template.n_points == 100  # the median
    for points in (sample.points, sample.mesh.vertices):
        assert from_box(points, np.zeros(3), SIZE / radius) < 1e-5
    outwards = np.einsum("ij,ij->i", sample.normals, sample.points)
    assert outwards.min() > 0
    record = sample.parameters["imported"]
    assert record["length"] == pytest.approx(radius, rel=1e-5)
    np.testing.assert_allclose(record["centre"], PLACE, atol=1e-3)
    scans = [r for r in dataset if r.split == "test"]
    assert {r.parameters["imported"]["length"] for r in scans} == {record["length"]}
    assert describe(dataset)["meshes"] == 1
    assert surface_of(template) is None  # nobody knows how a scan lies to it
    assert verify(dataset.path).passed


def test_coordinates_are_kept_where_that_is_asked(tmp_path: Path) -> None:
    dataset = import_scans(tree(tmp_path / "boxes", "obj"), tmp_path / "a.h5", normalise="none")
    sample = dataset.filter(split="train")[0].load()
    assert sample.mesh is not None
    for points in (sample.points, sample.mesh.vertices):
        assert from_box(points.astype(np.float64), PLACE, SIZE) < 1e-3


def test_a_wound_mesh_lies_where_it_did(tmp_path: Path) -> None:
    """It is open and partly inside out, so that it is repaired, and stays in its place."""
    mesh = box().subdivide().subdivide()
    mesh.update_faces(np.arange(len(mesh.faces)) > 1)
    root = tree(tmp_path / "boxes", "obj", mesh)
    asked = MeshTemplates("sample")
    dataset = import_scans(root, tmp_path / "a.h5", normalise="none", meshes=asked)
    sample = dataset.filter(split="train")[0].load()
    assert sample.parameters["imported"]["mesh"]["repair"] != "kept"
    low, high = sample.points.min(axis=0), sample.points.max(axis=0)
    np.testing.assert_allclose((low + high) / 2, PLACE, atol=0.6)
    np.testing.assert_allclose(high - low, SIZE, atol=1.2)


def test_the_vertices_of_a_triangulated_scan_are_its_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = box().subdivide().subdivide()  # 98 vertices
    root = tree(tmp_path / "boxes", "ply", mesh)
    kept = import_scans(root, tmp_path / "a.h5", quiet=False).filter(split="train")[0]
    assert (kept.n_points, kept.has_mesh) == (len(mesh.vertices), False)
    assert "98 vertices, which are taken as a scan's points" in capsys.readouterr().err
    sampled = import_scans(root, tmp_path / "b.h5", meshes=MeshTemplates("sample", 40), quiet=False)
    assert (sampled[0].n_points, sampled[0].has_mesh) == (40, True)
    assert "98 vertices; 40 points drawn on it, and the mesh kept" in capsys.readouterr().err
    small = tree(tmp_path / "small", "obj")
    with pytest.raises(InputError, match=r"nominal\.obj: it has 8 points, expected 16"):
        import_scans(small, tmp_path / "c.h5", meshes=MeshTemplates("vertices"))


def test_what_cannot_be_a_template(tmp_path: Path) -> None:
    alone = write_tree(tmp_path / "alone", {"train/a.stl": box().export(file_type="stl")})
    with pytest.raises(InputError, match="give --template-points"):
        import_scans(alone, tmp_path / "a.h5")
    found = import_scans(alone, tmp_path / "a.h5", meshes=MeshTemplates(points=64))
    assert found[0].n_points == 64
    broken = tree(tmp_path / "broken", "stl")
    (broken / "train/nominal.stl").write_bytes(b"solid nothing\nendsolid nothing\n")
    with pytest.raises(InputError, match=r"nominal\.stl: as a template's mesh: "):
        import_scans(broken, tmp_path / "b.h5")
