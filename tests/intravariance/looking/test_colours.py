# SPDX-License-Identifier: Apache-2.0
"""The scale of colours, as an eye and as a colour-blind eye sees it, by formulas of our own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from intravariance.looking.colours import (
    ANOMALY_COLOUR,
    ANOMALY_INK,
    EXPOSED_COLOUR,
    FALSE_ALARM_COLOUR,
    MISSED_COLOUR,
    NORMAL_COLOUR,
    NORMAL_INK,
    css,
    label_colours,
    page_palette,
    scale_colours,
    score_ends,
)

Floats = NDArray[np.float64]
# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", 2009: matrices of severity 1.0, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
EYES = pytest.mark.parametrize("eye", DEFICIENCIES)


def lab(colours: Floats, eye: str) -> Floats:
    """Return CIELAB (N, 3), white D65, of sRGB (N, 3) in 0..1 as an eye sees it."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.einsum("ij,nj->ni", DEFICIENCIES[eye], linear), 0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    share = np.einsum("ij,nj->ni", to_xyz, linear) / (0.95047, 1.0, 1.08883)
    root = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@EYES
def test_equal_steps_of_a_value_are_equal_steps_of_lightness(eye: str) -> None:
    lightness = lab(scale_colours(np.linspace(0, 1, 33), 0, 1), eye)[:, 0]
    steps = -np.diff(lightness)
    assert (steps > 0).all()
    assert lightness[0] - lightness[-1] > 70
    straight = np.linspace(lightness[0], lightness[-1], len(lightness))
    assert abs(lightness - straight).max() < 6


@EYES
def test_no_colour_of_the_scale_is_that_of_a_label(eye: str) -> None:
    scale = lab(scale_colours(np.linspace(0, 1, 101), 0, 1), eye)
    flat = lab(np.array([NORMAL_COLOUR, ANOMALY_COLOUR, EXPOSED_COLOUR]), eye)
    apart = np.sqrt(((scale[:, None] - flat) ** 2).sum(axis=2))
    assert apart.min() > 10, "2.3 is what an eye can just tell"


@EYES
def test_flat_colours_are_told_apart(eye: str) -> None:
    with_threshold = (NORMAL_COLOUR, ANOMALY_COLOUR, MISSED_COLOUR, FALSE_ALARM_COLOUR)
    for together in (
        (NORMAL_COLOUR, ANOMALY_COLOUR, EXPOSED_COLOUR),
        with_threshold,
        (NORMAL_INK, ANOMALY_INK),
    ):
        seen = lab(np.array(together), eye)
        apart = np.sqrt(((seen[:, None] - seen) ** 2).sum(axis=2))
        assert apart[np.triu_indices(len(seen), 1)].min() > 25


def test_the_scale_is_viridis_from_its_light_end() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    share = np.linspace(0, 1, 101)
    expected = matplotlib.colormaps["viridis"](1 - share)[:, :3]
    np.testing.assert_allclose(scale_colours(3 + 2 * share, 3, 5), expected, atol=0.03)


def test_values_beyond_the_ends_have_their_colours() -> None:
    found = scale_colours([-9.0, 1.0, 2.0, 3.0, 9.0], 1.0, 3.0)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[3], found[4])
    same = scale_colours([0.0, 1.0], 1.0, 1.0)
    np.testing.assert_array_equal(same, found[[1, 1]])


def test_a_wild_score_does_not_move_the_ends() -> None:
    scores = np.linspace(0, 1, 2001)
    scores[-1] = 1e6
    assert score_ends(scores) == pytest.approx((0.005, 0.995), abs=1e-3)


def test_colours_of_labels() -> None:
    labels = label_colours(np.array([0, 1, 1]), np.array([False, False, True]))
    np.testing.assert_allclose(labels, [NORMAL_COLOUR, ANOMALY_COLOUR, EXPOSED_COLOUR])
    np.testing.assert_allclose(label_colours(np.array([0, 1, 1])), labels[[0, 1, 1]])
    grey, orange, dark_red = labels @ (0.2126, 0.7152, 0.0722)
    assert grey > 1.3 * orange > 3 * dark_red, "told apart without seeing colours"


def test_pages_get_the_same_colours() -> None:
    palette = page_palette()
    table = np.array(palette["scale"])
    np.testing.assert_allclose(table, scale_colours(np.linspace(0, 1, len(table)), 0, 1), atol=1e-4)
    assert palette["anomaly"] == palette["hit"] == ANOMALY_COLOUR
    assert css((1.0, 0.5, 0.0)) == "rgb(255 128 0)"
