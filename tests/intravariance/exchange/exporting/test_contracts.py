# SPDX-License-Identifier: Apache-2.0
"""Expectations of other projects' readers, in our own words; Open3D reads the clouds.

Each function below says how a project finds its clouds and labels: which names it looks for, where,
and with which delimiter. None of their code is here. Where a project reads relative to its own
folder, `root` is what the user puts there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.spatial import cKDTree

from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.exchange.layouts.template_meshes import normal_faces, vertex_normals
from tests.support.exporting_samples import export_to, make_exportable, plain_folder

o3d = pytest.importorskip("open3d")
CATEGORIES = ("night_stand", "vase2")


class Read(NamedTuple):
    """A test cloud as a project sees it."""

    path: str
    points: np.ndarray
    mask: np.ndarray
    label: int


def cloud(path: str) -> np.ndarray:
    return np.asarray(o3d.io.read_point_cloud(path).points)


def mesh(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read vertices, and vertex normals computed from the faces."""
    found = o3d.io.read_triangle_mesh(path)
    found.compute_vertex_normals()
    return np.asarray(found.vertices), np.asarray(found.vertex_normals)


def table(path: str, delimiter: str) -> np.ndarray:
    rows = np.genfromtxt(path, delimiter=delimiter)
    assert rows.shape[1] == 4 and not np.isnan(rows).any()
    return rows


def normal(path: str, points: np.ndarray) -> Read:
    return Read(path, points, np.zeros(len(points)), 0)


def listed(root: Path, category: str, word: str, truth: str, mark: str) -> list[Read]:
    """Read as RIF, Real3D-AD, ISMP and PO3AD's tests do: every .pcd in test/ whose path has no
    `temp`; normal where the path has `word`; points and mask of others from <truth>/<stem>.txt.
    """
    reads = []
    for path in sorted(glob(str(root / category / "test" / "*.pcd"))):
        if "temp" in path:
            continue
        if word in path:
            reads.append(normal(path, cloud(path)))
            continue
        stem = path.rpartition("/")[2].split(".")[0]
        rows = table(str(root / category / truth / f"{stem}.txt"), mark)
        reads.append(Read(path, rows[:, :3], rows[:, 3], 1))
    return reads


def r3d_ad(root: Path, category: str) -> list[Read]:
    """Read every file in test/; normal by name; the folder of labels by replacing `test` in the
    whole path; 2,048 points drawn from each.
    """
    folder, reads = str(root / category / "test"), []
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        if "positive" in name:
            reads.append(normal(path, cloud(path)))
        else:
            truth = f"{folder.replace('test', 'GT')}/{name.replace('pcd', 'txt')}"
            rows = table(truth, ",")
            reads.append(Read(path, rows[:, :3], rows[:, 3], 1))
        np.random.default_rng(0).choice(len(reads[-1].points), 2048, replace=False)
    return reads


def simple3d(root: Path, category: str) -> list[Read]:
    """Read normal ones from test/, the others from the files in GT/, whose clouds must be there."""
    reads = [normal(p, cloud(p)) for p in sorted(glob(f"{root}/{category}/test/*positive*"))]
    for truth in sorted(glob(f"{root}/{category}/GT/*.txt")):
        path = truth.replace("GT", "test").replace("txt", "pcd")
        assert os.path.exists(path)
        rows = table(truth, ",")
        reads.append(Read(path, rows[:, :3], rows[:, 3], 1))
    return reads


def pasdf(root: Path, category: str) -> list[Read]:
    """Read clouds from test/ without repeated points; labels of equal coordinates, rounded to six
    decimals, or else of the nearest, from rows with spaces between.
    """
    reads = []
    for path in sorted(glob(f"{root}/{category}/test/**/*.pcd", recursive=True)):
        points = np.unique(cloud(path).astype(np.float32), axis=0)
        if "positive" in os.path.basename(path):
            reads.append(normal(path, points))
            continue
        rows = np.loadtxt(f"{root}/{category}/GT/{Path(path).stem}.txt", delimiter=" ")
        nearest = cKDTree(np.round(rows[:, :3], 6)).query(np.round(points.astype(float), 6))[1]
        reads.append(Read(path, points, rows[nearest, 3], 1))
    return reads


