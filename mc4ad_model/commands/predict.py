# SPDX-License-Identifier: Apache-2.0
"""`iv predict`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from intravariance.cloud_files import ReadingChoices
from intravariance.commands import options as common
from intravariance.commands.scan_options import drop_no_return_option
from intravariance.errors import InputError, first_of
from intravariance.files.folders import check_folder
from intravariance.progress import say, track
from intravariance.tables import Cell, text_table
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.prediction import watching
from mc4ad_model.prediction.clouds import find_clouds
from mc4ad_model.prediction.detector import Detector, open_detector
from mc4ad_model.prediction.page import worst_first
from mc4ad_model.prediction.results import (
    JSON_FILE,
    PAGE_FILE,
    SHEET_FILE,
    PredictedRow,
    write_predictions,
)
from mc4ad_model.prediction.worst import WorstClouds
from mc4ad_model.runs.calibration import why_not_calibratable

_SHOWN = 5


@click.command("predict")
@common.path_option("--run", "Folder that `iv train` or `iv export-detector` wrote.", required=True)
@click.argument("scans", metavar="SCANS...", nargs=-1, required=True, type=common.FilePart())
@common.path_option("--out", "Folder for the results.", required=True)
@click.option(
    "--watch",
    is_flag=True,
    help="Score what arrives in the folders SCANS, until Ctrl-C; continues what is in --out.",
)
@options.run_category_option
@options.false_alarms_option
@click.option("--fail-on-anomaly", is_flag=True, help="Exit with code 1 if a scan is anomalous.")
@options.length_option
@drop_no_return_option
@common.number_option(
    "--worst",
    12,
    0,
    200,
    help="Scans in the picture, and with a view in the page, the worst first.",
)
@options.size_option
@click.option("--force", is_flag=True, help="Replace earlier results in which nothing was changed.")
@common.json_option
@options.scoring_options
@click.pass_context
def predict_command(
    ctx: click.Context,
    run: Path,
    scans: tuple[str, ...],
    out: Path,
    watch: bool,
    category: str | None,
    false_alarms: float | None,
    fail_on_anomaly: bool,
    length: float | None,
    drop_no_return: bool,
    worst: int,
    size: int,
    force: bool,
    as_json: bool,
    machine: Machine,
) -> None:
    """Score scans with a trained run: new clouds, of which nobody knows whether they are normal.

    SCANS are cloud files (.ply .pcd .xyz .las .e57 and the others that `iv import` reads), folders
    of them, or samples of a dataset file: FILE.h5 takes the test samples of the category,
    FILE.h5:SAMPLE one. Writes a table (CSV and JSON), each cloud with the scores of its points
    (PLY), a picture of the worst, and a page with a view of them. One that cannot be scored does
    not stop the others.

    With --watch a file is scored once its size has not changed for two seconds; each gets a row in
    the table at once, and the page is made anew.

    Exit codes: 0 done; 1 a scan is anomalous, with --fail-on-anomaly; 2 a scan or an option cannot
    be used, or with --fail-on-anomaly a scan cannot be decided on.
    """
    if fail_on_anomaly and false_alarms is None:
        raise InputError("--fail-on-anomaly: say with --false-alarms at which rate to decide")
    if watch:
        _check_watch(scans, force)
    else:
        check_folder(out, JSON_FILE, force)
    if around := [scan for scan in scans if _holds(Path(scan), out)]:
        raise InputError(f"--out {out}: lies in {around[0]}, where it would be scored next time")
    detector = open_detector(run, category, false_alarms, length, machine)
    kept, choices = WorstClouds(worst), ReadingChoices(drop_no_return)
    if watch:
        say(f"watching {', '.join(scans)}; Ctrl-C ends", machine.quiet)
        report = partial(_report, as_json=as_json)
        content = watching.watch([*map(Path, scans)], out, detector, kept, size, report, choices)
        ctx.exit(_exit_code(content, fail_on_anomaly))
    found = find_clouds(scans, detector.run.category, choices)
    for dataset in {c.dataset.path: c.dataset for c in found.clouds if c.dataset}.values():
        detector.judge(dataset)  # what is wrong with it is found before any is scored
    if found.left_out:
        files = first_of(found.left_out, _SHOWN)
        say(f"left out: {len(found.left_out)} files that are no clouds ({files})", machine.quiet)
    name = detector.run.category
    predictions = map(detector.predict, found.clouds)
    scored = track(predictions, len(found.clouds), f"predict {name}", machine.quiet)
    content = write_predictions(out, detector, scored, found.left_out, kept, size, force)
    click.echo(json.dumps(content, allow_nan=False) if as_json else _as_text(content, detector))
    path = click.format_filename(out)
    drawn = [name for name in (SHEET_FILE, PAGE_FILE) if (out / name).exists()]
    say(f"{path}: {', '.join([JSON_FILE, 'a PLY for each cloud', *drawn])}", machine.quiet)
    ctx.exit(_exit_code(content, fail_on_anomaly))


def _check_watch(scans: tuple[str, ...], force: bool) -> None:
    if force:
        raise InputError("--force: --watch continues what is in --out; choose another folder")
    if others := [scan for scan in scans if not Path(scan).is_dir()]:
        raise InputError(f"--watch {others[0]}: expected a folder")


def _report(row: PredictedRow, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(row.entry(), allow_nan=False))
        return
    said = [f"not scored: {row.error}"] if row.error else [f"score {row.object_score:.3f}"]
    said += [] if row.p_value is None else [f"p {row.p_value:.3g}"]
    said += [] if row.anomalous is None else ["ANOMALOUS" if row.anomalous else "not anomalous"]
    click.echo(f"{row.file}: {', '.join((*said, *row.notes))}")


def _holds(folder: Path, out: Path) -> bool:
    return folder.is_dir() and out.resolve().is_relative_to(folder.resolve())


def _exit_code(content: dict[str, Any], fail_on_anomaly: bool) -> int:
    # of a file that arrived twice, or in parts, the last word counts
    scans = {scan["file"]: scan for scan in content["scans"]}.values()
    undecided = fail_on_anomaly and any(scan["anomalous"] is None for scan in scans)
    if undecided or any(scan["error"] for scan in scans):
        return 2
    return int(fail_on_anomaly and any(scan["anomalous"] for scan in scans))


def _as_text(content: dict[str, Any], detector: Detector) -> str:
    scans = worst_first(content["scans"])
    decided = {None: None, True: "yes", False: "no"}
    shown = ("file", "points", "object_score", "p_value", "decision", "seconds")
    rows: list[list[Cell]] = [
        [(scan | {"decision": decided[scan["anomalous"]]})[name] for name in shown]
        for scan in scans
    ]
    heading = ["file", "points", "object score", "p-value", "anomalous", "seconds"]
    parts = [text_table(heading, rows), _calibrated(content, detector)]
    notes = [f"{s['file']}: {note}" for s in scans for note in s["notes"]]
    errors = [f"{s['file']}: {s['error']}" for s in scans if s["error"]]
    parts += [f"Notes\n  {first_of(notes, _SHOWN, f'{chr(10)}  ')}"] if notes else []
    parts += ["Not scored\n  " + "\n  ".join(errors)] if errors else []
    if left_out := content["left_out"]:
        parts.append(f"Left out, as no clouds: {first_of(left_out, _SHOWN)}")
    return "\n\n".join(part for part in parts if part)


def _calibrated(content: dict[str, Any], detector: Detector) -> str:
    """Say what decisions rest on."""
    if content["calibration"] is None:
        why = why_not_calibratable(detector.run)
        return f"No p-values: {why or 'no calibration of the run can be used (`iv calibrate`)'}."
    products, made = content["calibration"]["products"], content["calibration"]["conditions"]
    said = f"p-values: against {products} simulated products without a defect"
    if content["threshold"] is not None:
        said = (
            f"Anomalous: above {content['threshold']:.4g}, the threshold at a rate of false alarms "
            f"of {content['false_alarms']:g}.\n{said}"
        )
    points = "{:,} to {:,} points".format(*made["points"])
    return (
        f"{said} ({points}, pose {made['pose']}, noise sigma {made['noise_sigma']:.4g}, tolerance "
        f"{made['tolerance']:g}).\nThey hold for scans that are made like these products; nothing "
        "here tells whether scans are."
    )
