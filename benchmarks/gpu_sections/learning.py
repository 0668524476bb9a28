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
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gpu_sections.bench import Bench, Case, Finding, tabulated
from gpu_sections.speed import backends, precisions, working
from intravariance.dataset.store import Dataset
from intravariance.errors import BackendUnavailable
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
SHORT = ("data.learn_from=[]", "training.epochs=1", "training.repeats=8")  # some steps
FIRST_STEPS = 3  # that are left out of the time of a step
SHARE_OF_A_WAY = 0.25  # of the time that is left, for each backend and precision but the last


def machine_of(bench: Bench, backend: str = "torch") -> Machine:
    """Return the choices of a run: all cores but one make samples, one process where all is
    small."""
    workers = 1 if bench.small else min(16, max(1, cores() - 1))
    return Machine(bench.device.type, backend, workers, quiet=True)


def usable(bench: Bench) -> list[str]:
    """Return the backends that work here, plain torch first."""
    found = list[str]()
    for name in backends(bench):
        with contextlib.suppress(BackendUnavailable):
            working(name)
            found.append(name)
    return found


def train_and_evaluate(bench: Bench) -> Iterator[Finding]:
    """Train and evaluate the default preset: on one category alone by each backend, then on all
    categories by the faster one.

    All are begun only where the time that one took says that they can be done.
    """
    shutil.rmtree(bench.scratch / "runs", ignore_errors=True)  # the network of all categories too
    with small() if bench.small else contextlib.nullcontext(), bench.dataset() as dataset:
        categories = [c.name for c in dataset.specification.categories]
        alone = [
            Runs(bench, dataset, "mc4ad", name, ("data.learn_from=[]",)) for name in usable(bench)
        ]
        distance = Runs(bench, dataset, "registered_distance")
        first = Runs(bench, dataset, "mc4ad", "triton", SHORT)  # compiles what is narrower here
        cases = [
            Case([f"{categories[0]} alone{said}", runs.title],
                 functools.partial(runs.one, categories[0]))
            for said, runs in (
                *([(", one step, to compile kernels", first)] if len(alone) > 1 else []),
                *(("", runs) for runs in (*alone, distance)),
            )
        ]  # fmt: skip
        note = "A network of the category's own templates."
        yield from bench.table("The default preset on one category, seed 0", HEADING, cases, note)
        title = f"The default preset on {len(categories)} categories, seed 0"
        best = min(alone, key=lambda runs: sum(runs.spent.get(categories[0], (math.inf,))))
        expected = len(categories) * sum(best.spent.get(categories[0], (math.inf,)))
        if not bench.small and expected > bench.left:
            needs = f"about {expected:.0f} s" if best.spent else "the first category was not done"
            said = f"Left out: {needs}, and {bench.left:.0f} s are left. {GOAL}"
            yield Finding(title, note=said)
            return
        every = Runs(bench, dataset, "mc4ad", best.backend)
        cases = [Case([c, every.title], functools.partial(every.one, c)) for c in categories]
        cases.append(Case(["those that were done", every.title], every.total))
        note = f"The first fit trains the network of all categories. {GOAL}"
        yield from bench.table(title, HEADING, cases, note)


