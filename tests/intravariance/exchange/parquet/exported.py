# SPDX-License-Identifier: Apache-2.0
"""Datasets exported as Parquet, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intravariance.dataset.store import open_dataset
from intravariance.exchange.parquet import writing as parquet


def export(source: Path, out: Path, **options: Any) -> Path:
    with open_dataset(source) as dataset:
        parquet.write_parquet(dataset, out, **options)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
