# SPDX-License-Identifier: Apache-2.0
"""`iv labels import`, and what a file says of labels by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from intravariance.cards.dataset_card import dataset_card
from intravariance.cloud_files import read_cloud, write_pcd, write_ply, write_text
from intravariance.commands.info import info_command
from intravariance.dataset.label_origin import (
    KEY,
    construction_labels,
    pack,
    unpack,
    with_construction_labels,
)
from intravariance.dataset.store import content_digest, open_dataset, structure
from intravariance.errors import InputError, IntegrityError, IVError
from tests.support.hand_labels import edit, ids, run, some_labels
from tests.support.samples import UNEVEN, make_dataset, with_points


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("labels") / "small.h5", UNEVEN, sigma=0.002)


@pytest.fixture
def folder(file: Path, tmp_path: Path) -> Path:
    """Give all clouds out."""
    run("export", file, "--out", tmp_path / "clouds")
    return tmp_path / "clouds"


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
    monkeypatch.setattr("intravariance.labelling.relabelling.assemble_again", interrupted)
    with pytest.raises(IVError, match=r"interrupted; nothing was written to .*new\.h5"):
        run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    monkeypatch.setattr("intravariance.labelling.giving_out._cloud", interrupted)
    with pytest.raises(IVError, match=r"interrupted; nothing was written to .*more"):
        run("export", file, "--out", tmp_path / "more")
    assert [path.name for path in tmp_path.iterdir()] == ["clouds"]
