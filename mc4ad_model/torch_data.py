# SPDX-License-Identifier: Apache-2.0
"""The samples of a dataset file for torch: a map-style `Dataset`, and how clouds become a batch.

    clouds = CloudDataset("group2.h5", split="train", points=1024)
    for batch in torch.utils.data.DataLoader(clouds, batch_size=8, collate_fn=collate_clouds): ...

Files are opened in each worker process when it reads first, and only what is asked for is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from annotations.vocabulary import NORMAL
from intravariance.dataset.specification import Split
from intravariance.dataset.store import Record, open_dataset
from intravariance.errors import InputError
from intravariance.seeds import generator

__all__ = ["CloudDataset", "collate_clouds"]


class CloudDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """The samples of a dataset file, in the file's order.

    An item is a dict of "points", "normals" and "displacement", (N, 3) float32 in the stored frame
    (displacement NaN where it is not known), "labels" (N,) int64, 1 for an anomalous point, the
    numbers "category" (its place in `categories`) and "defective", and "id".

    Parameters
    ----------
    path
        The dataset file.
    split, category
        Only samples of these; None for all.
    points
        Draw so many points of each cloud at random: without replacement, or, of a cloud that has
        fewer, each at least once. None for all, in the order of the file.
    seed
        Seed of that draw, which depends on it, the sample and `epoch` alone. Change `epoch` between
        epochs for other points; worker processes that a loader keeps do not notice.

    Raises
    ------
    InputError
        The file cannot be used, has no such sample, or `points` is below 1.
    """

    def __init__(
        self,
        path: str | Path,
        split: Split | None = None,
        category: str | Sequence[str] | None = None,
        points: int | None = None,
        seed: int = 0,
    ) -> None:
        if points is not None and points < 1:
            raise InputError(f"points = {points}: expected 1 or more, or None")
        dataset = open_dataset(path)
        chosen = dataset.filter(category=category) if category is not None else dataset
        self.records = [record for record in chosen if split in (None, record.split)]
        if not self.records:
            raise InputError(f"{path}: no samples with split {split} and category {category}")
        self.categories = dataset.categories
        self.points, self.seed, self.epoch = points, seed, 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        sample = record.load()
        rows = self._rows(record)
        arrays = {name: getattr(sample, name) for name in ("points", "normals", "displacement")}
        item: dict[str, Any] = {
            name: torch.from_numpy(np.ascontiguousarray(array[rows], dtype=np.float32))
            for name, array in arrays.items()
        }
        return item | {
            "labels": torch.from_numpy(sample.labels[rows].astype(np.int64)),
            "category": self.categories.index(record.category),
            "defective": int(record.defect != NORMAL),
            "id": record.id,
        }

    def _rows(self, record: Record) -> Any:
        if self.points is None:
            return slice(None)
        rng = generator(self.seed, "torch data", record.id, str(self.epoch))
        rows = rng.permutation(record.n_points)[: self.points]
        more = rng.integers(record.n_points, size=self.points - len(rows))
        return np.concatenate([rows, more])


def collate_clouds(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of B clouds, of any numbers of points.

    Returns
    -------
    Arrays of points one cloud after another, (N, ...) for the N points of all; "cloud" (N,) int64,
    the cloud of each, and "lengths" (B,) int64; "category" and "defective" (B,) int64; "id", a
    list of B.
    """
    lengths = torch.tensor([len(item["points"]) for item in items])
    batch: dict[str, Any] = {
        name: torch.cat([item[name] for item in items])
        for name, value in items[0].items()
        if isinstance(value, Tensor)
    }
    numbers = {
        name: torch.tensor([item[name] for item in items]) for name in ("category", "defective")
    }
    return {
        **batch,
        **numbers,
        "cloud": torch.repeat_interleave(torch.arange(len(items)), lengths),
        "lengths": lengths,
        "id": [item["id"] for item in items],
    }
