# SPDX-License-Identifier: Apache-2.0
"""`iv import`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from intravariance.commands import options
from intravariance.errors import IVError
from intravariance.exchange.importing.run import (
    ImportResult,
    ImportSettings,
    Normalise,
    import_dataset,
    no_use,
    restores,
)
from intravariance.executors.processes import local_executor


@click.command("import")
@click.argument("layout")
@click.argument("path", type=options.PATH)
@options.path_option("--out", "File to write (.h5).", required=True)
@click.option("--name", default="", help="Name of the dataset.  [default: that of the folder]")
@click.option(
    "--normalise",
    type=click.Choice(["auto", "none"]),
    default="auto",
    help="auto: clouds of a category whose training clouds do not fill the unit ball about 0 are "
    "centred, and divided by one length. none: all coordinates are kept.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out clouds that cannot be used.")
@click.option(
    "--follow-links",
    is_flag=True,
    help="Follow links to folders and out of PATH (never done unasked).",
)
@click.option(
    "--unlabelled",
    is_flag=True,
    help="Nothing is known of scans in PATH, scans/, test/ or <category>/scans/: neither whether "
    "they have a defect nor where.",
)
@click.option("--force", is_flag=True, help="Replace an existing file or unfinished import.")
@options.jobs_option
@options.json_option
@options.quiet_option
def import_command(
    layout: str,
    path: Path,
    out: Path,
    name: str,
    normalise: Normalise,
    skip_bad: bool,
    follow_links: bool,
    unlabelled: bool,
    force: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a dataset file of clouds in another layout, your own or a public data set's.

    LAYOUT is auto, anomaly-shapenet, real3d-ad, mvtec-3d-ad, hf-parquet or folder. PATH is a folder
    or a .zip file; of hf-parquet a folder, from which the file comes back as it was, so that
    --name, --normalise, --skip-bad, --follow-links, --unlabelled and --jobs do not apply.
    Everything works on the file that works on a built one: verify, info, preview, train, evaluate.
    Defective clouds without labels of their points are kept so, and figures of points leave them
    out; `iv labels` fills them in. Killed at any moment, the same command carries on; of hf-parquet
    it begins again.
    """
    settings = ImportSettings(
        layout, path, name, normalise, skip_bad, quiet, follow_links, unlabelled
    )
    if jobs not in (None, 1) and restores(settings):
        raise no_use("--jobs")
    try:
        with local_executor(jobs) as executor:
            result = import_dataset(settings, out, executor, force)
    except KeyboardInterrupt:
        raise IVError("interrupted; run the same command again") from None
    print_result(result, as_json)


def print_result(result: ImportResult, as_json: bool) -> None:
    """Print one line, and one on stderr for each cloud that was left out; or JSON."""
    if as_json:
        content = {
            "path": str(result.path),
            "content_digest": result.digest,
            "samples": result.specification.total,
            "specification": result.specification.to_dict(),
            "skipped": result.skipped,
            "unlabelled": result.unlabelled,
        }
        click.echo(json.dumps(content))
        return
    for reason in result.skipped.values():
        click.echo(f"skipped  {reason}", err=True)
    if result.unlabelled:
        click.echo(
            f"{result.unlabelled} samples have no labels of their points: figures of points leave "
            "them out. Label them with `iv labels export --unlabelled` and `iv labels import`."
        )
    left_out = f", {len(result.skipped)} skipped" if result.skipped else ""
    path = click.format_filename(result.path)
    click.echo(
        f"{path}: {result.specification.total} samples{left_out}, content digest {result.digest}"
    )
