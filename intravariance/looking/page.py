# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page to look at clouds side by side: in any browser, without a network.

The viewer is K3D (https://k3d-jupyter.org, MIT), whose bundle goes into the page; our own part
lies in the folder page_assets/. Clouds are quantised and compressed (`pack_cloud`), and decoded in
the browser when they are first shown. Names and notes are data to the page, never markup or code:
it runs no script but its own (Content-Security-Policy) and cannot open a connection.

Conventions: points (N, 3) are upright (see `LabelledCloud`). Equal input gives equal bytes.
"""

from __future__ import annotations

import base64
import html
import importlib.metadata
import importlib.util
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import BackendUnavailable, InputError
from intravariance.extras import not_installed
from intravariance.looking.assets import asset, fill, script_hash, style
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.colours import (
    ANOMALY_COLOUR,
    EXPOSED_COLOUR,
    NORMAL_COLOUR,
    scalar_colours,
)
from intravariance.looking.sortable import Listing, sort_script, sortable_table
from intravariance.looking.splats import splat_radius
from intravariance.seeds import generator

DISPLAY_POINTS = 12_000

# A cloud thinned for display keeps at least so many of its labelled and of its normal points.
_KEPT = 200
_LEVELS = 65535  # of 16 bits
_SIGNED_LEVELS = 32767
_EXPOSED = 65535  # as a displacement; the largest one is 65534
# K3D's style names its fonts in formats for old browsers too, as files beside the page.
_OUTSIDE_FONTS = re.compile(rb""",url\(fonts/[\w-]+\.(?:woff|ttf)\) format\("\w+"\)""")
_NAMES = ("name", "category", "subcategory", "defect", "source")
_SCRIPTS = ("data.js", "colours.js", "pane.js", "viewer.js")
# With a threshold: blue and purple are far from orange and grey for every form of colour blindness
# (Okabe and Ito's palette).
_FALSE_ALARM_COLOUR = (0.00, 0.45, 0.70)
_MISSED_COLOUR = (0.80, 0.35, 0.65)


@dataclass(frozen=True)
class Note:
    """A section below the viewer: a title, plain text (line breaks stay), a table, or both.

    columns : headings. rows : cells in that order; numbers are aligned to the right, None is left
    empty. Floats appear with four significant digits: give text where they should not.
    """

    title: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | float | None]] = ()


def page(
    title: str,
    clouds: Sequence[LabelledCloud],
    notes: Sequence[Note] = (),
    *,
    display_points: int = DISPLAY_POINTS,
    seed: int = 0,
    listing: Listing | None = None,
    live: str = "",
) -> bytes:
    """Make the page (UTF-8) that shows the clouds, in their order, category by category.

    display_points : clouds with more are thinned for display at random, from `seed` and the
    cloud's name; labelled points keep their share, and at least 200 of them (all, where there are
    fewer) stay. The page says how many are shown. listing : a table that opens the clouds, in one
    pane beside it, coloured by score. live : a script of ours for a page that a server gives, which
    may ask that server and adds clouds itself (`iv.add` of viewer.js); it may begin without any.

    Raises
    ------
    InputError
        There is no cloud on a page that is not live, two have one name, one is empty, has lengths
        that differ or holds infinite or undefined points, normals, scores or forces;
        display_points is not positive.
    BackendUnavailable
        The viewer library is not installed.
    """
    _check(clouds, display_points, empty=bool(live))
    code, licence, version = _library()
    entries, blocks = [], []
    for number, cloud in enumerate(clouds):
        chosen = display_choice(cloud, display_points, seed)
        entry, packed = pack_cloud(cloud, chosen)
        entries.append(entry)
        blocks.append(f'<script type="text/plain" id="cloud-{number}">{_deflated(packed)}</script>')
    index = {
        "categories": list(dict.fromkeys(cloud.category for cloud in clouds)),
        "palette": _palette(),
        "clouds": entries,
        "panes": 2 if listing is None else 1,
        "colouring": "label" if listing is None else "score",
    }
    parts = [sort_script()] if listing else []
    script = "\n" + "\n".join(['"use strict";', *parts, *map(asset, _SCRIPTS), live])
    filled = {
        "policy": _policy(script, "'self'" if live else "'none'"),
        "title": html.escape(title),
        "style": style(),
        "listing": "" if listing is None else _listed(listing, clouds),
        "notes": _notes(notes),
        "library": html.escape(f"Drawn with K3D {version} (MIT)"),
        "licence": html.escape(licence),
        "index": _json(index),
        "code": code,
        "clouds": "\n".join(blocks),
        "script": script,
    }
    return fill(asset("template.html"), filled).encode()


def display_choice(cloud: LabelledCloud, display_points: int, seed: int) -> NDArray[np.intp]:
    """Choose the points that are shown: all, or about `display_points`; ascending numbers."""
    total = len(cloud.points)
    if total <= display_points:
        return np.arange(total)
    rng = generator(seed, cloud.name, "display")
    anomalous = np.flatnonzero(cloud.labels > 0)
    normal = np.flatnonzero(cloud.labels == 0)
    wanted = max(round(display_points * len(anomalous) / total), _KEPT)
    wanted = min(wanted, len(anomalous), max(display_points // 2, 1))
    rest = min(display_points - wanted, len(normal))
    wanted = min(display_points - rest, len(anomalous))
    parts = (
        rng.choice(anomalous, wanted, replace=False),
        rng.choice(normal, rest, replace=False),
    )
    return np.sort(np.concatenate(parts))


def pack_cloud(cloud: LabelledCloud, chosen: NDArray[np.intp]) -> tuple[dict[str, Any], bytes]:
    """Pack the chosen points of a cloud for the page: what it is, and its data quantised.

    The bytes are these arrays one after the other, little-endian, M points: positions (3, M)
    uint16, all x first, `origin + step * value` along each axis; where displacements are known,
    their length (M,) uint16, times `displacement_step`, 65535 on exposed surface; where there
    are scores, (M,) uint16, `score_low + score_step * value`; where there are forces, (3, M) int16,
    times `force_step`; normals (3, M) int8, times 1/127; labels (M,) uint8. Errors are at most half
    a step: of positions and scores 1/131070 of their span in this cloud, of displacements 1/131068
    of the largest, of forces 1/65534 of the largest coordinate, of normals 1/254 a coordinate.
    """
    points = cloud.points[chosen].astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    step = (high - low) / _LEVELS
    parts = [_quantise(points - low, step).T.astype("<u2")]
    displacement_step = score_low = score_step = force_step = None
    largest = strongest = None
    if cloud.displacement is not None:
        moved, exposed = cloud.moved, cloud.exposed
        largest = float(moved[~exposed].max(initial=0.0))
        displacement_step = largest / (_EXPOSED - 1)
        levels = _quantise(np.where(exposed, 0.0, moved)[chosen], displacement_step)
        parts.append(np.where(exposed[chosen], _EXPOSED, levels).astype("<u2"))
    if cloud.scores is not None:
        scores = cloud.scores[chosen].astype(np.float64)
        score_low = float(scores.min())
        score_step = (float(scores.max()) - score_low) / _LEVELS
        parts.append(_quantise(scores - score_low, score_step).astype("<u2"))
    if cloud.force is not None:
        force = cloud.force[chosen].astype(np.float64)
        strongest = float(np.linalg.norm(force, axis=1).max())
        force_step = float(np.abs(force).max()) / _SIGNED_LEVELS
        parts.append(_quantise(force, force_step).T.astype("<i2"))
    parts.append(np.rint(127 * cloud.normals[chosen].T.astype(np.float64)).astype(np.int8))
    parts.append((cloud.labels[chosen] > 0).astype(np.uint8))
    centre, radius = _ball(cloud)
    entry = {
        **{key: getattr(cloud, key) for key in _NAMES},
        "points": cloud.whole or len(cloud.points),
        "shown": len(chosen),
        "anomalous": int(np.count_nonzero(cloud.labels)),
        "labelled": cloud.labelled,
        "exposed": int(np.count_nonzero(cloud.exposed)),
        "largest": largest,
        "origin": low.tolist(),
        "step": step.tolist(),
        "displacement_step": displacement_step,
        "score_low": score_low,
        "score_step": score_step,
        "force_step": force_step,
        "strongest": strongest,
        "spacing": splat_radius(points, cloud.normals[chosen]),
        "centre": centre.tolist(),
        "radius": radius,
        "reach": float(np.linalg.norm(points - centre, axis=1).max()) / radius,
    }
    return entry, b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _quantise(values: NDArray[np.float64], step: NDArray[np.float64] | float) -> NDArray[Any]:
    """Round values to whole numbers of steps; 0 where the step is 0."""
    step = np.asarray(step)
    return np.asarray(np.rint(values / np.where(step > 0, step, 1.0)))


def _ball(cloud: LabelledCloud) -> tuple[NDArray[np.float64], float]:
    """Return centre and radius of the ball that the cameras frame.

    It is the unit ball, so that a defective product lies over its template; scans come in any
    place and size and get the ball around their box.
    """
    if cloud.source != "scan":
        return np.zeros(3), 1.0
    points = cloud.points.astype(np.float64)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    return centre, radius if radius > 0 else 1.0


def _check(clouds: Sequence[LabelledCloud], display_points: int, empty: bool) -> None:
    """Raise InputError for what `page` cannot show."""
    if display_points < 1:
        raise InputError(f"points to display: expected at least 1, found {display_points}")
    if not clouds and not empty:
        raise InputError("there is no cloud to show: choose another category or file")
    for cloud in clouds:
        _check_arrays(cloud)
    for name, count in Counter(cloud.name for cloud in clouds).items():
        if count > 1:
            raise InputError(f"{name}: two clouds have this name: names must differ on a page")


def _check_arrays(cloud: LabelledCloud) -> None:
    count = len(cloud.points)
    if count == 0:
        raise InputError(f"{cloud.name}: expected points, found none: leave this cloud out")
    arrays: dict[str, NDArray[Any] | None] = {
        "points": cloud.points,
        "normals": cloud.normals,
        "scores": cloud.scores,
        "force": cloud.force,
    }
    lengths = arrays | {"labels": cloud.labels, "displacement": cloud.displacement}
    for what, values in lengths.items():
        if values is not None and len(values) != count:
            raise InputError(f"{cloud.name}: expected {count} {what}, found {len(values)}")
    for what, values in arrays.items():
        if values is not None and not np.isfinite(values).all():
            raise InputError(f"{cloud.name}: {what}: expected finite numbers, found others")


def _library() -> tuple[str, str, str]:
    """Return K3D's packed bundle, licences and version; importing it would need Jupyter."""
    found = importlib.util.find_spec("k3d")
    bundle = Path(found.origin).parent / "static/standalone.js" if found and found.origin else None
    if bundle is None or not bundle.is_file():
        raise BackendUnavailable(f"the viewer of pages: {not_installed(['k3d'])}")
    return _packed_library(bundle)


