# SPDX-License-Identifier: Apache-2.0
"""Importing foreign clouds, and what `iv` says of the file afterwards."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotations.vocabulary import FOREIGN_DEFECT_TYPES
from intravariance.cards.dataset_card import dataset_card
from intravariance.cloud_files import parse_cloud, write_pcd, write_ply, write_text
from intravariance.commands.info import describe
from intravariance.dataset.assembly.sample_files import assemble, write_sample_file
from intravariance.dataset.store import Dataset, Sample, open_dataset
from intravariance.errors import InputError
from intravariance.exchange.importing.run import ImportSettings, import_dataset, plan_import
from intravariance.exchange.importing.sample import (
    ImportJob,
    imported_sample,
)
from intravariance.exchange.layouts import find_scans
from intravariance.executors.processes import ProcessExecutor
from intravariance.executors.serial import SerialExecutor
from intravariance.looking.preview import Drawing, contact_sheet
from intravariance.verification.verify import verify
from tests.support.foreign_trees import PLACE, UNIT, ball, real3d_tree, shapenet_class, write_tree


def import_tree(
    root: Path, out: Path, layout: str = "auto", jobs: int = 0, **changes: object
) -> Dataset:
    """`import_dataset`, in so many worker processes, or in this one."""
    settings = replace(ImportSettings(layout, root, quiet=True), **changes)
    with ProcessExecutor(jobs) if jobs else SerialExecutor() as executor:
        import_dataset(settings, out, executor)
    return open_dataset(out)


@pytest.fixture(scope="module")
def real3d(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("real3d")
    root = write_tree(folder / "Real3D-AD-PCD", real3d_tree())
    return import_tree(root, folder / "real3d.h5")


@pytest.fixture(scope="module")
def shapenet(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Make two classes of one category, in our frame already."""
    folder = tmp_path_factory.mktemp("shapenet")
    files = shapenet_class("cap0", {"bulge": 2, "crak": 1}) | shapenet_class("cap3", {"hole": 1})
    return import_tree(write_tree(folder / "tree", files), folder / "shapenet.h5", jobs=2)


def source_of(dataset: Dataset, tree: dict[str, bytes], id: str) -> bytes:
    """Return the file that a sample's points come from."""
    files = dataset[id].parameters["imported"]["files"]
    return tree[files.get("truth", files["cloud"])]


def test_what_was_found_is_the_specification(real3d: Dataset) -> None:
    specification = real3d.specification
    assert specification.name == "real3d_ad_pcd" and specification.title == "Real3D-AD-PCD"
    assert specification.defect_types() == ["bulge", "sink"]
    for category in specification.categories:
        assert category.subcategories == (category.name,)
        assert category.templates == 2 and category.positives == 4
        assert category.defects == {"bulge": 1, "sink": 2}
    sizes = [record.n_points for record in real3d]
    assert specification.points == (min(sizes), max(sizes))
    identity = real3d.metadata["identity"]
    assert identity["source"] == "real3d-ad:Real3D-AD-PCD"
    assert identity["noise_sigma"] == 0 and identity["pose"] == "as given"
    assert "skipped" not in real3d.metadata


def test_each_cloud_is_centred_and_a_category_has_one_length(real3d: Dataset) -> None:
    tree = real3d_tree()
    for category in real3d.categories:
        records = list(real3d.filter(category=category))
        lengths = {record.parameters["imported"]["length"] for record in records}
        assert len(lengths) == 1
        radii = [
            np.linalg.norm(r.points.astype(float), axis=1).max()
            for r in records
            if r.split == "train"
        ]
        assert max(radii) == pytest.approx(1, abs=1e-6)
        for record in records:
            imported = record.parameters["imported"]
            np.testing.assert_allclose(record.points.mean(axis=0, dtype=float), 0, atol=1e-6)
            back = record.points.astype(float) * imported["length"] + imported["centre"]
            suffix = ".txt" if "truth" in imported["files"] else ".pcd"
            name = imported["files"].get("truth", imported["files"]["cloud"])
            wanted = parse_cloud(source_of(real3d, tree, record.id), f"x{suffix}")
            np.testing.assert_allclose(back, wanted.points, atol=1e-4)
            assert imported["sha256"]["truth" if suffix == ".txt" else "cloud"] == (
                hashlib.sha256(tree[name]).hexdigest()
            )
            labels = wanted.labels
            np.testing.assert_array_equal(record.labels, 0 if labels is None else labels)