def mc3d_ad(lists: Path, root: Path) -> list[Read]:
    """Read a JSON object a line; commas where the path of the data has `Anomaly_ShapeNet` in it."""
    mark = "," if "Anomaly_ShapeNet" in str(root) else " "
    reads = []
    for line in lists.read_text().splitlines():
        row = json.loads(line)
        path = str(root / row["filename"])
        assert row["clsname"] in CATEGORIES and f"/{row['clsname']}/" in path
        if row.get("maskname"):
            rows = table(str(root / row["maskname"]), mark)
            assert row["label"] == 1
            reads.append(Read(path, rows[:, :3], rows[:, 3], 1))
        else:
            assert row["label"] == 0  # a defect without a mask would count as anomalous all over
            reads.append(normal(path, cloud(path)))
    return reads


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with plain_folder() as path:
        yield path


@pytest.fixture(scope="module", params=[0.002, 0.0447])
def dataset(request: Any, folder: Path) -> Dataset:
    return open_dataset(make_exportable(folder / f"{request.param}.h5", request.param))


@pytest.fixture(scope="module")
def shapenet(dataset: Dataset, folder: Path) -> Path:
    out = folder / f"{dataset.path.stem}_Anomaly_ShapeNet"
    export_to(dataset, "anomaly-shapenet", out)
    return out


@pytest.fixture(scope="module")
def real3d(dataset: Dataset, folder: Path) -> Path:
    export_to(dataset, "real3d-ad", folder / f"{dataset.path.stem}_real")
    return folder / f"{dataset.path.stem}_real"


def record_of(path: str, tree: Path, dataset: Dataset) -> Record:
    rows = map(json.loads, (tree / SIDE_FILE).read_text().splitlines())
    ids = {str(tree / row["file"]): row["id"] for row in rows}
    return dataset[ids[path]]


def check(reads: list[Read], tree: Path, dataset: Dataset, split: str = "test") -> None:
    """Check that a project sees the samples of the file: all, with their points and labels."""
    records = [record_of(read.path, tree, dataset) for read in reads]
    assert sorted(r.id for r in records) == sorted(r.id for r in dataset if r.split == split)
    for read, record in zip(reads, records, strict=True):
        assert read.label == (record.defect != "normal")
        np.testing.assert_array_equal(read.points.astype(np.float32), record.points)
        np.testing.assert_array_equal(read.mask, record.labels)


def test_po3ad_and_mc4ad(shapenet: Path, dataset: Dataset) -> None:
    root = shapenet / "dataset"
    assert sorted(os.listdir(root / "pcd")) == list(CATEGORIES)
    reads = []
    for category in CATEGORIES:
        reads += listed(root / "pcd", category, "positive", "GT", ",")
        templates = [p for p in glob(f"{root}/obj/{category}/*.obj") if "template" in p]
        wanted = [r for r in dataset if r.category == category and r.split == "train"]
        check_templates(sorted(templates), wanted, limit=12 if dataset.path.stem == "0.002" else 30)
    check(reads, shapenet, dataset)


def check_templates(paths: list[str], records: list[Record], limit: float) -> None:
    """Check that vertices are the stored points, in any order (Open3D sorts those of an OBJ by
    their faces); the middle angle of normals is below `limit` degrees.
    """
    assert len(paths) == len(records) > 0
    for path, record in zip(paths, records, strict=True):
        vertices, normals = mesh(path)
        order, wanted = (
            np.lexsort(rows.astype(np.float32).T) for rows in (vertices, record.points)
        )
        # its reader of decimal numbers may miss by one bit of float32
        np.testing.assert_allclose(vertices[order], record.points[wanted], rtol=2e-7)
        cosine = (normals[order] * record.normals[wanted]).sum(axis=1)
        assert np.degrees(np.arccos(np.median(cosine))) < limit
        assert (cosine < 0).mean() < 0.02


@pytest.mark.parametrize("reader", [r3d_ad, simple3d])
def test_r3d_ad_and_simple3d(
    reader: Callable[[Path, str], list[Read]], shapenet: Path, dataset: Dataset
) -> None:
    reads = [read for category in CATEGORIES for read in reader(shapenet / "dataset/pcd", category)]
    check(reads, shapenet, dataset)
    for category in CATEGORIES:  # R3D-AD takes every file there for a training cloud
        for path in (shapenet / "dataset/pcd" / category / "train").iterdir():
            record = record_of(str(path), shapenet, dataset)
            assert record.split == "train"
            np.testing.assert_array_equal(cloud(str(path)).astype(np.float32), record.points)


def test_rif(shapenet: Path, dataset: Dataset) -> None:
    root = shapenet / "dataset/pcd"
    reads = [read for c in CATEGORIES for read in listed(root, c, "positive", "GT", ",")]
    check(reads, shapenet, dataset)
    train = [path for c in CATEGORIES for path in glob(f"{root}/{c}/train/*template*.pcd")]
    check([normal(path, cloud(path)) for path in train], shapenet, dataset, "train")


