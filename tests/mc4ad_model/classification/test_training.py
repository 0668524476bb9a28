# SPDX-License-Identifier: Apache-2.0
"""Training: what it learns in two epochs, that it repeats, and how answers are scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("sklearn")

import torch
from sklearn.metrics import roc_auc_score

from mc4ad_model.classification.networks import NETWORKS
from mc4ad_model.classification.plan import PLANS
from mc4ad_model.classification.tasks import Clouds, Task
from mc4ad_model.classification.training import (
    Training,
    commonest,
    score,
    scores_of,
    train,
    varied,
)
from tests.support.runs import cpu

PLAN = replace(
    PLANS["small"], epochs=2, batch=8, width=0.2, attention=0.05, neighbours=0.2, rate=4e-3
)


def made(seed: int, count: int = 96, points: int = 48) -> Clouds:
    """Discs that lie, stand or slope; the part of a point is whether it is on the outer half."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    angle, radius = rng.uniform(0, 2 * np.pi, (count, points)), rng.random((count, points))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    flat = np.stack([x, y, 0 * x], axis=2)
    axes = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]
    clouds = np.stack([cloud[:, axes[c]] for cloud, c in zip(flat, classes, strict=True)])
    parts = (2 * classes[:, None] + (radius > 0.5)).astype(np.int64)
    return Clouds(clouds.astype(np.float32), classes.astype(np.int64), parts)


def task(segmentation: bool) -> Task:
    train_clouds, test_clouds = made(0), made(1, 12)
    if segmentation:
        parts = ((0, 1), (2, 3), (4, 5))
        return Task("segmentation", train_clouds, test_clouds, 3, parts)
    bare = [replace(clouds, parts=None) for clouds in (train_clouds, test_clouds)]
    return Task("recognition", bare[0], bare[1], 3)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mc_skip", [False, True], ids=["plain", "mc-skip"])
@pytest.mark.parametrize("segmentation", [False, True], ids=["classes", "parts"])
def test_two_epochs_lower_the_loss(name: str, mc_skip: bool, segmentation: bool) -> None:
    outcome = train(task(segmentation), Training(name, mc_skip, PLAN, 0), cpu())
    assert len(outcome.losses) == 2 and outcome.losses[1] < outcome.losses[0]
    assert outcome.parameters > 0 and outcome.seconds > 0
    names = {"instance_iou", "class_iou"} if segmentation else {"accuracy"}
    assert outcome.scores.keys() == names
    assert all(0 <= value <= 1 for value in outcome.scores.values())


def test_a_longer_training_learns_the_task() -> None:
    plan = replace(PLAN, epochs=6)
    assert train(task(False), Training("PointNet", True, plan, 0), cpu()).scores["accuracy"] > 0.9
    found = train(task(True), Training("PointNet", True, plan, 0), cpu()).scores
    assert found["instance_iou"] > commonest(task(True))["instance_iou"] + 0.1


def test_the_seed_decides_and_torchs_own_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    each = [train(task(False), Training("DGCNN", True, PLAN, seed), cpu()) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert each[0].losses == each[1].losses and each[0].scores == each[1].scores
    assert each[0].losses != each[2].losses


def test_clouds_are_scaled_and_shifted_as_a_whole() -> None:
    clouds = np.random.default_rng(0).normal(size=(50, 9, 6)).astype(np.float32)
    found = varied(clouds, np.random.default_rng(1))
    assert np.array_equal(found[..., 3:], clouds[..., 3:])
    before = np.linalg.norm(clouds[:, 1:, :3] - clouds[:, :1, :3], axis=2)
    scale = np.linalg.norm(found[:, 1:, :3] - found[:, :1, :3], axis=2) / before
    assert np.allclose(scale, scale[:, :1], rtol=1e-4)
    assert 0.79 < scale.min() < 0.9 and 1.15 < scale.max() < 1.26
    shift = found[:, 0, :3] - clouds[:, 0, :3] * scale[:, :1]
    assert 0.08 < np.abs(shift).max() < 0.101


class Always(torch.nn.Module):
    """Gives every point the highest value for part 5, then 1, then the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor([0.0, 2, 0, 1, 0, 3]))

    def forward(self, points: torch.Tensor, category: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.values.expand(*points.shape[:2], 6), None


def test_only_parts_of_a_clouds_category_are_found() -> None:
    """Each category's odd part has the highest value among its own two."""
    one = task(True)
    assert one.test.parts is not None
    odd = np.broadcast_to(2 * one.test.classes[:, None] + 1, one.test.parts.shape)
    assert score(Always(), one, PLAN) == scores_of(odd, one)  # type: ignore[arg-type]


class Height(torch.nn.Module):
    """Says that a point is a defect's the more, the higher it is; but never that it is one."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = torch.nn.Parameter(torch.tensor(9.0))

    def forward(self, points: torch.Tensor, category: torch.Tensor) -> tuple[torch.Tensor, None]:
        height = points[..., 2]
        return torch.stack([self.normal.expand_as(height), height], dim=2), None


def test_points_of_defects_have_an_auroc_too() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 40, 3)).astype(np.float32)
    parts = (points[..., 2] + rng.normal(size=(6, 40)) > 1).astype(np.int64)
    clouds = Clouds(points, np.zeros(6, dtype=np.int64), parts)
    found = score(Height(), Task("segmentation", clouds, clouds, 1, ((0, 1),)), PLAN)  # type: ignore[arg-type]
    assert found["point_auroc"] == pytest.approx(
        roc_auc_score(parts.ravel(), points[..., 2].ravel())
    )
    assert found["instance_iou"] == pytest.approx((1 - parts.mean()) / 2)
    assert commonest(Task("segmentation", clouds, clouds, 1, ((0, 1),)))["point_auroc"] == 0.5


def test_the_commonest_answer() -> None:
    one = task(False)
    assert commonest(one) == {"accuracy": pytest.approx(1 / 3)}
    parts = task(True)
    assert parts.train.parts is not None
    outer = parts.train.parts.reshape(96, -1) % 2
    assert 0.4 < outer.mean() < 0.6
    assert 0.2 < commonest(parts)["instance_iou"] < 0.35
