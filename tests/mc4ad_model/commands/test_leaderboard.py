# SPDX-License-Identifier: Apache-2.0
"""`iv leaderboard`: killed and resumed, recomputed from its files, with rows that do not work."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock
from scipy.stats import rankdata

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
pytest.importorskip("pydantic")

from intravariance.auroc import auroc
from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Sample, open_dataset
from mc4ad_model.evaluation.results import evaluated_samples, read_results
from mc4ad_model.leaderboard import rows
from mc4ad_model.leaderboard.rows import CONTROLS
from tests.support.browser import Visit, chromium
from tests.support.samples import make_dataset
from tests.support.unlabelled_trees import partly_labelled

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
PLUGIN = '''
import dataclasses, os, signal
from mc4ad_model.methods.controls import Constant

class Breaks(Constant):
    title = "breaks"
    def score(self, points):
        raise ValueError("a <fault> of its own")

class Doubts(Constant):
    title, frame = "doubts", "elsewhere"
    def score(self, points):
        return dataclasses.replace(super().score(points), note="in doubt")

class Unmade(Constant):
    title = "unmade"
    def __init__(self, settings, machine=None):
        raise RuntimeError("made by nobody")

class Dies(Constant):
    title = "dies"
    def score(self, points):
        os.kill(os.getpid(), signal.SIGKILL)
'''  # fmt: skip


def without_templates(sample: Sample, _: object) -> Sample:
    """Make test samples of the templates of one category."""
    return replace(sample, split="test", mesh=None) if sample.category == "vase" else sample


def iv(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "small.h5", SPECIFICATION)


@pytest.fixture(scope="module")
def board(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a leaderboard of the controls, killed in the middle and made again."""
    out = tmp_path_factory.mktemp("boards") / "board"
    arguments = ["leaderboard", "--data", data, "--methods", "constant", "--out", out]
    arguments += ["--seeds", "0,1", "--jobs", "1"]
    words = [sys.executable, "-c", "from intravariance.cli import main; main()"]
    process = subprocess.Popen([*words, *map(str, arguments)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(found := _evaluations(out)) < 5:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # its own process ends with it
    before = {path: path.stat().st_mtime_ns for path in _evaluations(out)}
    assert len(found) <= len(before) < 22 and not (out / "leaderboard.html").exists()
    result = iv(*arguments)
    assert result.exit_code == 0, result.output
    assert "11 jobs, " in result.stderr and "11 of them to do" not in result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none is made twice
    assert len(_evaluations(out)) == 22  # 2 categories of 11 jobs: 3 rows need one seed
    yield out


def _evaluations(out: Path) -> list[Path]:
    return sorted(out.glob("runs/*/seed-*/*/evaluation/metrics.json"))


@pytest.fixture
def copied(board: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(board, tmp_path / "board"))


def again(data: Path, out: Path, *more: object) -> Result:
    rows = () if "--methods" in more else ("--methods", "constant")
    return iv("leaderboard", "--data", data, "--seeds", "0,1", "--out", out, *rows, *more)


def lines(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "leaderboard.csv").read_text().splitlines()))


def test_every_figure_can_be_computed_again_from_the_scores_that_are_kept(
    board: Path, data: Path
) -> None:
    row = "registered_distance[neighbours=1]"
    folder = board / "runs/registered_distance,neighbours=1/seed-1/vase/evaluation"
    with open(folder / "samples.csv", newline="") as file:
        samples = list(csv.DictReader(file))
    objects = auroc(
        [int(one["anomalous"]) for one in samples], [float(one["object_score"]) for one in samples]
    )
    with open_dataset(data) as dataset:
        results = read_results(folder)
        records = evaluated_samples(results, dataset)
        labels = [label for record in records for label in record.labels]
        scores = [x for record in records for x in results.evaluation.point_scores[record.id]]
    found = {
        line["metric"]: float(line["value"])
        for line in lines(board)
        if (line["row"], line["seed"], line["category"]) == (row, "1", "vase") and line["value"]
    }
    assert found["O-AUROC"] == objects
    assert found["P-AUROC"] == auroc(labels, scores)
    assert {"O-AUROC, bulge", "P-AUROC, missing", "fit seconds", "objects/s"} <= set(found)


