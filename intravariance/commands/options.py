# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, on this floor and above, so that they mean the same.

`iv` shows the default of every option that has one (`show_default` of its context).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.decorators import FC

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.executors.processes import cores
from intravariance.progress import say

PATH = click.Path(path_type=Path)

file_argument = click.argument("file", type=PATH)
categories_option = click.option(
    "--category", "categories", multiple=True, help="Only this category; may be repeated."
)
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
report_force_option = click.option(
    "--force", is_flag=True, help="Replace an earlier report in which nothing was changed."
)


def _warned_of_jobs(_: click.Context, __: click.Parameter, jobs: int | None) -> int | None:
    if jobs is not None and jobs > cores():
        say(
            f"--jobs {jobs}: only {cores()} cores are at hand, so this is hardly faster, and takes "
            "the memory of as many processes"
        )
    return jobs


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    callback=_warned_of_jobs,
    help="Worker processes.  [default: one for each core at hand]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress.")


class NumberRange(click.FloatRange):
    """A finite number in a range; what is no number (nan) is outside of all ranges."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number, or fail with what was given."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def path_option(name: str, help: str, **more: Any) -> Callable[[FC], FC]:
    """Make an option that takes a file or a folder."""
    return click.option(name, type=PATH, help=help, **more)


def number_option(
    name: str, default: int, low: int, high: int | None = None, help: str | None = None
) -> Callable[[FC], FC]:
    """Make an option that takes a whole number from `low` to `high`, both included."""
    return click.option(name, type=click.IntRange(low, high), default=default, help=help)


def choose_categories(dataset: Dataset, names: Sequence[str]) -> list[str]:
    """Return the categories of `--category`, in the file's order; all of them where none is named.

    Raises InputError when the file has no such category.
    """
    if unknown := [name for name in names if name not in dataset.categories]:
        raise InputError(
            f"--category {', '.join(unknown)}: {dataset.path} has {', '.join(dataset.categories)}"
        )
    return [name for name in dataset.categories if not names or name in names]
