# SPDX-License-Identifier: Apache-2.0
"""`iv train` under torchrun: two processes with gloo make one run.

They see the batches of one process, half of each, and average their gradients. On a processor each
normalises by its own half (torch has no batch normalisation over processes there), so what they
agree with is one process that goes through both halves in turn: up to the order of sums.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from click.testing import CliRunner
from torch import Tensor

from intravariance.cli import main
from intravariance.dataset.store import open_dataset
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations import detector
from mc4ad_model.methods.mc4ad.deviations.samples import DeviationSamples, Source
from mc4ad_model.methods.mc4ad.losses import combined_loss, deviation_loss
from mc4ad_model.methods.mc4ad.method import SHARED
from mc4ad_model.methods.mc4ad.training_samples import Samples, TrainingSamples, load_batches
from mc4ad_model.methods.mc4ad.training_state import Trainer, TrainingRun, learning_rate
from mc4ad_model.methods.method import FittedOn
from mc4ad_model.methods.template_deviations import TemplateDeviations
from mc4ad_model.methods.templates import read_templates
from mc4ad_model.runs.run_folder import read_run
from mc4ad_model.sparse import CoordinatePyramid
from tests.support.deviations import SHORT, small
from tests.support.runs import TINY
from tests.support.samples import make_dataset

ROOT = Path(__file__).parents[3]
# Few places and few simulated clouds, as for the other tests of deviations.
PROGRAM = """
from intravariance.cli import main
from mc4ad_model.methods.mc4ad.deviations import detector
from tests.support.deviations import small
detector.CALIBRATION_CLOUDS = 4
with small():
    main()
"""
ALONE = ("network.layers=2", "training.epochs=3", "training.repeats=4", "training.batch=4")
JOINT = tuple(change for change in SHORT if not change.startswith("data.learn_from"))
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Categories ball and brick, two templates each."""
    return make_dataset(tmp_path_factory.mktemp("data") / "small.h5")


def words(data: Path, preset: str, changes: tuple[str, ...], *more: object) -> list[str]:
    sets = [word for change in changes for word in ("--set", change)]
    given = ("train", data, "--preset", preset, "--device", "cpu", "--workers", 0, *sets, *more)
    return [str(word) for word in given]


def together(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run `iv ARGUMENTS --json` in two processes of torchrun."""
    script = folder / "program.py"
    script.write_text(PROGRAM)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script), *arguments, "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result


def in_two_shares(
    trainer: Trainer,
    samples: Samples,
    config: RunConfig,
    loss: Callable[[Trainer, Any], Tensor],
) -> dict[str, Tensor]:
    """Train as two processes do, one after the other.

    Each takes its half of a batch, with batch normalisation of its own; gradients are averaged, and
    the statistics of the first one are kept.
    """
    steps = samples.per_epoch // config.training.batch
    network = trainer.network
    halves = [
        load_batches(
            samples, range(steps * config.training.epochs), steps, config.training.batch, 0, rank, 2
        )
        for rank in range(2)
    ]
    for step, batches in enumerate(zip(*halves, strict=True)):
        before = {name: tensor.clone() for name, tensor in network.named_buffers()}
        trainer.optimiser.zero_grad()
        for rank in (1, 0):  # the first one's statistics stay
            for name, tensor in network.named_buffers():
                tensor.copy_(before[name])
            (loss(trainer, batches[rank]) / 2).backward()  # type: ignore[no-untyped-call]
        trainer.optimiser.param_groups[0]["lr"] = learning_rate(step // steps, config.training)
        trainer.optimiser.step()
    return network.state_dict()


def new_trainer(
    folder: Path, category: str, digest: str, config: RunConfig, per_epoch: int
) -> Trainer:
    folder.mkdir()
    run = TrainingRun(folder, config, FittedOn(category, 0, digest))
    return Trainer(run, per_epoch // config.training.batch, torch.device("cpu"), "torch", Ranks())


def epochs(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_two_processes_of_torchrun_make_one_run(data: Path, tmp_path: Path) -> None:
    out, changes = tmp_path / "two", (*TINY, *ALONE)
    arguments = words(data, "released", changes, "--category", "ball", "--out", out)
    result = together(tmp_path, arguments)
    assert json.loads(result.stdout) == {"ball": str(out / "ball")}
    assert result.stderr.count("train ball: 6/6") == 1
    assert [entry["epoch"] for entry in epochs(out / "ball")] == [0, 1, 2]
    assert not list((out / "ball").glob("checkpoint-*"))
    config = RunConfig.load("released", changes)
    with open_dataset(data) as dataset:
        templates = read_templates(dataset, "ball")
    samples = TrainingSamples(templates, config, 0)
    digest = templates.data_digest
    trainer = new_trainer(tmp_path / "halves", "ball", digest, config, samples.per_epoch)
    expected = in_two_shares(
        trainer,
        samples,
        config,
        lambda own, batch: (
            combined_loss(own.forces(batch.clouds), batch.displacement, config.loss).total
        ),
    )
    for name, tensor in read_run(out / "ball").load_method().network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], **CLOSE)


def test_one_network_for_all_categories_is_trained_by_two_processes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector, "CALIBRATION_CLOUDS", 4)
    out, one = tmp_path / "two", tmp_path / "one"
    result = together(tmp_path, words(data, "deviation", JOINT, "--out", out))
    assert json.loads(result.stdout) == {name: str(out / name) for name in ("ball", "brick")}
    assert result.stderr.count(f"train {SHARED}: 8/8") == 1
    networks = {(out / name / "network.safetensors").read_bytes() for name in ("ball", "brick")}
    assert networks == {(out / SHARED / "network.safetensors").read_bytes()}
    config = RunConfig.load("deviation", JOINT)
    with small():
        alone = CliRunner().invoke(main, words(data, "deviation", JOINT, "--out", one))
        assert alone.exit_code == 0, alone.output
        with open_dataset(data) as dataset:
            found = [read_templates(dataset, name) for name in ("ball", "brick")]
        sources = [Source(own, TemplateDeviations.fit(own, 0)) for own in found]
        samples = DeviationSamples(sources, config, 0)
    # what one process trains on, and how, is the same to the last bit
    for name in ("ball", "brick"):
        file = f"{SHARED}/deviations-{name}.safetensors"
        assert (out / file).read_bytes() == (one / file).read_bytes()
    both = [epochs(folder / SHARED) for folder in (out, one)]
    for key in ("epoch", "learning_rate"):
        assert [entry[key] for entry in both[0]] == [entry[key] for entry in both[1]]
    # halves are normalised by themselves: what is learnt is near, and not the same
    totals = [[entry["total"] for entry in entries] for entries in both]
    assert totals[0] == pytest.approx(totals[1], rel=0.1)
    digest = found[0].data_digest
    trainer = new_trainer(tmp_path / "halves", SHARED, digest, config, samples.per_epoch)

    def loss(own: Trainer, batch: Any) -> Tensor:
        pyramid = CoordinatePyramid(batch.coordinates)
        findings = own.network(batch.features, pyramid, batch.lengths)
        return deviation_loss(
            findings, batch.force, batch.evidence, batch.defective, config.loss
        ).total

    expected = in_two_shares(trainer, samples, config, loss)
    network, _ = load_checkpoint(out / SHARED / "network", "torch", config.network)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], **CLOSE)
