# SPDX-License-Identifier: Apache-2.0
"""`iv calibrate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from intravariance.commands import options as common
from intravariance.dataset.store import open_dataset
from intravariance.progress import say
from intravariance.tables import Cell, table_in
from mc4ad_model.commands import options
from mc4ad_model.evaluation.alarms import rate_interval
from mc4ad_model.evaluation.calibration import NormalScores
from mc4ad_model.machine.device import Machine
from mc4ad_model.runs.calibration import calibrate_run, check_calibratable
from mc4ad_model.runs.jobs import check_same_group
from mc4ad_model.runs.run_folder import CALIBRATION, choose_runs

CLOUDS = 200
# Rates of false alarms whose thresholds are printed; the file has all scores.
_RATES = (0.1, 0.05, 0.01)
_POINT_LEVELS = (0.9, 0.99, 0.999)


@click.command("calibrate")
@options.data_argument
@common.path_option("--run", "Folder that `iv train` wrote.", required=True)
@common.categories_option
@common.number_option(
    "--clouds", CLOUDS, 1, help="Products to simulate in each category; templates take turns."
)
@common.number_option("--seed", 0, 0, help="Seed of these products.")
@click.option("--force", is_flag=True, help="Replace an existing calibration.")
@common.json_option
@common.markdown_option
@options.scoring_options
def calibrate_command(
    data: Path,
    run: Path,
    categories: tuple[str, ...],
    clouds: int,
    seed: int,
    force: bool,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Score simulated products without a defect, so that alarms can be false at a rate you choose.

    They are made of the templates as the file's test clouds are made; test samples are not read.
    The scores are kept in calibration.json in each category's folder of the run, and `iv evaluate
    --false-alarms 0.01` takes its threshold from there.
    """
    with open_dataset(data) as dataset:
        runs = choose_runs(run, categories)
        check_same_group(runs, dataset)
        for one in runs:
            check_calibratable(one, dataset, machine, force)
        found = {one.category: calibrate_run(one, dataset, clouds, seed, machine) for one in runs}
    common.print_tables(_as_json(found) if as_json else _as_text(found, markdown), markdown)
    say(f"calibrations: {', '.join(str(one.folder / CALIBRATION) for one in runs)}", machine.quiet)


def _thresholds(scores: NormalScores) -> dict[float, float | None]:
    """Return the threshold at each rate; None where there are too few products for it."""
    found = {rate: scores.threshold(rate) for rate in _RATES}
    return {rate: None if value == float("inf") else value for rate, value in found.items()}


def _as_json(found: dict[str, NormalScores]) -> str:
    content: dict[str, Any] = {
        category: {
            "clouds": len(scores),
            "thresholds": {f"{rate:g}": value for rate, value in _thresholds(scores).items()},
            "point_quantiles": {f"{level:g}": value for level, value in scores.points.items()},
        }
        for category, scores in found.items()
    }
    return json.dumps(content, allow_nan=False)


def _as_text(found: dict[str, NormalScores], markdown: bool) -> str:
    clouds = len(next(iter(found.values())))
    rows: list[list[Cell]] = [
        [
            category,
            *_thresholds(scores).values(),
            *(scores.points[level] for level in _POINT_LEVELS),
        ]
        for category, scores in found.items()
    ]
    heading = [
        "category",
        *(f"objects {rate:g}" for rate in _RATES),
        *(f"points {1 - level:.3g}" for level in _POINT_LEVELS),
    ]
    ranges = (
        "{:g}: {:.3f} to {:.3f}".format(rate, *rate_interval(clouds, rate))
        for rate, value in _thresholds(next(iter(found.values()))).items()
        if value is not None
    )
    return (
        f"Thresholds for rates of false alarms, from {clouds} simulated products a category\n"
        f"{table_in(markdown)(heading, rows)}\n"
        f"With {clouds} products, 95 % of calibrations have a true rate of (objects)\n  "
        + "\n  ".join(ranges)
    )