def test_open_industry_finds_the_defect_in_the_name(shapenet: Path, dataset: Dataset) -> None:
    for path in (shapenet / "dataset/pcd").glob("*/test/*"):
        rest = path.stem.removeprefix(path.parent.parent.name).strip("_")
        defect = record_of(str(path), shapenet, dataset).defect
        spelled = {"normal": "positive", "crack": "crak"}.get(defect, defect)
        assert re.sub(r"\d", "", rest) == spelled
        assert path.name.count(".") == 1 and re.fullmatch(r"[a-z]+\d+", rest)


def test_pasdf(dataset: Dataset, folder: Path) -> None:
    out = folder / f"{dataset.path.stem}_spaces"
    export_to(dataset, "anomaly-shapenet", out, delimiter=" ")
    reads = [read for c in CATEGORIES for read in pasdf(out / "dataset/pcd", c)]
    for read in reads:
        record = record_of(read.path, out, dataset)
        points, first = np.unique(record.points, axis=0, return_index=True)
        np.testing.assert_array_equal(read.points, points)
        np.testing.assert_array_equal(read.mask, record.labels[first])
        assert read.mask.any() == read.label == (record.defect != "normal")
    for category in CATEGORIES:  # the surface that it learns
        first = sorted(glob(f"{out}/meshes/{category}/*.obj"))[0]
        record = next(r for r in dataset if r.category == category)
        assert record.mesh is not None
        surface = o3d.io.read_triangle_mesh(first)
        corners = np.asarray(surface.vertices)[np.asarray(surface.triangles)]  # (F, 3, 3)
        np.testing.assert_allclose(corners, record.mesh.vertices[record.mesh.faces], atol=1e-7)


def test_mc3d_ad(shapenet: Path, real3d: Path, dataset: Dataset) -> None:
    for tree, root in ((shapenet, "dataset/pcd"), (real3d, "Real3D-AD-PCD")):
        for split in ("train", "test"):
            check(mc3d_ad(tree / f"{split}.json", tree / root), tree, dataset, split)


def test_real3d_ad_ismp_and_po3ad(real3d: Path, dataset: Dataset) -> None:
    root = real3d / "Real3D-AD-PCD"
    check([r for c in CATEGORIES for r in listed(root, c, "good", "gt", " ")], real3d, dataset)
    train = [path for c in CATEGORIES for path in glob(f"{root}/{c}/train/*template*.pcd")]
    check([normal(path, cloud(path)) for path in train], real3d, dataset, "train")
    for category in CATEGORIES:
        meshes = [
            path for path in glob(f"{real3d}/Real3D-AD-PLY/{category}/*.ply") if "template" in path
        ]
        wanted = [r for r in dataset if r.category == category and r.split == "train"]
        check_templates(sorted(meshes), wanted, limit=12 if dataset.path.stem == "0.002" else 30)


def test_vertex_normals_are_open3ds() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(30, 3))
    faces = rng.permuted(np.tile(np.arange(30), (80, 1)), axis=1)[:, :3].astype(np.int32)
    found = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces)
    )
    found.compute_vertex_normals()
    ours = vertex_normals(vertices, faces)
    np.testing.assert_allclose(ours, np.asarray(found.vertex_normals), atol=1e-12)


def test_normals_of_a_plane_and_of_few_points() -> None:
    rng = np.random.default_rng(1)
    flat = np.column_stack([rng.uniform(-1, 1, (3000, 2)), np.zeros(3000)])
    up = np.tile((0.0, 0.0, 1.0), (3000, 1))
    faces = normal_faces(flat, up, 0.0)
    np.testing.assert_allclose(vertex_normals(flat, faces), up, atol=1e-12)
    assert faces.shape == (9000, 3) and faces.dtype == np.int32  # three triangles at each point
    np.testing.assert_array_equal(faces[:, 0], np.repeat(np.arange(3000), 3))
    assert (np.diff(np.sort(faces, axis=1), axis=1) > 0).all()  # three different corners
    noisy = flat + rng.normal(scale=0.0447, size=flat.shape)
    cosine = vertex_normals(noisy, normal_faces(noisy, up, 0.0447))[:, 2]
    assert np.degrees(np.arccos(np.median(cosine))) < 15
    few = normal_faces(flat[:4], up[:4], 0.0)
    np.testing.assert_allclose(np.abs(vertex_normals(flat[:4], few)[:, 2]), 1)
