# SPDX-License-Identifier: Apache-2.0
"""One self-contained page of a prediction: a table with the worst first, whose rows open the scan.

How large it gets is bounded: the table by `MOST_ROWS`, the clouds by `MOST_POINTS` all together.
A line above the table says what is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intravariance.errors import first_of
from intravariance.looking.page import Cell, Heading, Listing, Row, page
from mc4ad_model.prediction.worst import ShownCloud

MOST_ROWS = 2000
POINTS = 8000  # of a cloud
MOST_POINTS = 500_000  # of all of them

_COLUMNS = (
    Heading("scan"),
    Heading("object score"),
    Heading("p-value", "ascending"),
    Heading("anomalous"),
    Heading("points"),
    Heading("PLY"),
    Heading("remarks"),
)


def predictions_page(
    title: str, content: dict[str, Any], shown: Sequence[ShownCloud], noise: float = 0.0
) -> bytes:
    """Make the page (UTF-8).

    content : of predictions.json. shown : the clouds that can be looked at. noise : of scans, its
    standard deviation on each coordinate, in radii.

    Raises
    ------
    BackendUnavailable
        The viewer library is not installed.
    """
    scans = worst_first(content["scans"])
    failed = [scan for scan in scans if scan["error"]]
    listed = scans[: min(len(scans) - len(failed), MOST_ROWS)] + failed[:MOST_ROWS]
    points = points_of_each(len(shown))
    names = {cloud.number: cloud.name for cloud in shown}
    rows = [_row(scan, names.get(scan["number"], "")) for scan in listed]
    # a column in which nothing stands is left out
    kept = [i for i in range(len(_COLUMNS)) if any(row.cells[i].text for row in rows)]
    listing = Listing(
        _text(content, len(listed), len(shown), points),
        [_COLUMNS[i] for i in kept],
        [Row([row.cells[i] for i in kept], row.shows) for row in rows],
    )
    clouds = [cloud.labelled(points, noise) for cloud in shown]
    return page(title, clouds, display_points=points, listing=listing)


def worst_first(scans: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort entries of predictions.json: by falling score; those without one come last."""
    return sorted(scans, key=lambda s: (bool(s["error"]), -(s["object_score"] or 0), s["number"]))


def points_of_each(clouds: int) -> int:
    """Return how many points of each of so many clouds a page shows at most."""
    return min(POINTS, MOST_POINTS // max(clouds, 1))


def _row(scan: dict[str, Any], shows: str) -> Row:
    score, p_value, points = scan["object_score"], scan["p_value"], scan["points"]
    remarks = [*scan["notes"], *([f"not scored: {scan['error']}"] if scan["error"] else [])]
    cells = (
        Cell(f"{scan['number']}. {_short(scan['file'])}"),
        Cell("" if score is None else f"{score:.3f}", score),
        Cell("" if p_value is None else f"{p_value:.3g}", p_value),
        Cell(
            {None: "", True: "yes", False: "no"}[scan["anomalous"]], strong=bool(scan["anomalous"])
        ),
        Cell("" if points is None else f"{points:,}", points),
        Cell("open" if scan["cloud"] else "", link=scan["cloud"]),
        Cell("; ".join(remarks)),
    )
    return Row(cells, shows)


def _short(file: str) -> str:
    """Leave the last two parts of a name: whole paths push the scores out of sight."""
    parts = file.replace("\\", "/").split("/")
    return "/".join(parts[-2:])


def _text(content: dict[str, Any], listed: int, shown: int, points: int) -> str:
    run, scans = content["run"], content["scans"]
    anomalous = sum(bool(scan["anomalous"]) for scan in scans)
    failed = sum(bool(scan["error"]) for scan in scans)
    said = f"{len(scans):,} scans of {run['category']}, scored with {run['method']}"
    said += f" ({run['preset']})" if run["preset"] else ""
    said += "."
    if content["threshold"] is not None:
        said += (
            f" {anomalous:,} anomalous: above {content['threshold']:.4g}, at a rate of false "
            f"alarms of {content['false_alarms']:g}."
        )
    if failed:
        said += f" {failed:,} could not be scored; they stand last."
    lines = [said]
    lines.append(
        f"A row opens its scan: the {shown:,} worst have a view, of at most {points:,} points each."
        if shown < len(scans) - failed
        else f"A row opens its scan, of which at most {points:,} points are shown."
    )
    if rest := len(scans) - listed:
        lines.append(f"{rest:,} more scans stand in predictions.csv alone.")
    if content["left_out"]:
        lines.append(f"Left out, as no clouds: {first_of(content['left_out'], 5)}.")
    return "\n".join(lines)
