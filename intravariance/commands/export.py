# SPDX-License-Identifier: Apache-2.0
"""`iv export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

import click

from intravariance.commands import options
from intravariance.commands.options import choose_categories, chosen_executor
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.exchange.exporting.tree import Written, check_names, write_tree
from intravariance.exchange.layouts import (
    PARQUET_LAYOUT,
    WEBDATASET_LAYOUT,
    WRITERS,
    ExportOptions,
    added_layouts,
    layout_writer,
)
from intravariance.exchange.layouts.entries import EXPORT_RECORD, CrackSpelling, Delimiter
from intravariance.exchange.parquet.pushing import Hub, open_hub, push
from intravariance.exchange.parquet.writing import write_parquet
from intravariance.exchange.webdataset import write_webdataset
from intravariance.executors.processes import local_executor
from intravariance.files.folders import check_folder
from intravariance.files.uploading import check_destination, made_here, upload_folder
from intravariance.files.urls import Url
from intravariance.progress import say

# Layouts that one process writes sample by sample, and that hold all of a dataset.
_WHOLE = {PARQUET_LAYOUT: write_parquet, WEBDATASET_LAYOUT: write_webdataset}
_DELIMITERS: dict[str, Delimiter] = {"comma": ",", "space": " "}


@click.command("export")
@options.file_argument
@click.option(
    "--layout",
    type=click.Choice([*WRITERS, *_WHOLE, *added_layouts()]),
    required=True,
    help="Folders to write.",
)
@options.path_option(
    "--out",
    "Folder to write; a new one. Also in an object store: s3://bucket/tree.",
    kind=options.DATASET_PATH,
    required=True,
)
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
@click.option(
    "--push",
    "repository",
    metavar="OWNER/NAME",
    help="Upload the folder to this dataset of the Hugging Face Hub, which is made if it is not "
    "there; with hf-parquet.",
)
@click.option("--private", is_flag=True, help="A dataset that --push makes is private.")
@options.dry_run_option
@options.executor_options
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
    repository: str | None,
    private: bool,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a dataset file as folders that other methods' readers take as they are.

    The command names at the end what the layout has no place for. The same file and options give
    the same bytes, and the folder appears only when it is complete. With --push it is uploaded
    then, with the token of HF_TOKEN or of `hf auth login`.
    """
    hub = _hub(layout, repository, private)
    _check_store(out, hub, dry_run)
    with open_dataset(file) as dataset, made_here(out) as here:
        part = dataset.filter(category=choose_categories(dataset, categories))
        names, title = part.categories, part.specification.title or part.specification.name
        force = force or here != out
        if dry_run:
            check_folder(here, EXPORT_RECORD, force)
        try:
            if layout in _WHOLE:
                _refuse(layout, spelling is not None and "--spelling")
                _refuse(layout, gt_delimiter is not None and "--gt-delimiter")
                if options.uses_dask():
                    raise InputError(f"--executor: one process writes {layout}; leave it out")
                written = None if dry_run else _WHOLE[layout](part, here, force, quiet)
            else:
                written = _tree(
                    part, layout, here, spelling, gt_delimiter, force, jobs, quiet, dry_run
                )
            if written is not None:
                upload_folder(here, out, quiet)
        except KeyboardInterrupt:
            raise IVError(f"interrupted; nothing was written to {out}") from None
    if written is None:
        click.echo(_planned(len(part), names, layout, out, hub, as_json))
        return
    pushed = None
    if hub is not None:
        say(f"uploading to {hub.page}", quiet)
        commit = push(out, hub, f"{title}, {len(names)} categories, by iv export", quiet)
        pushed = {"repository": hub.repository, "page": hub.page, "commit": commit}
    _show(written, layout, out, pushed, as_json)


def _hub(layout: str, repository: str | None, private: bool) -> Hub | None:
    """Return where to push, None for nowhere. Raises InputError before anything is written."""
    if repository is None:
        if private:
            raise InputError("--private: says how --push makes a dataset; give --push too")
        return None
    if layout != PARQUET_LAYOUT:
        raise InputError(f"--push: the Hub shows {PARQUET_LAYOUT}, not {layout}")
    return open_hub(repository, private)


def _check_store(out: Path, hub: Hub | None, dry_run: bool) -> None:
    """Raise InputError where a place in a store cannot be written, or there is something."""
    if isinstance(out, Url):
        if hub is not None:
            raise InputError(f"--push, --out {out}: give one place to send the folder to")
        if out.exists():
            raise InputError(
                f"--out {out}: there is something, which is not replaced in a store, also not with "
                "--force. Choose another name, or remove it first"
            )
        if not dry_run:
            check_destination(out, force=True)


def _planned(
    samples: int, categories: list[str], layout: str, out: Path, hub: Hub | None, as_json: bool
) -> str:
    """Say what an export would do."""
    push_to = None
    if hub is not None:
        push_to = {"repository": hub.repository, "page": hub.page, "private": hub.private}
    if as_json:
        about = {"path": str(out), "layout": layout, "samples": samples, "categories": categories}
        return json.dumps(about | {"push": push_to})
    lines = [f"{out}: {samples} samples of {', '.join(categories)}, layout {layout}"]
    if hub is not None:
        kind = "a private dataset, if it is new" if hub.private else "public, if it is new"
        lines.append(f"then to {hub.page} ({kind})")
    return "\n".join([*lines, "--dry-run: nothing was written or sent"])


def _show(
    written: Written, layout: str, out: Path, pushed: dict[str, str] | None, as_json: bool
) -> None:
    beside: dict[str, list[str]] = {}
    for content, place in written.holds.items():
        beside.setdefault(place, []).append(content)
    left_out = beside.pop("", [])
    if as_json:
        size = {"samples": written.samples, "files": written.files, "bytes": written.bytes}
        about = {"path": str(out), "layout": layout, **size}
        about |= {"pushed": pushed} if pushed else {}
        click.echo(json.dumps({**about, "beside": beside, "left_out": left_out}))
        return
    for place, contents in beside.items():
        click.echo(f"in {place}: {', '.join(contents)}")
    click.echo(f"left out: {', '.join(left_out) or 'nothing'}")
    click.echo(
        f"{click.format_filename(out)}: {written.samples} samples in {written.files} files, "
        f"{written.bytes / 1e6:.1f} MB, layout {layout}"
    )
    if pushed:
        click.echo(f"{pushed['page']}: commit {pushed['commit']}")


def _tree(
    dataset: Dataset,
    layout: str,
    out: Path,
    spelling: CrackSpelling | None,
    gt_delimiter: str | None,
    force: bool,
    jobs: int | None,
    quiet: bool,
    dry_run: bool,
) -> Written | None:
    """Write a tree, where the layout takes these options; None where it is only checked."""
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
    if dry_run:
        check_names(chosen, dataset, out)
        return None
    with chosen_executor(jobs, local_executor) as executor:
        return write_tree(chosen, dataset, out, options, executor, force=force, quiet=quiet)


def _refuse(layout: str, option: str | Literal[False]) -> None:
    if option:
        raise InputError(f"{option}: the readers of {layout} do not take it; leave the option out")
