# SPDX-License-Identifier: Apache-2.0
"""Ablations: grids of variants of a preset, each trained and evaluated with several seeds.

The grids (`grids.toml`) are those of the paper's Tables 3, 9 and 10, and one of all pseudo-anomaly
generators. A variant is a list of changes to the preset, applied one after another. Variants whose
resolved configurations are equal share one run, also between grids with the same folder; the
folder's name says how its configuration differs from the preset's:

    OUT/base/seed-0/CATEGORY/                          the preset as it is
    OUT/loss.symmetry=0.0/seed-0/CATEGORY/             V1

The paper's figures are of Real3D-AD, so a table shows two experiments beside each other, not one
repeated.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.progress import say
from mc4ad_model.evaluation.metrics import mean_rank
from mc4ad_model.evaluation.results import describe
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.paper.printed_tables import AblationTable, ablation_table
from mc4ad_model.quality_control.cascade import scores_of
from mc4ad_model.quality_control.gain import compare_stages
from mc4ad_model.runs.experiments import (
    CategoryOutcome,
    Spread,
    average,
    outcome,
    train_and_evaluate,
)
from mc4ad_model.runs.jobs import evaluated_records

Grid = Mapping[str, tuple[str, ...]]

GRIDS: dict[str, Grid] = {
    grid: {name: tuple(changes) for name, changes in variants.items()}
    for grid, variants in tomllib.loads(
        resources.files(__package__).joinpath("grids.toml").read_text(encoding="utf-8")
    ).items()
}
# Changes of the settings that make V_P, in the grids "architecture" and "accept".
_PRUNED = GRIDS["accept"]["V_P"]

SHARES = {"b = 0.15": 0.15, "b = 0.20": 0.2, "b = 0.25": 0.25, "b = 0.30": 0.3, "b = 0.35": 0.35}
# Name in results -> field of `CategoryOutcome`.
MEASURED = {"o_auroc": "o_auroc", "p_auroc": "p_auroc", "fps": "objects_per_second"}
# Paper A.5: V_P is trained with 1.5e-3, the other networks with 1e-3.
_PRUNED_RATE = 1.5
# Grids over a parameter of DA-Gen, and the generators that have it.
_READ_BY = dict.fromkeys(
    ("normal-share", "attenuation"), ("da_gen_paper", "da_gen_radial", "da_gen_released")
)


@dataclass(frozen=True)
class Variant:
    """A planned variant.

    changes : those that were applied, those that follow from them included; folder : its name.
    """

    name: str
    changes: tuple[str, ...]
    config: RunConfig
    folder: str


@dataclass(frozen=True)
class Plan:
    """A grid on a preset; remarks : what a reader of its table should know."""

    grid: str
    variants: tuple[Variant, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A variant of the table, with what each category and seed gave.

    Spreads are over seeds, of means over categories.
    """

    variant: str
    changes: tuple[str, ...]
    outcomes: tuple[CategoryOutcome, ...]

    def spread(self, field: str) -> Spread:
        """Return the spread of a field of the outcomes."""
        return average(self.outcomes, field)

    @property
    def parameters(self) -> int | None:
        return self.outcomes[0].parameters


@dataclass(frozen=True)
class Ablation:
    """The table; published : None for a grid that the paper does not have."""

    plan: Plan
    preset: str
    dataset: dict[str, str]
    categories: tuple[str, ...]
    seeds: tuple[int, ...]
    lines: tuple[Line, ...]
    published: AblationTable | None

    def mean_ranks(self) -> list[float]:
        """Return each line's mean rank over categories by O-AUROC (mean over seeds); 1 is best."""
        table = [
            [
                fmean(one.o_auroc for one in line.outcomes if one.category == category)
                for category in self.categories
            ]
            for line in self.lines
        ]
        return [float(rank) for rank in mean_rank(table)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "grid": self.plan.grid,
            "preset": self.preset,
            "dataset": self.dataset,
            "categories": list(self.categories),
            "seeds": list(self.seeds),
            "remarks": list(self.plan.remarks),
            "variants": {line.variant: self._line(line) for line in self.lines},
            "mean_ranks": self.mean_ranks(),
            "published": asdict(self.published) if self.published else None,
        }

    def _line(self, line: Line) -> dict[str, Any]:
        return {
            "changes": list(line.changes),
            **{name: asdict(line.spread(field)) for name, field in MEASURED.items()},
            "parameters": line.parameters,
            "outcomes": [asdict(one) for one in line.outcomes],
        }


