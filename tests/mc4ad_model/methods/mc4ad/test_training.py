# SPDX-License-Identifier: Apache-2.0
"""`mc4ad_model.methods.mc4ad.training.train`: one result per seed, whatever stops it on the way."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError, IVError
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad import training
from mc4ad_model.methods.mc4ad import training_state as trainer
from mc4ad_model.methods.mc4ad.checkpoints import read_tensors, write_tensors
from mc4ad_model.methods.mc4ad.training import steps_per_epoch, train
from mc4ad_model.methods.mc4ad.training_samples import TrainingSamples
from mc4ad_model.methods.mc4ad.training_state import Trainer, last_checkpoint
from mc4ad_model.runs.run_folder import Run
from tests.support.runs import cpu, make_run, results, tiny, toys, train_tiny, training_run

SMALLER = (
    "network.layers=2",
    "training.repeats=2",
    "training.batch=2",
)  # 2 steps an epoch, 4 in all


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an uninterrupted run."""
    return train_tiny(tmp_path_factory.mktemp("whole"), tiny(*SMALLER)).folder


def train_smaller(folder: Path, *changes: str, seed: int = 0, workers: int = 0) -> Run:
    return train_tiny(folder, tiny(*SMALLER, *changes), seed, workers)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return what a process wrote before it was killed is there without it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@contextmanager
def at_step(number: int, act: Any) -> Iterator[None]:
    """Do something when so many steps of a call are done."""
    with pytest.MonkeyPatch.context() as patch:
        step, done = Trainer.step, [0]

        def counted(self: Trainer, batch: Any) -> None:
            step(self, batch)
            done[0] += 1
            if done[0] == number:
                act()

        patch.setattr(Trainer, "step", counted)
        yield


def stopped(folder: Path, step: int, number: int = signal.SIGINT, **changes: Any) -> str:
    """Return a run that gets a signal after a step; its message."""
    with at_step(step, lambda: os.kill(os.getpid(), number)), pytest.raises(IVError) as caught:
        train_smaller(folder, **changes)
    assert caught.value.exit_code == 1
    return str(caught.value)


# --- one seed, one result


def test_two_runs_with_one_seed_are_equal_bit_for_bit(tmp_path, whole):
    assert results(train_smaller(tmp_path / "again").folder) == results(whole)


def test_other_seeds_give_other_networks_and_losses(tmp_path, whole):
    other = results(train_smaller(tmp_path / "1", seed=1).folder)
    for name in ("network.safetensors", "metrics.jsonl"):
        assert other[name] != results(whole)[name]


def test_a_seed_may_be_any_whole_number(tmp_path, whole):
    folders = [train_smaller(tmp_path / str(s), seed=s).folder for s in (2**64, 2**70 + 5)]
    assert len({results(f)["metrics.jsonl"] for f in (*folders, whole)}) == 3


def test_workers_do_not_change_the_result(tmp_path, whole):
    assert results(train_smaller(tmp_path / "worker", workers=1).folder) == results(whole)


def test_global_random_state_and_threads_do_not_matter(tmp_path, whole):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    assert results(train_smaller(tmp_path / "again").folder) == results(whole)


@pytest.mark.parametrize(
    ("precision", "warning"),
    [("bfloat16", "has no bfloat16 arithmetic"), ("tf32", "has no TF32"), ("float32", "")],
)
def test_a_precision_that_a_processor_has_not_is_warned_of(
    tmp_path, monkeypatch, capsys, precision, warning
):
    flags = tmp_path / "cpuinfo"
    flags.write_text("flags : fpu avx2 fma\n")
    monkeypatch.setattr("mc4ad_model.machine.precision.CPU_FLAGS", flags)
    config = tiny(*SMALLER, f"training.precision={precision}", "training.epochs=1")
    samples = TrainingSamples(toys(), config, 0)
    train(training_run(tmp_path, config), samples, replace(cpu(), quiet=False))
    said = capsys.readouterr().err
    assert warning in said and ("training.precision" in said) == bool(warning)


def test_what_a_finished_run_leaves(whole):
    names = {path.name for path in whole.iterdir()}
    assert names == {
        "run.json", "fit.json", "metrics.jsonl", "timing.json", "network.json",
        "network.safetensors",
    }  # fmt: skip
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert lines[0].keys() == {
        "epoch", "learning_rate", "distance", "direction", "symmetry_magnitude",
        "symmetry_direction", "total",
    }  # fmt: skip
    timing = json.loads((whole / "timing.json").read_text())
    assert timing["steps"] == 4
    assert timing["seconds"] > 0
    assert timing["memory_bytes"] > 10**7
    assert "note" not in timing


