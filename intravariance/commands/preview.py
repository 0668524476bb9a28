# SPDX-License-Identifier: Apache-2.0
"""`iv preview`."""

from __future__ import annotations

from pathlib import Path

import click

from intravariance.commands.options import (
    categories_option,
    choose_categories,
    file_argument,
    force_option,
    quiet_option,
)
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.files.atomic import check_target, write_file
from intravariance.looking.pictures import png
from intravariance.looking.preview import contact_sheet


@click.command("preview")
@file_argument
@click.option(
    "--out", type=click.Path(path_type=Path), help="Picture to write.  [default: NAME.png]"
)
@categories_option
@click.option(
    "--size",
    type=click.IntRange(64, 2048),
    default=320,
    show_default=True,
    help="Pixels of a cell.",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Columns for each defect type.",
)
@click.option(
    "--colour",
    type=click.Choice(["labels", "displacement"]),
    default="labels",
    show_default=True,
    help="Paint labelled points, or paint them by how far they were moved.",
)
@force_option
@quiet_option
def preview_command(
    file: Path,
    out: Path | None,
    categories: tuple[str, ...],
    size: int,
    samples: int,
    colour: str,
    force: bool,
    quiet: bool,
) -> None:
    """Draw a contact sheet of a dataset file: templates and defects, labels in colour.

    One row a category: a template, then the median sample of each defect type by share of
    labelled points. The same file always gives the same picture.
    """
    out = file.with_suffix(".png") if out is None else out
    if out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: expected a name ending in .png")
    check_target(out, force)
    with open_dataset(file) as dataset:
        part = dataset.filter(category=choose_categories(dataset, categories))
        sheet = contact_sheet(part, size, samples, colour, quiet)  # type: ignore[arg-type]
    write_file(out, png(sheet), force)
    click.echo(out)
