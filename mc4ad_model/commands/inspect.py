# SPDX-License-Identifier: Apache-2.0
"""`iv inspect`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from intravariance.commands import options as common
from intravariance.dataset.sharding.whole import dataset_name, is_dataset
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.executors.processes import local_executor
from intravariance.files.folders import new_folder
from intravariance.looking.realism.tables import two_sample_table
from intravariance.looking.realism.two_sample import load_open3d
from intravariance.progress import say
from intravariance.tables import table_in
from mc4ad_model.commands import options
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.pseudo_anomalies.names import added_names
from mc4ad_model.reports import inspection_report as report
from mc4ad_model.reports.inspection import examined_with, plan
from mc4ad_model.reports.pseudo_samples import PSEUDO_NAMES

# Mean length of a defect's displacement, roughly: noise above a share of it hides local shape.
_LOUD = 0.01


@click.command("inspect")
@common.file_argument
@common.categories_option
@common.path_option(
    "--real",
    "Defects to compare with: another dataset file, or a folder of scans (docs/layouts.md).  "
    "[default: those of FILE]",
    kind=common.DATASET_PATH,
)
@common.path_option("--out", "Folder for the report.  [default: NAME-inspection]")
@click.option(
    "--generator",
    "generators",
    multiple=True,
    type=click.Choice([*PSEUDO_NAMES, *added_names()]),
    help="Only this generator; may be repeated.  [default: all but those that installed packages "
    "add]",
)
@options.preset_option
@options.changes_option
@common.number_option("--seed", 0, 0)
@options.samples_option("Clouds of each kind in pictures and page; the figures are of all.")
@options.size_option
@options.points_option
@common.executor_options
@common.report_force_option
@common.json_option
@common.markdown_option
@common.quiet_option
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
    markdown: bool,
    quiet: bool,
) -> None:
    """Look at pseudo-anomalies beside real defects, and measure how near they are.

    Beside each defective sample of FILE every generator makes one on the same product. Those that
    displace patches make them as large as the preset says; swelling, turn, bite, cut and groove
    have sizes of their own. The report says whether a classifier can tell them apart, and how far
    they are in size, shape and direction; the page shows them side by side in any browser.
    """
    load_open3d()  # what is missing is said before the work begins
    config = RunConfig.load(preset, changes).anomalies
    known = [*PSEUDO_NAMES, *added_names()] if generators else PSEUDO_NAMES
    names = [name for name in known if not generators or name in generators]
    out = Path(f"{dataset_name(file)}-inspection") if out is None else out
    executor = common.chosen_executor(jobs, local_executor, examined_with)
    with open_dataset(file) as dataset, executor:
        chosen = dataset.filter(category=categories) if categories else dataset
        tasks = plan(dataset, chosen.categories, config, names, real, seed)
        _say_noise(dataset, real, quiet)
        about = report.record(dataset, preset, changes, None if real is None else real.name, seed)
        with new_folder(out, report.RECORD, force) as folder:
            drawing = report.Drawing(samples, size, points, 3 * about["noise_sigma"])
            result = report.write(folder, about, dataset, tasks, drawing, executor, quiet)
    for line in report.warnings(result):
        say(f"note: {line}")
    if as_json:
        click.echo(json.dumps(asdict(result), allow_nan=False))
        return
    common.print_tables(
        "Two-sample test, AUROC: 0.5 = cannot be told apart [control, far from the defects]\n"
        f"{table_in(markdown)(*two_sample_table(result))}\n"
        "In brackets the same test on unlabelled points far from the defects, where both are the "
        "same product: it should be about 0.5, and where it is more, the sampling or the noise "
        "tells the two apart, not the defects.\n"
        f"{click.format_filename(out)}: open {report.PAGE} in a browser",
        markdown,
    )


def _say_noise(dataset: Dataset, real: Path | None, quiet: bool) -> None:
    """Say when noise hides what is to be compared, or is what would be compared."""
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    if sigma > _LOUD:
        say(
            f"note: noise of sigma {sigma:.4f} hides much of the local shape from the two-sample "
            "test; a file built with --noise-sigma 0.002 shows more",
            quiet,
        )
    if real is None or not is_dataset(real):
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
