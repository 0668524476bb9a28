# SPDX-License-Identifier: Apache-2.0
"""The page of `iv compare` in a real browser: what it opens on, and what its table opens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
pytest.importorskip("k3d", reason="pip install '.[inspect]'")

from intravariance.dataset.store import open_dataset
from mc4ad_model.evaluation.alarms import alarm_metrics
from mc4ad_model.evaluation.evaluate import evaluate_category
from mc4ad_model.evaluation.ranking import verdicts
from mc4ad_model.evaluation.results import Results, describe
from mc4ad_model.reports.comparison_page import comparison_page
from mc4ad_model.reports.evaluation_report import Compared, compare
from tests.support.browser import Visit, chromium
from tests.support.samples import make_dataset
from tests.support.scorers import FunctionScorer

NAMES = "iv.state().panes.map((pane) => pane.name).join()"
SEEN = "[...document.querySelectorAll('#listing tbody tr:not([hidden])')]"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> list[Compared]:
    """Two categories, scored by the distance from the middle."""
    data = make_dataset(tmp_path_factory.mktemp("compare") / "small.h5", sigma=0.01)
    scorer = FunctionScorer(lambda points: points - points.mean(axis=0))
    found = []
    with open_dataset(data) as dataset:
        for category in dataset.categories:
            records = list(dataset.filter(category=category, split="test"))
            results = Results(
                evaluate_category(records, scorer, quiet=True), describe(dataset), 0,
                {"method": "distance", "preset": "quick"},
            )  # fmt: skip
            found.append(compare(results, dataset, 2))
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(compared: list[Compared], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_bytes(comparison_page(compared, 300))
    return path


def expected(one: Compared) -> list[tuple[str, str]]:
    judged = verdicts(one.results.evaluation.rows, None)
    return [(item.sample.id, item.verdict) for item in judged]


def test_it_opens_on_scores_metrics_and_the_worst_sample(
    browser: Any, path: Path, compared: list[Compared]
) -> None:
    visit = Visit(browser, path)
    visit.page.evaluate("iv.ready")
    state = visit.page.evaluate("iv.state()")
    first = expected(compared[0])[0][0]
    assert [pane["name"] for pane in state["panes"]] == [first, first]
    assert (state["colouring"], state["beside"], state["linked"]) == ("score", True, True)
    assert visit.page.locator("h1").inner_text() == "distance (quick) on small.h5"
    shown = visit.page.locator("#figures dl:not([hidden])").inner_text()
    metrics = compared[0].results.evaluation.metrics
    assert re.search(rf"O-AUROC\s+{metrics.o_auroc:.3f}", shown)
    assert f"{metrics.anomalous} defective, {metrics.objects - metrics.anomalous} normal" in shown
    cells = visit.page.evaluate(f"{SEEN}.map((r) => [r.cells[0].innerText, r.cells[2].innerText])")
    assert [(id, verdict) for id, verdict in cells] == expected(compared[0])
    assert visit.errors == [] and visit.requests == []
    visit.page.close()


def test_a_row_opens_its_sample_in_both_panes_and_a_category_its_rows(
    browser: Any, path: Path, compared: list[Compared]
) -> None:
    visit = Visit(browser, path)
    visit.page.evaluate("iv.ready")
    wanted = expected(compared[0])[3][0]
    row = visit.page.locator("#listing tbody tr:visible").nth(3)
    row.locator("button").focus()
    visit.page.keyboard.press("Enter")
    visit.until(f"{NAMES} === '{wanted},{wanted}'")
    assert row.get_attribute("aria-current") == "true"
    cameras = [pane["camera"] for pane in visit.page.evaluate("iv.state()")["panes"]]
    np.testing.assert_allclose(cameras[0], cameras[1], atol=1e-6)
    visit.page.select_option("#category", compared[1].category)
    first = expected(compared[1])[0][0]
    visit.until(f"{NAMES} === '{first},{first}'")
    ids = visit.page.evaluate(f"{SEEN}.map((row) => row.cells[0].innerText)")
    assert ids == [id for id, _ in expected(compared[1])]
    shown = visit.page.locator("#figures dl:not([hidden])").inner_text()
    assert f"{compared[1].results.evaluation.metrics.o_auroc:.3f}" in shown
    visit.page.close()


def test_a_phone_shows_both_panes_above_the_table(browser: Any, path: Path) -> None:
    visit = Visit(browser, path, width=390, height=844, scheme="dark")
    visit.page.evaluate("iv.ready")
    left, right = (visit.page.locator(".canvas").nth(i).bounding_box() for i in (0, 1))
    listing = visit.page.locator("#listing").bounding_box()
    assert left["y"] == right["y"] and left["height"] == right["height"] > 200
    assert left["x"] + left["width"] <= right["x"] and right["x"] + right["width"] <= 390
    assert listing["y"] >= left["y"] + left["height"]
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    visit.page.close()


def test_a_calibrated_threshold_judges(compared: list[Compared]) -> None:
    one = compared[0]
    rows = one.results.evaluation.rows
    lowest = min(row.object_score for row in rows if row.anomalous)
    truth, scores = [row.anomalous for row in rows], [row.object_score for row in rows]
    alarm = alarm_metrics(0.05, lowest, truth, scores)
    metrics = replace(one.results.evaluation.metrics, alarms=(alarm,))
    evaluation = replace(one.results.evaluation, metrics=metrics)
    changed = replace(one, results=replace(one.results, evaluation=evaluation))
    text = comparison_page([changed], 100).decode()
    assert "calibrated threshold at a false-alarm rate of 0.05" in text
    assert "detected at 5 % false alarms" in text
    assert f"{alarm.false_alarms} of {alarm.normal} normal alarmed" in text
    missed = sum(row.object_score <= lowest for row in rows if row.anomalous)
    assert text.count("</i><strong>missed</strong>") == missed >= 1
    assert text.count("</i><strong>false alarm</strong>") == alarm.false_alarms
