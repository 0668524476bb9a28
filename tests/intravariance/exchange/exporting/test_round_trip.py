# SPDX-License-Identifier: Apache-2.0
"""An exported dataset comes back through our own readers, points and labels bit for bit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.cloud_files import read_cloud
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Dataset, Record, Sample, open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.layouts import CONTENTS, WRITERS, Scan, detect_layout, find_scans
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.executors.serial import SerialExecutor
from tests.support.exporting_samples import export_to, make_exportable, plain_folder
from tests.support.samples import make_dataset

READ_AS = {
    "anomaly-shapenet": "anomaly-shapenet",
    "real3d-ad": "real3d-ad",
    "mvtec-like-folder": "folder",
}
CLASSES = [name for name in READ_AS if name != "mvtec-like-folder"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with plain_folder() as path:
        yield path


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return open_dataset(make_exportable(folder / "data.h5"))


@pytest.fixture(scope="module")
def trees(folder: Path, dataset: Dataset) -> dict[str, Path]:
    for layout in WRITERS:
        export_to(dataset, layout, folder / layout)
    return {layout: folder / layout for layout in WRITERS}


def rows_of(tree: Path) -> dict[str, dict]:
    """Return the side file's rows by the name of the cloud."""
    lines = (tree / SIDE_FILE).read_text().splitlines()
    return {row["file"]: row for row in map(json.loads, lines)}


def check_same(scan: Scan, record: Record) -> None:
    names = (scan.category, scan.subcategory, scan.split, scan.defect)
    assert names == (record.category, record.subcategory, record.split, record.defect)
    cloud = scan.load()
    assert cloud.points.astype(np.float32).tobytes() == record.points.tobytes()
    np.testing.assert_array_equal(cloud.labels, record.labels)


@pytest.mark.parametrize("layout", WRITERS)
def test_round_trip(layout: str, trees: dict[str, Path], dataset: Dataset) -> None:
    root = trees[layout]
    assert detect_layout(root) == READ_AS[layout]
    rows = rows_of(root)
    scans = find_scans(READ_AS[layout], root)
    assert sorted(rows[scan.cloud]["id"] for scan in scans) == sorted(r.id for r in dataset)
    for scan in scans:
        row = rows[scan.cloud]
        record = dataset[row["id"]]
        check_same(scan, record)
        assert row["difficulty"] == record.difficulty
        assert row["snr"] == (None if np.isnan(record.snr) else record.snr)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-120, 90),
    layout=st.sampled_from(list(WRITERS)),
)
def test_any_float32_comes_back(seed: int, exponent: int, layout: str) -> None:
    """Also tiny and huge ones, negative zero, and values next to each other."""

    def change(sample: Sample, rng: np.random.Generator) -> Sample:
        rng = np.random.default_rng([seed, len(sample.points)])
        points = np.ldexp(rng.normal(size=sample.points.shape), exponent).astype(np.float32)
        points[1] = np.nextafter(points[0], np.float32(0))
        points[2] = -0.0, 1e-45, 0.0
        points[3] = points[0]
        return replace(sample, points=points)

    category = Category("cup", ("ball",), 1, 1, {"bulge": 1})
    with plain_folder() as folder:
        specification = Specification("some", "Some", (2048, 2048), (category,))
        path = make_dataset(folder / "data.h5", specification, change=change)
        with open_dataset(path) as dataset:
            export_to(dataset, layout, folder / "out")
            rows = rows_of(folder / "out")
            for scan in find_scans(READ_AS[layout], folder / "out"):
                check_same(scan, dataset[rows[scan.cloud]["id"]])


def test_normals_and_displacement_where_there_is_room(
    trees: dict[str, Path], dataset: Dataset
) -> None:
    rows = rows_of(trees["mvtec-like-folder"])
    for scan in find_scans("folder", trees["mvtec-like-folder"]):
        record, cloud = dataset[rows[scan.cloud]["id"]], scan.load()
        assert cloud.normals is not None
        np.testing.assert_array_equal(cloud.normals.astype(np.float32), record.normals)
        if record.defect == "normal":
            assert cloud.displacement is None
        else:
            assert cloud.displacement is not None
            assert cloud.displacement.tobytes() == record.displacement.tobytes()


