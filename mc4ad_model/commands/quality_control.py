# SPDX-License-Identifier: Apache-2.0
"""`iv quality-control`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.tables import Cell, TableForm, table_in
from mc4ad_model.commands import options
from mc4ad_model.evaluation.evaluate import check_labelled
from mc4ad_model.evaluation.normal_products import calibration_clouds, conditions_of
from mc4ad_model.evaluation.results import describe
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.mc4ad.method import MC4AD
from mc4ad_model.methods.method import Method
from mc4ad_model.methods.templates import read_templates
from mc4ad_model.quality_control.cascade import Scores, score_objects
from mc4ad_model.quality_control.gain import StageComparison, Timing, compare_stages
from mc4ad_model.quality_control.shared_stages import STATISTICS, Remainder, score_in_stages
from mc4ad_model.runs.jobs import check_evaluable, evaluated_records
from mc4ad_model.runs.run_folder import Run, find_runs

if TYPE_CHECKING:
    from mc4ad_model.methods.mc4ad.deviations.detector import DeviationDetector

# Heading, and the field of `StageComparison`.
_COLUMNS = {
    "O: V_P": "first_o_auroc",
    "V_O": "second_o_auroc",
    "both": "o_auroc",
    "P: V_P": "first_p_auroc",
    "V_O ": "second_p_auroc",
    "both ": "p_auroc",
    "unscaled": "p_auroc_unscaled",
}


@click.command("quality-control")
@options.data_argument
@common.path_option(
    "--pruned",
    "Run of the fast network V_P, which `iv train --set network.arch=pruned` wrote, with 1.5 times "
    "the preset's training.learning_rate (paper, A.5). The word `statistics` instead of a folder: "
    "the deviation statistics of V_O's own run, without a network; V_O goes on from the pose and "
    "the statistics found (runs of the preset `deviation`).",
    required=True,
)
@common.path_option("--full", "Run of the thorough network V_O.", required=True)
@common.categories_option
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=common.NumberRange(0, 1),
    default=(0.25,),
    help="Share b that V_P accepts; may be repeated.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Accept by a threshold from normal products made of the templates, so that a share b of "
    "these is accepted, instead of the lowest b of the batch.",
)
@common.number_option(
    "--clouds", 48, 1, help="Normal products to calibrate with, in each category."
)
@common.number_option("--seed", 0, 0, help="Seed of these products.")
@common.json_option
@common.markdown_option
@options.scoring_options
def quality_control_command(
    data: Path,
    pruned: Path,
    full: Path,
    categories: tuple[str, ...],
    shares: tuple[float, ...],
    calibrate: bool,
    clouds: int,
    seed: int,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Hierarchical quality control: a fast scorer accepts what is surely normal, the full one
    judges the rest. Says what it costs in detection, and whether it saves time here.
    """
    with open_dataset(data) as dataset:
        found: list[StageComparison] = []
        chosen = _stages(dataset, pruned, full, categories, machine)
        for stages in chosen:
            found += _compare(stages, dataset, shares, clouds if calibrate else 0, seed, machine)
        track = _track(chosen)
        text = (
            _as_json(found, dataset, track, calibrate)
            if as_json
            else _as_text(found, track, calibrate, table_in(markdown))
        )
    common.print_tables(text, markdown)


@dataclass(frozen=True)
class _Stages:
    """The runs of a category: of V_P, None for the statistics of V_O's, and of V_O."""

    first: Run | None
    second: Run


def _stages(
    dataset: Dataset, pruned: Path, full: Path, categories: Sequence[str], machine: Machine
) -> list[_Stages]:
    """Return the runs of each category; everything that can be wrong is found here."""
    given = {"--full": full} if str(pruned) == STATISTICS else {"--pruned": pruned, "--full": full}
    runs = {
        option: {run.category: run for run in find_runs(path)} for option, path in given.items()
    }
    chosen = choose_categories(dataset, categories)
    if not categories:
        chosen = [name for name in chosen if all(name in kind for kind in runs.values())]
    for option, kind in runs.items():
        if missing := [name for name in chosen if name not in kind]:
            names = ", ".join(missing)
            raise InputError(f"{option} {given[option]}: has no run of category {names}")
    if not chosen:
        folders = " and ".join(f"{option} {path}" for option, path in given.items())
        raise InputError(f"{folders}: no category of {dataset.path} has a run there")
    check_evaluable([kind[name] for name in chosen for kind in runs.values()], dataset, machine)
    first = runs.get("--pruned", {})
    stages = [_Stages(first.get(name), runs["--full"][name]) for name in chosen]
    for one in stages:
        if one.first is None:
            _detector(one.second, one.second.load_method(machine))
    return stages


def _track(stages: Sequence[_Stages]) -> str:
    """Say what the methods knew of the templates."""
    second = {one.second.track for one in stages}
    first = {one.first.track for one in stages if one.first} or second
    known = [" and ".join(sorted(tracks)) for tracks in (first, second)]
    return known[0] if first == second else f"{known[0]} (V_P), {known[1]} (V_O)"


def _detector(run: Run, method: Method) -> DeviationDetector:
    """Return what V_P and V_O share. InputError: the run has no deviations."""
    detector = method.detector if isinstance(method, MC4AD) else None
    if detector is None:
        raise InputError(
            f"--pruned {STATISTICS}: {run.folder} has no deviation statistics; expected a run of "
            "the preset deviation in --full, or a folder of runs as --pruned"
        )
    return detector


