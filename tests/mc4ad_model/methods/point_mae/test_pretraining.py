# SPDX-License-Identifier: Apache-2.0
"""Training of Point-MAE: what it learns, and that it ends with the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError
from mc4ad_model.methods.point_mae.encoders import save_encoder
from mc4ad_model.methods.point_mae.pretraining import (
    Pretraining,
    _masked,
    learning_rate,
    new_trainer,
    pretrain,
)
from tests.mc4ad_model.methods.memory_banks.toruses import scanned
from tests.support.encoders import TINY
from tests.support.runs import cpu

RUN = Pretraining(
    replace(TINY, dropped=0.1), steps=8, batch=4, learning_rate=1e-3, seed=0, data_digest="d"
)


def trained(folder: Path, run: Pretraining = RUN) -> bytes:
    folder.mkdir(exist_ok=True)
    save_encoder(folder, pretrain(run, [scanned()], folder, cpu()))
    return (folder / "encoder.json").read_bytes() + (folder / "encoder.safetensors").read_bytes()


def test_a_run_that_was_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    killed = new_trainer(RUN, [scanned()], folder, torch.device("cpu"))
    for step in range(3):
        killed.step(step)
    killed.save(3)
    killed.step(3)  # lost
    assert trained(folder) == whole
    assert trained(tmp_path / "other", replace(RUN, seed=1)) != whole


def test_anothers_checkpoint_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    with pytest.raises(InputError, match="another training's checkpoint"):
        trained(tmp_path, replace(RUN, batch=3))


def test_hidden_groups_are_reconstructed_better_and_better(tmp_path: Path) -> None:
    run = replace(RUN, network=TINY, steps=60, batch=8, learning_rate=5e-3)
    losses = pretrain(run, [scanned()], tmp_path, cpu()).origin["loss"]
    assert len(losses) == 10
    assert losses["9"] < 0.85 * losses["0"]


def test_a_cloud_with_too_few_points_is_named(tmp_path: Path) -> None:
    run = replace(RUN, network=replace(TINY, points=2000))
    with pytest.raises(InputError, match="template scan_0: expected clouds of at least 2000"):
        pretrain(run, [scanned()], tmp_path, cpu())


def test_the_rate_rises_then_falls() -> None:
    rates = [learning_rate(step, 300, 1e-3) for step in range(300)]
    assert int(np.argmax(rates)) in (9, 10) and max(rates) == pytest.approx(1e-3)
    assert rates[0] == pytest.approx(1e-4) and rates[-1] < 1e-7
    assert learning_rate(0, 1, 1e-3) == pytest.approx(1e-3)


def test_each_group_is_hidden_or_shown() -> None:
    found = _masked(RUN.network, 50, np.random.default_rng(0), torch.device("cpu"))
    assert found.hidden.shape == (50, 14) and found.shown.shape == (50, 10)
    both = torch.cat([found.hidden, found.shown], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(24).expand(50, 24))
    assert len({tuple(row.tolist()) for row in found.hidden}) == 50
    assert found.kept is not None and found.kept.shape == (3, 2, 50)
    assert bool((found.kept[0] == 1).all())
    assert found.kept[2].unique().tolist() == pytest.approx([0, 1 / 0.9])
