# SPDX-License-Identifier: Apache-2.0
"""Commands of methods take the index or the pattern of shards for the one file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("sklearn")

from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from mc4ad_model.torch_data import CloudDataset
from tests.support.samples import make_dataset, split_dataset

COUNTS = {"bulge": 2, "missing": 1}
SPECIFICATION = Specification(
    "group2",
    "Small",
    (300, 400),
    (
        Category("vase", ("long_ball",), 1, 3, COUNTS),
        Category("bowl", ("flat_brick",), 1, 3, COUNTS),
    ),
)
METHOD = ("--method", "registered_distance")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small.h5, its shards and small.index.json."""
    folder = tmp_path_factory.mktemp("shards")
    split_dataset(make_dataset(folder / "small.h5", SPECIFICATION), 3)
    return folder


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def done(*words: object) -> str:
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_on_shards_is_that_on_the_file(folder: Path) -> None:
    tables: list[object] = []
    shards = folder / "small-*-of-00003.h5"
    for number, place in enumerate((folder / "small.h5", shards)):
        run = f"run{number}"
        done("train", place, *METHOD, "--out", run, "--quiet", "--workers", 2)
        content = json.loads(done("evaluate", place, "--run", run, "--json", "--quiet"))
        tables.append({k: v for k, v in content["mean"].items() if k != "FPS"})
        done("calibrate", place, "--run", run, "--quiet", "--clouds", 8)
        for kind, target in (("all", place), ("one", f"{place}:vase_test_000")):
            words = ("--run", f"{run}/vase", "--out", f"{kind}{number}", "--quiet")
            done("predict", target, *words)
            with open(Path(f"{kind}{number}") / "predictions.csv", newline="") as file:
                rows = list(csv.DictReader(file))
            kept = ("object_score", "p_value", "cloud")  # the last is named after the sample
            tables.append([[row[name] for name in kept] for row in rows])
    assert tables[3:] == tables[:3]
    done("compare", "run1", folder / "small.index.json", "--size", 64, "--quiet")
    done("train", folder / "small.h5", *METHOD, "--out", "run1", "--quiet")  # the same data


def test_a_leaderboard_of_shards(folder: Path) -> None:
    words = ("--methods", "constant", "--seeds", "0", "--out", "board", "--dry-run", "--json")
    planned = done("leaderboard", folder / "small.index.json", *words)
    assert planned == done("leaderboard", folder / "small.h5", *words)


def test_an_inspection_of_shards(folder: Path) -> None:
    pytest.importorskip("open3d")
    pytest.importorskip("k3d")
    shards = folder / "small-*-of-00003.h5"
    words = ("--generator", "swelling", "--samples", 1, "--size", 64, "--jobs", 1, "--quiet")
    done("inspect", shards, *words)
    assert Path("small-inspection").is_dir()


def test_the_samples_for_torch(folder: Path) -> None:
    one = CloudDataset(folder / "small.h5", points=64)
    many = CloudDataset(folder / "small.index.json", points=64)
    assert [item["id"] for item in many] == [item["id"] for item in one]
    assert all((a["points"] == b["points"]).all() for a, b in zip(many, one, strict=True))
