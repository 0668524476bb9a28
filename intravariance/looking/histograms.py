# SPDX-License-Identifier: Apache-2.0
"""Histograms of anomaly scores, of points and of objects, as PNG: the paper's Figures 3 and 6.

Anomalous is orange and normal is grey, as on the points of clouds; anomalous bars are hatched too.
The bars of either group of points add up to 1, and their height grows with the logarithm (below a
small share linearly), so that a handful of points with high scores stays in sight; objects are
counted. No pyplot, no global state: the same scores give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intravariance.auroc import auroc
from intravariance.errors import InputError
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.colours import ANOMALY_INK, NORMAL_INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES, _DOTS = (6.4, 3.9), 150
_FEWEST = 20  # bins
_AXES = (0.11, 0.25, 0.86, 0.6)  # left, bottom, width, height, as shares of the figure


def point_histogram(clouds: Sequence[LabelledCloud], title: str = "Scores of points") -> bytes:
    """Draw a PNG of the scores of all points of the clouds, normal and anomalous.

    The AUROC is over all points of all clouds together. Clouds without labels are left out, which
    is said. Raises ValueError when a cloud has no
    scores, InputError when a score is not finite.
    """
    scores, labels = [], []
    for cloud in clouds:
        if cloud.scores is None:
            raise ValueError(f"{cloud.name} has no scores")
        if cloud.labelled:
            scores.append(cloud.scores)
            labels.append(cloud.labels > 0)
    empty: NDArray[Any] = np.zeros(0)
    left_out = len(clouds) - len(labels)
    rest = f" {left_out} without labels are left out." if left_out else ""
    return _histogram(
        np.concatenate([empty, *scores]),
        np.concatenate([empty.astype(bool), *labels]),
        title,
        "points",
        f"Points of {len(labels)} clouds, all together. The bars of either colour add up to 1."
        + rest,
    )


def object_histogram(
    scores: ArrayLike, anomalous: ArrayLike, title: str = "Scores of objects"
) -> bytes:
    """Draw a PNG of one score (O,) for each object, anomalous (O,) or not.

    Raises ValueError when the lengths differ, InputError when a score is not finite.
    """
    return _histogram(
        np.asarray(scores), np.asarray(anomalous), title, "objects", "One score an object."
    )


def edges(scores: ArrayLike, most: int = 80) -> NDArray[np.float64]:
    """Return borders (B + 1,) of equal bins that hold all scores (S,), `most` bins at most.

    There are at least twice as many as the square root of the number of scores, and at least 20, so
    that the few objects of a category do not fall into a handful of bars. Borders are multiples of
    1, 2 or 5 times a power of ten. One bin when all scores are equal.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if not high > low:
        reach = max(abs(low), 1.0) / 2
        return np.array([low - reach, low + reach])
    # a step is shorter than asked for by a factor of 2.5 at most; both ends may need one more
    wanted = min(max(2 * np.sqrt(len(values)), _FEWEST), (most - 2) / 2.5)
    longest = (high - low) / wanted
    power = 10.0 ** np.floor(np.log10(longest))
    step = power * max(factor for factor in (1, 2, 5) if factor * power <= longest or factor == 1)
    first, last = np.floor(low / step), np.ceil(high / step)
    if not last - first <= most:  # the scores differ by less than such borders can tell
        return np.linspace(low, high, most + 1)
    borders = step * np.arange(first, last + 1)
    borders[0], borders[-1] = min(borders[0], low), max(borders[-1], high)
    return np.asarray(borders)


def _histogram(
    scores: NDArray[Any], anomalous: NDArray[Any], title: str, things: str, scope: str
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - weight
    from matplotlib.figure import Figure  # noqa: PLC0415 - weight

    values, truth = scores.astype(np.float64), anomalous.astype(bool)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError(f"{values.shape} scores but {truth.shape} labels")
    if not np.isfinite(values).all():
        raise InputError(f"{title}: some scores are not finite; expected numbers")
    figure = Figure(figsize=_INCHES, dpi=_DOTS)
    canvas = FigureCanvasAgg(figure)
    _draw(figure.add_axes(_AXES), values, truth, things)
    figure.text(0.02, 0.955, title, fontsize=11, va="top")
    figure.text(0.02, 0.02, _caption(values, truth, things, scope), fontsize=7, color="#555555")
    buffer = BytesIO()
    # without Matplotlib's version in the file, the bytes are those of the picture alone
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Axes, values: NDArray[np.float64], truth: NDArray[np.bool_], things: str) -> None:
    """Draw the bars: shares of either group of the many points, numbers of the few objects."""
    from matplotlib.colors import to_rgba  # noqa: PLC0415 - weight
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - weight

    counted = things == "objects"
    borders, highest, rarest = edges(values), 0.0, 1.0
    for group, name, colour, hatch in (
        (values[~truth], "normal", NORMAL_INK, None),
        (values[truth], "anomalous", ANOMALY_INK, "////"),
    ):
        one = 1.0 if counted else 1.0 / max(len(group), 1)
        heights = np.histogram(group, borders)[0] * one
        highest, rarest = max(highest, float(heights.max())), min(rarest, one)
        axes.stairs(
            heights,
            borders,
            fill=True,
            facecolor=to_rgba(colour, 0.3),
            edgecolor=colour,
            hatch=hatch,
            linewidth=1.2,
            label=f"{name} ({len(group):,})",
        )
    if counted:
        axes.set_ylim(0, max(1.15 * highest, 1))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_ylabel("objects", fontsize=9)
    else:
        axes.set_yscale("symlog", linthresh=max(rarest, 1e-4), linscale=0.5)
        axes.set_ylim(0, max(2 * highest, 1e-3))
        axes.set_ylabel("share of the points (log)", fontsize=9)
    axes.set_xlim(borders[0], borders[-1])
    axes.set_xlabel("anomaly score", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    # above the axes, where no bar can be
    place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2}
    axes.legend(frameon=False, fontsize=8, **place)


def _caption(values: NDArray[np.float64], truth: NDArray[np.bool_], things: str, scope: str) -> str:
    if truth.all() or not truth.any():
        only = f"all {things} are {'anomalous' if truth.any() else 'normal'}"
        return f"No AUROC: {only if len(truth) else f'there are no {things}'}."
    chance = f"the chance that an anomalous {things[:-1]} scores above a normal one, ties half"
    return f"AUROC {auroc(truth, values):.3f}: {chance}.\n{scope}"