def test_a_run_in_the_registered_frame_keeps_what_it_registers_to(tmp_path):
    config = tiny(*SMALLER, "data.frame=registered", "data.rotation=none")
    templates, _ = read_tensors(train_tiny(tmp_path, config).folder / "templates")
    assert set(templates) == {"long_ball", "flat_brick"}


def test_the_loss_goes_down(tmp_path):
    """A ball without noise, large defects: their direction is learnt within seconds."""
    config = tiny(
        "data.rotation=none", "anomalies.magnitude=[0.3, 0.4]", "anomalies.patches=4",
        "loss.direction=1", "loss.distance=20", "training.learning_rate=0.01",
        "training.epochs=12", "training.repeats=8", "training.batch=8",
    )  # fmt: skip
    samples = TrainingSamples(toys("long_ball", noise=0.0), config, 0)
    train(training_run(tmp_path, config), samples, cpu())
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name, by in (("total", 0.08), ("direction", 0.05)):
        values = [line[name] for line in lines]
        assert np.mean(values[-4:]) < np.mean(values[:4]) - by


# --- stopped and resumed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path, whole, number, step):
    """After steps 1 and 3 an epoch is half done."""
    before = signal.getsignal(number)
    message = stopped(tmp_path, step, number)
    assert f"interrupted after step {step} of 4" in message
    assert "without --force, carries on" in message
    assert signal.getsignal(number) is before
    assert last_checkpoint(tmp_path) == f"checkpoint-{step:08d}"
    assert not make_run(tmp_path, tiny(*SMALLER)).finished
    assert results(train_smaller(tmp_path).folder) == results(whole)


def test_interrupted_at_every_step(tmp_path, whole):
    for _ in range(3):
        stopped(tmp_path, 1)
    assert results(train_smaller(tmp_path).folder) == results(whole)
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert timing["steps"] == 1 and "3 steps were trained by earlier ones" in timing["note"]


def test_interrupted_in_its_last_step_a_run_is_finished_and_says_so(tmp_path, whole):
    """Another category, which would be next, is not begun."""
    assert "trained to its end" in stopped(tmp_path, 4)
    assert results(tmp_path) == results(whole)


def test_resuming_with_workers_gives_the_same(tmp_path, whole):
    stopped(tmp_path, 3)
    assert results(train_smaller(tmp_path, workers=1).folder) == results(whole)


class Killed(BaseException):
    """Nothing of ours may catch it."""


@contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """Every change of the folder from number `number` on does not happen, as after a kill."""
    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:

        def guard(module: Any, name: str, original: Any) -> None:
            def operation(*arguments: Any, **options: Any) -> Any:
                if len(made) == number:
                    raise Killed
                made.append(f"{name} {arguments}")
                return original(*arguments, **options)

            patch.setattr(module, name, operation, raising=False)

        guard(os, "replace", os.replace)
        guard(pathlib.Path, "unlink", pathlib.Path.unlink)
        guard(trainer, "open", open)  # that appends to the metrics
        yield made


def test_killed_before_any_change_of_its_folder_and_resumed(tmp_path):
    """Wherever it is killed, the same call ends with the same result."""
    with killed_at(-1) as changes:
        whole = results(train_smaller(tmp_path / "whole", "training.batch=4").folder)
    assert len(changes) > 30
    for number in range(len(changes)):
        folder = tmp_path / str(number)
        with killed_at(number), pytest.raises(Killed):
            train_smaller(folder, "training.batch=4")
        assert results(train_smaller(folder, "training.batch=4").folder) == whole, changes[number]


def test_checkpoints_every_few_epochs_and_after_the_last(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Trainer, "save_checkpoint", lambda self: saved.append(self.done.step))
    train_smaller(tmp_path, "training.epochs=5", "training.checkpoint_epochs=2")
    assert saved == [4, 8, 10]


def test_metrics_after_the_last_checkpoint_are_written_once(tmp_path):
    """An epoch that is done again has one line, not two."""
    changes = ("training.epochs=4", "training.checkpoint_epochs=3")
    with at_step(5, lambda: (_ for _ in ()).throw(Killed())), pytest.raises(Killed):
        train_smaller(tmp_path, *changes)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    run = train_smaller(tmp_path, *changes)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]


# --- what cannot go on


def test_a_loss_that_is_not_finite_stops_with_its_batch_named(tmp_path):
    """The first step ruins the parameters; the second finds it. The checkpoint is intact."""
    with pytest.raises(IVError, match=r"toys: the loss of batch 1 of epoch 0 is not finite") as e:
        train_smaller(tmp_path, "training.learning_rate=1e30")
    assert e.value.exit_code == 1
    assert "training.learning_rate" in str(e.value)
    assert last_checkpoint(tmp_path) is None
    assert not (tmp_path / "network.json").exists()