def test_ground_truth_is_labels_and_unknown_displacement(real3d: Dataset) -> None:
    for record in real3d:
        labelled = record.labels == 1
        assert labelled.any() == (record.defect != "normal")
        assert np.isnan(record.displacement[labelled]).all()
        assert not record.displacement[~labelled].any()
        assert record.mesh is None
        np.testing.assert_array_equal(record.pose, np.eye(4))


def test_estimated_normals_point_outwards(real3d: Dataset) -> None:
    """The normals of an ellipsoid are known: the gradient of x²/a² + y²/b² + z²/c²."""
    record = next(r for r in real3d if r.category == "airplane" and r.split == "train")
    true = record.points / np.array([1.0, 0.6, 0.4]) ** 2
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    cosines = (record.normals * true).sum(axis=1)
    assert cosines.min() > 0 and cosines.mean() > 0.98


def test_what_is_in_our_frame_is_kept_bit_for_bit(shapenet: Dataset) -> None:
    tree = shapenet_class("cap0", {"bulge": 2, "crak": 1}) | shapenet_class("cap3", {"hole": 1})
    assert shapenet.metadata["identity"]["imported"]["frames"] == {"cap": {"coordinates": "kept"}}
    assert {r.subcategory for r in shapenet} == {"cap0", "cap3"}
    assert {r.defect for r in shapenet} == {"normal", "bulge", "crack", "hole"}
    for record in shapenet.filter(defect="normal"):
        content = source_of(shapenet, tree, record.id)
        assert content.endswith(record.points.tobytes())  # a binary PCD's rows
    for record in shapenet.filter(defect="crack"):
        text = source_of(shapenet, tree, record.id).decode()
        rows = np.array([line.split(",") for line in text.splitlines()], dtype=float)
        np.testing.assert_array_equal(record.points, rows[:, :3].astype(np.float32))
        np.testing.assert_array_equal(record.labels, rows[:, 3])


def test_normalise_none_keeps_everything(tmp_path: Path) -> None:
    files = real3d_tree()
    root = write_tree(tmp_path / "tree", {n: files[n] for n in files if "airplane" in n})
    dataset = import_tree(root, tmp_path / "f.h5", normalise="none", name="Mein Datensatz")
    assert dataset.specification.name == "mein_datensatz"
    for record in dataset.filter(split="train"):
        assert source_of(dataset, real3d_tree(), record.id).endswith(record.points.tobytes())
        np.testing.assert_allclose(record.points.mean(axis=0), PLACE, atol=0.2 * UNIT)
    assert verify(dataset.path).passed


def test_normals_of_the_file_are_taken(tmp_path: Path) -> None:
    points, _ = ball(100, np.random.default_rng(0))
    normals = -points / np.linalg.norm(points, axis=1, keepdims=True)
    root = write_tree(tmp_path / "t", {"train/a.ply": write_ply(points, normals=normals)})
    job = ImportJob(find_scans("folder", root)[0], "t_train_000", "t", "t", "normal", "t")
    sample = imported_sample(job)
    np.testing.assert_allclose(sample.normals, normals, atol=1e-6)
    assert sample.parameters["imported"]["normals"] == "of the file"


def test_verify_says_what_does_not_apply(real3d: Dataset, shapenet: Dataset) -> None:
    for dataset in (real3d, shapenet):
        report = verify(dataset.path)
        assert report.passed, report.failures()
        inapplicable = {check.name for check in report.checks if not check.applies}
        assert inapplicable == {"size", "point order", "normals", "surface", "noise"}
        assert {"structure", "counts", "digests", "finite values", "ranges", "split", "labels"} <= {
            check.name for check in report.checks if check.applies
        }
        assert report.probes and not any(probe.blind for probe in report.probes)


def test_a_leak_is_shown_and_not_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {"train/a.pcd": write_pcd(ball(300, rng)[0])}
    for number in range(8):
        files[f"test/good/{number}.pcd"] = write_pcd(ball(300 + number, rng)[0])
        points, labels = ball(500 + number, rng, bump=0.3)
        files[f"test/scuff/{number}.txt"] = write_text(points, labels=labels, header=True)
    dataset = import_tree(write_tree(tmp_path / "Cups 2", files), tmp_path / "f.h5")
    assert dataset.categories == ["Cups 2"]
    assert dataset.specification.defect_types() == ["scuff"]
    report = verify(dataset.path)
    assert report.passed
    assert next(p for p in report.probes if p.name == "points").auroc == 1


