# SPDX-License-Identifier: Apache-2.0
"""`iv compare`, on an evaluation of a detector that is a known function."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

from intravariance.cli import main
from intravariance.dataset.store import open_dataset
from mc4ad_model.evaluation.evaluate import evaluate_category
from mc4ad_model.evaluation.results import write_results
from mc4ad_model.reports.evaluation_report import find_results
from tests.support.samples import make_dataset
from tests.support.scorers import FunctionScorer

pytestmark = pytest.mark.skipif(
    find_spec("k3d") is None, reason="k3d is not installed: pip install '.[inspect]'"
)
Iv = Callable[..., Result]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("compare") / "small.h5", sigma=0.01)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return a folder like that of two runs: RUNS/<category>/evaluation."""
    folder = tmp_path_factory.mktemp("runs")
    with open_dataset(data) as dataset:
        for category in dataset.categories:
            found = evaluate_category(
                list(dataset.filter(category=category, split="test")),
                FunctionScorer(lambda points: points - points.mean(axis=0)),
                quiet=True,
            )
            write_results(folder / category / "evaluation", found, dataset, 0, {"method": "test"})
    return folder


@pytest.fixture
def iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iv:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(item) for item in arguments])


def test_everything_is_written_and_the_ranking_is_the_same_everywhere(
    iv: Iv, data: Path, evaluated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("compare", evaluated, "--data", data, "--out", out, "--size", 64, "--points", 200)
    result = iv(*arguments, "--samples", 2, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert list(printed) == ["ball", "brick"]
    written = list(csv.DictReader(io.StringIO((out / "ranking.csv").read_text())))
    assert [(row["category"], row["kind"], row["id"]) for row in written] == [
        (category, item["kind"], item["sample"]["id"])
        for category, items in printed.items()
        for item in items
    ]
    kinds = {(row["category"], row["kind"].replace(" ", "_")) for row in written}
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {f"{category}_{kind}.png" for category, kind in kinds} | {
        f"{category}_{what}.png" for category in printed for what in ("points", "objects")
    }
    for name in pictures:
        with Image.open(out / name) as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    page = (out / "page.html").read_bytes()
    with open_dataset(data) as dataset:
        for record in dataset.filter(split="test"):
            assert record.id.encode() in page
    assert not list(out.glob("*.partial"))


def test_missed_are_the_defective_objects_with_the_lowest_scores(
    iv: Iv, data: Path, evaluated: Path, tmp_path: Path
) -> None:
    result = iv(
        "compare", evaluated / "ball", "--data", data, "--out", tmp_path / "out", "--json",
        "--size", 64, "--points", 100, "--quiet",
    )  # fmt: skip
    assert result.stderr == ""
    with open(evaluated / "ball" / "evaluation" / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    bad = sorted((float(row["object_score"]), row["id"]) for row in rows if row["anomalous"] == "1")
    good = [float(row["object_score"]) for row in rows if row["anomalous"] == "0"]
    hidden = [id for score, id in bad[: len(bad) // 2] if score < max(good)]
    items = json.loads(result.stdout)["ball"]
    assert [item["sample"]["id"] for item in items if item["kind"] == "missed"] == hidden[:4]


def test_existing_results_are_kept_unless_forced(
    iv: Iv, data: Path, evaluated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    small = ("--data", data, "--out", out, "--size", 64, "--points", 100, "--category", "ball")
    assert iv("compare", evaluated, *small).exit_code == 0
    (out / "page.html").write_text("mine")
    again = iv("compare", evaluated, *small)
    assert (again.exit_code, "exists" in again.stderr) == (2, True)
    assert (out / "page.html").read_text() == "mine"
    record = json.loads((out / "comparison.json").read_text())
    assert record["categories"] == {"ball": {"method": "test"}}
    mine = iv("compare", evaluated, *small, "--force")
    assert (mine.exit_code, "changed: page.html." in mine.stderr) == (2, True)
    (out / "page.html").unlink()
    assert iv("compare", evaluated, *small, "--force").exit_code == 0
    assert (out / "page.html").exists()


def test_the_dataset_is_found_by_its_name_in_the_current_folder(
    iv: Iv, data: Path, evaluated: Path, tmp_path: Path
) -> None:
    small = ("--out", tmp_path / "out", "--size", 64, "--points", 100, "--category", "ball")
    missing = iv("compare", evaluated, *small)
    assert missing.exit_code == 2
    assert "small.h5" in missing.stderr
    shutil.copy(data, tmp_path / "small.h5")
    found = iv("compare", evaluated, *small)
    assert found.exit_code == 0
    assert found.stdout.splitlines()[-1] == f"{tmp_path / 'out'}: open page.html in a browser"


def test_another_dataset_is_refused(iv: Iv, evaluated: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other.h5", seed=1)
    result = iv("compare", evaluated, "--data", other, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "content digest" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_category_and_a_folder_without_results(
    iv: Iv, data: Path, evaluated: Path, tmp_path: Path
) -> None:
    unknown = iv("compare", evaluated, "--data", data, "--category", "vase")
    assert unknown.exit_code == 2
    assert "ball, brick" in unknown.stderr
    empty = iv("compare", tmp_path, "--data", data)
    assert empty.exit_code == 2
    assert "iv evaluate" in empty.stderr
    deeper = shutil.copytree(evaluated, tmp_path / "all" / "of" / "them")
    above = iv("compare", tmp_path / "all", "--data", data)
    assert f"there are some in {deeper}" in above.stderr


def test_results_are_found_from_three_levels(evaluated: Path) -> None:
    own = evaluated / "ball" / "evaluation"
    assert find_results(own) == find_results(evaluated / "ball") == [own]
    assert find_results(evaluated) == [own, evaluated / "brick" / "evaluation"]
