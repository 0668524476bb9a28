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
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import BackendUnavailable, InputError
from intravariance.extras import not_installed
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.colours import page_palette
from intravariance.looking.page.assets import asset, fill, script, script_hash, style
from intravariance.looking.page.notes import Figure, Note, figures_html, notes_html
from intravariance.looking.page.packing import display_choice, pack_cloud
from intravariance.looking.page.sortable import Listing, sort_script, sortable_table

DISPLAY_POINTS = 12_000

# K3D's style names its fonts in formats for old browsers too, as files beside the page.
_OUTSIDE_FONTS = re.compile(rb""",url\(fonts/[\w-]+\.(?:woff|ttf)\) format\("\w+"\)""")
_SCRIPTS = ("data.js", "colours.js", "pane.js", "viewer.js")


def page(
    title: str,
    clouds: Sequence[LabelledCloud],
    notes: Sequence[Note] = (),
    *,
    display_points: int = DISPLAY_POINTS,
    seed: int = 0,
    figures: Mapping[str, Sequence[Figure]] | None = None,
    listing: Listing | None = None,
    labels_beside: bool = False,
    live: str = "",
) -> bytes:
    """Make the page (UTF-8) that shows the clouds, in their order, category by category.

    display_points : clouds with more are thinned for display at random, from `seed` and the
    cloud's name; labelled points keep their share, and at least 200 of them (all, where there are
    fewer) stay. The page says how many are shown. figures : of a category, above everything.
    listing : a table that opens the clouds, beside the viewer, which opens coloured by score; of
    the rows that open a cloud those of the category that is looked at are shown. labels_beside :
    whether the page opens with one cloud in both panes, by its labels on the right; a page with a
    listing has one pane otherwise. live : a script of ours for a page that a server gives, which
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
    library, licence, version = _library()
    entries, blocks = [], []
    for number, cloud in enumerate(clouds):
        chosen = display_choice(cloud, display_points, seed)
        entry, packed = pack_cloud(cloud, chosen)
        entries.append(entry)
        blocks.append(f'<script type="text/plain" id="cloud-{number}">{_deflated(packed)}</script>')
    index = {
        "categories": list(dict.fromkeys(cloud.category for cloud in clouds)),
        "palette": page_palette(),
        "clouds": entries,
        "panes": 2 if listing is None or labels_beside else 1,
        "colouring": "label" if listing is None else "score",
        "labels_beside": labels_beside,
    }
    parts = [sort_script()] if listing else []
    code = "\n" + "\n".join(['"use strict";', *parts, *map(script, _SCRIPTS), live])
    filled = {
        "policy": _policy(code, "'self'" if live else "'none'"),
        "title": html.escape(title),
        "style": style(),
        "listing": "" if listing is None else _listed(listing, clouds),
        "figures": figures_html(figures or {}),
        "notes": notes_html(notes),
        "library": html.escape(f"Drawn with K3D {version} (MIT)"),
        "licence": html.escape(licence),
        "index": _json(index),
        "code": library,
        "clouds": "\n".join(blocks),
        "script": code,
    }
    return fill(asset("template.html"), filled).encode()


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


def _json(value: Any) -> str:
    """Write JSON that no name can break out of: within a script element, `<` could end it.

    Fractions have nine digits, a thousandth of what a step of 16 bits needs.
    """
    text = json.dumps(_shortened(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()