@pytest.mark.parametrize("layout", WRITERS)
def test_what_is_beside(layout: str, trees: dict[str, Path], dataset: Dataset) -> None:
    assert set(WRITERS[layout].HOLDS) == set(CONTENTS)
    for row in rows_of(trees[layout]).values():
        record = dataset[row["id"]]
        assert row["parameters"] == record.parameters and row["digest"] == record.digest
        np.testing.assert_array_equal(row["pose"], record.pose)
        assert ("mesh" in row["beside"]) == (record.split == "train")
        if record.mesh is not None:
            text = (trees[layout] / row["beside"]["mesh"]).read_text()
            vertices = read_cloud(trees[layout] / row["beside"]["mesh"]).points
            faces = [line.split()[1:] for line in text.splitlines() if line.startswith("f")]
            np.testing.assert_array_equal(vertices.astype("f4"), record.mesh.vertices)
            np.testing.assert_array_equal(np.array(faces, dtype=int) - 1, record.mesh.faces)
    content = json.loads((trees[layout] / EXPORT_RECORD).read_text())
    assert content["content_digest"] == dataset.digest
    assert content["identity"] == dataset.metadata["identity"]


@pytest.mark.parametrize("layout", WRITERS)
def test_checksums(layout: str, trees: dict[str, Path]) -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=trees[layout], check=True)
    listed = (trees[layout] / "SHA256SUMS").read_text().splitlines()
    files = [path for path in trees[layout].rglob("*") if path.is_file()]
    assert len(listed) == len(files) - 1


def test_names_and_places(trees: dict[str, Path]) -> None:
    """The first of each kind; drawn in the modules' docstrings."""
    for layout, names in {
        "anomaly-shapenet": [
            "dataset/pcd/night_stand/train/night_stand_template1.pcd",
            "dataset/pcd/night_stand/test/night_stand_positive2.pcd",
            "dataset/pcd/night_stand/test/night_stand_crak1.pcd",
            "dataset/pcd/night_stand/GT/night_stand_crak1.txt",
            "dataset/pcd/vase2/test/vase2_missing0.pcd",
            "dataset/obj/night_stand/night_stand_template1.obj",
            "meshes/vase2/vase2_template1.obj",
        ],
        "real3d-ad": [
            "Real3D-AD-PCD/night_stand/train/0_template.pcd",
            "Real3D-AD-PLY/night_stand/0_template.ply",
        ],
        "mvtec-like-folder": [
            "vase2/train/good/xyz/001.ply",
            "vase2/train/good/mesh/001.obj",
            "vase2/test/good/xyz/001.ply",
            "vase2/test/good/gt/001.npy",
            "night_stand/test/crack/xyz/001.ply",
            "night_stand/test/crack/gt/001.npy",
            "night_stand/test/crack/displacement/001.npy",
        ],
    }.items():
        for name in names:
            assert (trees[layout] / name).is_file(), name
    classes = trees["anomaly-shapenet"] / "dataset"
    assert sorted(path.name for path in classes.iterdir()) == ["obj", "pcd"]
    for part in ("obj", "pcd"):
        assert sorted(p.name for p in (classes / part).iterdir()) == ["night_stand", "vase2"]
    inside = sorted(path.name for path in (classes / "pcd/vase2").iterdir())
    assert inside == ["GT", "test", "train"]


def test_options_of_anomaly_shapenet(folder: Path, dataset: Dataset) -> None:
    out = folder / "other"
    export_to(dataset, "anomaly-shapenet", out, spelling="crack", delimiter=" ")
    truth = out / "dataset/pcd/night_stand/GT/night_stand_crack0.txt"
    assert len(truth.read_text().splitlines()[0].split(" ")) == 4
    rows = rows_of(out)
    for scan in find_scans("anomaly-shapenet", out):
        check_same(scan, dataset[rows[scan.cloud]["id"]])