def changed_file(dataset: Dataset, out: Path, id: str, **changes: object) -> Path:
    """Make the file with one sample changed, honestly put together."""
    files = []
    for record in dataset:
        sample: Sample = record.load()
        if sample.id == id:
            sample = replace(sample, **changes)
        files.append(out.parent / f"{sample.id}.h5")
        write_sample_file(files[-1], sample)
    assemble(out, files, dataset.metadata)
    return out


@pytest.mark.parametrize(
    ("split", "changes", "check"),
    [
        ("train", {"defect": "sink"}, "split"),
        ("test", {"labels": "all"}, "labels"),
        ("test", {"displacement": "some"}, "labels"),
        ("test", {"points": "NaN"}, "finite values"),
        ("test", {"defect": "scuff"}, "counts"),
    ],
)
def test_verify_finds_what_is_wrong(
    real3d: Dataset, tmp_path: Path, split: str, changes: dict[str, str], check: str
) -> None:
    record = next(r for r in real3d if r.split == split and r.defect == "normal")
    sample = record.load()
    arrays = {
        "labels": np.ones_like(sample.labels),
        "displacement": np.ones_like(sample.displacement),
        "points": np.full_like(sample.points, np.nan),
    }
    wanted = {name: arrays.get(name, value) for name, value in changes.items()}
    report = verify(changed_file(real3d, tmp_path / "f.h5", record.id, **wanted), probes=False)
    assert check in {c.name for c in report.checks if not c.passed}, report.checks


def test_the_file_knows_no_place_on_this_machine(real3d: Dataset) -> None:
    texts = [json.dumps(real3d.metadata), *(json.dumps(r.parameters) for r in real3d)]
    assert not any(str(real3d.path.parent) in text or "/tmp" in text for text in texts)


def test_info_card_and_preview_claim_nothing_unknown(real3d: Dataset) -> None:
    content = describe(real3d)
    assert content["imported"] and content["table"][-1]["sink"] == 4
    card = dataset_card(real3d.path)
    for phrase in ("Blender", "unit sphere", "paper", "$", "mesh/vertices"):
        assert phrase not in card
    assert "`iv` added no noise" in card
    assert f"| sink | {FOREIGN_DEFECT_TYPES['sink'].description} |" in card
    sheet = contact_sheet(real3d, Drawing(80))
    assert sheet.width >= 3 * 80  # template, bulge, sink


def test_bad_clouds(tmp_path: Path) -> None:
    files = real3d_tree(60)
    files["airplane/test/3_good.pcd"] = files["airplane/test/3_good.pcd"][:-40]
    files["duck/test/4_good.pcd"] = write_pcd(np.ones((50, 3), dtype=np.float32))
    del files["duck/gt/8_sink.txt"]
    files["duck/test/nonsense.pcd"] = b""
    root = write_tree(tmp_path / "tree", files)
    out = tmp_path / "f.h5"
    with pytest.raises(InputError, match=r"nonsense.pcd: its name is none of this layout"):
        import_tree(root, out)
    del files["duck/test/nonsense.pcd"]
    (root / "duck/test/nonsense.pcd").unlink()
    (root / "duck/test/8_sink.pcd").rename(root / "duck/test/8_good.pcd")
    with pytest.raises(InputError, match=r"2 of 18 clouds cannot be used; --skip-bad") as caught:
        import_tree(root, out)
    assert "airplane/test/3_good.pcd" in str(caught.value)
    assert str(caught.value).endswith(f"The finished samples are kept in {out}.partial")
    with pytest.raises(InputError, match=r"unfinished import of f\.h5 with other settings"):
        import_tree(root, out, normalise="none")
    assert not out.exists() and len(list(tmp_path.glob("f.h5.partial/samples/*"))) == 16
    (root / "duck/test/8_good.pcd").rename(root / "duck/test/8_sink.pcd")
    settings = ImportSettings("auto", root, skip_bad=True, quiet=True)
    result = import_dataset(settings, out, SerialExecutor())
    assert set(result.skipped) == {"airplane/3_good", "duck/4_good", "duck/test/8_sink.pcd"}
    with open_dataset(out) as dataset:
        assert len(dataset) == 15
        skipped = dataset.metadata["skipped"]
        assert skipped["count"] == 3 and set(skipped["scans"]) == set(result.skipped)
        assert "all of its points coincide" in skipped["scans"]["duck/4_good"]
        assert str(tmp_path) not in json.dumps(dataset.metadata)
        assert "3 clouds were left out" in dataset_card(out)
    assert verify(out).passed


