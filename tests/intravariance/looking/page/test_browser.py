# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, opened from disk: clicked, dragged, typed at and photographed."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.colours import ANOMALY_COLOUR, scale_colours
from intravariance.looking.page import Note, page
from tests.support.browser import Visit, chromium
from tests.support.page_clouds import CLOUDS, HOSTILE, ball, carried


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    notes = [Note("Realism", "text", ("a", "b"), [("x", 0.5)])]
    (folder / "balls.html").write_bytes(page("Balls", CLOUDS, notes, display_points=1400))
    hostile = [ball(HOSTILE, defect=HOSTILE, subcategory=HOSTILE, category=HOSTILE)]
    (folder / "hostile.html").write_bytes(page(HOSTILE, hostile, [Note(HOSTILE, HOSTILE)]))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser: Any, folder: Path) -> Visit:
    visit = Visit(browser, folder / "balls.html", width=1280, height=640)
    visit.page.evaluate("iv.ready")
    return visit


@pytest.fixture
def visit(opened: Visit) -> Visit:
    """Return the page in the state it opens in, whatever the test before did to it."""
    page = opened.page
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    for key, pressed in {
        "1": "s.active !== 0",
        "d": "s.theme !== 'light'",
        "l": "!s.linked",
        "b": "s.beside",
    }.items():
        if page.evaluate(f"(() => {{ const s = iv.state(); return {pressed}; }})()"):
            page.keyboard.press(key)
    page.evaluate("document.getElementById('category').value = 'ball'")
    page.locator("#category").dispatch_event("change")
    opened.until("iv.state().panes.map((pane) => pane.name).join() === 'first,pseudo'")
    page.select_option("#colouring", "label")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("r")
    return opened


def expected_rates(cloud: LabelledCloud, values: np.ndarray, threshold: float) -> tuple[float, ...]:
    detected, labelled = values >= threshold, cloud.labels > 0
    hits = (detected & labelled).sum()
    iou = hits / (detected | labelled).sum()
    return hits / labelled.sum(), (detected & ~labelled).sum() / (~labelled).sum(), iou


def picture(visit: Visit, pane: int) -> np.ndarray:
    """Return the (H, W, 3) picture of a pane's canvas, after the next frame is drawn."""
    visit.page.evaluate(
        "new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))"
    )
    png = visit.page.locator(".canvas").nth(pane).screenshot()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def orange(image: np.ndarray) -> float:
    """Return the share of pixels in the colour of labelled points, whatever the shade."""
    red, green, blue = np.moveaxis(image, 2, 0)
    wanted = np.array(ANOMALY_COLOUR) / ANOMALY_COLOUR[0]
    near = (abs(green - wanted[1] * red) < 5) & (abs(blue - wanted[2] * red) < 5) & (red > 70)
    return float(near.mean())


def shown_rates(visit: Visit, pane: int) -> list[float]:
    text = visit.page.locator(".rates").nth(pane).inner_text()
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


def close_to(shown: list[float], rates: tuple[float, ...]) -> bool:
    tpr, fpr, iou = rates
    return bool(
        np.allclose(shown, [100 * tpr, 100 * fpr, iou], atol=[0.051, 0.051, 0.00051], rtol=0)
    )


def test_it_opens_from_disk_and_shows_all_points(visit: Visit) -> None:
    state = visit.page.evaluate("iv.state()")
    assert [pane["name"] for pane in state["panes"]] == ["first", "pseudo"]
    assert [pane["points"] for pane in state["panes"]] == [1400, 1300]
    assert 500 < state["panes"][0]["facing"] < 800  # not those on the far side of the ball
    captions = visit.page.locator(".figures").all_inner_texts()
    assert "1,400 of 1,500 points shown" in captions[0] and "1,300 points" in captions[1]
    image = picture(visit, 0)
    assert 0.01 < orange(image) < 0.3 and (image == 255).all(axis=2).mean() > 0.2
    assert visit.errors == [] and visit.requests == []


def test_another_sample_is_another_picture(visit: Visit) -> None:
    before, right = picture(visit, 0), picture(visit, 1)
    visit.page.locator(".next").first.click()
    visit.until("iv.state().panes[0].name === 'second'")
    assert visit.page.locator(".sample").first.input_value() == "1"
    assert (picture(visit, 0) != before).any(axis=2).mean() > 0.05
    assert (picture(visit, 1) == right).all()
    assert visit.page.evaluate("iv.state().panes[0].points") == 1200
    assert "second: round_ball, bulge" in visit.page.locator(".what").first.inner_text()
    visit.page.locator(".group").first.select_option("dataset normal")
    visit.until("iv.state().panes[0].name === 'sphere'")
    assert orange(picture(visit, 0)) == 0
    assert visit.page.locator(".face").first.is_disabled()


