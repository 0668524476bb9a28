# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from hypothesis import given
from hypothesis import strategies as st

from mc4ad_model.machine.precision import multiplying_in
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad import training_state
from mc4ad_model.methods.mc4ad.configuration import RunConfig, TrainingConfig
from mc4ad_model.methods.mc4ad.losses import combined_loss
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.methods.mc4ad.training_samples import CollatedBatch, TrainingSamples
from mc4ad_model.methods.mc4ad.training_state import (
    Trainer,
    TrainingRun,
    last_checkpoint,
    learning_rate,
)
from mc4ad_model.methods.method import FittedOn
from tests.support.runs import tiny, toys, training_run

CPU = torch.device("cpu")


def make_trainer(folder: Path, config: RunConfig, seed: int = 0, steps: int = 2) -> Trainer:
    return Trainer(training_run(folder, config, seed), steps, CPU, "torch", Ranks())


def batch(config: RunConfig, first: int = 0) -> CollatedBatch:
    samples = TrainingSamples(toys(), config, 0)
    return CollatedBatch([samples[first + i] for i in range(4)])


def parameters(network: CFPNet) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


# --- learning rate


def test_learning_rate_of_the_released_code():
    """Reference, section 4: epochs 1 to 1,499, that is range(1, 1500); 1e-3 below epoch 10, then
    one cosine to 1e-6 over 1500 - 10. We count epochs from 0."""
    config = RunConfig.load("released").training
    assert config.epochs == len(range(1, 1500))
    for epoch in range(1, 1500):
        share = max(0, epoch - 10) / (1500 - 10)
        expected = 1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * share)) / 2
        assert learning_rate(epoch - 1, config) == pytest.approx(expected, rel=1e-12)


def test_learning_rate_is_torchs_cosine_annealing():
    config = TrainingConfig(
        epochs=20, constant_epochs=0, learning_rate=4e-3, final_learning_rate=1e-5
    )
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 20, eta_min=1e-5)
    for epoch in range(20):
        assert learning_rate(epoch, config) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()


@given(st.integers(1, 100), st.integers(0, 120), st.floats(1e-6, 1.0), st.floats(0.0, 1.0))
def test_learning_rate_falls_from_first_to_final(epochs, constant, rate, share):
    config = TrainingConfig(
        epochs=epochs,
        constant_epochs=constant,
        learning_rate=rate,
        final_learning_rate=rate * share,
    )
    rates = [learning_rate(epoch, config) for epoch in range(epochs)]
    assert rates[: constant + 1] == pytest.approx([rate] * min(constant + 1, epochs))
    assert all(a >= b - 1e-15 for a, b in pairwise(rates))
    assert min(rates) >= rate * share * (1 - 1e-12)


# --- the network at the start


def test_initial_parameters_depend_on_seed_and_category_alone(tmp_path):
    config = tiny()
    torch.manual_seed(7)
    first = parameters(make_trainer(tmp_path / "a", config).network)
    torch.manual_seed(8)
    again = parameters(make_trainer(tmp_path / "b", config).network)
    assert torch.equal(first, again)
    other = TrainingRun(tmp_path / "c", config, FittedOn("pots", 0, "digest"))
    pots = Trainer(other, 2, CPU, "torch", Ranks()).network
    seeds = [parameters(make_trainer(tmp_path / str(s), config, s).network) for s in (1, 2)]
    for found in (parameters(pots), *seeds):
        assert not torch.equal(first, found)


def test_output_scale_makes_the_first_forces_small(tmp_path):
    plain, small = (
        make_trainer(tmp_path / str(scale), tiny(f"training.output_scale={scale}"))
        for scale in (1.0, 0.02)
    )
    clouds = batch(tiny()).clouds
    forces = [t.forces(clouds).combined.detach() for t in (plain, small)]
    assert torch.allclose(0.02 * forces[0], forces[1], atol=1e-6)
    assert float(forces[0].norm(dim=1).mean()) > 0.1
    # nothing else is changed
    state = [dict(t.network.named_parameters()) for t in (plain, small)]
    changed = {name for name in state[0] if not torch.equal(state[0][name], state[1][name])}
    last = len(plain.network.head) - 1
    assert changed == {f"head.{last}.weight", f"head.{last}.bias"}


# --- a step


