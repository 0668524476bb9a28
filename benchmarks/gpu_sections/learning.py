# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation: the default preset to its end, `released` as far as time allows.

The commands' own functions run, with the loader's processes, checkpoints and metrics.
"""

from __future__ import annotations

import contextlib
import functools
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gpu_sections.bench import Bench, Case, Finding, tabulated
from intravariance.dataset.store import Dataset
from intravariance.executors.processes import cores
from intravariance.tables import Cell
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods import method_class
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.training import steps_per_epoch
from mc4ad_model.methods.mc4ad.training_samples import TrainingSamples, load_batches
from mc4ad_model.methods.mc4ad.training_state import Batch, Trainer, TrainingRun
from mc4ad_model.methods.method import FittedOn
from mc4ad_model.methods.templates import read_templates
from mc4ad_model.runs.jobs import evaluate_into, train_runs
from mc4ad_model.runs.run_folder import read_run
from tests.support.deviations import small

HEADING = ["category", "method", "fit s", "evaluate s", "objects/s", "O-AUROC", "P-AUROC"]
GOAL = "Goal: all of Group 2 within 60 s."
PARTS = 10  # rows of a learning curve
SHOWN = 5.0  # seconds between two states of it
LEAVE = 3.0  # seconds for what comes after the last step
SMALL_SECONDS = 2.0  # of training on a CPU


def machine_of(bench: Bench) -> Machine:
    """Return the choices of a run: all cores but one make samples, one process where all is
    small."""
    workers = 1 if bench.small else min(16, max(1, cores() - 1))
    return Machine(bench.device.type, workers=workers, quiet=True)


def train_and_evaluate(bench: Bench) -> Iterator[Finding]:
    """Train and evaluate the default preset: on one category alone, then on all of them.

    All are begun only where the time that one took says that they can be done.
    """
    shutil.rmtree(bench.out / "runs", ignore_errors=True)  # the network of all categories too
    with small() if bench.small else contextlib.nullcontext(), bench.dataset() as dataset:
        categories = [c.name for c in dataset.specification.categories]
        own = Runs(bench, dataset, "mc4ad", ("data.learn_from=[]",))
        distance = Runs(bench, dataset, "registered_distance")
        cases = [
            Case(
                [f"{categories[0]} alone", runs.method], functools.partial(runs.one, categories[0])
            )
            for runs in (own, distance)
        ]
        note = "A network of the category's own templates."
        yield from bench.table("The default preset on one category, seed 0", HEADING, cases, note)
        title = f"The default preset on {len(categories)} categories, seed 0"
        expected = len(categories) * sum(own.spent.get(categories[0], (math.inf,)))
        if not bench.small and expected > bench.left:
            needs = f"about {expected:.0f} s" if own.spent else "the first category was not done"
            said = f"Left out: {needs}, and {bench.left:.0f} s are left. {GOAL}"
            yield Finding(title, note=said)
            return
        every = Runs(bench, dataset, "mc4ad")
        cases = [Case([name, "mc4ad"], functools.partial(every.one, name)) for name in categories]
        cases.append(Case(["those that were done", "mc4ad"], every.total))
        note = f"The first fit trains the network of all categories. {GOAL}"
        yield from bench.table(title, HEADING, cases, note)


@dataclass
class Runs:
    """Runs of a method's default preset with some changes; spent : seconds to fit and evaluate."""

    bench: Bench
    dataset: Dataset
    method: str
    changes: tuple[str, ...] = ()
    spent: dict[str, tuple[float, float]] = field(default_factory=dict)

    def one(self, category: str) -> Sequence[Cell]:
        """Train and evaluate on a category; cells as HEADING."""
        machine = machine_of(self.bench)
        short = ("training.epochs=1", "training.repeats=8") if self.bench.small else ()
        changes = [*self.changes, *(short if self.method == "mc4ad" else ())]
        settings = method_class(self.method).Settings.load(None, changes)
        folder = self.bench.out / "runs" / (self.method + ("-alone" if self.changes else ""))
        start = time.monotonic()
        runs = train_runs(self.dataset, [category], self.method, settings, 0, folder, machine)
        fitted = time.monotonic()
        run = read_run(runs[category])
        found = evaluate_into(run.folder / "evaluation", run, self.dataset, None, 0, machine)
        self.spent[category] = seconds = (fitted - start, time.monotonic() - fitted)
        rate = found.cost.objects_per_second
        return [*seconds, rate, found.metrics.o_auroc, found.metrics.p_auroc]

    def total(self) -> Sequence[Cell]:
        """Return the sums over the categories that were done; cells as HEADING."""
        if not self.spent:
            raise RuntimeError("no category was done")
        fit, evaluation = (sum(seconds) for seconds in zip(*self.spent.values(), strict=True))
        done = f"{len(self.spent)} in {fit + evaluation:.1f} s"
        return [fit, evaluation, done, None, None]


def learning_curve(bench: Bench) -> Iterator[Finding]:
    """Train `released` on one category until the time is up, and extrapolate to its end."""
    small = ["network.width=0.05", "training.batch=4", "training.repeats=4"]
    config = RunConfig.load("released", small if bench.small else [])
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
    run = TrainingRun(folder, config, on)
    trainer = Trainer(run, per_epoch, bench.device, machine.backend, ranks)
    batches = load_batches(
        samples, range(total), per_epoch, config.training.batch, machine.loaders,
        pin_memory=bench.device.type == "cuda",
    )  # fmt: skip
    title = f"`released` on {templates.category}, seed 0, {machine.loaders} processes for samples"
    for losses, note in _steps(bench, trainer, batches, total):
        rows = [
            [f"{first + 1} to {last}", sum(losses[first:last]) / (last - first)]
            for first, last in _parts(len(losses))
        ]
        yield tabulated(title, ["steps", "mean loss"], rows, note)


def _steps(
    bench: Bench, trainer: Trainer, batches: Iterator[Batch], total: int
) -> Iterator[tuple[list[float], str]]:
    """Take steps until the time is up; yield their losses and what they took every few seconds."""
    losses, waited, asked = list[float](), 0.0, time.monotonic()
    batch = next(batches)
    started = shown = time.monotonic()
    begun = f"the first batch was there after {started - asked:.1f} s"
    while True:
        trainer.step(batch)
        losses.append(float(trainer.note().split()[-1]))
        now = time.monotonic()
        spent = now - started
        end = len(losses) == total or bench.left < LEAVE or (bench.small and spent > SMALL_SECONDS)
        done = len(losses)
        if end or done == 1 or now - shown > SHOWN:
            shown = now
            note = (
                f"{done} of {total} steps in {spent:.0f} s ({1e3 * spent / done:.0f} ms a step, "
                f"{waited / spent:.0%} of it waiting for samples; {begun}); all of them would "
                f"take {spent / done * total / 60:.1f} minutes."
            )
            yield losses, note
        if end:
            return
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked


def _parts(count: int) -> list[tuple[int, int]]:
    """Cut `count` steps into at most PARTS runs of steps: (first, last + 1)."""
    size = math.ceil(count / PARTS)
    return [(first, min(first + size, count)) for first in range(0, count, size)]