def test_the_threshold_recolours_and_its_rates_are_right(visit: Visit) -> None:
    visit.page.evaluate("iv.show(0, 1)")
    visit.page.select_option("#colouring", "score")
    heat = picture(visit, 0)
    slider = visit.page.locator("#threshold")
    slider.focus()
    for key in ("PageDown", "ArrowLeft"):
        visit.page.keyboard.press(key)
    assert (picture(visit, 0) != heat).any(axis=2).mean() > 0.1
    threshold = visit.page.evaluate("iv.state().threshold")
    found = dict(zip((c.name for c in CLOUDS), carried(page("Balls", CLOUDS)), strict=True))
    for pane, cloud in enumerate((CLOUDS[1], CLOUDS[3])):
        rates = expected_rates(cloud, found[cloud.name][1]["scores"], threshold)
        assert close_to(shown_rates(visit, pane), rates) and 0 < rates[1] < rates[0] < 1
    box = slider.bounding_box()
    visit.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + box["height"] / 2)
    assert visit.page.evaluate("iv.state().threshold") < threshold
    visit.page.select_option("#colouring", "displacement")
    visit.page.locator("#mark").check()
    threshold = visit.page.evaluate("iv.state().threshold")
    moved = np.where(CLOUDS[1].exposed, np.inf, CLOUDS[1].moved)
    assert close_to(shown_rates(visit, 0), expected_rates(CLOUDS[1], moved, threshold))
    shown = float(visit.page.locator("#threshold-value").inner_text())
    assert shown == pytest.approx(threshold, rel=1e-3)
    visit.page.evaluate("iv.show(1, 4)")
    visit.until("iv.state().panes[1].name === 'big scan'")
    assert "No displacement known" in visit.page.locator(".rates").nth(1).inner_text()


def test_cameras_are_linked_until_they_are_not(visit: Visit) -> None:
    def cameras() -> np.ndarray:
        return np.array([pane["camera"] for pane in visit.page.evaluate("iv.state()")["panes"]])

    def drag() -> None:
        box = visit.page.locator(".canvas").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        visit.page.mouse.move(x, y)
        visit.page.mouse.down()
        visit.page.mouse.move(x + 90, y + 30, steps=4)
        visit.page.mouse.up()

    start, right = cameras(), picture(visit, 1)
    drag()
    turned = cameras()
    assert np.linalg.norm(turned[1, :3] - start[1, :3]) > 0.5
    np.testing.assert_allclose(turned[0], turned[1], atol=1e-6)
    assert (picture(visit, 1) != right).any()
    visit.page.keyboard.press("l")
    drag()
    assert np.linalg.norm(cameras()[0] - turned[0]) > 0.5
    np.testing.assert_allclose(cameras()[1], turned[1], atol=1e-6)
    visit.page.keyboard.press("r")
    np.testing.assert_allclose(cameras(), start, atol=1e-6)


def test_keys(visit: Visit) -> None:
    def after(key: str, what: str) -> None:
        visit.page.keyboard.press(key)
        visit.until(f"(() => {{ const s = iv.state(); return {what}; }})()")

    after("ArrowRight", "s.panes[0].name === 'second'")
    for _ in range(3):  # faster than clouds are decoded
        visit.page.keyboard.press("ArrowRight")
    after("ArrowRight", "s.panes[0].name === 'second'")
    after("ArrowRight", "s.panes[0].name === 'first'")
    after("ArrowDown", "s.panes[0].name === 'sphere'")
    after("ArrowUp", "s.panes[0].name === 'first'")
    after("2", "s.active === 1")
    after("ArrowDown", "s.panes[1].name === 'big scan' && s.panes[0].name === 'first'")
    for colouring in ("displacement", "score", "plain", "label"):
        after("c", f"s.colouring === '{colouring}'")
    after("f", "Math.abs(s.panes[1].camera[0]) < 0.4 && s.panes[1].camera[1] < -3")
    after("d", "s.theme === 'dark'")
    assert (
        visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    )
    assert picture(visit, 0)[:5, :5].max() < 40
    visit.page.keyboard.press("?")
    assert visit.page.locator("#help").is_visible()
    visit.page.keyboard.press("Escape")
    assert not visit.page.locator("#help").is_visible()
    for _ in range(30):
        if visit.page.evaluate("iv.state().active") == 0:
            break
        visit.page.keyboard.press("Shift+Tab")
    assert visit.page.evaluate("iv.state().active") == 0
    assert visit.errors == [] and visit.requests == []


