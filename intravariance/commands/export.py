# SPDX-License-Identifier: Apache-2.0
"""`iv export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

import click

from intravariance.commands import options
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.exchange.exporting.tree import Written, write_tree
from intravariance.exchange.layouts import (
    PARQUET_LAYOUT,
    WRITERS,
    ExportOptions,
    added_layouts,
    layout_writer,
)
from intravariance.exchange.layouts.entries import CrackSpelling, Delimiter
from intravariance.exchange.parquet.writing import write_parquet
from intravariance.executors.processes import local_executor

_DELIMITERS: dict[str, Delimiter] = {"comma": ",", "space": " "}


@click.command("export")
@options.file_argument
@click.option(
    "--layout",
    type=click.Choice([*WRITERS, PARQUET_LAYOUT, *added_layouts()]),
    required=True,
    help="Folders to write.",
)
@options.path_option("--out", "Folder to write; a new one.", required=True)
@options.categories_option
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
@options.jobs_option
@options.json_option
@options.quiet_option
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
                written = write_parquet(part, out, force=force, quiet=quiet)
            else:
                written = _tree(part, layout, out, spelling, gt_delimiter, force, jobs, quiet)
        except KeyboardInterrupt:
            raise IVError(f"interrupted; nothing was written to {out}") from None
    beside: dict[str, list[str]] = {}
    for content, place in written.holds.items():
        beside.setdefault(place, []).append(content)
    left_out = beside.pop("", [])
    if as_json:
        size = {"samples": written.samples, "files": written.files, "bytes": written.bytes}
        about = {"path": str(out), "layout": layout, **size}
        click.echo(json.dumps({**about, "beside": beside, "left_out": left_out}))
        return
    for place, contents in beside.items():
        click.echo(f"in {place}: {', '.join(contents)}")
    click.echo(f"left out: {', '.join(left_out) or 'nothing'}")
    click.echo(
        f"{click.format_filename(out)}: {written.samples} samples in {written.files} files, "
        f"{written.bytes / 1e6:.1f} MB, layout {layout}"
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
) -> Written:
    """Write a tree, where the layout takes these options."""
    chosen = layout_writer(layout)
    rules = chosen.RULES
    delimiter = None if gt_delimiter is None else _DELIMITERS[gt_delimiter]
    _refuse(layout, spelling not in (None, *rules.spellings) and f"--spelling {spelling}")
    _refuse(layout, delimiter not in (None, *rules.delimiters) and f"--gt-delimiter {gt_delimiter}")
    options = ExportOptions(
        spelling or rules.spellings[0],
        delimiter or rules.delimiters[0],
        float(dataset.metadata["identity"]["noise_sigma"]),
    )
    with local_executor(jobs) as executor:
        return write_tree(chosen, dataset, out, options, executor, force=force, quiet=quiet)


def _refuse(layout: str, option: str | Literal[False]) -> None:
    if option:
        raise InputError(f"{option}: the readers of {layout} do not take it; leave the option out")
