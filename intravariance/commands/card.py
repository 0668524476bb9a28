# SPDX-License-Identifier: Apache-2.0
"""`iv card`."""

from __future__ import annotations

from pathlib import Path

import click

from intravariance.cards.dataset_card import dataset_card
from intravariance.commands.options import file_argument, force_option, path_option
from intravariance.files.atomic import check_target, write_file


@click.command("card")
@file_argument
@path_option("--out", "File to write, e.g. DATASET_CARD.md.  [default: print it]")
@force_option
def card_command(file: Path, out: Path | None, force: bool) -> None:
    """Write the dataset card (Markdown) of a dataset file.

    It has the form of the Hugging Face Hub; every number in it is taken from the file.
    """
    if out is None:
        click.echo(dataset_card(file), nl=False)
        return
    check_target(out, force)
    write_file(out, dataset_card(file).encode(), force)
    click.echo(out)
