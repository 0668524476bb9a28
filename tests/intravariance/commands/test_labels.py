# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from annotations.vocabulary import DEFECT_TYPES
from intravariance.cards.dataset_card import dataset_card
from intravariance.cloud_files import read_cloud, write_pcd, write_ply, write_text
from intravariance.commands.info import info_command
from intravariance.commands.labels import labels_command
from intravariance.dataset.label_origin import (
    KEY,
    construction_labels,
    pack,
    unpack,
    with_construction_labels,
)
from intravariance.dataset.store import content_digest, open_dataset, structure
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.labelling.manifest import MANIFEST, read_manifest
from tests import ROOT
from tests.samples import UNEVEN, make_dataset, with_points


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("labels") / "small.h5", UNEVEN, sigma=0.002)


@pytest.fixture
def folder(file: Path, tmp_path: Path) -> Path:
    """Give all clouds out."""
    run("export", file, "--out", tmp_path / "clouds")
    return tmp_path / "clouds"


def invoke(*arguments: object) -> Result:
    """Run a command; InputError goes through, as to the `iv` group."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(labels_command, words, catch_exceptions=False)


def run(*arguments: object) -> str:
    result = invoke(*arguments, "--quiet")
    assert result.exit_code == 0, result.output
    return result.stdout


def ids(file: Path, defect: str) -> list[str]:
    with open_dataset(file) as dataset:
        return [record.id for record in dataset if record.defect == defect]


def edit(folder: Path, id: str, labels: np.ndarray, order: np.ndarray | None = None) -> None:
    """Save the cloud with other labels; order : which rows, in which order."""
    cloud = read_cloud(folder / f"{id}.ply")
    order = np.arange(len(labels)) if order is None else order
    data = write_ply(cloud.points[order], None, labels[order], "scalar_label", "float")
    (folder / f"{id}.ply").write_bytes(data)


def some_labels(file: Path, id: str, seed: int = 0) -> np.ndarray:
    """Make random labels, so that every error in the order of points shows."""
    with open_dataset(file) as dataset:
        count = dataset[id].n_points
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.uint8)


# --- export


@pytest.mark.parametrize("kind", ["ply", "txt"])
@pytest.mark.parametrize("frame", ["upright", "stored"])
def test_export_gives_each_sample_with_its_label(
    file: Path, tmp_path: Path, kind: str, frame: str
) -> None:
    run("export", file, "--out", tmp_path / "c", "--format", kind, "--frame", frame)
    manifest = read_manifest(tmp_path / "c")
    with open_dataset(file) as dataset:
        assert manifest.dataset == dataset.digest and manifest.frame == frame
        assert list(manifest.clouds) == [record.id for record in dataset]
        for record in dataset:
            cloud = read_cloud(tmp_path / "c" / manifest.clouds[record.id].file)
            assert cloud.labels is not None and cloud.normals is not None
            assert (cloud.labels == record.labels).all()
            sample = record.load()
            for found, stored in ((cloud.points, sample.points), (cloud.normals, sample.normals)):
                turn = np.eye(3) if frame == "stored" else sample.pose[:3, :3]
                shift = sample.pose[:3, 3] if found is cloud.points and frame == "upright" else 0
                assert np.abs(found @ turn.T + shift - stored).max() < 1e-6


def test_export_of_a_part_blind(file: Path, tmp_path: Path) -> None:
    bulge = ids(file, "bulge")[0]
    run("export", file, "--out", tmp_path / "one", "--sample", bulge, "--blind")
    cloud = read_cloud(tmp_path / "one" / f"{bulge}.ply")
    assert cloud.labels is not None and not cloud.labels.any()
    assert "bulge" not in (tmp_path / "one" / "manifest.json").read_text()
    run("export", file, "--out", tmp_path / "beads", "--category", "bead")
    assert all(id.startswith("bead") for id in read_manifest(tmp_path / "beads").clouds)
    with pytest.raises(InputError, match=r"--sample nope: not in .*names are like"):
        run("export", file, "--out", tmp_path / "no", "--sample", "nope")
    assert not (tmp_path / "no").exists()


def test_export_never_replaces_hand_labels(file: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        run("export", file, "--out", folder)
    run("export", file, "--out", folder, "--force")
    bulge = ids(file, "bulge")[0]
    edit(folder, bulge, some_labels(file, bulge))
    with pytest.raises(InputError, match=rf"not replaced, .*changed: {bulge}.ply\."):
        run("export", file, "--out", folder, "--force")
    assert not list(folder.parent.glob("*.partial"))


# --- import


def test_unedited_points_in_another_order_give_the_same_labels(
    file: Path, folder: Path, tmp_path: Path
) -> None:
    bulge = ids(file, "bulge")[0]
    with open_dataset(file) as dataset:
        labels = dataset[bulge].labels
    edit(folder, bulge, labels, np.random.default_rng(0).permutation(len(labels)))
    run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    with open_dataset(tmp_path / "new.h5") as new, open_dataset(file) as old:
        assert (new[bulge].labels == old[bulge].labels).all()
        changed = [record.id for record in new if record.digest != old[record.id].digest]
        assert changed == [bulge]  # its parameters say that a hand was there
        details = new[bulge].parameters[KEY]
        assert details["source"] == "hand" and (details["added"], details["removed"]) == (0, 0)


@pytest.mark.parametrize("rule", ["hand", "union", "intersection", "construction"])
def test_import_merges_by_the_rule_and_records_it(
    file: Path, folder: Path, tmp_path: Path, rule: str
) -> None:
    bulge = ids(file, "bulge")[0]
    hand = some_labels(file, bulge)
    order = np.random.default_rng(1).permutation(len(hand))[20:]  # 20 points deleted
    edit(folder, bulge, hand, order)
    out = tmp_path / "new.h5"
    arguments = ("--rule", rule, "--annotator", "A. N. Other", "--json")
    report = json.loads(run("import", folder, "--data", file, "--out", out, *arguments))
    with open_dataset(out) as new, open_dataset(file) as old:
        before, after = old[bulge].load(), new[bulge].load()
        known = np.zeros(len(hand), dtype=bool)
        known[order] = True
        truth = before.labels
        both = {"hand": hand, "union": hand | truth, "intersection": hand & truth}
        expected = np.where(known, both.get(rule, truth), truth)
        assert (after.labels == expected).all()
        assert (construction_labels(after) == truth).all()
        assert (with_construction_labels(after).labels == truth).all()
        for name in ("points", "normals", "displacement", "pose"):
            assert np.array_equal(getattr(after, name), getattr(before, name), equal_nan=True)
        details = after.parameters[KEY]
        assert details["source"] == ("construction" if rule == "construction" else "merged")
        assert (details["matched"], details["missing"]) == (len(order), 20)
        assert details["annotator"] == "A. N. Other" and details["rule"] == rule
        assert details["added"] == int((expected > truth).sum())
        assert details["removed"] == int((expected < truth).sum())
        identity = new.metadata["identity"]
        assert identity[KEY]["from"] == old.digest and identity[KEY]["samples"] == 1
        digests = {record.id: record.load().digest for record in new}
        assert content_digest(identity, digests) == new.digest == report["digest"] != old.digest
        assert [record.id for record in new] == [record.id for record in old]
        assert structure(new) == [] and new[bulge].n_anomalous == int(expected.sum())
    assert report["outcomes"][0]["labels"]["file_sha256"] == details["file_sha256"]
    assert len(report["unchanged"]) == len(digests) - 1
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("suffix", ["txt", "pcd", "asc"])
def test_files_of_another_kind_beside_the_given_one(
    file: Path, folder: Path, tmp_path: Path, suffix: str
) -> None:
    bulge = ids(file, "bulge")[0]
    hand = some_labels(file, bulge)
    points = read_cloud(folder / f"{bulge}.ply").points
    data = write_pcd(points, None, hand) if suffix == "pcd" else write_text(points, None, hand)
    (folder / f"{bulge}.{suffix}").write_bytes(data)
    run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    with open_dataset(tmp_path / "new.h5") as new:
        assert (new[bulge].labels == hand).all()


def test_a_second_hand_starts_from_construction(file: Path, folder: Path, tmp_path: Path) -> None:
    bulge, missing = ids(file, "bulge")[0], ids(file, "missing")[0]
    for id in (bulge, missing):
        edit(folder, id, some_labels(file, id))
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    run("import", folder, "--data", file, "--out", first)
    run("export", first, "--out", tmp_path / "again", "--sample", bulge)
    hand = some_labels(file, bulge, seed=5)
    edit(tmp_path / "again", bulge, hand)
    run("import", tmp_path / "again", "--data", first, "--out", second, "--rule", "union")
    with open_dataset(second) as new, open_dataset(file) as old, open_dataset(first) as between:
        truth = old[bulge].labels
        assert (construction_labels(new[bulge].load()) == truth).all()
        assert (new[bulge].labels == truth | hand).all()
        assert (new[missing].labels == between[missing].labels).all()
        assert new.metadata["identity"][KEY]["from"] == between.digest


def test_bad_files_are_named_all_at_once_and_can_be_left_out(
    file: Path, folder: Path, tmp_path: Path
) -> None:
    good, empty, torn = ids(file, "bulge")[:3]
    normal, *_ = [id for id in ids(file, "normal") if "test" in id]
    foreign, unlabelled = ids(file, "missing")[:2]
    edit(folder, good, some_labels(file, good))
    edit(folder, normal, some_labels(file, normal))
    edit(folder, empty, np.zeros_like(some_labels(file, empty)))
    (folder / f"{torn}.ply").write_bytes((folder / f"{torn}.ply").read_bytes()[:-7])
    cloud = read_cloud(folder / f"{good}.ply")
    (folder / f"{foreign}.ply").write_bytes(write_ply(cloud.points, None, cloud.labels))
    own = read_cloud(folder / f"{unlabelled}.ply")
    (folder / f"{unlabelled}.ply").write_bytes(write_ply(own.points))
    (folder / "merged.bin").write_bytes(b"CCB2")
    out = tmp_path / "new.h5"
    with pytest.raises(InputError) as error:
        run("import", folder, "--data", file, "--out", out)
    words = ("5 edited files", "--skip-bad", f"{normal} is normal", "no point is", "cut off",
             "saved under another sample's name", "it has no labels")  # fmt: skip
    for word in words:
        assert word in str(error.value), word
    assert not out.exists() and not list(tmp_path.glob("*.partial"))
    text = run("import", folder, "--data", file, "--out", out, "--skip-bad")
    assert text.count("left out") == 5 and "merged.bin" in text
    with open_dataset(out) as new, open_dataset(file) as old:
        assert [r.id for r in new if r.digest != old[r.id].digest] == [good]


def test_what_import_refuses(file: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.h5"
    with pytest.raises(InputError, match="no file was edited"):
        run("import", folder, "--data", file, "--out", out)
    with pytest.raises(InputError, match="is the dataset itself"):
        run("import", folder, "--data", file, "--out", file, "--force")
    with pytest.raises(InputError, match=r"manifest.json: no such file"):
        run("import", tmp_path, "--data", file, "--out", out)
    with pytest.raises(InputError, match="--annotator"):
        run("import", folder, "--data", file, "--out", out, "--annotator", "é")
    bulge = ids(file, "bulge")[0]
    (folder / f"{bulge}.asc").write_text("0 0 0 1\n")
    (folder / f"{bulge}.xyz").write_text("0 0 0 1\n")
    with pytest.raises(InputError, match="are both edited"):
        run("import", folder, "--data", file, "--out", out)
    (tmp_path / "other").mkdir()
    other = make_dataset(
        tmp_path / "other" / "small.h5",
        UNEVEN,
        sigma=0.002,
        change=lambda sample, rng: with_points(sample, sample.points + 0.001),
    )
    with pytest.raises(InputError, match="is another sample there"):
        run("import", folder, "--data", other, "--out", out)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("clouds"),
        lambda content: content.update(format="x"),
        lambda content: content.update(version=2),
        lambda content: content.update(frame="sideways"),
        lambda content: next(iter(content["clouds"].values())).update(points="many"),
        lambda content: next(iter(content["clouds"].values())).update(extra=1),
    ],
)
def test_damaged_manifests_are_refused(
    file: Path, folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    for text in (json.dumps(content), "[1]", "{"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json"):
            run("import", folder, "--data", file, "--out", tmp_path / "new.h5")


def test_bits_and_damaged_records(file: Path, folder: Path, tmp_path: Path) -> None:
    for count in (1, 8, 9, 1000):
        bits = np.random.default_rng(count).random(count) < 0.1
        assert (unpack(pack(bits), count) == bits).all()
        with pytest.raises(ValueError, match="not the bits"):
            unpack(pack(bits), count + 8)
    bulge = ids(file, "bulge")[0]
    edit(folder, bulge, some_labels(file, bulge))
    run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    with open_dataset(tmp_path / "new.h5") as new:
        sample = new[bulge].load()
    for damage in ({"added": 0}, {"changed": "x"}, {"changed": 3}, {"changed": pack(bits)}):
        details = sample.parameters[KEY] | damage
        broken = type(sample)(**{**vars(sample), "parameters": {KEY: details}})
        with pytest.raises(IntegrityError, match=bulge):
            construction_labels(broken)


# --- compare


def test_compare_counts_each_sample_and_group(file: Path, folder: Path) -> None:
    good, half = ids(file, "bulge")[:2]
    normal = next(id for id in ids(file, "normal") if "test" in id)
    with open_dataset(file) as dataset:
        truth = {id: dataset[id].labels for id in (good, half, normal)}
    edit(folder, good, truth[good], np.arange(len(truth[good]))[::-1])
    found = truth[half].copy()
    found[np.flatnonzero(found)[::2]] = 0  # every other point, none wrong
    edit(folder, half, found)
    edit(folder, normal, np.arange(len(truth[normal])) < 7)
    result = json.loads(run("compare", folder, "--data", file, "--json"))
    rows = {row["id"]: row for row in result["samples"]}
    share = found.sum() / truth[half].sum()
    assert (rows[good]["iou"], rows[good]["kappa"]) == (1, 1)
    assert rows[half]["iou"] == rows[half]["recall"] == pytest.approx(share)
    assert rows[half]["precision"] == 1
    assert (rows[normal]["hand_only"], rows[normal]["recall"]) == (7, None)
    bulge = result["defect"]["bulge"]
    assert (bulge["objects"], bulge["iou"]["objects"]) == (2, 2)
    assert bulge["iou"]["mean"] == pytest.approx((1 + share) / 2)
    union = truth[good].sum() + truth[half].sum()
    assert bulge["iou"]["pooled"] == pytest.approx((truth[good].sum() + found.sum()) / union)
    assert result["defect"]["normal"]["marked"] == 1
    assert result["all"]["all samples"]["objects"] == 3 and result["blind"] is False
    table = list(csv.DictReader(io.StringIO(run("compare", folder, "--data", file, "--csv"))))
    assert {row["id"]: row["iou"] for row in table}[half] == str(rows[half]["iou"])
    assert {row["id"]: row["recall"] for row in table}[normal] == ""
    text = run("compare", folder, "--data", file)
    assert "bulge" in text and "--blind" in text


def test_compare_of_a_labelled_file(file: Path, folder: Path, tmp_path: Path) -> None:
    bulge = ids(file, "bulge")[0]
    edit(folder, bulge, some_labels(file, bulge))
    run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    of_file = json.loads(run("compare", tmp_path / "new.h5", "--data", file, "--json"))
    of_folder = json.loads(run("compare", folder, "--data", file, "--json"))
    assert of_file["samples"] == of_folder["samples"] and of_file["blind"] is None
    assert "after its merging rule" in run("compare", tmp_path / "new.h5", "--data", file)
    with pytest.raises(InputError, match="no hand labels"):
        run("compare", file, "--data", file)


def test_compare_says_what_could_not_be_compared(file: Path, folder: Path) -> None:
    bulge, torn = ids(file, "bulge")[:2]
    edit(folder, bulge, some_labels(file, bulge))
    (folder / f"{torn}.ply").write_bytes(b"ply\n")
    result = invoke("compare", folder, "--data", file, "--quiet")
    assert result.exit_code == 1 and f"not compared: {torn}" in result.stderr
    with pytest.raises(InputError, match="choose one"):
        run("compare", folder, "--data", file, "--json", "--csv")


def test_the_annotators_guide_knows_every_defect() -> None:
    guide = (ROOT / "annotations" / "README.md").read_text()
    for name in DEFECT_TYPES:
        assert f"`{name}`" in guide, name


# --- what the file says of them, and interruptions


def test_card_and_info_say_that_a_hand_labelled(file: Path, folder: Path, tmp_path: Path) -> None:
    bulge, out = ids(file, "bulge")[0], tmp_path / "new.h5"
    assert "not from a detector or a person" in dataset_card(file)
    assert CliRunner().invoke(info_command, [str(file)]).stdout.count("by hand") == 0
    edit(folder, bulge, some_labels(file, bulge))
    text = run("import", folder, "--data", file, "--out", out, "--annotator", "A. Smith")
    assert text.splitlines()[-1].startswith(f"{out}: content digest ")
    card = dataset_card(out)
    assert "not from a detector or a person" not in card
    assert "Labels of 1 samples were edited by hand (annotator: A. Smith)" in card
    with open_dataset(out) as dataset, open_dataset(file) as before:
        labels = dataset.metadata["identity"]["labels"]
        assert f"`{before.digest}`" in card and f"{labels['added']} points were added" in card
    assert yaml.safe_load(card.split("---\n")[1])["annotations_creators"] == [
        "machine-generated",
        "expert-generated",
    ]
    shown = CliRunner().invoke(info_command, [str(out)]).stdout
    assert "by hand in 1 samples, rule hand, annotator A. Smith; " in shown
    content = json.loads(CliRunner().invoke(info_command, [str(out), "--json"]).stdout)
    assert content["labels"] == labels


def interrupted(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_interruptions_leave_nothing(
    file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulge = ids(file, "bulge")[0]
    edit(folder, bulge, some_labels(file, bulge))
    monkeypatch.setattr("intravariance.dataset.work_folder.assemble", interrupted)
    with pytest.raises(IVError, match=r"interrupted; nothing was written to .*new\.h5"):
        run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    monkeypatch.setattr("intravariance.labelling.giving_out._cloud", interrupted)
    with pytest.raises(IVError, match=r"interrupted; nothing was written to .*more"):
        run("export", file, "--out", tmp_path / "more")
    assert [path.name for path in tmp_path.iterdir()] == ["clouds"]


def test_what_a_killed_export_left_goes_with_the_next(file: Path, tmp_path: Path) -> None:
    partial = tmp_path / "clouds.partial"
    partial.mkdir()
    (partial / MANIFEST).write_text("{}")
    (partial / "ball_test_000.ply").write_text("")
    last = run("export", file, "--out", tmp_path / "clouds").splitlines()[-1]
    assert last.startswith(f"{tmp_path / 'clouds'}: ") and last.endswith(" clouds to label")
    assert [path.name for path in tmp_path.iterdir()] == ["clouds"]
