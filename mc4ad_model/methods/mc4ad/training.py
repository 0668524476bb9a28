# SPDX-License-Identifier: Apache-2.0
"""Training CFP-Net on one category: the loop, its checkpoints, and how it stops and goes on.

A run may end at any moment. The same call carries on from the last checkpoint, and ends with the
same network and metrics as a run that was never interrupted (on a CPU with as many threads).
Under `torchrun`, each process takes its share of every batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from intravariance.errors import InputError, IVError
from intravariance.progress import say, track
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.interruption import Interruption
from mc4ad_model.machine.precision import slow_bfloat16, without_tf32
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad.configuration import TrainingConfig
from mc4ad_model.methods.mc4ad.training_samples import Samples, load_batches
from mc4ad_model.methods.mc4ad.training_state import Batch, Trained, Trainer, TrainingRun


def train(
    run: TrainingRun, samples: Samples, machine: Machine, ranks: Ranks | None = None
) -> Trained:
    """Train the run's network, with checkpoints in the run's folder.

    Parameters
    ----------
    samples : what the network is trained on
    machine : `loaders` processes make the samples; the result does not depend on them
    ranks : those that train together; None for those of torchrun, if there are any

    Raises
    ------
    InputError
        A batch is larger than an epoch, a file cannot be written (the checkpoint before is intact),
        or the last checkpoint is damaged or of another network.
    IVError
        Interrupted by a signal, after a checkpoint was written; or a loss is not finite.
    """
    ranks = ranks or Ranks.here(machine)
    quiet = machine.quiet or not ranks.first
    device = machine.torch_device()
    warn = {"bfloat16": slow_bfloat16, "tf32": without_tf32}.get(run.config.training.precision)
    if warn and (warning := warn(device)):
        say(f"{run.category}: {warning}", quiet)
    per_epoch = steps_per_epoch(samples.per_epoch, run.config.training, ranks)
    total = per_epoch * run.config.training.epochs
    trainer = Trainer(run, per_epoch, device, machine.backend, ranks)
    trainer.resume()
    first = trainer.done.step
    if first:
        say(f"train {run.category}: carries on after step {first} of {total}", quiet)
    batches = load_batches(
        samples,
        range(first, total),
        per_epoch,
        run.config.training.batch,
        machine.loaders,
        ranks.rank,
        ranks.count,
        pin_memory=device.type == "cuda",
    )
    started = time.monotonic()
    made = _from_workers(batches, run.category)
    shown = track(made, total - first, f"train {run.category}", quiet, trainer.note)
    on_epoch = machine.on_epoch if ranks.first else None
    stopped = _steps(trainer, shown, total, run, per_epoch, on_epoch)
    return trainer.trained(time.monotonic() - started, total - first, stopped)


def _steps(
    trainer: Trainer,
    batches: Iterable[Batch],
    total: int,
    run: TrainingRun,
    per_epoch: int,
    on_epoch: Callable[[Path], None] | None,
) -> bool:
    """Take a step on each batch; say whether the last was taken while a signal waited.

    Raises
    ------
    IVError
        A signal came before the last step; a checkpoint was written.
    """
    stop = False
    with Interruption() as interruption:
        for batch in batches:
            trainer.step(batch)
            if on_epoch is not None and trainer.done.step % per_epoch == 0:
                on_epoch(run.folder)
            stop = trainer.any_rank(interruption.requested)
            if stop and trainer.done.step < total:
                trainer.save_checkpoint()
                raise IVError(
                    f"{run.category}: interrupted after step {trainer.done.step} of {total}; "
                    "the same command, without --force, carries on from here"
                )
    return stop


def _from_workers(batches: Iterator[Batch], category: str) -> Iterator[Batch]:
    """Pass the batches on; raise IVError when a process that makes them was killed."""
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise IVError(
            f"{category}: a process that makes samples was ended from outside (out of memory?). "
            "The same command carries on from the last checkpoint; fewer --workers need less room."
        ) from error


def steps_per_epoch(samples: int, config: TrainingConfig, ranks: Ranks) -> int:
    """Count the whole batches in an epoch of so many samples.

    Raises
    ------
    InputError
        There is none, or a batch cannot be divided among the processes.
    """
    if config.batch > samples:
        raise InputError(
            f"training.batch = {config.batch}: an epoch has only {samples} samples "
            "(templates x training.repeats); take a smaller batch or more repeats"
        )
    if config.batch % ranks.count:
        raise InputError(
            f"training.batch = {config.batch}: expected a multiple of the {ranks.count} "
            "processes that torchrun started"
        )
    return samples // config.batch
