# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation: the default preset to its end, `released` as far as time allows.

The commands' own functions run, with the loader's processes, checkpoints and metrics.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator

from gpu_sections.bench import Bench, Finding, tabulated
from intravariance.executors.processes import cores
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods import method_class
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.training import steps_per_epoch
from mc4ad_model.methods.mc4ad.training_samples import TrainingSamples, load_batches
from mc4ad_model.methods.mc4ad.training_state import Trainer, TrainingRun
from mc4ad_model.methods.method import FittedOn
from mc4ad_model.methods.templates import read_templates
from mc4ad_model.runs.jobs import evaluate_into, train_runs
from mc4ad_model.runs.run_folder import read_run

PARTS = 10  # rows of a learning curve


def machine_of(bench: Bench) -> Machine:
    """Return the choices of a run: all cores but one make samples."""
    workers = 0 if bench.small else min(16, max(1, cores() - 1))
    return Machine(bench.device.type, workers=workers, quiet=True)


def train_and_evaluate(bench: Bench) -> Iterator[Finding]:
    """Train and evaluate the default preset, and evaluate the registered distance beside it."""
    machine = machine_of(bench)
    changes = ["training.epochs=1", "training.repeats=4"] if bench.small else []
    rows = []
    with bench.dataset() as dataset:
        categories = [c.name for c in dataset.specification.categories]
        for category in categories[: 1 if bench.small else None]:
            if bench.left < 60 and rows:
                break
            for method in ("registered_distance", "mc4ad"):
                settings = method_class(method).Settings.load(
                    None, changes if method == "mc4ad" else []
                )
                folder = bench.out / "runs" / method
                shutil.rmtree(folder / category, ignore_errors=True)
                start = time.monotonic()
                runs = train_runs(dataset, [category], method, settings, 0, folder, machine)
                fitted = time.monotonic()
                run = read_run(runs[category])
                found = evaluate_into(run.folder / "evaluation", run, dataset, None, 0, machine)
                rows.append(
                    [category, method, fitted - start, time.monotonic() - fitted,
                     found.cost.objects_per_second, found.metrics.o_auroc, found.metrics.p_auroc]
                )  # fmt: skip
    heading = ["category", "method", "fit s", "evaluate s", "objects/s", "O-AUROC", "P-AUROC"]
    left = len(categories) - len({row[0] for row in rows})
    note = f"{left} more categories were left out." if left else ""
    yield tabulated("The default preset, trained and evaluated, seed 0", heading, rows, note)


def learning_curve(bench: Bench) -> Iterator[Finding]:
    """Train `released` on one category until the time is up, and extrapolate to its end."""
    changes = ["training.batch=4", "training.repeats=4"] if bench.small else []
    config = RunConfig.load("released", changes)
    machine = machine_of(bench)
    with bench.dataset() as dataset:
        templates = read_templates(dataset, dataset.specification.categories[0].name)
        on = FittedOn(templates.category, 0, dataset.digest)
    folder = bench.out / "released"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ranks = Ranks.here(machine)
    samples = TrainingSamples(templates, config, 0)
    per_epoch = steps_per_epoch(samples.per_epoch, config.training, ranks)
    total = per_epoch * config.training.epochs
    trainer = Trainer(
        TrainingRun(folder, config, on), per_epoch, bench.device, machine.backend, ranks
    )
    seconds = max(5.0, bench.left - 10.0)
    if bench.small:
        seconds = min(seconds, 15.0)
    batches = load_batches(
        samples, range(total), per_epoch, config.training.batch, machine.loaders,
        pin_memory=bench.device.type == "cuda",
    )  # fmt: skip
    losses, waited, started = list[float](), 0.0, time.monotonic()
    while time.monotonic() - started < seconds and len(losses) < total:
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        trainer.step(batch)
        losses.append(float(trainer.note().split()[-1]))
    spent = time.monotonic() - started
    rows = [
        [f"{first + 1} to {last}", sum(losses[first:last]) / (last - first)]
        for first, last in _parts(len(losses))
    ]
    note = (
        f"{len(losses)} of {total} steps in {spent:.0f} s ({1e3 * spent / len(losses):.0f} ms a "
        f"step, {waited / spent:.0%} of it waiting for samples by {machine.loaders} processes); "
        f"all of them would take {spent / len(losses) * total / 60:.1f} minutes."
    )
    yield tabulated(
        f"`released` on {templates.category}, seed 0", ["steps", "mean loss"], rows, note
    )


def _parts(count: int) -> list[tuple[int, int]]:
    """Cut `count` steps into at most PARTS runs of steps: (first, last + 1)."""
    size = math.ceil(count / PARTS)
    return [(first, min(first + size, count)) for first in range(0, count, size)]
