# SPDX-License-Identifier: Apache-2.0
"""`iv export-detector`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from intravariance.commands import options as common
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.prediction.portable import write_detector
from mc4ad_model.runs.run_folder import choose_runs


@click.command("export-detector")
@common.path_option("--run", "Folder that `iv train` wrote.", required=True)
@common.path_option("--out", "Folder to write; a new one.", required=True)
@click.option(
    "--category",
    "categories",
    multiple=True,
    help="Category to put into it; may be repeated.  [default: all of the run's]",
)
@click.option(
    "--force", is_flag=True, help="Replace an earlier detector in which nothing was changed."
)
@common.json_option
@options.machine_options("device", "quiet")
def export_detector_command(
    run: Path,
    out: Path,
    categories: tuple[str, ...],
    force: bool,
    as_json: bool,
    machine: Machine,
) -> None:
    """Write a trained run as a folder that `iv predict` and `iv serve` take on any machine.

    It needs no dataset file, holds the encoder and the calibration too, says what it is and how it
    was made, and its checksums are checked whenever it is read. The scores are those of the run.
    """
    found = write_detector(choose_runs(run, categories), out, machine, force)
    names = list(found.categories)
    if as_json:
        about = {"path": str(out), "categories": names, "files": found.files, "bytes": found.bytes}
        click.echo(json.dumps(about))
        return
    click.echo(
        f"{click.format_filename(out)}: detector of {', '.join(names)}, {found.files} files, "
        f"{found.bytes / 1e6:.1f} MB"
    )
