# SPDX-License-Identifier: Apache-2.0
"""Samples for torch: what a dataset file has, in batches, from worker processes too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model import CloudDataset, collate_clouds
from tests.support.samples import make_dataset, small_specification


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder / "d.h5", small_specification((60, 90), 2, 1))


def test_items_are_the_samples(data: Path) -> None:
    clouds = CloudDataset(data)
    with open_dataset(data) as dataset:
        assert len(clouds) == len(dataset) and clouds.categories == dataset.categories
        for item, record in zip((clouds[i] for i in range(len(clouds))), dataset, strict=True):
            for name in ("points", "normals", "displacement"):
                assert item[name].dtype == torch.float32
                np.testing.assert_array_equal(item[name].numpy(), getattr(record, name))
            np.testing.assert_array_equal(item["labels"].numpy(), record.labels)
            assert item["labels"].dtype == torch.int64 and item["id"] == record.id
            assert clouds.categories[item["category"]] == record.category
            assert item["defective"] == (record.defect != "normal")


def test_a_part_of_them(data: Path) -> None:
    train = CloudDataset(data, split="train", category="brick")
    assert {(r.split, r.category) for r in train.records} == {("train", "brick")}
    with pytest.raises(InputError, match="no samples with split valid and category brick"):
        CloudDataset(data, split="valid", category="brick")
    with pytest.raises(InputError, match="no category cup; the file has ball, brick"):
        CloudDataset(data, category="cup")
    with pytest.raises(InputError, match="points = 0: expected 1 or more"):
        CloudDataset(data, points=0)


def test_points_are_drawn_by_seed_sample_and_epoch(data: Path) -> None:
    clouds = CloudDataset(data, points=40)
    whole = CloudDataset(data)[3]
    first, again = clouds[3], clouds[3]
    assert torch.equal(first["points"], again["points"])
    rows = [(whole["points"] == point).all(dim=1).nonzero().item() for point in first["points"]]
    assert len(set(rows)) == 40
    for name in ("labels", "normals"):
        assert torch.equal(first[name], whole[name][rows])
    clouds.epoch = 1
    other = CloudDataset(data, points=40, seed=1)
    assert not torch.equal(clouds[3]["points"], first["points"])
    assert not torch.equal(other[3]["points"], first["points"])
    many = CloudDataset(data, points=200)[3]["points"]
    assert len(many) == 200
    assert {tuple(p) for p in many.tolist()} == {tuple(p) for p in whole["points"].tolist()}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_keeps_every_point_beside_its_cloud(workers: int, data: Path) -> None:
    clouds = CloudDataset(data, split="test")
    loader = torch.utils.data.DataLoader(
        clouds, batch_size=3, collate_fn=collate_clouds, num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
    )  # fmt: skip
    seen = []
    for batch in loader:
        assert len(batch["cloud"]) == len(batch["points"]) == batch["lengths"].sum()
        for place, name in enumerate(batch["id"]):
            own = batch["cloud"] == place
            item = clouds[[r.id for r in clouds.records].index(name)]
            for key in ("points", "labels", "displacement"):
                assert torch.equal(batch[key][own].nan_to_num(), item[key].nan_to_num())
            assert batch["category"][place] == item["category"]
            assert batch["defective"][place] == item["defective"]
        seen += batch["id"]
    assert seen == [record.id for record in clouds.records]
