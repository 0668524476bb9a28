# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, on this floor and above, so that they mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError

file_argument = click.argument("file", type=click.Path(path_type=Path))
categories_option = click.option(
    "--category", "categories", multiple=True, help="Only this category; may be repeated."
)
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Worker processes.  [default: one for each core at hand]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress.")


def choose_categories(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """Return the categories of `--category`, in the file's order; all of them where none is named.

    Raises InputError when the file has no such category.
    """
    if unknown := [name for name in names if name not in dataset.categories]:
        raise InputError(
            f"--category {', '.join(unknown)}: {dataset.path} has {', '.join(dataset.categories)}"
        )
    return [name for name in dataset.categories if not names or name in names]
