# SPDX-License-Identifier: Apache-2.0
"""Invariances of Point-MAE's features, its hidden groups, and its loss against SciPy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from scipy.spatial import cKDTree

from mc4ad_model.methods.point_mae.network import PAPER, Masked, PointMAE, chamfer
from tests.support.encoders import TINY, untrained


def cloud(groups: int = 20, size: int = 16, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(groups, size, 3, generator=rng), torch.randn(groups, 3, generator=rng)


def test_the_order_of_points_and_groups_changes_nothing() -> None:
    network = untrained().network
    groups, centres = cloud()
    found = network.features(groups, centres)
    assert found.shape == (20, TINY.channels)
    points, order = torch.randperm(16), torch.randperm(20)
    assert torch.allclose(network.features(groups[:, points], centres), found, atol=1e-5)
    again = network.features(groups[order], centres[order])
    assert torch.allclose(again, found[order], atol=1e-5)


def test_a_group_matters_to_the_others_and_so_does_its_place() -> None:
    network = untrained().network
    groups, centres = cloud()
    found = network.features(groups, centres)
    changed = groups.clone()
    changed[3] *= 5
    moved = centres.clone()
    moved[3] += 5
    for other in (network.features(changed, centres), network.features(groups, moved)):
        assert not torch.allclose(other[3], found[3], atol=1e-3)
        assert not torch.allclose(other[4], found[4], atol=1e-4)


def test_the_last_features_are_the_encoders_tokens() -> None:
    network = untrained().network
    groups, centres = cloud()
    last = network.features(groups, centres)[:, -TINY.width :]
    assert torch.allclose(network(groups[None], centres[None])[0], last, atol=1e-5)
    ones = torch.ones(TINY.depth, 2, 1)
    assert torch.allclose(network(groups[None], centres[None], ones)[0], last, atol=1e-5)
    alone = network(groups[None], centres[None], 0 * ones)[0]  # no block: tokens are normalised
    assert not torch.allclose(alone, last, atol=1e-2)


def test_hidden_groups_are_not_seen() -> None:
    network, made = PointMAE(TINY).eval(), []
    network.points.register_forward_hook(lambda module, given, out: made.append(out.detach()))
    groups, centres = (part[None] for part in cloud())
    order = torch.arange(20)[None]
    masked = Masked(order[:, :8], order[:, 8:])
    first = network(groups, centres, masked)
    changed = groups.clone()
    changed[:, 8:] *= 3
    second = network(changed, centres, masked)
    assert torch.equal(made[0], made[1])
    assert made[0].shape == (1, 12, 3 * 16)
    assert first.item() != second.item()
    changed[:, :8] *= 3
    network(changed, centres, masked)
    assert not torch.allclose(made[0], made[2])


def test_the_loss_is_the_chamfer_distance_of_a_k_d_tree() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 30, 3)), rng.normal(size=(4, 20, 3))
    there = [cKDTree(b).query(a)[0] ** 2 for a, b in zip(first, second, strict=True)]
    back = [cKDTree(a).query(b)[0] ** 2 for a, b in zip(first, second, strict=True)]
    found = chamfer(torch.from_numpy(first), torch.from_numpy(second))
    assert float(found) == pytest.approx(np.mean(there) + np.mean(back))
    assert float(chamfer(torch.from_numpy(first), torch.from_numpy(first))) == 0


def test_the_papers_network_has_its_size() -> None:
    """The published encoder has 22 million parameters, with the decoder 29."""
    with torch.device("meta"):
        network = PointMAE(PAPER)
    assert sum(p.numel() for p in network.encoder.parameters()) == 21_825_024
    assert sum(p.numel() for p in network.parameters()) == 29_006_432