def test_the_tables_hold_the_rows_and_say_what_ran_once(board: Path) -> None:
    record = json.loads((board / "leaderboard.json").read_text())
    assert list(record["rows"]) == list(CONTROLS)
    assert record["rows"]["constant"]["seeds"] == [0]
    assert record["rows"]["random"]["seeds"] == [0, 1]
    assert record["rows"]["constant"]["means"]["O-AUROC"] == {"mean": 0.5, "deviation": None}
    assert record["rows"]["random"]["means"]["O-AUROC"]["deviation"] is not None
    best = record["comparisons"][0]["baseline"]
    assert set(record["comparisons"][0]["differences"]) == set(CONTROLS) - {best}
    text = (board / "leaderboard.md").read_text()
    assert "| constant | - | needs none | 0.500 |" in text
    assert "BTF (Raw) | 0.036 | 0.339 | not here" in text  # the published table
    tex = (board / "leaderboard.tex").read_text()
    assert r"| registered\_distance | registered | 2 |" in text
    assert r"| registered\_distance | registered distance |" in text  # the variants
    assert r"point\_count & - & needs none" in tex and tex.count(r"\begin{tabular}") == tex.count(
        r"\bottomrule"
    )
    rank = [v["mean"] for v in (r["means"]["O-AUROC"] for r in record["rows"].values())]
    assert max(rank) == record["rows"][best]["means"]["O-AUROC"]["mean"]


def test_ranks_and_differences_are_those_of_the_figures(board: Path) -> None:
    record = json.loads((board / "leaderboard.json").read_text())
    for found in record["comparisons"]:
        figures = [one for one in lines(board) if one["metric"] == found["measure"]]
        by_category: dict[str, list[float]] = {}
        for row in CONTROLS:
            for category in ("vase", "bowl"):
                own = [
                    float(one["value"])
                    for one in figures
                    if (one["row"], one["category"]) == (row, category)
                ]
                by_category.setdefault(category, []).append(np.mean(own))
        table = np.array(list(by_category.values())).T  # (rows, categories)
        ranks = rankdata(-table, axis=0).mean(axis=1)
        assert list(found["ranks"].values()) == pytest.approx(list(ranks))
        means = dict(zip(CONTROLS, table.mean(axis=1), strict=True))
        assert means[found["baseline"]] == max(means.values())
        for name, gap in found["differences"].items():
            assert gap["mean"] == pytest.approx(means[name] - means[found["baseline"]])
            assert gap["low"] <= gap["mean"] + 1e-9 and gap["mean"] - 1e-9 <= gap["high"]
        assert found["ranking"]["rows"] == len(CONTROLS)


