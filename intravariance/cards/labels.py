# SPDX-License-Identifier: Apache-2.0
"""Sentences about the labels of a dataset file, for its card and for `iv info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotations.merging import Rule

# The rules for hand labels, in words that follow "a point is anomalous when".
_RULES: dict[Rule, str] = {
    "hand": "the person says so",
    "union": "the person or the earlier label says so",
    "intersection": "the person and the earlier label say so",
    "construction": "the earlier label says so, whatever the person does",
}


def hand_labels(identity: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what the identity says of hand labels: the file's own, or those that imported data
    came with; None when there are none.
    """
    exported = identity.get("imported", {}).get("exported_from", {})
    labels: Mapping[str, Any] | None = identity.get("labels") or exported.get("labels")
    return labels


def in_short(labels: Mapping[str, Any]) -> str:
    """Return one line."""
    return (
        f"by hand in {labels['samples']} samples, rule {labels['rule']}, annotator "
        f"{labels['annotator'] or 'not named'}; {labels['added']} points added, "
        f"{labels['removed']} removed"
    )


def in_prose(labels: Mapping[str, Any]) -> str:
    """Return sentences of a card."""
    return (
        f"Labels of {labels['samples']} samples were edited by hand (annotator: "
        f"{labels['annotator'] or 'not named'}), starting from the file with the content digest "
        f"`{labels['from']}`. There, by the rule `{labels['rule']}`, a point is anomalous when "
        f"{_RULES[labels['rule']]}: {labels['added']} points were added and {labels['removed']} "
        "removed. The other samples keep their earlier labels."
    )
