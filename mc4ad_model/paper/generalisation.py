# SPDX-License-Identifier: Apache-2.0
"""Table 5a of the paper: four networks without and with MC-Skip, ours beside the printed values.

Each training has a file of its own, so what is done is kept. A gain is that of MC-Skip with one
seed, on the same clouds; its spread is the standard deviation over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from intravariance.errors import InputError
from intravariance.progress import say
from intravariance.tables import Cell
from mc4ad_model.classification.plan import Plan, TaskName
from mc4ad_model.classification.tasks import Source, Task
from mc4ad_model.classification.training import Outcome, Training, commonest, train
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.saved_files import read_json, reading, write_json, writing
from mc4ad_model.paper.printed_tables import table5a
from mc4ad_model.runs.experiments import Spread

FORMAT = "intravariance-table5a"
# The task that a column is of, its score there, and its heading. The last is not in Table 5a: it is
# of the points of defects.
COLUMNS: dict[str, tuple[TaskName, str, str]] = {
    "accuracy": ("recognition", "accuracy", "accuracy"),
    "accuracy_normals": ("recognition-normals", "accuracy", "with normals"),
    "instance_iou": ("segmentation", "instance_iou", "instance IoU"),
    "class_iou": ("segmentation", "class_iou", "class IoU"),
    "point_auroc": ("segmentation", "point_auroc", "P-AUROC"),
}


@dataclass(frozen=True)
class Trained:
    """One training of the table and what came of it."""

    task: TaskName
    network: str
    mc_skip: bool
    seed: int
    outcome: Outcome


@dataclass(frozen=True)
class Table5a:
    """Results of our trainings.

    usual : scores of the commonest answer, by column. remarks : what is not as in the paper.
    """

    preset: str
    data: dict[str, str]
    networks: tuple[str, ...]
    tasks: tuple[TaskName, ...]
    seeds: tuple[int, ...]
    trained: tuple[Trained, ...]
    usual: dict[str, float]
    remarks: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The columns that there are scores for."""
        return list(self.usual)

    def each(self, network: str, mc_skip: bool, column: str) -> list[float]:
        """Return a score in percent for each seed."""
        task, name, _ = COLUMNS[column]
        found = {
            one.seed: 100 * one.outcome.scores[name]
            for one in self.trained
            if (one.task, one.network, one.mc_skip) == (task, network, mc_skip)
        }
        return [found[seed] for seed in self.seeds]

    def gains(self, network: str, column: str) -> list[float]:
        """Return what MC-Skip adds to a score, in percentage points, for each seed."""
        both = zip(self.each(network, True, column), self.each(network, False, column), strict=True)
        return [after - before for after, before in both]

    def mean_gain(self, column: str) -> Spread:
        """Return the mean gain over networks, and its spread over seeds."""
        each = [self.gains(network, column) for network in self.networks]
        return Spread.of([fmean(one) for one in zip(*each, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "table": "5a",
            "preset": self.preset,
            "data": self.data,
            "networks": list(self.networks),
            "seeds": list(self.seeds),
            "trained": [asdict(one) for one in self.trained],
            "commonest_answer": self.usual,
            "mean_gain": {name: asdict(self.mean_gain(name)) for name in self.columns},
            "published": asdict(table5a()),
            "differences": list(self.remarks),
        }


def reproduce_table5a(
    source: Source,
    tasks: Sequence[TaskName],
    networks: Sequence[str],
    plan: Plan,
    seeds: Sequence[int],
    out: Path,
    machine: Machine,
) -> Table5a:
    """Train each network without and with MC-Skip on each task with each seed.

    Parameters
    ----------
    tasks
        Some of those that the source has data for; every one where none is named.
    out
        Folder of the results, a file for each training; those that are there are not done again.

    Raises
    ------
    InputError
        There is no data for a task or it cannot be used, or a file in the folder is another
        training's or cannot be written.
    """
    chosen = _chosen(source, tasks)
    trained: list[Trained] = []
    usual: dict[str, float] = {}
    for name in chosen:
        for seed in seeds:
            loaded: list[Task] = []  # once for all networks, and only where one is to be trained
            for network in networks:
                for mc_skip in (False, True):
                    training = Training(network, mc_skip, plan, seed)
                    path = out / name / f"{training.label}.json"
                    identity = _identity(source, name, training)
                    content = _read(path, identity)
                    if content is None:
                        loaded = loaded or [source.load(name, plan, seed)]
                        content = _train(loaded[0], training, machine)
                        _write(path, identity, content)
                    else:
                        say(f"{name}, {training.label}: is trained already", machine.quiet)
                    outcome = _outcome(content["outcome"])
                    trained.append(Trained(name, network, mc_skip, seed, outcome))
                    _keep_usual(usual, name, content["commonest"])
    return Table5a(
        preset=plan.preset,
        data={"name": source.name, "digest": source.digest},
        networks=tuple(networks),
        tasks=chosen,
        seeds=tuple(seeds),
        trained=tuple(trained),
        usual=usual,
        remarks=tuple(_remarks(source, chosen, plan)),
    )


def planned_table5a(
    source: Source,
    tasks: Sequence[TaskName],
    networks: Sequence[str],
    plan: Plan,
    seeds: Sequence[int],
    out: Path,
) -> list[tuple[int, str, str]]:
    """Return the seed and the name of each training of `reproduce_table5a`, and whether it is done.
    Parameters and errors are its own; no data is loaded."""
    planned = []
    for name, seed, network in product(_chosen(source, tasks), seeds, networks):
        for mc_skip in (False, True):
            training = Training(network, mc_skip, plan, seed)
            path = out / name / f"{training.label}.json"
            done = _read(path, _identity(source, name, training)) is not None
            label = f"{name}, {network}{' + MC-Skip' if mc_skip else ''}"
            planned.append((seed, label, "is trained already" if done else "new"))
    return planned


def _chosen(source: Source, tasks: Sequence[TaskName]) -> tuple[TaskName, ...]:
    """Return the tasks to do, all where none is named. Raises InputError for one without data."""
    if missing := [name for name in tasks if name not in source.tasks]:
        raise InputError(f"--task {missing[0]}: {source.name} has {', '.join(source.tasks)}")
    return tuple(name for name in source.tasks if name in tasks or not tasks)


def table_rows(found: Table5a) -> tuple[list[str], list[list[Cell]]]:
    """Heading and rows in percent: for each network the paper's and ours, and what MC-Skip adds."""
    columns = found.columns
    heading = ["%", *(COLUMNS[name][2] for name in columns), "parameters", "seconds"]
    rows: list[list[Cell]] = []
    for network in found.networks:
        for mc_skip in (False, True):
            name = f"{network}{' + MC-Skip' if mc_skip else ''}"
            theirs = [_printed(network, mc_skip, one) for one in columns]
            ours = [_percent(Spread.of(found.each(network, mc_skip, one))) for one in columns]
            rows.append([f"{name}, paper", *theirs, None, None])
            rows.append([f"{name}, here", *ours, *_cost(found, network, mc_skip)])
        gains = [_percent(Spread.of(found.gains(network, one)), "+") for one in columns]
        rows.append([f"{network}: gain here", *gains, None, None])
    theirs = [_printed_gain(found.networks, one) for one in columns]
    rows.append(["mean gain, paper", *theirs, None, None])
    ours = [_percent(found.mean_gain(one), "+") for one in columns]
    rows.append(["mean gain, here", *ours, None, None])
    rows.append(
        ["commonest answer, here", *(f"{found.usual[c]:.1f}" for c in columns), *[None] * 2]
    )
    return heading, rows


def _printed(network: str, mc_skip: bool, column: str) -> str | None:
    printed = table5a()
    if column not in printed.columns:
        return None
    return f"{printed.value(network, mc_skip, column):.1f}"


def _printed_gain(networks: Sequence[str], column: str) -> str | None:
    printed = table5a()
    if column not in printed.columns:
        return None
    gains = [printed.value(n, True, column) - printed.value(n, False, column) for n in networks]
    return f"{fmean(gains):+.2f}"


def _cost(found: Table5a, network: str, mc_skip: bool) -> list[Cell]:
    """Return the parameters of the first task's network, and the mean seconds of a training."""
    own = [t for t in found.trained if (t.network, t.mc_skip) == (network, mc_skip)]
    return [own[0].outcome.parameters, round(fmean(one.outcome.seconds for one in own))]


def _percent(spread: Spread, sign: str = "") -> str:
    deviation = "" if spread.deviation is None else f" ±{spread.deviation:.1f}"
    return f"{spread.mean:{sign}.1f}{deviation}"


def _train(task: Task, training: Training, machine: Machine) -> dict[str, Any]:
    outcome = train(task, training, machine)
    return {"outcome": asdict(outcome), "commonest": commonest(task)}


def _outcome(content: dict[str, Any]) -> Outcome:
    return Outcome(**{**content, "losses": tuple(content["losses"])})


def _identity(source: Source, name: TaskName, training: Training) -> dict[str, Any]:
    """All that an outcome depends on, as plain values."""
    return {
        "data_digest": source.digest,
        "task": name,
        "network": training.network,
        "mc_skip": training.mc_skip,
        "seed": training.seed,
        "plan": training.plan.to_dict(),
    }


def _read(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Read what was kept of a training; None where it is not done."""
    if not path.exists():
        return None
    with reading():
        content = read_json(path, FORMAT)
    if (found := content.get("identity")) != identity:
        wrong = sorted(
            k for k in identity if not isinstance(found, dict) or found.get(k) != identity[k]
        )
        raise InputError(
            f"{path}: is of another training ({', '.join(wrong)} differ); choose another --out, or "
            "delete the file"
        )
    return content


def _write(path: Path, identity: dict[str, Any], content: dict[str, Any]) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": FORMAT, "version": 1, "identity": identity, **content})


def _keep_usual(usual: dict[str, float], name: TaskName, scores: dict[str, float]) -> None:
    for column, (task, score, _) in COLUMNS.items():
        if task == name and score in scores:
            usual[column] = 100 * scores[score]


def _remarks(source: Source, tasks: Sequence[TaskName], plan: Plan) -> Iterator[str]:
    yield from source.remarks
    if left_out := [name for name in source.tasks if name not in tasks]:
        yield f"Left out here: {', '.join(left_out)}."
    if plan.preset == "small":
        yield (
            f"The networks: preset small, {plan.width:g} of the published channels "
            f"({plan.attention:g} inside of PointTransformer's attention), {plan.neighbours:g} of "
            f"the neighbours, {plan.points} points, {plan.epochs} epochs; preset paper has the "
            "published sizes, 1,024 points (2,048 for segmentation) and 250 epochs."
        )
    yield (
        "The training: the paper refers to each network's own; here all have Adam, a cosine from "
        f"{plan.rate:g} to 0, and batches of {plan.batch}."
    )
    yield (
        "MC-Skip: as Eq. 13, with the sigmoid of appendix B.3 and of the released code, which Eq. "
        "13 does not print. PointNet, PointNet++ and PointTransformer gain convolutions by it, so "
        "a gain is not of the connections alone; DGCNN keeps its four."
    )
