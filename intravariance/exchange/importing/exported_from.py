# SPDX-License-Identifier: Apache-2.0
"""Where a tree that `iv export` wrote comes from, for the file that is imported from it.

The tree's `iv_export.json` has the identity of the exported dataset file. The imported file keeps
these parts of it, as identity["imported"]["exported_from"]:

    content_digest, source, layout    of the exported file, and the layout it was written in
    origin     source, seed, pose, noise_sigma of the file at the beginning, where data was exported
               and imported more than once; "imported" there when that one was somebody else's
    labels     what its identity says of hand labels, when there are any
    terms      licence and citation (see `terms`)
"""

from __future__ import annotations

import json
from typing import Any

from annotations.merging import RULES
from intravariance.cards.terms import terms_from
from intravariance.errors import InputError
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from intravariance.files.trees import Tree

KEY = "exported_from"
_LARGEST = 20_000  # bytes of all this, since a file's metadata holds 65,000
_ORIGIN = {"source": str, "seed": int, "pose": str, "noise_sigma": (int, float)}
_LABELS = {
    "rule": str,
    "annotator": (str, type(None)),
    "samples": int,
    "added": int,
    "removed": int,
    "from": str,
}


def exported_from(tree: Tree) -> dict[str, Any]:
    """Return {"exported_from": ...} of a tree that `iv export` wrote, {} of another.

    Raises InputError when the record of the export is damaged.
    """
    if EXPORT_RECORD not in tree.files(""):
        return {}
    try:
        content = json.loads(tree.read(EXPORT_RECORD))
        found = _kept(content)
        if len(json.dumps(found)) > _LARGEST:
            raise ValueError("too long")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{tree.path / EXPORT_RECORD}: expected what `iv export` wrote "
            f"({type(error).__name__}: {error}). Remove it to import without knowing the data's "
            "source and licence."
        ) from error
    return {KEY: found}


def _kept(content: dict[str, Any]) -> dict[str, Any]:
    identity = content["identity"]
    imported = identity.get("imported")
    earlier = imported.get(KEY, {}) if imported else {}
    own = _typed(identity, _ORIGIN)
    if imported:
        own["imported"] = _typed(imported, {"layout": str, "tree": str})
    # noise that the exported file's maker added is more than what its source tells
    origin = own if own["noise_sigma"] or not earlier else _origin(earlier["origin"])
    labels = identity.get("labels") or earlier.get("labels")
    if labels and labels["rule"] not in RULES:
        raise ValueError(f"labels by the rule {labels['rule']!r}")
    found = {
        **_typed(content, {"content_digest": str, "layout": str}),
        "source": own["source"],
        "origin": origin,
        "terms": terms_from(content["terms"]).to_dict(),
    }
    return found | ({"labels": _typed(labels, _LABELS)} if labels else {})


def _origin(content: dict[str, Any]) -> dict[str, Any]:
    found = _typed(content, _ORIGIN)
    if "imported" in content:
        found["imported"] = _typed(content["imported"], {"layout": str, "tree": str})
    return found


def _typed(content: dict[str, Any], types: dict[str, Any]) -> dict[str, Any]:
    """Return these entries; ValueError when one has another type, or is a text of several lines."""
    for key, kind in types.items():
        value = content[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{key} is {value!r}")
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{key} is no line of text: {value!r}")
    return {key: content[key] for key in types}
