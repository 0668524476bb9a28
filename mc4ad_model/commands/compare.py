# SPDX-License-Identifier: Apache-2.0
"""`iv compare`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from intravariance.commands import options as common
from intravariance.dataset.sharding.whole import is_there
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.progress import track
from intravariance.tables import table_in
from mc4ad_model.commands import options
from mc4ad_model.evaluation.results import Results, read_results
from mc4ad_model.reports import evaluation_report as report
from mc4ad_model.reports.comparison_page import comparison_page


@click.command("compare")
@click.argument("run", type=common.PATH)
@common.dataset_argument(
    "data",
    "[FILE]",
    required=False,
    help="The dataset file that was evaluated on; without it, its name in the current folder",
)
@common.categories_option
@common.path_option("--out", "Folder for pictures and page.  [default: comparison, in RUN]")
@options.samples_option("Samples of each kind: detected, missed, false alarm, located, mislocated.")
@options.size_option
@options.points_option
@common.report_force_option
@common.json_option
@common.markdown_option
@common.quiet_option
def compare_command(
    run: Path,
    data: Path | None,
    categories: tuple[str, ...],
    out: Path | None,
    samples: int,
    size: int,
    points: int,
    force: bool,
    as_json: bool,
    markdown: bool,
    quiet: bool,
) -> None:
    """Look at what an evaluation got right and wrong.

    RUN is what `iv train` or `iv evaluate` wrote. Prints the best and the worst detections and the
    false alarms; writes heat maps beside ground truth, score histograms, and a page to open in any
    browser: the metrics, the misses and false alarms as a table, and every test sample.
    """
    results = _choose(
        [read_results(folder) for folder in report.find_results(run)], categories, run
    )
    out = run / "comparison" if out is None else out
    check_folder(out, report.RECORD, force)
    with open_dataset(_dataset(data, results)) as dataset:
        compared = [report.compare(one, dataset, samples) for one in results]
    with new_folder(out, report.RECORD, force) as folder:
        write_member(folder, report.RECORD, report.record(compared))
        for one in track(compared, len(compared), "pictures", quiet):
            for name, picture in report.pictures(one, size):
                write_member(folder, name, picture)
        write_member(folder, report.RANKING, report.ranking_csv(compared))
        write_member(folder, report.PAGE, comparison_page(compared, points))
    if as_json:
        click.echo(_as_json(compared))
        return
    place = f"{click.format_filename(out)}: open {report.PAGE} in a browser"
    common.print_tables(f"{_as_text(compared, markdown)}\n\n{place}", markdown)


def _choose(results: list[Results], categories: tuple[str, ...], run: Path) -> list[Results]:
    known = {one.evaluation.category: one for one in results}
    if unknown := [name for name in categories if name not in known]:
        raise InputError(
            f"--category {', '.join(unknown)}: expected one that was evaluated in {run}: "
            f"{', '.join(sorted(known))}"
        )
    return [one for name, one in known.items() if not categories or name in categories]


def _dataset(data: Path | None, results: list[Results]) -> Path:
    """Return the dataset file that was asked for, or the one that the results name."""
    if data is not None:
        return data
    names = sorted({one.dataset["file"] for one in results})
    found = Path(names[0])
    if len(names) > 1 or not is_there(found):
        raise InputError(
            f"FILE: the evaluation was of {', '.join(names)}, which is not one file in the "
            "current folder; say where it is"
        )
    return found


def _as_json(compared: list[report.Compared]) -> str:
    content = {
        one.category: [
            {"kind": item.kind, "value": item.value, "sample": asdict(item.sample)}
            for item in one.ranking
        ]
        for one in compared
    }
    return json.dumps(content, allow_nan=False)


def _as_text(compared: list[report.Compared], markdown: bool) -> str:
    heading = ["kind", "sample", "product", "defect", "object score", "value"]
    tables = []
    for one in compared:
        rows: list[list[str | float]] = [
            [item.kind, *item.cells, item.value] for item in one.ranking
        ]
        tables.append(f"{one.category}\n{table_in(markdown)(heading, rows)}")
    tables.append(
        "value: share of the normal objects below it (detected, missed), of the defective objects\n"
        "below it (false alarm), AUROC of its own points (located, mislocated)"
    )
    return "\n\n".join(tables)