@lru_cache(maxsize=1)
def _packed_library(bundle: Path) -> tuple[str, str, str]:
    distribution = importlib.metadata.distribution("k3d")
    texts = [
        Path(str(distribution.locate_file(file))).read_text(encoding="utf-8")
        for file in sorted(distribution.files or (), key=str)
        if re.search(r"dist-info/.*LICENSE", str(file))
    ]
    texts.append(bundle.with_name("standalone.js.LICENSE.txt").read_text(encoding="utf-8"))
    code = _OUTSIDE_FONTS.sub(b"", bundle.read_bytes())
    return _deflated(code), "\n".join(texts), distribution.version


def _palette() -> dict[str, Any]:
    return {
        "normal": NORMAL_COLOUR,
        "anomaly": ANOMALY_COLOUR,
        "exposed": EXPOSED_COLOUR,
        "hit": ANOMALY_COLOUR,
        "missed": _MISSED_COLOUR,
        "false_alarm": _FALSE_ALARM_COLOUR,
        "ramp": scalar_colours(np.linspace(0.0, 1.0, 16), 1.0).round(4).tolist(),
    }


def _policy(script: str, connections: str) -> str:
    """Write the Content-Security-Policy: our script, the library (a blob), styles, nothing else."""
    return (
        f"default-src 'none'; script-src '{script_hash(script)}' blob:; style-src 'unsafe-inline'; "
        f"img-src data: blob:; font-src data:; connect-src {connections}; base-uri 'none'; "
        "form-action 'none'"
    )


