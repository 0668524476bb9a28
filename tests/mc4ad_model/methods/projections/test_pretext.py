# SPDX-License-Identifier: Apache-2.0
"""Training of a network of images: it learns what can be told, and the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from scipy.spatial.transform import Rotation

from intravariance.errors import IVError
from mc4ad_model.methods.projections.pretext import (
    Training,
    train_backbone,
    varied_rotation,
    varied_rows,
)

CPU = torch.device("cpu")


def bars(number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw upright bars (0) or level ones (1), shifted and with noise."""
    image = np.zeros((32, 32), dtype=np.float32)
    image[:, int(rng.integers(4)) :: 4] = 1
    image = image if number == 0 else image.T
    return (image + rng.normal(scale=0.2, size=image.shape)).astype(np.float32)


def test_it_learns_what_images_show_and_the_same_from_the_same_seed() -> None:
    training = Training(width=4, steps=25, batch=16, seed=3)
    first, again = (train_backbone(bars, 2, training, CPU, quiet=True) for _ in range(2))
    assert first.origin["right"] > 0.9 and first.origin["classes"] == 2
    assert not first.network.training
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])
    other = train_backbone(bars, 2, Training(4, 1, 16, seed=4), CPU, quiet=True)
    assert not torch.equal(other.network.conv1.weight, first.network.conv1.weight)


def test_images_without_anything_to_tell_stay_at_chance() -> None:
    def noise(number: int, rng: np.random.Generator) -> np.ndarray:
        return rng.random((32, 32)).astype(np.float32)

    found = train_backbone(noise, 4, Training(4, 20, 32), CPU, quiet=True)
    assert found.origin["right"] < 0.5


def test_images_that_are_not_finite_are_named() -> None:
    def broken(number: int, rng: np.random.Generator) -> np.ndarray:
        return np.full((32, 32), np.nan, dtype=np.float32)

    with pytest.raises(IVError, match="loss of step 0 is not finite"):
        train_backbone(broken, 2, Training(4, 3), CPU, quiet=True)


def test_variations_keep_half_of_the_points_and_turn_by_15_degrees_at_most() -> None:
    rng = np.random.default_rng(0)
    rows = varied_rows(101, rng)
    assert len(set(rows.tolist())) == len(rows) == 50 and (np.diff(rows) > 0).all()
    assert len(varied_rows(1, rng)) == 1
    turns = [Rotation.from_matrix(varied_rotation(rng)).magnitude() for _ in range(200)]
    assert max(turns) <= np.pi / 12 + 1e-9 and max(turns) > np.pi / 13