def test_categories_and_scans(visit: Visit) -> None:
    visit.page.evaluate("iv.show(0, 4)")
    assert 0.01 < orange(picture(visit, 0)) < 0.3  # framed, though 40 times as large
    visit.page.select_option("#category", "disc")
    visit.until("iv.state().panes[0].name === 'other'")
    disabled = visit.page.locator("#colouring option:disabled").all_inner_texts()
    assert disabled == ["score"]


def test_rates_of_a_thinned_cloud_are_those_of_the_whole(visit: Visit) -> None:
    """The thinned cloud keeps all its 150 labelled points, but 1,250 of 14,850 others."""
    visit.page.select_option("#category", "cup")
    visit.until("iv.state().panes[0].name === 'rare'")
    visit.page.select_option("#colouring", "score")
    visit.page.locator("#mark").check()
    rare = CLOUDS[-1]
    rates = expected_rates(rare, rare.scores, visit.page.evaluate("iv.state().threshold"))
    tpr, fpr, iou = visit.page.evaluate("Object.values(iv.state().panes[0].rates)")
    assert tpr == pytest.approx(rates[0], abs=0.01)
    assert fpr == pytest.approx(rates[1], rel=0.2) and iou == pytest.approx(rates[2], rel=0.2)


def test_labels_beside_show_one_cloud_twice(visit: Visit) -> None:
    names = "iv.state().panes.map((pane) => pane.name).join()"
    visit.page.select_option("#colouring", "score")
    visit.page.keyboard.press("b")
    visit.until(f"{names} === 'first,first'")
    assert orange(picture(visit, 0)) == 0 and orange(picture(visit, 1)) > 0.01
    entries = visit.page.locator("#legend li").all_inner_texts()
    assert entries == ["normal", "labelled anomalous", "exposed by a cut"]
    assert not visit.page.locator(".pane").nth(1).locator(".next").is_visible()
    visit.page.locator(".next").first.click()
    visit.until(f"{names} === 'second,second'")
    visit.page.keyboard.press("2")
    visit.page.keyboard.press("ArrowLeft")  # either pane leads
    visit.until(f"{names} === 'first,first'")
    visit.page.select_option("#category", "disc")
    visit.until(f"{names} === 'other,other'")
    visit.page.locator("#beside").uncheck()
    visit.page.evaluate("iv.show(0, 0)")
    assert visit.page.evaluate("iv.state().beside") is False
    assert visit.errors == []


def test_the_page_colours_values_as_pictures_do(visit: Visit) -> None:
    shares = [-1.0, 0.0, 0.1, 0.5, 0.93, 1.0, 2.0]
    found = visit.page.evaluate("(shares) => shares.map(scaleColour)", shares)
    np.testing.assert_allclose(found, scale_colours(shares, 0.0, 1.0), atol=1e-4)


def test_dark_and_narrow(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "balls.html", width=420, scheme="dark")
    visit.page.evaluate("iv.ready")
    x, y = visit.page.evaluate("iv.state().panes[0].camera.slice(0, 2)")
    assert y < -3 and abs(x) < 0.4, "it opens in front of the defect"
    assert visit.page.evaluate("iv.state().theme") == "dark"
    first, second = (visit.page.locator(".pane").nth(i).bounding_box() for i in (0, 1))
    assert second["y"] >= first["y"] + first["height"] and first["width"] > 350
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 420
    assert orange(picture(visit, 0)) > 0.01
    visit.page.close()


def test_hostile_names_are_shown_not_run(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "hostile.html")
    visit.page.evaluate("iv.ready")
    assert visit.page.evaluate("window.broken") is None
    assert visit.page.locator("h1").inner_text() == visit.page.title() == HOSTILE
    assert HOSTILE in visit.page.locator(".what").first.inner_text()
    assert visit.page.evaluate("iv.state().panes[1].points") == 1500
    visit.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"broken=3\">')"
    )
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("window.broken") is None  # the policy would have stopped it, too
    visit.page.close()