def _listed(listing: Listing, clouds: Sequence[LabelledCloud]) -> str:
    numbers = {cloud.name: number for number, cloud in enumerate(clouds)}
    return (
        f'<section id="listing" aria-label="Table" tabindex="0">'
        f'<p id="listing-text">{html.escape(listing.text)}</p>'
        f"{sortable_table(listing.columns, listing.rows, numbers)}</section>"
    )


def _notes(notes: Sequence[Note]) -> str:
    if not notes:
        return ""
    sections = "\n".join(map(_note, notes))
    return f'<details id="notes"><summary>Notes and figures</summary>\n{sections}\n</details>'


def _note(note: Note) -> str:
    parts = [f"<h2>{html.escape(note.title)}</h2>"]
    if note.text:
        parts.append(f"<p>{html.escape(note.text)}</p>")
    if note.rows or note.columns:
        numeric = [_numeric([row[i] for row in note.rows]) for i in range(len(note.columns))]
        head = "".join(
            f'<th scope="col"{_aligned(right)}>{html.escape(name)}</th>'
            for name, right in zip(note.columns, numeric, strict=True)
        )
        rows = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in note.rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    return "<section>" + "\n".join(parts) + "</section>"


def _numeric(cells: Sequence[str | float | None]) -> bool:
    return any(cell is not None and not isinstance(cell, str) for cell in cells)


def _aligned(right: bool) -> str:
    return ' class="number"' if right else ""


def _cell(cell: str | float | None) -> str:
    text = "" if cell is None else cell if isinstance(cell, str) else f"{cell:.4g}"
    if isinstance(cell, int):  # a count: all its digits
        text = str(cell)
    return f"<td{_aligned(_numeric([cell]))}>{html.escape(text)}</td>"


def _json(value: Any) -> str:
    """Write JSON that no name can break out of: within a script element, `<` could end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()
