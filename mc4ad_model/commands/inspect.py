# SPDX-License-Identifier: Apache-2.0
"""`iv inspect`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from intravariance.commands.options import (
    categories_option,
    jobs_option,
    json_option,
    quiet_option,
)
from intravariance.dataset.store import DATASET_SUFFIXES, Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.executors.processes import ProcessExecutor
from intravariance.files.folders import new_folder
from intravariance.looking.realism.tables import to_dict
from intravariance.looking.realism.two_sample import load_open3d
from intravariance.progress import say
from intravariance.tables import text_table
from mc4ad_model.commands.options import (
    changes_option,
    points_option,
    preset_option,
    size_option,
)
from mc4ad_model.methods.mc4ad.anomalies import GENERATORS
from mc4ad_model.methods.mc4ad.configuration import GeneratorName, RunConfig
from mc4ad_model.reports import inspection_report as report
from mc4ad_model.reports.inspection import plan

# Mean length of a defect's displacement, roughly: noise above a share of it hides local shape.
_LOUD = 0.01


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@categories_option
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    help="Defects to compare with: another dataset file, or a folder of scans "
    "(docs/layouts.md).  [default: those of FILE]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the report.  [default: NAME-inspection]",
)
@click.option(
    "--generator",
    "generators",
    multiple=True,
    help="Only this generator; may be repeated.  [default: all]",
)
@preset_option
@changes_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--samples",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="Clouds of each kind in pictures and page; the figures are of all.",
)
@size_option
@points_option
@jobs_option
@click.option(
    "--force", is_flag=True, help="Replace an earlier report in which nothing was changed."
)
@json_option
@quiet_option
def inspect_command(
    file: Path,
    categories: tuple[str, ...],
    real: Path | None,
    out: Path | None,
    generators: tuple[str, ...],
    preset: str,
    changes: tuple[str, ...],
    seed: int,
    samples: int,
    size: int,
    points: int,
    jobs: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look at pseudo-anomalies beside real defects, and measure how near they are.

    Beside each defective sample of FILE every generator makes one on the same product, as large as
    the preset makes them. The report says whether a classifier can tell them apart, and how far
    they are in size, shape and direction; the page shows them side by side in any browser.
    """

    load_open3d()  # what is missing is said before the work begins
    config = RunConfig.load(preset, changes).anomalies
    names = _generators(generators)
    out = Path(f"{file.stem}-inspection") if out is None else out
    with open_dataset(file) as dataset, ProcessExecutor(jobs) as executor:
        chosen = dataset.filter(category=categories) if categories else dataset
        tasks = plan(dataset, chosen.categories, config, names, real, seed)
        _say_noise(dataset, real, quiet)
        about = report.record(dataset, preset, changes, None if real is None else real.name, seed)
        with new_folder(out, report.RECORD, force) as folder:
            drawing = report.Drawing(samples, size, points)
            result = report.write(folder, about, dataset, tasks, drawing, executor, quiet)
    for line in report.warnings(result):
        say(f"note: {line}")
    if as_json:
        click.echo(json.dumps(to_dict(result), allow_nan=False))
        return
    columns, rows = report.two_sample_rows(result)
    click.echo(
        "Two-sample test, AUROC: 0.5 = cannot be told apart [control, far from the defects]\n"
        f"{text_table(columns, rows)}\n"
        "In brackets the same test on unlabelled points far from the defects, where both are the "
        "same product: it should be about 0.5, and where it is more, the sampling or the noise "
        "tells the two apart, not the defects.\n"
        f"{click.format_filename(out)}: open {report.PAGE} in a browser"
    )


def _generators(names: Sequence[str]) -> list[GeneratorName]:

    if unknown := [name for name in names if name not in GENERATORS]:
        raise InputError(
            f"--generator {', '.join(unknown)}: expected one of {', '.join(GENERATORS)}"
        )
    return [name for name in GENERATORS if not names or name in names]


def _say_noise(dataset: Dataset, real: Path | None, quiet: bool) -> None:
    """Say when noise hides what is to be compared, or is what would be compared."""

    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    if sigma > _LOUD:
        say(
            f"note: noise of sigma {sigma:.4f} hides much of the local shape from the two-sample "
            "test; a file built with --noise-sigma 0.002 shows more",
            quiet,
        )
    if real is None or real.suffix.lower() not in DATASET_SUFFIXES:
        return
    with open_dataset(real) as other:
        theirs = float(other.metadata["identity"]["noise_sigma"])
        known = not (other.imported or dataset.imported)  # of imported scans it is not
    if known and theirs != sigma:
        say(
            f"note: {real} has noise of sigma {theirs:.4g}, {dataset.path} of {sigma:.4g}: the "
            "two-sample test will be of the noise",
            quiet,
        )
