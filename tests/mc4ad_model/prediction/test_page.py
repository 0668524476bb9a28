# SPDX-License-Identifier: Apache-2.0
"""The page of a prediction: what is in it, and that it works in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mc4ad_model.prediction import page as module
from mc4ad_model.prediction.detector import ScanPrediction
from mc4ad_model.prediction.page import points_of_each, predictions_page, worst_first
from mc4ad_model.prediction.worst import WorstClouds
from tests.support.browser import Visit, chromium
from tests.support.page_clouds import HOSTILE, carried
from tests.support.predictions import content, prediction

BROKEN = ScanPrediction("a/broken.ply", 0.0, error="it is cut off")
PREDICTIONS = [
    prediction(1.0, p_value=0.3, anomalous=False, notes=("thin",)),
    BROKEN,
    prediction(9.5, file="b/ball.ply", count=600, p_value=0.005, anomalous=True),
    prediction(2.0, front=True, file=f"{HOSTILE}.ply", p_value=0.1, anomalous=False),
    prediction(-10.0, file="b/low.ply", p_value=0.9, anomalous=False),
]
DECIDED = {"threshold": 3.0, "false_alarms": 0.01, "left_out": ["x.pdf"]}


def kept(predictions: list[ScanPrediction], count: int) -> WorstClouds:
    worst = WorstClouds(count)
    for number, found in enumerate(predictions, start=1):
        if not found.error:
            worst.add(number, found)
    return worst


def made(count: int, **others: object) -> bytes:
    clouds = kept(PREDICTIONS, count).clouds
    return predictions_page("Balls", content(PREDICTIONS, **(DECIDED | others)), clouds)


def test_the_worst_come_first_and_what_was_not_scored_last() -> None:
    scans = worst_first(content(PREDICTIONS)["scans"])
    assert [scan["number"] for scan in scans] == [3, 4, 1, 5, 2]


def test_it_carries_the_worst_with_scores_and_force() -> None:
    found = carried(made(2))
    assert [entry["name"].partition(".")[0] for entry, _ in found] == ["3", "4"]
    for (entry, data), source in zip(found, (PREDICTIONS[2], PREDICTIONS[3]), strict=True):
        assert source.scores is not None and source.force is not None
        assert not entry["labelled"] and entry["points"] == len(source.scores)
        np.testing.assert_allclose(data["scores"], source.scores, atol=1e-6)
        centred = data["points"] - data["force"]  # the ball lies around 0, its centroid beside it
        assert np.ptp(centred, axis=0).max() < 0.2
        assert entry["strongest"] == pytest.approx(
            np.linalg.norm(data["force"], axis=1).max(), 1e-3
        )
    text = made(2).decode()
    assert "1 anomalous: above 3, at a rate of false alarms of 0.01. 1 could not be scored" in text
    assert "the 2 worst have a view" in text and "Left out, as no clouds: x.pdf" in text


def test_its_size_is_bounded_and_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert points_of_each(1) == points_of_each(12) == 8000 and points_of_each(200) == 2500
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    monkeypatch.setattr(module, "MOST_POINTS", 500)
    found = carried(made(2))
    assert [entry["shown"] for entry, _ in found] == [250, 250]
    assert [entry["points"] for entry, _ in found] == [600, 400]
    text = made(2).decode()
    assert "of at most 250 points each" in text and "1 more scans stand in predictions.csv" in text
    assert "b/low.ply" not in text and "not scored: it is cut off" in text


def test_rows_are_sorted_and_open_their_scan_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "predictions.html"
    path.write_bytes(made(3))
    with chromium() as browser:
        visit = Visit(browser, path, width=1100, height=700)
        page = visit.page
        page.evaluate("iv.ready")
        state = "(() => { const s = iv.state(); return %s; })()"
        assert page.evaluate(state % "s.colouring") == "score"
        assert page.evaluate(state % "s.panes.map((p) => p.name)") == ["3. ball.ply"]
        assert page.evaluate("window.broken") is None
        names = "[...document.querySelectorAll('#listing tbody th')].map((c) => c.innerText)"
        assert [name.split(".")[0] for name in page.evaluate(names)] == list("34152")
        current = "document.querySelector('#listing tr[aria-current] th').innerText"
        assert page.evaluate(current).startswith("3.")
        # seen from where the highest scores are: the back of this ball
        assert page.evaluate(state % "s.panes[0].camera[1]") > 2
        page.locator("#listing .shows").nth(1).focus()
        page.keyboard.press("Enter")
        visit.until(state % "s.panes[0].name.startsWith('4.')")
        visit.until(state % "s.panes[0].camera[1] < -2")  # this one's front
        assert page.evaluate(current).startswith("4.")
        page.locator("#listing td", has_text="thin").click()
        visit.until(state % "s.panes[0].name === '1. ball.ply'")
        heading = page.locator("#listing thead button", has_text="score")
        heading.click()
        heading.click()
        assert [name.split(".")[0] for name in page.evaluate(names)] == list("51432")
        assert page.locator("#colouring option:disabled").all_inner_texts() == [
            "label",
            "displacement",
        ]
        page.select_option("#colouring", "force")
        visit.until(state % "s.panes[0].lines === 400")
        page.select_option("#colouring", "plain")
        visit.until(state % "s.panes[0].lines === 0")
        assert visit.errors == [] and visit.requests == []
        page.close()
        narrow = Visit(browser, path, width=390, height=700)
        narrow.page.evaluate("iv.ready")
        assert narrow.page.evaluate("document.documentElement.scrollWidth") <= 390
        narrow.page.close()