@dataclass
class Runs:
    """Runs of a method's default preset with some changes; spent : seconds to fit and evaluate."""

    bench: Bench
    dataset: Dataset
    method: str
    backend: str = "torch"
    changes: tuple[str, ...] = ()
    spent: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The method, and its backend if it has one."""
        return f"{self.method}, {self.backend}" if self.method == "mc4ad" else self.method

    def one(self, category: str) -> Sequence[Cell]:
        """Train and evaluate on a category; cells as HEADING."""
        machine = machine_of(self.bench, self.backend)
        short = self.bench.small and self.method == "mc4ad"
        changes = [*self.changes, *(SHORT[1:] if short else ())]
        settings = method_class(self.method).Settings.load(None, changes)
        name = "-".join([self.method, self.backend, str(len(self.changes))])
        folder = self.bench.scratch / "runs" / name
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
    """Train `released` on one category until the time is up, and extrapolate to its end.

    Each backend and precision takes its steps for a part of the time, and the last one for the rest
    of it, by the same processes for samples.
    """
    small = ["network.width=0.05", "training.batch=4", "training.repeats=4"] if bench.small else []
    config = RunConfig.load("released", small)
    machine = machine_of(bench)
    with bench.dataset() as dataset:
        templates = read_templates(dataset, dataset.specification.categories[0].name)
        on = FittedOn(templates.category, 0, dataset.digest)
    ranks = Ranks.here(machine)
    samples = TrainingSamples(templates, config, 0)
    per_epoch = steps_per_epoch(samples.per_epoch, config.training, ranks)
    total = per_epoch * config.training.epochs
    ways = [(name, "float32") for name in usable(bench)]
    ways += [(ways[-1][0], precision.lower()) for precision in precisions(bench)[1:]]
    batches = load_batches(
        samples, range(len(ways) * total), per_epoch, config.training.batch, machine.loaders,
        pin_memory=bench.device.type == "cuda",
    )  # fmt: skip
    for number, (backend, precision) in enumerate(ways):
        own = RunConfig.load("released", [*small, f"training.precision={precision}"])
        seconds = bench.left if number == len(ways) - 1 else SHARE_OF_A_WAY * bench.left
        title = (
            f"`released` on {templates.category}, seed 0, backend {backend}, {precision}, "
            f"{machine.loaders} processes for samples"
        )
        folder = bench.scratch / f"released-{backend}-{precision}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            trainer = Trainer(TrainingRun(folder, own, on), per_epoch, bench.device, backend, ranks)
            for losses, note in _steps(trainer, batches, total, seconds - LEAVE, bench.small):
                yield tabulated(title, ["steps", "mean loss"], _means(losses), note)
        except Exception as error:  # the other ways are tried
            traceback.print_exc()
            bench.failures += 1
            yield Finding(title, note=f"Failed: {type(error).__name__}: {error}")


def _means(losses: Sequence[float]) -> list[list[Cell]]:
    return [
        [f"{first + 1} to {last}", sum(losses[first:last]) / (last - first)]
        for first, last in _parts(len(losses))
    ]


def _steps(
    trainer: Trainer, batches: Iterator[Batch], total: int, seconds: float, small: bool
) -> Iterator[tuple[list[float], str]]:
    """Take steps until the time is up; yield their losses and what they took every few seconds.

    The first steps, which compile kernels and start processes, are left out of the time of a step.
    """
    losses, waited, begun = list[float](), 0.0, time.monotonic()
    until = begun + (min(seconds, SMALL_SECONDS) if small else seconds)
    first = started = shown = begun
    while True:
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        trainer.step(batch)
        losses.append(float(trainer.note().split()[-1]))
        now, done = time.monotonic(), len(losses)
        if done == 1:
            first = now
        if done <= FIRST_STEPS:
            started, waited = now, 0.0
        end = done == total or now > until
        if end or done == 1 or now - shown > SHOWN:
            shown = now
            note = f"{done} of {total} steps, the first of them after {first - begun:.1f} s"
            if done > FIRST_STEPS:
                step = (now - started) / (done - FIRST_STEPS)
                note += (
                    f"; {1e3 * step:.0f} ms a step without the first {FIRST_STEPS}, "
                    f"{waited / (now - started):.0%} of it waiting for samples; all of them would "
                    f"take {step * total / 60:.1f} minutes"
                )
            yield losses, f"{note}."
        if end:
            return


def _parts(count: int) -> list[tuple[int, int]]:
    """Cut `count` steps into at most PARTS runs of steps: (first, last + 1)."""
    size = math.ceil(count / PARTS)
    return [(first, min(first + size, count)) for first in range(0, count, size)]
