# SPDX-License-Identifier: Apache-2.0
"""Effects of the user's choices of reading (`cloud_files.ReadingChoices`) on an import.

The choices are part of the file's identity. An unfinished import carries on with other choices: it
was perhaps refused for the want of them, and each finished sample tells which it was made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intravariance.dataset.store import Dataset

_KEYS = {"drop_no_return", "anomalous_labels"}


def without_choices(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of an import but for its choices."""
    imported = {key: value for key, value in identity["imported"].items() if key not in _KEYS}
    return {**identity, "imported": imported}


def dropped_points(dataset: Dataset) -> dict[str, int]:
    """Return how many rows of a scan's file were no points, by the scan's id."""
    if "drop_no_return" not in dataset.metadata["identity"]["imported"]:
        return {}
    records = [record.parameters["imported"] for record in dataset]
    return {record["scan"]: record["dropped"] for record in records if "dropped" in record}
