# SPDX-License-Identifier: Apache-2.0
"""Training CFP-Net on one category: the loop, its checkpoints, and how it stops and goes on.

A run may end at any moment. The same call carries on from the last checkpoint, and ends with the
same network and metrics as a run that was never interrupted (on a CPU with as many threads).
Under `torchrun`, each process takes its share of every batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from intravariance.errors import InputError, IVError
from intravariance.progress import say, track
from mc4ad_model.machine.interruption import Interruption
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad.configuration import TrainingConfig
from mc4ad_model.methods.mc4ad.training_samples import (
    CollatedBatch,
    TrainingData,
    TrainingSamples,
    load_batches,
    registration_points,
)
from mc4ad_model.methods.mc4ad.training_state import Trainer, store_tensors
from mc4ad_model.runs.run_folder import TEMPLATES, Run


def train(
    run: Run,
    data: TrainingData,
    device: torch.device,
    backend: str = "torch",
    workers: int = 0,
    quiet: bool = False,
) -> None:
    """Train the run's network and write it into the run's folder, which has its run.json.

    Parameters
    ----------
    data
        The templates of the run's category.
    workers
        Processes that make samples. The result does not depend on them.
    quiet
        Whether to leave out progress on stderr.

    Raises
    ------
    InputError
        A batch is larger than an epoch, a file cannot be written (the checkpoint before is intact),
        or the last checkpoint is damaged or of another network.
    IVError
        Interrupted by a signal, after a checkpoint was written; or a loss is not finite.
    """
    config, processes = run.config, Ranks.here(device)
    quiet = quiet or not processes.first
    samples = TrainingSamples(data, config, run.seed)
    per_epoch = steps_per_epoch(samples, config.training, processes)
    total = per_epoch * config.training.epochs
    trainer = Trainer(run, per_epoch, device, backend, processes)
    trainer.resume()
    first = trainer.done.step
    if first:
        say(f"train {run.category}: carries on after step {first} of {total}", quiet)
    if processes.first and run.config.data.frame == "registered":
        templates = registration_points(data, run.seed)
        store_tensors(run, TEMPLATES, {n: torch.from_numpy(p) for n, p in templates.items()})
    batches = load_batches(
        samples,
        range(first, total),
        per_epoch,
        config.training.batch,
        workers,
        processes.rank,
        processes.count,
        pin_memory=device.type == "cuda",
    )
    started, stop = time.monotonic(), False
    with Interruption() as interruption:
        shown = track(
            _from_workers(batches, run.category),
            total - first,
            f"train {run.category}",
            quiet,
            trainer.note,
        )
        for batch in shown:
            trainer.step(batch)
            stop = processes.any(interruption.requested, device)
            if stop and trainer.done.step < total:
                trainer.save_checkpoint()
                raise IVError(
                    f"{run.category}: interrupted after step {trainer.done.step} of {total}; "
                    "the same command, without --force, carries on from here"
                )
    trainer.finish(time.monotonic() - started, total - first)
    if stop:  # in the last step: nothing is lost, but another category is not begun
        raise IVError(f"{run.category}: interrupted, but trained to its end")


def _from_workers(batches: Iterator[CollatedBatch], category: str) -> Iterator[CollatedBatch]:
    """The batches; IVError when a process that makes them was killed."""
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise IVError(
            f"{category}: a process that makes samples was ended from outside (out of memory?). "
            "The same command carries on from the last checkpoint; fewer --workers need less room."
        ) from error


def steps_per_epoch(samples: TrainingSamples, config: TrainingConfig, processes: Ranks) -> int:
    """Whole batches in an epoch.

    Raises
    ------
    InputError
        There is none, or a batch cannot be divided among the processes.
    """
    if config.batch > samples.per_epoch:
        raise InputError(
            f"training.batch = {config.batch}: an epoch has only {samples.per_epoch} samples "
            "(templates x training.repeats); take a smaller batch or more repeats"
        )
    if config.batch % processes.count:
        raise InputError(
            f"training.batch = {config.batch}: expected a multiple of the {processes.count} "
            "processes that torchrun started"
        )
    return samples.per_epoch // config.batch
