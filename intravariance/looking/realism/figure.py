# SPDX-License-Identifier: Apache-2.0
"""The picture of realism: distributions of the measures, and profiles, group by group.

Real defects are black and grey, and told apart by their order and dashes; generators have the
colours of Okabe and Ito, which every common form of colour blindness can tell apart. Drawn without
pyplot: no display, no global state.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.looking.realism.comparison import MeasuredDefect, grouped
from intravariance.looking.realism.measures import QUANTITIES

_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#F0E442")
_GREYS = ("#000000", "#777777")
_DASHES = ("-", "--", ":", "-.")
_COLUMNS = 3

Groups = dict[str, tuple[str, list[MeasuredDefect]]]
Styles = dict[str, tuple[str, str]]


def figure(objects: Iterable[MeasuredDefect], dpi: int = 110) -> bytes:
    """Draw a PNG: the distribution of each measure, group by group, and the profiles.

    Boxes are quartiles with the median, whiskers reach 1.5 interquartile ranges, circles are
    objects beyond. Profiles are medians over the objects with a band between the quartiles.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - weight

    groups = grouped(sorted(objects, key=lambda item: item.name))
    styles = _styles(groups)
    rows = -(-(len(QUANTITIES) + 1) // _COLUMNS)
    height = rows * (1.1 + 0.24 * max(len(groups), 6))
    picture = Figure(figsize=(13, height), dpi=dpi, layout="constrained")
    axes = picture.subplots(rows, _COLUMNS, squeeze=False)
    for number, (name, quantity) in enumerate(QUANTITIES.items()):
        axis = axes.flat[number]
        _boxes(axis, name, groups, styles)
        axis.set_title(quantity.label, fontsize=11)
        axis.set_xlabel(quantity.meaning, fontsize=8, color="#444444")
        if number % _COLUMNS:
            axis.tick_params(labelleft=False)
    _profiles(axes.flat[len(QUANTITIES)], groups, styles)
    for axis in axes.flat[len(QUANTITIES) + 1 :]:
        axis.set_axis_off()
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _styles(groups: Groups) -> Styles:
    """Choose name -> (colour, dashes): black and grey for real ones, colours for generators."""
    styles: Styles = {}
    count = {"real": 0, "pseudo": 0}
    for name, (side, _) in groups.items():
        number = count[side]
        colours = _GREYS if side == "real" else _COLOURS
        # curves may coincide: dashes let the one below show through
        styles[name] = colours[number % len(colours)], _DASHES[number % len(_DASHES)]
        count[side] += 1
    return styles


def _boxes(axis: Any, measure: str, groups: Groups, styles: Styles) -> None:
    """Draw one lying box for each group, the first on top; none where the measure is undefined."""
    for position, (name, (_, members)) in enumerate(groups.items()):
        values = [getattr(item.measures, measure) for item in members]
        known = [value for value in values if value is not None]
        if not known:
            place = {"xycoords": ("axes fraction", "data"), "va": "center"}
            axis.annotate("not defined", (0.02, position), fontsize=8, color="#777777", **place)
            continue
        _box(axis, position, np.array(known), styles[name][0])
    labels = [f"{name} ({len(members)})" for name, (_, members) in groups.items()]
    axis.set_yticks(range(len(groups)), labels, fontsize=9)
    axis.set_ylim(len(groups) - 0.4, -0.6)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", color="#DDDDDD", linewidth=0.7)
    axis.set_axisbelow(True)


def _box(axis: Any, position: int, values: NDArray[np.float64], colour: str) -> None:
    """Draw a lying box by hand: the name of matplotlib's option for it depends on its version."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    reach = 1.5 * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    outside = values[(values < low - reach) | (values > high + reach)]
    axis.hlines(position, inside.min(), inside.max(), color=colour, linewidth=1.2, zorder=1)
    axis.barh(position, high - low, left=low, height=0.62, color="white", zorder=2)
    axis.barh(position, high - low, 0.62, low, color=colour, alpha=0.55, zorder=3)
    ends = position - 0.31, position + 0.31
    axis.vlines(middle, *ends, color="black", linewidth=1.8, zorder=4)
    circles = {"marker": "o", "linestyle": "", "markersize": 3, "fillstyle": "none"}
    axis.plot(outside, np.full(len(outside), position), color=colour, alpha=0.7, **circles)


def _profiles(axis: Any, groups: Groups, styles: Styles) -> None:
    """Draw each group's median curve and quartile band, where at least half have a value."""
    for name, (side, members) in groups.items():
        curves = np.array([item.profile for item in members])  # (objects, bins)
        known = np.isfinite(curves)
        shown = known.sum(axis=0) * 2 >= max(int(known.any(axis=1).sum()), 1)
        if not shown.any():
            continue
        low, middle, high = np.nanquantile(curves[:, shown], (0.25, 0.5, 0.75), axis=0)
        place = ((np.arange(curves.shape[1]) + 0.5) / curves.shape[1])[shown]
        colour, dashes = styles[name]
        axis.fill_between(place, low, high, color=colour, alpha=0.10, linewidth=0)
        width = 2.4 if side == "real" else 1.6
        axis.plot(place, middle, dashes, color=colour, linewidth=width, label=name)
    axis.set(xlim=(0, 1), ylim=(0, 1.45), yticks=np.linspace(0, 1, 6))  # room for the legend
    axis.set_title("profile: displacement, share of the largest", fontsize=11)
    axis.set_xlabel("0 centre, 1 rim of the defect", fontsize=8, color="#444444")
    axis.tick_params(labelsize=8)
    axis.grid(color="#DDDDDD", linewidth=0.7)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7.5, ncols=2, loc="upper center", frameon=False)