def test_the_same_file_gives_the_same_bytes(
    folder: Path, dataset: Dataset, trees: dict[str, Path]
) -> None:
    out = folder / "again"
    out.mkdir()  # an empty folder is as good as none
    export_to(dataset, "anomaly-shapenet", out)
    sums = [path / "SHA256SUMS" for path in (out, trees["anomaly-shapenet"])]
    assert sums[0].read_text() == sums[1].read_text()


def test_one_category(folder: Path, dataset: Dataset) -> None:
    part = dataset.filter(category="vase2")
    written = export_to(part, "real3d-ad", folder / "one")
    assert written.samples == len(part) == len(find_scans("real3d-ad", folder / "one"))
    assert not list((folder / "one").glob("*/night_stand"))


@pytest.mark.parametrize("layout", CLASSES)
def test_below_the_root_the_products_are_told_by_folders(
    layout: str, trees: dict[str, Path]
) -> None:
    """Without the side file, as for trees of others."""
    root = next(trees[layout].glob("*/pcd"), trees[layout] / "Real3D-AD-PCD")
    scans = find_scans(layout, root)
    # Anomaly-ShapeNet numbers its classes, and the reader joins them
    names = {"anomaly-shapenet": {"night_stand", "vase"}, "real3d-ad": {"night_stand", "vase2"}}
    assert {scan.category for scan in scans} == names[layout]


def test_the_side_file_in_an_archive(trees: dict[str, Path], folder: Path) -> None:
    root, archive = trees["anomaly-shapenet"], folder / "tree.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(root.rglob("*.*")):
            packed.write(path, path.relative_to(root))
    packed_scans = find_scans("anomaly-shapenet", archive)
    plain = find_scans("anomaly-shapenet", root)
    assert [(s.id, s.subcategory) for s in packed_scans] == [(s.id, s.subcategory) for s in plain]
    assert {scan.subcategory for scan in plain} >= {"flat_brick", "long_ball"}


@pytest.mark.parametrize(
    "line, message",
    [
        ("[]", "line 2 is no JSON object"),
        ('{"file": "a"}', "line 2 is no JSON object"),
        ("[" * 100_000, "line 2 is no JSON object"),
        ('{"file": "a", "category": "../x", "subcategory": "b"}', "line 2 has a category or"),
        ('{"file": "a", "category": "x", "subcategory": 3}', "line 2 has a category or"),
    ],
)
def test_damaged_side_files_are_refused(
    line: str, message: str, trees: dict[str, Path], folder: Path
) -> None:
    root = folder / "damaged"
    (root / "ball/train").mkdir(parents=True, exist_ok=True)
    source = next(trees["real3d-ad"].glob("*/vase2/train/*"))
    (root / "ball/train/0_template.pcd").write_bytes(source.read_bytes())
    good = '{"file": "ball/train/0_template.pcd", "category": "x", "subcategory": "y"}'
    (root / SIDE_FILE).write_text(f"{good}\n{line}\n")
    with pytest.raises(InputError, match=message):
        find_scans("real3d-ad", root)
    (root / SIDE_FILE).write_text(f"{good}\n")
    assert find_scans("real3d-ad", root)[0].subcategory == "y"
    (root / SIDE_FILE).write_text(good.replace("0_temp", "1_temp"))
    with pytest.raises(InputError, match=r"0_template\.pcd: it is not listed") as caught:
        find_scans("real3d-ad", root)
    assert "1_template.pcd: it is missing, and listed" in str(caught.value)


