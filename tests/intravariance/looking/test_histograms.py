# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from intravariance.errors import InputError
from intravariance.looking.histograms import edges, object_histogram, point_histogram
from tests.intravariance.looking.test_panels import ball, bulge

finite = st.floats(-1e6, 1e6, width=32)


def picture(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG" and "Software" not in image.info
        return np.asarray(image.convert("RGB")).astype(int)


def reddish(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] - pixels[..., 2] > 60


def slate(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 2] - pixels[..., 0] > 20


def centre(mask: np.ndarray) -> float:
    """Return the mean column below the legend."""
    return float(np.nonzero(mask[100:450])[1].mean())


def test_orange_stands_where_anomalous_scores_are() -> None:
    rng = np.random.default_rng(0)
    cloud = bulge()
    high = cloud.labels * 2 + rng.normal(size=len(cloud.labels)) * 0.1
    above = picture(point_histogram([replace(cloud, scores=high.astype(np.float32))]))
    assert centre(reddish(above)) > centre(slate(above)) + 200
    below = picture(point_histogram([replace(cloud, scores=-high.astype(np.float32))]))
    assert centre(reddish(below)) < centre(slate(below)) - 200


def test_objects_are_counted() -> None:
    scores = [0.1, 0.2, 0.3, 0.9, 0.8, 0.95]
    pixels = picture(object_histogram(scores, [0, 0, 0, 1, 1, 1]))
    assert centre(reddish(pixels)) > centre(slate(pixels)) + 200


def test_equal_scores_give_equal_bytes() -> None:
    drawn = [point_histogram([bulge(), bulge()], "a title") for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != point_histogram([bulge(), bulge()], "another")


def test_it_leaves_pyplot_alone() -> None:
    code = (
        "import sys; from intravariance.looking.histograms import object_histogram as draw;"
        "draw([1, 2], [0, 1]); print('matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize(
    ("scores", "anomalous"),
    [
        ([], []),
        ([1.0], [1]),
        ([1.0, 1.0], [0, 1]),
        ([0.0, 0.0], [0, 0]),
        ([1e30, -1e30], [0, 1]),
        ([1e-20, 2e-20], [0, 1]),
        ([1e8, 1e8 + 1], [0, 1]),
    ],
)
def test_few_equal_and_extreme_scores(scores: list[float], anomalous: list[int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture(object_histogram(scores, anomalous)).shape[2] == 3


def test_no_clouds_and_normal_clouds_alone() -> None:
    assert picture(point_histogram([])).any()
    calm = replace(ball(), scores=np.linspace(0, 1, 3000, dtype=np.float32))
    assert not reddish(picture(point_histogram([calm])))[110:].any()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="ball has no scores"):
        point_histogram([ball()])
    with pytest.raises(ValueError, match=r"\(3,\) scores but \(2,\) labels"):
        object_histogram([1, 2, 3], [0, 1])
    with pytest.raises(InputError, match="not finite"):
        object_histogram([1, np.nan], [0, 1])


@settings(max_examples=50, deadline=None)
@given(values=arrays(np.float64, st.integers(1, 200), elements=finite))
def test_every_score_falls_into_a_bin(values: np.ndarray) -> None:
    borders = edges(values)
    assert (np.diff(borders) > 0).all() and len(borders) <= 81
    assert np.histogram(values, borders)[0].sum() == len(values)


def test_few_objects_have_narrow_bins_with_round_borders() -> None:
    borders = edges([0.0163, 0.0312, 0.0699])
    assert 20 <= len(borders) - 1 <= 50
    np.testing.assert_allclose(np.diff(borders), 0.002, rtol=1e-9)
    np.testing.assert_allclose(borders / 0.002, np.rint(borders / 0.002), atol=1e-6)