def plan_grid(grid: str, preset: str, changes: Sequence[str] = ()) -> Plan:
    """Return the configurations of a grid.

    Two things follow from changes that a preset cannot know: no more patches are deformed than are
    candidates, and V_P learns at 1.5 times the preset's rate (paper A.5).

    Parameters
    ----------
    preset, changes
        What the variants start from, as for `RunConfig.load`.

    Raises
    ------
    InputError
        There is no such grid or preset, a value is not allowed, or the preset's generator does not
        use what the grid varies.
    """
    if grid not in GRIDS:
        raise InputError(f"no grid {grid!r}; expected one of {', '.join(GRIDS)}")
    base = RunConfig.load(preset, changes)
    generator, readers = base.anomalies.generator, _READ_BY.get(grid)
    if readers and generator not in readers:
        raise InputError(
            f"grid {grid}: the preset's generator {generator} does not use it, so that all "
            f"variants are the same; take another, such as --set anomalies.generator={readers[0]}"
        )
    if (grid == "deviation") != (base.network.input == "deviation"):
        fitting = "--preset deviation" if grid == "deviation" else "--preset quick"
        raise InputError(
            f"grid {grid}: preset {preset} has network.input = {base.network.input!r}, whose "
            f"networks do not read what the grid varies; take another, such as {fitting}"
        )
    variants = []
    for name, own in GRIDS[grid].items():
        own = (*own, *_follow(own, base))
        config = RunConfig.load(preset, [*changes, *own])
        variants.append(Variant(name, own, config, _folder(config, base)))
    return Plan(grid, tuple(variants), tuple(_remarks(grid, base, variants)))


def run_ablation(
    plan: Plan,
    dataset: Dataset,
    categories: list[str],
    seeds: Sequence[int],
    out: Path,
    machine: Machine,
) -> Ablation:
    """Train and evaluate whatever is not done yet; the table.

    Raises
    ------
    InputError
        As `train_and_evaluate`.
    """
    lines = []
    evaluated: dict[tuple[str, int], dict[str, Any]] = {}
    for variant in plan.variants:
        outcomes = []
        for seed in seeds:
            say(f"ablate {plan.grid}: {variant.name}, seed {seed}", machine.quiet)
            folder = out / variant.folder / f"seed-{seed}"
            for run, results in train_and_evaluate(
                dataset, categories, "mc4ad", variant.config, seed, folder, machine
            ):
                outcomes.append(outcome(run, results))
                if plan.grid == "accept":  # the others' point scores are not kept in memory
                    scores = scores_of(results.evaluation)
                    evaluated.setdefault((run.category, seed), {})[variant.name] = scores
        lines.append(Line(variant.name, variant.changes, tuple(outcomes)))
    if plan.grid == "accept":
        lines += _accept_lines(dataset, evaluated)
    return Ablation(
        plan=plan,
        preset=plan.variants[0].config.preset,
        dataset=describe(dataset),
        categories=tuple(categories),
        seeds=tuple(seeds),
        lines=tuple(lines),
        published=ablation_table(plan.grid),
    )


def _follow(own: Sequence[str], base: RunConfig) -> Iterator[str]:
    """Return changes that follow from others."""
    for change in own:
        name, _, value = change.partition("=")
        if name == "anomalies.candidates" and base.anomalies.deformed > int(value):
            yield f"anomalies.deformed={value}"
    if tuple(own) == _PRUNED:
        rate = base.training.learning_rate * _PRUNED_RATE
        yield f"training.learning_rate={rate:.6g}"


def _folder(config: RunConfig, base: RunConfig) -> str:
    """How a configuration differs from the preset's, as the name of a folder."""
    parts = []
    for name, (value, _) in config.differences(base).items():
        text = "-".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        parts.append(f"{name}={text}")
    return ",".join(parts) or "base"


def _remarks(grid: str, base: RunConfig, variants: Sequence[Variant]) -> Iterator[str]:
    named: dict[str, list[str]] = {}
    for variant in variants:
        named.setdefault(variant.folder, []).append(variant.name)
    for folder, names in named.items():
        if len(names) > 1:
            yield f"{' and '.join(names)} are the same configuration here"
        elif folder == "base" and names != ["full"]:
            yield f"{names[0]} is the preset as it is"
    if "base" not in named:
        yield "no variant is the preset as it is"
    if grid == "patches":
        counts = {v.name: v.config.anomalies.deformed for v in variants}
        yield (
            "half of the patches are candidates (released code); deformed of G: "
            + ", ".join(f"{count} of {name}" for name, count in counts.items())
        )
    if grid in _READ_BY and base.anomalies.frozen:
        yield "anomalies.frozen: a run draws one value from the range (released code)"
    if any(variant.changes[: len(_PRUNED)] == _PRUNED for variant in variants):
        yield f"V_P learns at {_PRUNED_RATE} times the preset's rate, as in the paper (A.5)"
    if grid == "accept":
        yield (
            "FPS of b: V_P's time of all test objects and V_O's of those not accepted, each timed "
            "in its own evaluation; P-AUROC: V_P's point scores are brought to V_O's scale"
        )


def _accept_lines(
    dataset: Dataset, evaluated: Mapping[tuple[str, int], Mapping[str, Any]]
) -> Iterator[Line]:
    """Return a line for each b, from the evaluations of V_P and V_O."""
    outcomes: dict[str, list[CategoryOutcome]] = {name: [] for name in SHARES}
    for (category, seed), scores in evaluated.items():
        records = evaluated_records(dataset, category)
        labels = [record.labels for record in records]
        anomalous = np.array([record.defect != NORMAL for record in records])
        for name, share in SHARES.items():
            found = compare_stages(category, labels, anomalous, scores["V_P"], scores["V_O"], share)
            rate = found.timing.rate(found.timing.both)
            outcomes[name].append(
                CategoryOutcome(
                    category, seed, found.o_auroc, found.p_auroc, rate, None, None, None
                )
            )
    for name, share in SHARES.items():
        yield Line(name, (f"share={share:g}",), tuple(outcomes[name]))