def test_a_repaired_cloud_is_read_again(tmp_path: Path) -> None:
    files = real3d_tree(60)
    whole = files["airplane/test/3_good.pcd"]
    files["airplane/test/3_good.pcd"] = whole[:-40]
    root = write_tree(tmp_path / "tree", files)
    with pytest.raises(InputError, match="3_good"):
        import_tree(root, tmp_path / "f.h5")
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("f.h5.partial/samples/*")}
    assert len(finished) == 17
    (root / "airplane/test/3_good.pcd").write_bytes(whole)
    # another cloud, of which a sample exists, becomes another one meanwhile
    changed = write_pcd(ball(77, np.random.default_rng(1))[0])
    (root / "duck/test/3_good.pcd").write_bytes(changed)
    dataset = import_tree(root, tmp_path / "f.h5", jobs=2)
    assert len(dataset) == 18
    assert 77 in [record.n_points for record in dataset.filter(category="duck")]
    # and the content is that of an import in one go
    again = import_tree(root, tmp_path / "again.h5", jobs=2)
    assert again.digest == dataset.digest


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    out.write_text("precious")
    with pytest.raises(InputError, match="--force"):
        import_tree(write_tree(tmp_path / "tree", real3d_tree(60)), out)
    assert out.read_text() == "precious"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no point cloud"),
        ({"train/a.pcd": b""}, "0 bytes"),
        ({"train/a.xyz": b"1 2 3\n4 5 6\n"}, "it has 2 points, expected 16"),
    ],
)
def test_trees_that_cannot_be_used(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(InputError, match=message):
        import_tree(write_tree(tmp_path / "tree", files), tmp_path / "f.h5")
    assert not list(tmp_path.glob("f.h5*"))


def test_a_tree_without_training_clouds(tmp_path: Path) -> None:
    points, labels = ball(80, np.random.default_rng(0), bump=0.4)
    files = {"dent/a.txt": write_text(points * 7, labels=labels, header=True)}
    dataset = import_tree(write_tree(tmp_path / "mugs", files), tmp_path / "f.h5")
    (record,) = dataset
    assert dataset.specification.categories[0].templates == 0
    radius = np.linalg.norm(record.points.astype(float), axis=1).max()
    assert radius == pytest.approx(1, abs=1e-6)
    assert verify(dataset.path).passed


def test_a_zip_file_and_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "tree", real3d_tree(60))
    shutil.make_archive(str(tmp_path / "tree"), "zip", root)
    monkeypatch.chdir(root)
    folder, archive = (
        plan_import(ImportSettings("auto", path, quiet=True))
        for path in (Path(), tmp_path / "tree.zip")
    )
    assert folder.identity == archive.identity
    for one, other in zip(folder.jobs, archive.jobs, strict=True):
        assert (one.id, one.scan.id) == (other.id, other.scan.id)
    job = folder.jobs[-1]
    assert imported_sample(job).digest == imported_sample(archive.jobs[-1]).digest


def test_rewritten_names_and_links_that_are_not_followed_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    files = {
        "外殻/train/一.xyz": write_text(ball(300, rng)[0]),
        "外殻/test/Kratzer & Riss/二.txt": write_text(
            *ball(300, rng, bump=0.3)[:1], labels=ball(300, rng, bump=0.3)[1], header=True
        ),
    }
    files["外殻/test/欠け:10/三.txt"] = files["外殻/test/Kratzer & Riss/二.txt"]
    tree = write_tree(tmp_path / "tree", files)
    (tmp_path / "elsewhere.xyz").write_bytes(write_text(ball(300, rng)[0]))
    (tree / "外殻/train/linked.xyz").symlink_to(tmp_path / "elsewhere.xyz")
    plan = plan_import(ImportSettings("folder", tree))
    assert {job.category for job in plan.jobs} == {"外殻"}
    assert {job.defect for job in plan.jobs} == {"normal", "Kratzer & Riss", "欠け_10"}
    told = capsys.readouterr().err
    assert "name rewritten: '欠け:10' is '欠け_10' in the file" in told
    assert told.count("name rewritten") == 1  # nothing else
    assert f"not followed: 1 link to folders or out of {tree} (外殻/train/linked.xyz -> " in told
    assert "--follow-links follows them" in told
    followed = plan_import(ImportSettings("folder", tree, follow_links=True))
    assert "not followed" not in capsys.readouterr().err
    assert {job.scan.cloud for job in followed.jobs} - {job.scan.cloud for job in plan.jobs} == {
        "外殻/train/linked.xyz"
    }
    linked = next(job for job in followed.jobs if job.scan.cloud.endswith("linked.xyz"))
    assert len(imported_sample(linked).points) == 300
