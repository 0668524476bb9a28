# SPDX-License-Identifier: Apache-2.0
"""`iv export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from intravariance.errors import InputError, IVError

if TYPE_CHECKING:
    from intravariance.dataset.store import Dataset

_LAYOUTS = ("anomaly-shapenet", "real3d-ad", "mvtec-like-folder", "hf-parquet")
_DELIMITERS: dict[str, Literal[",", " "]] = {"comma": ",", "space": " "}


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(_LAYOUTS), required=True, help="Folders to write.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; a new one."
)
@click.option(
    "--category", "categories", multiple=True, help="Only this category; may be repeated."
)
@click.option(
    "--spelling",
    type=click.Choice(["crak", "crack"]),
    help="Of a crack in names.  [default: crak in anomaly-shapenet, as in the original]",
)
@click.option(
    "--gt-delimiter",
    type=click.Choice(list(_DELIMITERS)),
    help="Of ground truth.  [default: comma in anomaly-shapenet; PASDF reads space]",
)
@click.option(
    "--force", is_flag=True, help="Replace an earlier export in which nothing was changed."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Worker processes.  [default: one for each core at hand]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
def export_command(
    file: Path,
    layout: str,
    out: Path,
    categories: tuple[str, ...],
    spelling: Literal["crak", "crack"] | None,
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
    from intravariance.dataset.store import open_dataset

    with open_dataset(file) as dataset:
        part = dataset.filter(category=categories) if categories else dataset
        try:
            if layout == "hf-parquet":
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
    spelling: Literal["crak", "crack"] | None,
    gt_delimiter: str | None,
    force: bool,
    jobs: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Write a tree; what is printed of it."""
    from intravariance.exchange.exporting.tree import write_tree
    from intravariance.exchange.layouts import WRITERS, ExportOptions
    from intravariance.executors.processes import cores

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
    written = write_tree(
        chosen, dataset, out, options, jobs=jobs or cores(), force=force, quiet=quiet
    )
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
    from intravariance.exchange.parquet.writing import export

    written = export(dataset, out, force=force, quiet=quiet)
    return {
        "path": str(out),
        "layout": "hf-parquet",
        "samples": written.samples,
        "files": written.files,
        "bytes": written.bytes,
        "beside": {},
        "left_out": [],
    }


def _refuse(layout: str, option: str | Literal[False]) -> None:
    if option:
        raise InputError(f"{option}: the readers of {layout} do not take it; leave the option out")