def test_the_checkpoint_before_a_loss_that_is_not_finite_is_intact(tmp_path, whole, monkeypatch):
    original = trainer.combined_loss
    calls = []

    def poisoned(forces: Any, displacement: torch.Tensor, config: Any) -> Any:
        calls.append(1)
        return original(forces, displacement * (np.nan if len(calls) == 4 else 1), config)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "combined_loss", poisoned)
        with pytest.raises(IVError, match="batch 1 of epoch 1"):
            train_smaller(tmp_path)
    assert last_checkpoint(tmp_path) == "checkpoint-00000002"
    assert results(train_smaller(tmp_path).folder) == results(whole)


@pytest.mark.parametrize(
    ("number", "left"),
    [(1, None), (2, None), (4, None), (5, None), (6, 2), (9, 2), (10, 4), (12, 4)],
)
def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, whole, monkeypatch, number, left):
    """One of the run's 12 files finds no room: run.json, a checkpoint (2 pairs) for each epoch,
    timing.json or the network (2)."""
    count = []

    def full(descriptor: int) -> None:
        count.append(1)
        if len(count) == number:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot be written.*No space left") as caught:
            train_smaller(tmp_path)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.glob("*.partial"))
    assert last_checkpoint(tmp_path) == (left and f"checkpoint-{left:08d}")
    assert results(train_smaller(tmp_path).folder) == results(whole)


def test_a_full_disk_while_metrics_are_written(tmp_path, whole, monkeypatch):
    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "open", full, raising=False)
        with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be written"):
            train_smaller(tmp_path)
    assert results(train_smaller(tmp_path).folder) == results(whole)


@pytest.mark.parametrize("part", ["", "-optimiser"])
def test_a_damaged_checkpoint(tmp_path, part):
    stopped(tmp_path, 3)
    file = tmp_path / f"checkpoint-00000003{part}.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=file.name):
        train_smaller(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=f"{file.name} does not exist"):
        train_smaller(tmp_path)


def test_another_runs_checkpoint(tmp_path):
    stopped(tmp_path / "own", 1)
    stopped(tmp_path / "other", 1, seed=1)
    for path in (tmp_path / "other").glob("checkpoint-*"):
        shutil.copy(path, tmp_path / "own")
    with pytest.raises(InputError, match=r"checkpoint-00000001\.json: another run's") as caught:
        train_smaller(tmp_path / "own")
    assert "'seed': 0" in str(caught.value)


def test_another_architectures_checkpoint(tmp_path):
    stopped(tmp_path / "own", 1)
    with at_step(1, lambda: os.kill(os.getpid(), signal.SIGINT)), pytest.raises(IVError):
        train_smaller(tmp_path / "other", "network.width=0.5")
    for path in (tmp_path / "other").glob("checkpoint-*"):
        shutil.copy(path, tmp_path / "own")
    with pytest.raises(InputError, match=r"checkpoint-00000001\.json: another architecture: width"):
        train_smaller(tmp_path / "own")


def test_a_network_that_is_no_checkpoint_and_an_optimiser_that_is_anothers(tmp_path, whole):
    stopped(tmp_path, 1)
    name = tmp_path / "checkpoint-00000001"
    optimiser, _ = read_tensors(f"{name}-optimiser")
    optimiser.pop(next(iter(optimiser)))
    some = {key: value for key, value in optimiser.items() if "stem" not in key}
    write_tensors(f"{name}-optimiser", some, {}, force=True)
    with pytest.raises(InputError, match="another network's optimiser"):
        train_smaller(tmp_path)
    for suffix in (".json", ".safetensors"):
        shutil.copy(whole / f"network{suffix}", f"{name}{suffix}")
    content = json.loads(name.with_suffix(".json").read_text())
    del content["metadata"]["step"]
    name.with_suffix(".json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"checkpoint-00000001\.json: expected a checkpoint"):
        train_smaller(tmp_path)


def test_a_batch_larger_than_an_epoch(tmp_path):
    with pytest.raises(InputError, match=r"training\.batch = 9: an epoch has only 4 samples"):
        train_smaller(tmp_path, "training.batch=9")


def test_a_batch_must_be_divisible_among_processes():
    config = tiny("training.batch=3")
    samples = TrainingSamples(toys(), config, 0)
    assert steps_per_epoch(samples.per_epoch, config.training, Ranks(0, 3, 0)) == 2
    with pytest.raises(InputError, match=r"training\.batch = 3: expected a multiple of the 2"):
        steps_per_epoch(samples.per_epoch, config.training, Ranks(0, 2, 0))


def test_a_worker_that_was_killed():
    def batches():
        yield "first"
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    found = training._from_workers(batches(), "vase")
    assert next(found) == "first"
    with pytest.raises(IVError, match=r"vase: .*out of memory.*carries on"):
        next(found)