def _compare(
    stages: _Stages,
    dataset: Dataset,
    shares: Sequence[float],
    clouds: int,
    seed: int,
    machine: Machine,
) -> list[StageComparison]:
    """One category, for each share; clouds : to calibrate with, 0 for none."""
    category, second = stages.second.category, stages.second.load_method(machine)
    first = stages.first.load_method(machine) if stages.first else None

    def scored(
        points: Callable[[], Iterable[NDArray[Any]]], count: int, what: str
    ) -> tuple[Scores, Scores, Remainder | None]:
        if first is None:
            detector = _detector(stages.second, second)
            label = f"V_P and V_O on {what}"
            return score_in_stages(points(), count, detector, label, machine.quiet)
        one, other = (
            score_objects(points(), count, scorer, f"{name} on {what}", machine.quiet)
            for name, scorer in (("V_P", first), ("V_O", second))
        )
        return one, other, None

    records = evaluated_records(dataset, category)
    check_labelled(records, all_of_them=True)
    calibration = None
    if clouds:
        data = read_templates(dataset, category, track=stages.second.track)
        conditions = conditions_of(dataset, category)
        calibration = scored(
            lambda: calibration_clouds(data, conditions, clouds, seed), clouds, f"normal {category}"
        )[:2]
    own, others, remainder = scored(lambda: (r.points for r in records), len(records), category)
    labels = [record.labels for record in records]
    anomalous = [record.defect != NORMAL for record in records]
    return [
        compare_stages(category, labels, anomalous, own, others, share, calibration, remainder)
        for share in shares
    ]


def _timings(found: Sequence[StageComparison]) -> dict[float, Timing]:
    """Over all categories, for each share."""
    shares = dict.fromkeys(one.share for one in found)
    return {
        share: reduce(add, (one.timing for one in found if one.share == share)) for share in shares
    }


def _mean(found: Sequence[StageComparison], share: float, field: str) -> float:
    values = [getattr(one, field) for one in found if one.share == share]
    return float(sum(values) / len(values))


def _as_json(
    found: Sequence[StageComparison], dataset: Dataset, track: str, calibrated: bool
) -> str:
    rows = [asdict(one) for one in found]
    for row in rows:  # a share of 0 accepts nothing; JSON has no infinity
        if row["threshold"] is not None and not math.isfinite(row["threshold"]):
            row["threshold"] = None
    content: dict[str, Any] = {
        "dataset": describe(dataset),
        "track": track,
        "accepted_by": "threshold" if calibrated else "batch",
        "rows": rows,
        "mean": [
            {"share": share, **{field: _mean(found, share, field) for field in _COLUMNS.values()}}
            for share in _timings(found)
        ],
        "timing": [
            {"share": share, **asdict(timing), **_speeds(timing), "pays": timing.pays}
            for share, timing in _timings(found).items()
        ],
    }
    return json.dumps(content, allow_nan=False)


def _speeds(timing: Timing) -> dict[str, float]:
    return {
        "first_seconds_per_object": timing.first / timing.objects,
        "second_seconds_per_object": timing.second / timing.objects,
        "break_even_seconds_per_object": timing.saved / timing.objects,
        "first_fps": timing.rate(timing.first),
        "second_fps": timing.rate(timing.second),
        "both_fps": timing.rate(timing.both),
        "speed_up": timing.speed_up,
    }


def _as_text(
    found: Sequence[StageComparison], track: str, calibrated: bool, table: TableForm
) -> str:
    timings = _timings(found)
    rows: list[list[Cell]] = []
    for share, timing in timings.items():
        for one in (one for one in found if one.share == share):
            values = [getattr(one, field) for field in _COLUMNS.values()]
            accepted = f"{one.accepted}/{one.objects}"
            rows.append([one.category, f"{share:g}", accepted, one.misses, *values])
        if len({one.category for one in found}) > 1:
            misses = sum(one.misses for one in found if one.share == share)
            means = [_mean(found, share, field) for field in _COLUMNS.values()]
            accepted = f"{timing.accepted}/{timing.objects}"
            rows.append(["all: mean", f"{share:g}", accepted, misses, *means])
    heading = ["category", "b", "accepted", "defects accepted", *map(str.strip, _COLUMNS)]
    speeds: list[list[Cell]] = [
        [f"{share:g}", f"{1e3 * timing.first / timing.objects:.1f}",
         f"{1e3 * timing.second / timing.objects:.1f}",
         *(f"{timing.rate(s):.1f}" for s in (timing.first, timing.second, timing.both)),
         f"{timing.speed_up:.2f}"]
        for share, timing in timings.items()
    ]  # fmt: skip
    names = ["b", "t_P ms", "t_O ms", "FPS V_P", "FPS V_O", "FPS both", "speed-up"]
    how = "below a threshold from normal products" if calibrated else "lowest of the batch"
    parts = [
        f"O-AUROC and P-AUROC of V_P alone, V_O alone, both in two stages; accepted: {how}",
        table(heading, rows),
        "unscaled: P-AUROC of both without bringing V_P's point scores to V_O's scale\n"
        f"Track: {track}",
        table(names, speeds),
        *(f"b = {share:g}: {timing.sentence()}" for share, timing in timings.items()),
    ]
    return "\n\n".join(parts)
