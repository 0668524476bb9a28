# SPDX-License-Identifier: Apache-2.0
"""Training by steps: what is noted of it, how gradients are cut, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from torch import Tensor, nn

from intravariance.errors import InputError, IVError
from mc4ad_model.methods.step_training import StepTrainer, StepTraining


def training(network: nn.Linear, steps: int = 20) -> StepTraining:
    """Return a descent whose loss is the number of the step plus the only weight."""

    def loss(step: int) -> Tensor:
        return network.weight.sum() + step

    return StepTraining(
        name="toy",
        identity={"steps": steps},
        steps=steps,
        loss=loss,
        rate=lambda step: 0.5 if step < 10 else 0.25,
        optimiser=lambda module: torch.optim.SGD(module.parameters()),
        checkpoint_steps=5,
    )


def zero() -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    return network


def trained(run: StepTraining, network: nn.Linear) -> StepTrainer:
    trainer = StepTrainer(run, network, torch.device("cpu"))
    assert trainer.train(quiet=True) is False
    return trainer


def test_rates_are_those_of_the_steps_and_losses_those_of_tenths() -> None:
    network = zero()
    trainer = trained(training(network), network)
    assert network.weight.item() == pytest.approx(-10 * 0.5 - 10 * 0.25)
    # two steps a tenth; the weight falls by half a step before the middle, a quarter after it
    weights = [-0.5 * min(k, 10) - 0.25 * max(k - 10, 0) for k in range(20)]
    expected = [sum(weights[k] + k for k in (2 * t, 2 * t + 1)) / 2 for t in range(10)]
    assert [trainer.losses[t] for t in range(10)] == pytest.approx(expected)


def test_long_gradients_are_cut() -> None:
    network = zero()
    trained(replace(training(network), largest_gradient=0.1), network)
    assert network.weight.item() == pytest.approx(-0.75, rel=1e-4)


def test_a_loss_that_is_not_finite_is_named_with_its_step() -> None:
    network = zero()
    run = replace(training(network), loss=lambda step: network.weight.sum() / (3 - step))
    with pytest.raises(IVError, match="toy: the loss of step 3 is not finite"):
        trained(run, network)


def test_a_folder_keeps_the_last_checkpoint_alone_and_it_is_gone_on_from(tmp_path: Path) -> None:
    network = zero()
    run = replace(training(network), folder=tmp_path)
    first = StepTrainer(run, network, torch.device("cpu"))
    for step in range(7):
        first.step(step)
        if step in (2, 4):
            first.save(step + 1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint-00000005.json", "checkpoint-00000005.safetensors"}
    again = zero()
    going_on = replace(training(again), folder=tmp_path)
    assert StepTrainer(going_on, again, torch.device("cpu")).resume() == 5
    assert again.weight.item() == pytest.approx(-2.5)
    trainer = trained(going_on, again)
    assert again.weight.item() == pytest.approx(-7.5) and len(trainer.losses) == 10
    with pytest.raises(InputError, match="another training's checkpoint"):
        trained(replace(going_on, identity={}), zero())
