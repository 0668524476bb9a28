# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, on this floor and above, so that they mean the same.

`iv` shows the default of every option that has one (`show_default` of its context).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.decorators import FC
from click.shell_completion import CompletionItem

from intravariance.dataset.provenance import made_with
from intravariance.dataset.sharding.whole import is_dataset
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IVError, did_you_mean
from intravariance.executors import Executor
from intravariance.executors.dask_cluster import DaskExecutor
from intravariance.executors.processes import cores
from intravariance.files.urls import parse_place
from intravariance.progress import say

PATH = click.Path(path_type=Path)


class DatasetPath(click.Path):
    """A dataset file, an index, a pattern, or such a place in an object store: s3://bucket/x.h5."""

    def coerce_path_result(self, value: Any) -> Any:
        """Return the path, or the `Url`."""
        return parse_place(value)


DATASET_PATH = DatasetPath(path_type=Path)


class FilePart(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """A text that names a file, or something in it; the shell completes the file's name."""

    name = "text"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


_NAMED = "intravariance.commands.dataset"  # in a context's `meta`: what --data names


def dataset_argument(
    name: str = "file",
    metavar: str = "FILE",
    required: bool = True,
    kind: click.ParamType = DATASET_PATH,  # type: ignore[type-arg]
    nargs: int = 1,
    help: str = "Dataset file",
) -> Callable[[FC], FC]:
    """Make the argument that names a dataset file, and `--data`, which is another way to give it.

    It stands after the other arguments of a command. Both at once are a usage error, and neither
    where it is required. metavar : in brackets where it is not.
    """

    def keep(context: click.Context, _: click.Parameter, given: object) -> None:
        context.meta[_NAMED] = given

    def named_once(context: click.Context, argument: click.Parameter, value: object) -> object:
        given = context.meta.get(_NAMED)
        if given is not None and value:
            raise click.UsageError(f"give {metavar} or --data, not both", context)
        if given is not None:
            value = (given,) if nargs == -1 else given
        if required and not value:
            raise click.MissingParameter(ctx=context, param=argument)
        return value

    def decorated(command: FC) -> FC:
        option = click.option(
            "--data",
            "data_option",
            type=kind,
            metavar="FILE",
            help=f"{help}: another way to give {metavar if required else metavar[1:-1]}.",
            callback=keep,
            is_eager=True,
            expose_value=False,
        )
        argument = click.argument(
            name, metavar=metavar, type=kind, nargs=nargs, required=False, callback=named_once
        )
        return argument(option(command))

    return decorated


def _categories(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete a category of the dataset file that stands before it on the command line."""
    # an argument may be left in `args`: the line that is completed lacks this option's value
    words = [context.meta.get(_NAMED), *context.params.values(), *context.args]
    paths = [Path(word) for word in words if isinstance(word, str | Path)]
    try:
        with open_dataset(next(filter(is_dataset, paths))) as dataset:
            return [name for name in dataset.categories if name.startswith(incomplete)]
    except (StopIteration, IVError, OSError):
        return []


def categories_option_of(help: str, **more: Any) -> Callable[[FC], FC]:
    """Make a `--category` that may be repeated, with the file's categories for completion."""
    return click.option(
        "--category", "categories", multiple=True, shell_complete=_categories, help=help, **more
    )


file_argument = dataset_argument()
categories_option = categories_option_of("Only this category; may be repeated.")
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
report_force_option = click.option(
    "--force", is_flag=True, help="Replace an earlier report in which nothing was changed."
)


def _warned_of_jobs(context: click.Context, _: click.Parameter, jobs: int | None) -> int | None:
    if jobs is not None and jobs > cores() and not context.resilient_parsing:
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


_EXECUTOR, _SCHEDULER = "intravariance.commands.executor", "intravariance.commands.scheduler"


def _kept_as(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def keep(context: click.Context, _: click.Parameter, given: str | None) -> None:
        context.meta[name] = given

    return keep


def executor_options(command: FC) -> FC:
    """Add --jobs, --executor and --scheduler; `chosen_executor` gives what they ask for."""
    executor = click.option(
        "--executor",
        type=click.Choice(["processes", "dask"]),
        default="processes",
        callback=_kept_as(_EXECUTOR),
        expose_value=False,
        help="Where the work is done: processes of this machine, or workers of a Dask cluster, "
        "which need none of its files.",
    )
    scheduler = click.option(
        "--scheduler",
        type=FilePart(),
        metavar="ADDRESS",
        callback=_kept_as(_SCHEDULER),
        expose_value=False,
        help="The Dask cluster's scheduler: tcp://HOST:PORT, or the file that it writes.  "
        "[default: a cluster of this machine, of --jobs workers]",
    )
    return jobs_option(executor(scheduler(command)))


def uses_dask() -> bool:
    """Tell whether the command at hand was given --executor dask, or what goes with it."""
    meta = click.get_current_context().meta
    return meta[_EXECUTOR] == "dask" or meta[_SCHEDULER] is not None


Local = TypeVar("Local", bound=Executor)


def chosen_executor(
    jobs: int | None,
    local: Callable[[int | None], Local],
    made_with: Callable[[], Mapping[str, str]] = made_with,
) -> Local | DaskExecutor:
    """Make the executor that the options of the command at hand ask for.

    local : makes that of this machine. made_with : as of `DaskExecutor`. Raises InputError for
    options that do not go together.
    """
    context = click.get_current_context()
    scheduler = context.meta[_SCHEDULER]
    if context.meta[_EXECUTOR] != "dask":
        if scheduler is not None:
            raise InputError(f"--scheduler {scheduler}: is of a Dask cluster; add --executor dask")
        return local(jobs)
    if scheduler is not None and jobs is not None:
        raise InputError(f"--jobs {jobs}: the cluster of --scheduler has the workers that it has")
    quiet = bool(context.params.get("quiet"))
    return DaskExecutor(made_with, scheduler, jobs, quiet)


def _one_form(context: click.Context, parameter: click.Parameter, given: bool) -> bool:
    """Refuse --json, --markdown and --csv beside each other."""
    forms = context.meta.setdefault(_FORMS, [])
    forms += parameter.opts[:1] if given else []
    if len(forms) > 1:
        raise click.UsageError(f"give {' or '.join(forms)}, not both", context)
    return given


_FORMS = "intravariance.commands.forms"
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_one_form,
    help="Print the result as JSON, and nothing else on standard output.",
)
markdown_option = click.option(
    "--markdown", is_flag=True, callback=_one_form, help="Print the tables as Markdown."
)
csv_option = click.option(
    "--csv", "as_csv", is_flag=True, callback=_one_form, help="Print a line for each sample as CSV."
)
quiet_option = click.option(
    "--quiet", is_flag=True, help="No progress and no remarks; results and errors all the same."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Check, print what would be done, and write nothing."
)


def print_tables(text: str, markdown: bool) -> None:
    """Print a result with tables of `table_in`: in Markdown one empty line at most in a row."""
    click.echo(re.sub(r"\n{3,}", "\n\n", text).strip() if markdown else text)


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


def path_option(name: str, help: str, kind: click.Path = PATH, **more: Any) -> Callable[[FC], FC]:
    """Make an option that takes a file or a folder."""
    return click.option(name, type=kind, help=help, **more)


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
            f"--category {', '.join(unknown)}: {dataset.path} has {', '.join(dataset.categories)}."
            f"{did_you_mean(unknown[0], dataset.categories)}"
        )
    return [name for name in dataset.categories if not names or name in names]
