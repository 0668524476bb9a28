# SPDX-License-Identifier: Apache-2.0
"""The data that the page carries and what it refuses; test_page_browser.py drives it."""

from __future__ import annotations

import html.parser
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.errors import BackendUnavailable, InputError
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.page import Figure, Note, display_choice, pack_cloud, page
from intravariance.looking.page.packing import point_diameter
from tests.intravariance.looking.test_panels import bulge
from tests.support.page_clouds import CLOUDS, HOSTILE, ball, carried, unpack


def test_the_reach_of_a_cloud_is_that_of_its_farthest_point() -> None:
    cloud = bulge(reach=0.3)
    entry, _ = pack_cloud(cloud, np.arange(len(cloud.points)))
    assert entry["radius"] == 1.0  # of the unit ball, which the bulge leaves
    assert entry["reach"] == pytest.approx(np.linalg.norm(cloud.points, axis=1).max(), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_quantisation_errs_by_half_a_step_at_most(seed: int, size: float, shift: float) -> None:
    cloud = ball("any", count=60)
    rng = np.random.default_rng(seed)
    points = (size * rng.normal(size=(60, 3)) + shift).astype(np.float32)
    scores = (size * rng.normal(size=60) + shift).astype(np.float32)
    cloud = replace(cloud, points=points, scores=scores)
    found = unpack(*pack_cloud(cloud, np.arange(60)))
    span = np.ptp(points.astype(float), axis=0)
    assert (abs(found["points"] - points) <= span / 131070 * 1.001 + 1e-12).all()
    assert (abs(found["scores"] - scores) <= np.ptp(scores.astype(float)) / 131070 * 1.001).all()


def test_what_the_page_carries_is_what_was_given() -> None:
    for cloud, (entry, found) in zip(
        CLOUDS, carried(page("Balls", CLOUDS, display_points=15_000)), strict=True
    ):
        assert entry["name"] == cloud.name and entry["points"] == len(cloud.points)
        assert entry["anomalous"] == cloud.labels.sum() and entry["exposed"] == cloud.exposed.sum()
        np.testing.assert_array_equal(found["labels"], cloud.labels)
        assert abs(found["normals"] - cloud.normals).max() <= 1 / 254 + 1e-6
        assert ("scores" in found) == (cloud.scores is not None)
        if cloud.displacement is None:
            assert "moved" not in found and entry["largest"] is None
            continue
        np.testing.assert_array_equal(np.isnan(found["moved"]), cloud.exposed)
        np.testing.assert_array_equal(found["moved"][cloud.moved == 0], 0)
        largest = np.nanmax(cloud.moved)
        assert np.nanmax(abs(found["moved"] - cloud.moved)) <= largest / 131068 * 1.001
        assert entry["largest"] == pytest.approx(largest, rel=1e-8)


def test_flat_and_constant_clouds_are_exact() -> None:
    points = np.zeros((5, 3), dtype=np.float32)
    flat = replace(
        ball("flat", count=5),
        points=points,
        scores=np.full(5, 0.25, np.float32),
        displacement=points,
    )
    found = unpack(*pack_cloud(flat, np.arange(5)))
    assert not found["points"].any() and not found["moved"].any()
    assert (found["scores"] == 0.25).all()


def test_thinning_keeps_labels_and_says_so() -> None:
    cloud = ball("many", count=30_000)
    few = np.zeros(30_000, dtype=np.uint8)
    few[np.flatnonzero(cloud.labels)[:150]] = 1
    rare = replace(cloud, labels=few)
    chosen = display_choice(rare, 2000, seed=0)
    assert len(chosen) == len(np.unique(chosen)) == 2000 and rare.labels[chosen].sum() == 150
    chosen = display_choice(cloud, 10_000, seed=0)
    assert cloud.labels[chosen].mean() == pytest.approx(cloud.labels.mean(), rel=1e-3)
    np.testing.assert_array_equal(chosen, display_choice(cloud, 10_000, seed=0))
    assert (chosen != display_choice(cloud, 10_000, seed=1)).any()
    everywhere = replace(cloud, labels=np.ones_like(cloud.labels))
    assert len(display_choice(everywhere, 100, 0)) == 100 and len(display_choice(cloud, 1, 0)) == 1


def test_equal_input_gives_equal_bytes_and_is_small() -> None:
    clouds = [ball(f"ball {i}", count=12_000) for i in range(3)]
    document = page("Balls", clouds, display_points=10_000)
    assert document == page("Balls", clouds, display_points=10_000)
    assert document != page("Balls", clouds, display_points=10_000, seed=1)
    alone = len(page("Ball", [ball("tiny", count=10)]))
    assert alone + 70 / 3 * (len(document) - alone) < 15e6
    assert not re.search(rb'(src|href)="(?!data:)', document)


def test_notes_are_text() -> None:
    notes = [
        Note("Re<alism", "one\ntwo & three", ("what", "share"), [("a<b>", 0.123456), ("n", None)]),
        Note("Counts", columns=("points",), rows=[(1234567,)]),
    ]
    text = page("Balls", CLOUDS[:1], notes).decode()
    for part in ("Re&lt;alism", "one\ntwo &amp; three", "a&lt;b&gt;", ">0.1235<", ">1234567<"):
        assert part in text
    assert 'id="notes"' not in page("Balls", CLOUDS[:1]).decode()


def test_hostile_names_stay_data() -> None:
    class Scripts(html.parser.HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.opened: list[str] = []

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            if tag in ("script", "img"):
                self.opened.append(tag + (dict(attributes).get("type") or ""))

    notes = [Note(HOSTILE, HOSTILE, (HOSTILE,), [(HOSTILE,)])]
    scripts = Scripts()
    scripts.feed(page(HOSTILE, [ball(HOSTILE, defect=HOSTILE)], notes).decode())
    data = ["scriptapplication/json", "scripttext/plain", "scripttext/plain", "script"]
    assert scripts.opened == data


@pytest.mark.parametrize(
    ("clouds", "message"),
    [
        ([], "no cloud"),
        ([ball("twin"), ball("twin")], "twin: two clouds"),
        ([ball("void", count=0)], "void: expected points"),
        ([ball("torn", points=np.full((1500, 3), np.nan, np.float32))], "torn: points"),
        ([ball("odd", scores=np.full(1500, np.inf, np.float32))], "odd: scores"),
        ([ball("short", scores=np.zeros(3, np.float32))], "short: expected 1500 scores, found 3"),
    ],
)
def test_what_cannot_be_shown_is_named(clouds: list[LabelledCloud], message: str) -> None:
    with pytest.raises(InputError, match=message):
        page("Balls", clouds)


def test_wrong_number_and_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="at least 1, found 0"):
        page("Balls", CLOUDS, display_points=0)
    monkeypatch.setitem(sys.modules, "k3d", None)  # as Python marks what cannot be imported
    with pytest.raises(BackendUnavailable, match=r"the extra inspect brings it: pip install"):
        page("Balls", CLOUDS)


def test_figures_are_text_and_each_category_has_its_own() -> None:
    figures = {"a<b>": [Figure("O<AUROC", "0.<5", "0.4 & 0.6", 'said "so"')], "cup": []}
    text = page("Balls", CLOUDS[:1], figures=figures).decode()
    for part in ("O&lt;AUROC", "0.&lt;5", "0.4 &amp; 0.6", "said &quot;so&quot;", "a&lt;b&gt;"):
        assert part in text
    assert 'id="figures"' not in page("Balls", CLOUDS[:1]).decode()


def test_points_close_a_clean_surface_and_stay_apart_in_noise_and_sparse_clouds() -> None:
    def diameter(count: int, noise: float = 0.0) -> float:
        cloud = ball("normal", "normal", count=count)
        rng = np.random.default_rng(1)
        points = cloud.points + noise * rng.normal(size=cloud.points.shape)
        return point_diameter(points.astype(float), cloud.normals, noise, 1.0)

    spacing = np.sqrt(4 * np.pi / 8000)  # side of the square that holds one point
    assert np.pi / 4 * diameter(8000) ** 2 > 3 * spacing**2  # less than e^-3 stays uncovered
    assert diameter(32_000) == pytest.approx(diameter(8000) / 2, rel=0.1)
    assert spacing < diameter(8000, 0.1) < 0.9 * diameter(8000)
    assert diameter(60) == diameter(1) == pytest.approx(0.1)  # of the radius of the whole


def test_the_unit_of_the_points_does_not_matter() -> None:
    cloud = ball("any", count=8000)
    near, _ = pack_cloud(cloud, np.arange(8000))
    far, _ = pack_cloud(replace(cloud, source="scan", points=40 * cloud.points), np.arange(8000))
    assert far["diameter"] / 40 == pytest.approx(near["diameter"], rel=1e-4)


def test_the_scale_of_scores_leaves_out_a_wild_one() -> None:
    cloud = ball("wild", count=2000)
    assert cloud.scores is not None
    cloud.scores[0] = 1e6
    entry, _ = pack_cloud(cloud, np.arange(2000))
    assert entry["score_range"][1] < 10 < entry["score_low"] + 65535 * entry["score_step"]
