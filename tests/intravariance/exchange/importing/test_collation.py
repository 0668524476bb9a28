# SPDX-License-Identifier: Apache-2.0
"""Group 1 collated from Anomaly-ShapeNet, on synthetic trees of its form."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from annotations.vocabulary import NORMAL
from intravariance.cards.dataset_card import dataset_card
from intravariance.commands.build import build_command
from intravariance.dataset.specification_reader import load_collation, load_group
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.importing.collation import CollationSettings, plan_collation
from intravariance.verification.verify import verify
from tests.support.foreign_trees import shapenet_class, write_tree

SPECIFICATION = """
name = "bottles"
points = [150, 250]
[[category]]
name = "bottle"
subcategories = ["bottle0", "bottle1"]
templates = 4
positives = 4
defects = { bulge = 3, crack = 1 }
"""


@pytest.fixture(scope="module")
def table7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the published classes, with Table 7's counts dealt out over two classes."""
    files: dict[str, bytes] = {}
    for category in load_collation().categories:
        for place, name in enumerate(category.subcategories):
            halves = {
                "crak" if defect == "crack" else defect: (count + place) // 2
                for defect, count in category.defects.items()
            }
            folder = "new_pcd" if name == "microphone1" else "pcd"
            files |= shapenet_class(name, halves, positives=15, count=0, folder=folder)
    files |= shapenet_class("vase9", {"hole": 2}, count=0)
    return write_tree(tmp_path_factory.mktemp("table7"), files)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two small classes with clouds of 300 and of 100 points."""
    files = shapenet_class("bottle0", {"bulge": 2, "crak": 1}, count=300)
    files |= shapenet_class("bottle1", {"bulge": 2}, count=100)
    folder = tmp_path_factory.mktemp("collation")
    (folder / "bottles.toml").write_text(SPECIFICATION)
    return write_tree(folder / "asn", files)


def build(tree: Path, *arguments: object) -> Result:
    spec = ["--spec", tree.parent / "bottles.toml", "--jobs", 1]
    words = [*spec, "--source", f"anomaly_shapenet:{tree}", *arguments]
    return CliRunner().invoke(build_command, list(map(str, words)))


def test_the_specification_has_the_counts_of_table_7() -> None:
    ours, printed = load_collation(), load_group(1)
    assert ours.points == printed.points
    for own, category in zip(ours.categories, printed.categories, strict=True):
        assert own.name == category.name and own.counts() == category.counts()
        assert all(name.rstrip("0123456789") == own.name for name in own.subcategories)
        assert len(set(own.subcategories)) == 2


def test_the_plan_of_the_published_classes_is_table_7(table7: Path) -> None:
    plan = plan_collation(CollationSettings(load_collation(), table7, 0, "so3", 0.0447))
    assert plan.identity["imported"]["collated"]["differences"] == []
    assert len(plan.jobs) == load_group(1).select().total == 553
    for category in load_group(1).categories:
        jobs = [job for job in plan.jobs if job.category == category.name]
        counts = Counter((job.scan.split, job.defect) for job in jobs)
        assert counts == {kind: n for kind, n in category.counts().items() if n}
        templates = Counter(job.subcategory for job in jobs if job.scan.split == "train")
        assert set(templates.values()) == {2}
        assert {job.id for job in jobs if job.scan.split == "train"} == {
            f"{category.name}_train_{number:03d}" for number in range(4)
        }
    assert all(12_000 <= (job.treatment.n_points or 0) <= 25_000 for job in plan.jobs)
    chosen = plan.identity["imported"]["collated"]["templates"]
    assert all(name.endswith(("_template0", "_template1")) for name in chosen)


def test_another_seed_deals_other_numbers(table7: Path) -> None:
    one, other = (
        plan_collation(CollationSettings(load_collation(), table7, seed, "so3", 0.0))
        for seed in (0, 1)
    )
    assert [job.scan.id for job in one.jobs] != [job.scan.id for job in other.jobs]


def test_a_missing_class(table7: Path) -> None:
    settings = CollationSettings(load_collation(), table7 / "dataset/pcd", 0, "so3", 0.0)
    with pytest.raises(InputError, match=r"microphone1 \(for microphone\).*new_pcd"):
        plan_collation(settings)


def test_a_bad_tree_is_bad_only_where_it_is_used(tmp_path: Path) -> None:
    files = shapenet_class("cup0", {"bulge": 1}, count=0) | shapenet_class("cup1", {}, count=0)
    files["dataset/pcd/vase3/test/vase3_oddity0.pcd"] = b""
    root = write_tree(tmp_path, files)
    settings = CollationSettings(load_collation().select(["cup"]), root, 0, "so3", 0.0)
    plan = plan_collation(settings)
    assert not plan.skipped
    (line,) = plan.identity["imported"]["collated"]["differences"]
    assert line == (
        "cup: 4 positives instead of 30, 0 concavity instead of 14, 1 bulge instead of 14"
    )
    (root / "dataset/pcd/cup0/test/cup0_oddity0.pcd").write_bytes(b"")
    with pytest.raises(InputError, match="cup0_oddity0"):
        plan_collation(settings)


def test_the_file(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "bottles.h5"
    result = build(tree, "--out", out, "--json", "--noise-sigma", 0.01, "--seed", 5)
    assert result.exit_code == 0, result.output
    assert "differs: bottle: 4 bulge instead of 3" in result.stderr
    few = "6 of 13 clouds have fewer than 150 points (the fewest: 100)"
    assert f"differs: {few}" in result.stderr
    report = json.loads(result.stdout)
    assert report["samples"] == 13 and not report["skipped"]
    with open_dataset(out) as dataset:
        identity = dataset.metadata["identity"]
        assert identity["source"] == "anomaly_shapenet:asn" and identity["noise_sigma"] == 0.01
        for record in dataset:
            scan = record.parameters["imported"]["scan"]
            assert scan.startswith(f"{record.subcategory}/")
            if record.subcategory == "bottle0":
                assert 150 <= record.n_points <= 250  # of 300
            else:
                assert record.n_points == 100  # fewer than wanted: kept
            labelled = record.labels == 1
            assert labelled.any() == (record.defect != NORMAL)
            turned = not np.array_equal(record.pose, np.eye(4))
            assert turned == (record.split == "test")
            # the ball's radius is 1, away from the bump
            back = (record.points[~labelled] - record.pose[:3, 3]) @ record.pose[:3, :3]
            radii = np.linalg.norm(back, axis=1)
            assert np.std(radii - 1) == pytest.approx(0.01, rel=0.4)
    assert verify(out).passed
    card = dataset_card(out)
    assert "This file is a collation" in card and "standard deviation 0.01" in card
    assert "| bottle | bottle0, bottle1 |" in card and "4 bulge instead of 3" in card
    assert few in card


def test_dry_run_writes_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = build(tree, "--dry-run")
    assert result.exit_code == 0 and "13 samples; nothing was written" in result.stderr
    assert result.stdout.count("sample  bottle_") == 13
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group", "2"], "only Group 1"),
        (["--group", "1", "--fill", "procedural"], "--fill is of no use"),
        (["--group", "1", "--cache", "x"], "--cache is of no use"),
        (["--group", "1", "--category", "desk"], "--category desk"),
        (["--group", "1", "--source", "anomaly_shapenet:"], "expected anomaly_shapenet:PATH"),
        ([], "either --group 1"),
    ],
)
def test_options_that_do_not_fit(
    tree: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    words = ["--source", f"anomaly_shapenet:{tree}", *options]
    result = CliRunner().invoke(build_command, words)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
