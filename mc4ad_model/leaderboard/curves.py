# SPDX-License-Identifier: Apache-2.0
"""Curves over what a sweep sweeps: a line for each row, a panel for each setting of the rest.

Drawn without pyplot: no display, no global state.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intravariance.building.sweep_index import Member, Sweep, Values, setting
from intravariance.tables import csv_table
from mc4ad_model.leaderboard.board import Board
from mc4ad_model.leaderboard.standings import MEASURES, RANKED
from mc4ad_model.runs.experiments import Spread

# Okabe and Ito's, which every common form of colour blindness can tell apart; the order of dashes
# tells rows apart that share one.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":", "-.")
_PANEL = (4.2, 3.4)  # inches
_DOTS = 110


@dataclass(frozen=True)
class SweepBoard:
    """The leaderboards of a sweep's files. boards : in the order of the sweep's members."""

    sweep: Sweep
    boards: tuple[Board, ...]
    folder: Path

    @property
    def rows(self) -> list[str]:
        """The names of all rows."""
        return list(dict.fromkeys(s.row.name for board in self.boards for s in board.standings))

    @property
    def failed(self) -> list[str]:
        """The rows that do not work on some file, with that file's setting."""
        pairs = zip(self.sweep.members, self.boards, strict=True)
        return [f"{s.row.name} ({member.title})" for member, b in pairs for s in b.failed]

    def figures(self, measure: str) -> Iterator[tuple[Member, str, Spread, int]]:
        """Yield member, row, mean with its spread, and number of seeds, of what is defined."""
        for member, board in zip(self.sweep.members, self.boards, strict=True):
            for one in board.working:
                spread = one.spread(MEASURES[measure])
                if spread is not None:
                    yield member, one.row.name, spread, len(one.seeds)


def curves_csv(board: SweepBoard) -> str:
    """Return every mean: a line for each file, row and measure."""
    heading = [*board.sweep.swept, "row", "metric", "mean", "deviation", "seeds"]
    lines = [
        [*member.values.values(), row, measure, spread.mean, spread.deviation, seeds]
        for measure in MEASURES
        for member, row, spread, seeds in board.figures(measure)
    ]
    return csv_table(heading, lines)


def curve_pictures(board: SweepBoard) -> dict[str, bytes]:
    """Draw a PNG for each key with several values, by the key."""
    return {key: _picture(board, key) for key, values in board.sweep.swept.items() if values[1:]}


def _picture(board: SweepBoard, key: str) -> bytes:
    """Draw each ranked measure (rows of panels) over a key, for each setting of the others."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - weight

    rest = {setting(own): own for m in board.sweep.members for own in [_without(m.values, key)]}
    size = _PANEL[0] * len(rest) + 3.6, _PANEL[1] * len(RANKED)
    picture = Figure(figsize=size, dpi=_DOTS, layout="constrained")
    axes = picture.subplots(len(RANKED), len(rest), squeeze=False, sharex=True, sharey="row")
    for column, (title, own) in zip(axes.T, rest.items(), strict=True):
        column[0].set_title(title, fontsize=10)
        for axis, measure in zip(column, RANKED, strict=True):
            _lines(axis, board, key, own, measure)
        column[-1].set_xlabel(key, fontsize=9)
    for axis, measure in zip(axes[:, 0], RANKED, strict=True):
        axis.set_ylabel(measure, fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _lines(axis: Any, board: SweepBoard, key: str, rest: Values, measure: str) -> None:
    """Draw a line for each row, with the spread over seeds; 0.5 is what knowing nothing gives."""
    axis.axhline(0.5, color="#BBBBBB", linewidth=1, zorder=0)
    found: dict[str, dict[float, Spread]] = {row: {} for row in board.rows}
    for member, row, spread, _ in board.figures(measure):
        if _without(member.values, key) == rest:
            found[row][member.values[key]] = spread
    for number, (row, spreads) in enumerate(found.items()):
        values = sorted(spreads)
        axis.errorbar(
            values,
            [spreads[value].mean for value in values],
            [spreads[value].deviation or 0.0 for value in values],
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=_DASHES[number // len(_COLOURS) % len(_DASHES)],
            marker="o", markersize=3, linewidth=1.4, capsize=2, label=row,
        )  # fmt: skip
    swept = sorted(board.sweep.swept[key])
    # logarithmic, and linear below the smallest value, so that 0 has a place
    if positive := [value for value in swept if value > 0]:
        axis.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
    axis.set_xticks(swept, [f"{value:.6g}" for value in swept], fontsize=8)
    axis.minorticks_off()
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(color="#EEEEEE", linewidth=0.7)
    axis.set_axisbelow(True)


def _without(values: Values, key: str) -> Mapping[str, float]:
    return {name: value for name, value in values.items() if name != key}