def test_first_step_is_adams(tmp_path):
    """Adam's first step moves each parameter by the learning rate against its gradient's sign."""
    config = tiny("training.learning_rate=0.001")
    trainer, referee = (make_trainer(tmp_path / name, config) for name in "ab")
    before = parameters(trainer.network)
    losses = combined_loss(
        referee.forces(batch(config).clouds), batch(config).displacement, config.loss
    )
    losses.total.backward()
    gradient = torch.cat([p.grad.flatten() for p in referee.network.parameters()])
    trainer.step(batch(config))
    expected = before - 0.001 * gradient / (gradient.abs() + 1e-8)
    assert torch.allclose(parameters(trainer.network), expected, atol=1e-7)
    assert trainer.done.step == 1
    assert trainer.done.sums["total"] == float(losses.total.detach())
    assert trainer.note() == f"loss {float(losses.total.detach()):.4f}"


def test_the_learning_rate_of_the_epoch_is_used(tmp_path):
    config = tiny("training.epochs=4")
    trainer = make_trainer(tmp_path, config)
    for step in range(4):
        trainer.step(batch(config, 4 * step))
        rate = trainer.optimiser.param_groups[0]["lr"]
        assert rate == learning_rate(step // 2, config.training)


def test_bfloat16_is_for_the_network_and_near_float32(tmp_path):
    config = tiny()
    mixed = replace(config, training=replace(config.training, precision="bfloat16"))
    plain, fast = (make_trainer(tmp_path / n, c) for n, c in (("a", config), ("b", mixed)))
    clouds = batch(config).clouds
    forces = fast.forces(clouds)
    assert forces.internal.dtype == torch.bfloat16
    expected = plain.forces(clouds).internal.detach()
    assert torch.allclose(
        forces.internal.detach().float(), expected, atol=0.05 * float(expected.abs().max())
    )
    for trainer in (plain, fast):
        trainer.step(batch(config))
    assert fast.done.sums["total"] == pytest.approx(plain.done.sums["total"], rel=0.05)
    assert {p.dtype for p in fast.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(("precision", "expected"), [("tf32", "high"), ("float32", "highest")])
def test_tf32_is_for_networks_made_and_read_and_for_steps_forward_and_backward(
    tmp_path, monkeypatch, precision, expected
):
    """The processor is called a GPU, whose products alone are changed."""
    seen = []

    def watched(function):
        def call(*arguments, **options):
            seen.append(torch.get_float32_matmul_precision())
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(
        training_state, "multiplying_in", lambda p, _: multiplying_in(p, torch.device("cuda"))
    )
    for name in ("new_network", "load_checkpoint"):
        monkeypatch.setattr(training_state, name, watched(getattr(training_state, name)))
    config = tiny(f"training.precision={precision}", "training.epochs=9")
    trainer = make_trainer(tmp_path, config)
    trainer.network.register_forward_pre_hook(watched(lambda *_: None))
    first, *_ = trainer.network.parameters()
    first.register_hook(watched(lambda _: None))
    trainer.step(batch(config))
    trainer.save_checkpoint()
    make_trainer(tmp_path, config).resume()
    assert seen == [expected] * 5  # made, forward, backward, made, read
    assert torch.get_float32_matmul_precision() == "highest"


# --- checkpoints


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_checkpoint_holds_all_that_the_next_step_needs(tmp_path, precision):
    config = tiny(f"training.precision={precision}", "training.epochs=9")
    first = make_trainer(tmp_path, config)
    for step in range(3):
        first.step(batch(config, 4 * step))
    first.save_checkpoint()
    second = make_trainer(tmp_path, config)
    second.resume()
    assert second.done == first.done
    for trainer in (first, second):
        trainer.step(batch(config, 12))
    for one, other in zip(
        first.network.state_dict().values(), second.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_only_the_last_checkpoint_is_kept(tmp_path):
    config = tiny("training.epochs=9")
    trainer = make_trainer(tmp_path, config)
    assert last_checkpoint(tmp_path) is None
    for step in (1, 2, 3):
        trainer.step(batch(config))
        trainer.save_checkpoint()
        name = f"checkpoint-{step:08d}"
        assert last_checkpoint(tmp_path) == name
        assert {path.stem for path in tmp_path.glob("checkpoint-*")} == {name, f"{name}-optimiser"}


def test_a_checkpoint_counts_when_its_network_is_there(tmp_path):
    for name in ("checkpoint-00000002.json", "checkpoint-00000004-optimiser.json"):
        (tmp_path / name).touch()
    (tmp_path / "checkpoint-00000004.safetensors").touch()
    (tmp_path / "checkpoint-00000006.json.17.partial").touch()
    assert last_checkpoint(tmp_path) == "checkpoint-00000002"