@pytest.mark.parametrize("layout", ["anomaly-shapenet", "real3d-ad", "folder"])
def test_an_incomplete_copy_is_not_imported_silently(
    layout: str, trees: dict[str, Path], folder: Path
) -> None:
    """A normal cloud is lost, for which there is no ground truth that would miss it."""
    root = folder / f"incomplete {layout}"
    shutil.copytree(trees["mvtec-like-folder" if layout == "folder" else layout], root)
    good = [
        name
        for name, row in rows_of(root).items()
        if (row["split"], row["defect"]) == ("test", "normal")
    ]
    extra = re.sub(r"\d+(?=\D*$)", "9876", good[1])
    shutil.copy(root / good[1], root / extra)
    (root / good[0]).unlink()
    with pytest.raises(InputError, match="--skip-bad") as caught:
        find_scans(layout, root)
    problems: list[str] = []
    scans = find_scans(layout, root, problems)
    assert problems == [
        f"{root / extra}: it is not listed in {SIDE_FILE}",
        f"{root / good[0]}: it is missing, and listed in {SIDE_FILE}",
    ]
    assert all(problem in str(caught.value) for problem in problems)
    assert {scan.cloud for scan in scans} == set(rows_of(root)) - {good[0]}
    result = import_dataset(
        ImportSettings(layout, root, skip_bad=True, quiet=True),
        folder / f"{layout}.h5",
        SerialExecutor(),
    )
    assert sorted(result.skipped) == sorted([extra, good[0]])


def test_damaged_samples_are_not_exported(folder: Path) -> None:
    path = make_exportable(folder / "damaged.h5")
    content = bytearray(path.read_bytes())
    with open_dataset(path) as dataset:
        place = bytes(content).index(dataset[0].points.tobytes())
    content[place + 2] ^= 1
    path.write_bytes(bytes(content))
    with open_dataset(path) as dataset, pytest.raises(IntegrityError):
        export_to(dataset, "mvtec-like-folder", folder / "never")
    assert not (folder / "never").exists() and not (folder / "never.partial").exists()


@pytest.mark.parametrize(
    "part, content, message",
    [
        ("displacement", b"x", r"000\.npy: it is not a \.npy file"),
        ("displacement", None, r"000\.npy: its shape is \(7,\); expected are"),
        ("gt", None, r"000\.npy: it has 7 labels for"),
    ],
)
def test_damaged_files_beside_the_clouds(
    part: str, content: bytes | None, message: str, dataset: Dataset, folder: Path
) -> None:
    out = folder / "beside"
    if not out.exists():
        export_to(dataset, "mvtec-like-folder", out)
    path = out / f"vase2/test/missing/{part}/000.npy"
    kept = path.read_bytes()
    if content is None:
        np.save(path, np.zeros(7, dtype=np.uint8))
    else:
        path.write_bytes(content)
    scan = next(s for s in find_scans("folder", out) if s.cloud == "vase2/test/missing/xyz/000.ply")
    with pytest.raises(InputError, match=message):
        scan.load()
    path.write_bytes(kept)


def test_folders_beside_xyz_are_no_clouds_and_train_has_good_ones_only(
    trees: dict[str, Path], folder: Path
) -> None:
    """As somebody makes such a tree by hand: labels as text, no displacement."""
    root = folder / "hand"
    source = next(trees["mvtec-like-folder"].glob("vase2/test/bulge/xyz/*.ply"))
    for place in ("train/ok/a.ply", "test/dent/xyz/b.ply", "test/dent/rgb/b.ply"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(source.read_bytes())
    count = len(read_cloud(source).points)
    (root / "test/dent/gt").mkdir()
    (root / "test/dent/gt/b.txt").write_text("1\n" * count)
    train, test = find_scans("folder", root)
    assert (train.split, train.defect, test.defect) == ("train", "normal", "dent")
    labels = test.load().labels
    assert labels is not None and labels.all() and test.load().displacement is None
    (root / "train/dent").mkdir()
    (root / "train/dent/c.ply").write_bytes(source.read_bytes())
    with pytest.raises(InputError, match=r"c\.ply: expected as"):
        find_scans("folder", root)
