# SPDX-License-Identifier: Apache-2.0
"""What the user's choices of reading (`cloud_files.ReadingChoices`) mean for an import.

They are part of the file's identity. An unfinished import carries on with other choices: it was
perhaps refused for the want of them, and each finished sample tells which it was made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intravariance.dataset.store import open_dataset

_KEYS = {"drop_no_return", "anomalous_labels"}


def without_choices(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of an import but for its choices."""
    imported = {key: value for key, value in identity["imported"].items() if key not in _KEYS}
    return {**identity, "imported": imported}


def dropped_points(out: Path) -> dict[str, int]:
    """Return how many rows of a scan's file were no points, by the scan's id."""
    with open_dataset(out) as dataset:
        if "drop_no_return" not in dataset.metadata["identity"]["imported"]:
            return {}
        records = [record.parameters["imported"] for record in dataset]
    return {record["scan"]: record["dropped"] for record in records if "dropped" in record}
