# SPDX-License-Identifier: Apache-2.0
"""`iv export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import click

from intravariance.commands.options import (
    categories_option,
    choose_categories,
    file_argument,
    jobs_option,
    json_option,
    quiet_option,
)
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.exchange.exporting.tree import write_tree
from intravariance.exchange.layouts import WRITERS, ExportOptions
from intravariance.exchange.layouts.entries import CrackSpelling, Delimiter
from intravariance.exchange.parquet.writing import PARQUET_LAYOUT, write_parquet
from intravariance.executors.processes import ProcessExecutor
from intravariance.executors.serial import SerialExecutor

_DELIMITERS: dict[str, Delimiter] = {"comma": ",", "space": " "}


@click.command("export")
@file_argument
@click.option(
    "--layout",
    type=click.Choice([*WRITERS, PARQUET_LAYOUT]),
    required=True,
    help="Folders to write.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; a new one."
)
@categories_option
@click.option(
    "--spelling",
    type=click.Choice(get_args(CrackSpelling)),
    help="How names spell a crack.  [default: crak in anomaly-shapenet, as in the original]",
)
@click.option(
    "--gt-delimiter",
    type=click.Choice(list(_DELIMITERS)),
    help="Separator of columns in ground truth.  [default: comma in anomaly-shapenet; PASDF reads "
    "space]",
)
@click.option(
    "--force", is_flag=True, help="Replace an earlier export in which nothing was changed."
)
@jobs_option
@json_option
@quiet_option
def export_command(
    file: Path,
    layout: str,
    out: Path,
    categories: tuple[str, ...],
    spelling: CrackSpelling | None,
    gt_delimiter: str | None,
    force: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a dataset file as folders that other methods' readers take as they are.

    What a layout has no place for is named at the end. The same file and options give the same
    bytes, and the folder appears only when it is complete.
    """
    with open_dataset(file) as dataset:
        part = dataset.filter(category=choose_categories(dataset, categories))
        try:
            if layout == PARQUET_LAYOUT:
                _refuse(layout, spelling is not None and "--spelling")
                _refuse(layout, gt_delimiter is not None and "--gt-delimiter")
                result = _parquet(part, out, force, quiet)
            else:
                result = _tree(part, layout, out, spelling, gt_delimiter, force, jobs, quiet)
        except KeyboardInterrupt:
            raise IVError(f"interrupted; nothing was written to {out}") from None
    if as_json:
        click.echo(json.dumps(result))
        return
    for place, contents in result["beside"].items():
        click.echo(f"in {place}: {', '.join(contents)}")
    click.echo(f"left out: {', '.join(result['left_out']) or 'nothing'}")
    path = click.format_filename(out)
    megabytes = result["bytes"] / 1e6
    click.echo(
        f"{path}: {result['samples']} samples in {result['files']} files, {megabytes:.1f} MB, "
        f"layout {layout}"
    )


def _tree(
    dataset: Dataset,
    layout: str,
    out: Path,
    spelling: CrackSpelling | None,
    gt_delimiter: str | None,
    force: bool,
    jobs: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Write a tree, and return what is printed of it."""
    chosen = WRITERS[layout]
    rules = chosen.RULES
    delimiter = None if gt_delimiter is None else _DELIMITERS[gt_delimiter]
    _refuse(layout, spelling not in (None, *rules.spellings) and f"--spelling {spelling}")
    _refuse(layout, delimiter not in (None, *rules.delimiters) and f"--gt-delimiter {gt_delimiter}")
    options = ExportOptions(
        spelling or rules.spellings[0],
        delimiter or rules.delimiters[0],
        float(dataset.metadata["identity"]["noise_sigma"]),
    )
    with SerialExecutor() if jobs == 1 else ProcessExecutor(jobs) as executor:
        written = write_tree(chosen, dataset, out, options, executor, force=force, quiet=quiet)
    beside: dict[str, list[str]] = {}
    for content, place in written.holds.items():
        if place:
            beside.setdefault(place, []).append(content)
    return {
        "path": str(out),
        "layout": layout,
        "samples": written.samples,
        "files": written.files,
        "bytes": written.bytes,
        "beside": beside,
        "left_out": [content for content, place in written.holds.items() if not place],
    }


def _parquet(dataset: Dataset, out: Path, force: bool, quiet: bool) -> dict[str, Any]:
    written = write_parquet(dataset, out, force=force, quiet=quiet)
    return {
        "path": str(out),
        "layout": PARQUET_LAYOUT,
        "samples": written.samples,
        "files": written.files,
        "bytes": written.bytes,
        "beside": {},
        "left_out": [],
    }


def _refuse(layout: str, option: str | Literal[False]) -> None:
    if option:
        raise InputError(f"{option}: the readers of {layout} do not take it; leave the option out")