def test_what_is_finished_is_not_begun_again(board: Path, data: Path, copied: Path) -> None:
    planned = again(data, copied, "--dry-run")
    assert planned.exit_code == 0 and planned.stdout.count("2/2") == 11
    jobs = json.loads(again(data, copied, "--dry-run", "--json").stdout)["jobs"]
    assert len(jobs) == 11 and {job["evaluated"] for job in jobs} == {2}
    result = again(data, copied, "--json", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "11 jobs, 0 of them to do" in result.stderr
    assert json.loads(result.stdout) == json.loads((board / "leaderboard.json").read_text())
    printed = again(data, copied, "--markdown", "--quiet", "--jobs", "1").stdout
    assert printed.encode() == (board / "leaderboard.md").read_bytes()
    for name in ("leaderboard.html", "leaderboard.csv", "leaderboard.md", "leaderboard.tex"):
        assert (copied / name).read_bytes() == (board / name).read_bytes()


def test_a_row_that_does_not_work_is_told_and_the_rest_goes_on(
    data: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site"
    (folder / "bad-1.dist-info").mkdir(parents=True)
    (folder / "bad.py").write_text(PLUGIN)
    (folder / "bad-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1")
    (folder / "bad-1.dist-info/entry_points.txt").write_text(
        "[intravariance.methods]\n"
        "breaks = bad:Breaks\ndies = bad:Dies\nunmade = bad:Unmade\ndoubts = bad:Doubts\n"
    )
    monkeypatch.syspath_prepend(folder)
    result = again(data, copied, "--methods", "breaks,dies,unmade,doubts", "--jobs", "2")
    assert result.exit_code == 1, result.output
    assert "not working: breaks, dies, unmade" in result.stderr
    rows = json.loads((copied / "leaderboard.json").read_text())["rows"]
    assert "ValueError: a <fault> of its own" in rows["breaks"]["not_working"]
    assert "killed by signal 9" in rows["dies"]["not_working"]
    assert "RuntimeError: made by nobody" in rows["unmade"]["not_working"]
    assert "Traceback" in (copied / "runs/breaks/seed-0/failure.txt").read_text()
    assert rows["constant"]["means"]["O-AUROC"]["mean"] == 0.5
    assert rows["doubts"]["in_doubt"] == 12 and rows["doubts"]["frame"] == "elsewhere"
    assert rows["random"]["in_doubt"] == 0 and rows["random"]["frame"] is None
    assert "| in doubt |" in (copied / "leaderboard.md").read_text()
    page = (copied / "leaderboard.html").read_text()
    assert "a &lt;fault&gt; of its own" in page and "<fault>" not in page
    assert "not working: ValueError" in result.stdout
    assert not {line["row"] for line in lines(copied)} & {"breaks", "dies"}


def test_objects_without_labels_are_left_out_of_figures_of_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CONTROLS", ("constant",))
    out, row = tmp_path / "board", "registered_distance[neighbours=1]"
    options = ("--methods", row, "--seeds", "0", "--jobs", "1", "--out", out)
    with partly_labelled(tmp_path / "scans.h5") as dataset:
        result = iv("leaderboard", dataset.path, *options)
        assert result.exit_code == 0, result.output
        assert "ball: 3 of 12 test samples have no labels of their points" in result.stderr
        results = read_results(out / "runs/registered_distance,neighbours=1/seed-0/ball/evaluation")
        known = [r for r in evaluated_samples(results, dataset) if r.labelled]
        labels = np.concatenate([record.labels for record in known])
        scores = np.concatenate([results.evaluation.point_scores[r.id] for r in known])
    found = {
        line["metric"]: line["value"]
        for line in lines(out)
        if (line["row"], line["category"]) == (row, "ball")
    }
    assert float(found["P-AUROC"]) == auroc(labels, scores)
    assert results.evaluation.metrics.unlabelled == 3 and found["P-AUROC, bulge"] == ""
    record = json.loads((out / "leaderboard.json").read_text())
    assert [set(c["differences"]) for c in record["comparisons"]] == [{"constant"}] * 2
    with partly_labelled(tmp_path / "none.h5", keep="") as dataset:
        result = iv("leaderboard", dataset.path, *options)
    assert result.exit_code == 2 and "have no labels of their points" in result.stderr


def test_an_evaluation_that_was_changed_is_refused(data: Path, copied: Path) -> None:
    path = copied / "runs/random/seed-1/bowl/evaluation/metrics.json"
    path.write_text(path.read_text().replace('"o_auroc": 0.', '"o_auroc": 1.', 1))
    result = again(data, copied)
    assert result.exit_code == 2, result.output
    assert "random/seed-1/bowl/evaluation" in result.stderr and "changed" in result.stderr


def test_an_evaluation_of_something_else_is_refused(data: Path, copied: Path) -> None:
    run = copied / "runs/random/seed-1"
    other = iv("evaluate", "--data", data, "--run", run, "--object", "max", "--force", "--quiet")
    assert other.exit_code == 0, other.output
    result = again(data, copied)
    assert result.exit_code == 2
    assert "objects were scored by" in result.stderr and "move" in result.stderr


def test_a_run_with_other_settings_is_refused(data: Path, copied: Path) -> None:
    path = copied / "runs/registered_distance/seed-0/vase/run.json"
    path.write_text(path.read_text().replace('"neighbours": 40', '"neighbours": 39'))
    result = again(data, copied)
    assert result.exit_code == 2 and "a run with another config" in result.stderr


def test_two_at_once_in_a_folder_are_refused(data: Path, copied: Path) -> None:
    with FileLock(copied / "leaderboard.lock"):
        result = again(data, copied)
    assert result.exit_code == 2 and "another process" in result.stderr


def test_other_data_in_the_folder_or_files_of_others_are_refused(
    copied: Path, tmp_path: Path
) -> None:
    other = make_dataset(tmp_path / "other.h5", SPECIFICATION, seed=1)
    result = again(other, copied)
    assert result.exit_code == 2 and "leaderboard of other data" in result.stderr
    somebodys = tmp_path / "somebodys"
    somebodys.mkdir()
    (somebodys / "letter.txt").write_text("dear")
    result = again(other, somebodys)
    assert result.exit_code == 2 and "letter.txt" in result.stderr
    assert os.listdir(somebodys) == ["letter.txt"]


def test_bad_input_is_the_users(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    none = Specification("s", "S", (300, 400), (Category("vase", ("long_ball",), 1, 3, {}),))
    unlabelled = make_dataset(tmp_path / "unlabelled.h5", none)
    bare = make_dataset(tmp_path / "bare.h5", SPECIFICATION, change=without_templates)
    bowls = ("--category", "bowl", "--methods", "constant", "--dry-run")
    assert iv("leaderboard", "--data", bare, "--out", out, *bowls).exit_code == 0
    empty = tmp_path / "empty.h5"
    empty.touch()
    cases = [
        ((data, "--methods", "nosuch"), "expected one of mc4ad"),
        ((data, "--methods", "btf[feature=raw]"), "unknown feature"),
        ((data, "--seeds", "0,0"), "--seeds"),
        ((data, "--category", "cup"), "--category cup"),
        ((unlabelled,), "is defective"),
        ((bare,), "bare.h5: category vase has no templates"),
        ((bare, "--dry-run"), "bare.h5: category vase has no templates"),
        ((empty,), "empty.h5"),
        ((tmp_path / "none.h5",), "none.h5"),
    ]
    for (file, *more), named in cases:
        result = iv("leaderboard", "--data", file, "--out", out, *more)
        assert result.exit_code == 2 and named in result.stderr, (more, result.output)
        assert not out.exists()


def test_a_row_leads_to_its_comparison_once_there_is_one(copied: Path, data: Path) -> None:
    pytest.importorskip("k3d", reason="pip install '.[inspect]'")
    pytest.importorskip("matplotlib")
    run = copied / "runs/random/seed-1"
    assert "compare" not in "".join(_links(copied))
    small = ("--size", 64, "--points", 100, "--samples", 1)
    compared = iv("compare", run, "--data", data, *small)
    assert compared.exit_code == 0, compared.output
    result = again(data, copied)
    assert result.exit_code == 0, result.output
    assert "runs/random/seed-1/comparison/page.html" in _links(copied)
    with chromium() as browser:
        visit = Visit(browser, copied / "leaderboard.html")
        visit.page.locator("#rows tbody a", has_text="random").first.click()
        visit.until("typeof iv !== 'undefined' && iv.panes.length === 2")
        assert visit.page.locator("h1").inner_text() == "random on small.h5"
        assert visit.page.locator("#listing tbody tr:visible").count() == 6


def _links(folder: Path) -> list[str]:
    return re.findall(r'href="([^"]+)"', (folder / "leaderboard.html").read_text())


def test_the_page_is_sorted_by_its_headings_from_the_keyboard(board: Path) -> None:
    column = "[...document.querySelectorAll('#rows tbody tr')].map(r => r.cells[{}].textContent)"
    with chromium() as browser:
        visit = Visit(browser, board / "leaderboard.html")
        page = visit.page
        assert page.evaluate(column.format(0)) == list(CONTROLS)
        heading = page.locator("#rows thead button", has_text="O-AUROC").first
        heading.focus()
        page.keyboard.press("Enter")
        first = [float(text.split()[0]) for text in page.evaluate(column.format(3))]
        assert first == sorted(first, reverse=True) and len(set(first)) > 2
        assert page.locator("#rows th[aria-sort]").get_attribute("aria-sort") == "descending"
        page.keyboard.press("Space")
        second = [float(text.split()[0]) for text in page.evaluate(column.format(3))]
        assert second == sorted(second)
        page.keyboard.press("Enter")
        assert page.evaluate(column.format(0)) == list(CONTROLS)
        assert page.locator("th[aria-sort]").count() == 0
        links = page.evaluate(
            "[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
        )
        files = [link for link in links if not link.startswith("#")]
        assert len(files) > 20
        for link in files:
            assert (board / link.replace("%2C", ",").replace("%3D", "=")).is_file(), link
        assert not visit.errors and not visit.requests
