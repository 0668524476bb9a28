# SPDX-License-Identifier: Apache-2.0
"""`iv`: a click group that finds its commands in the entry-point group `intravariance.commands`.

A command's module is imported when that command runs, and not before, so `iv --help` is instant
and a broken or missing extra breaks its own command only.
"""

from __future__ import annotations

import errno
import re
import signal
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import FrameType

import click
from click.shell_completion import CompletionItem

from intravariance.errors import BackendUnavailable, InputError, IVError, did_you_mean, printable
from intravariance.extensions import blamed, entries
from intravariance.extras import missing_package
from intravariance.version import own_version

# Commands by what they are for, with one line each, so that `iv --help` need not import them.
# Those that other packages add come last, without a line.
GROUPS = {
    "Datasets": {
        "build": "Build a dataset: base meshes, Blender defects, labelled clouds, one HDF5 file.",
        "merge": "Join the shards of `iv build --shard I/N` into one file, or index them.",
        "import": "Read a folder in one of the community's layouts, or your own, into a file.",
        "export": "Write a dataset file as folders of the community's layouts, or as Parquet.",
        "verify": "Check a dataset file: whole, to specification, free of shortcuts.",
        "info": "Show what a dataset file holds: counts, noise, source, digest.",
        "card": "Write the dataset card (Markdown) of a dataset file.",
        "labels": "Give clouds to CloudCompare, take hand labels back, measure their agreement.",
    },
    "Looking": {
        "preview": "Draw a contact sheet of a dataset file: templates, and defects in colour.",
        "view": "Look at one point cloud, of a dataset file or your own: a picture or a page.",
        "inspect": "Show pseudo-anomalies beside real defects: figures, pictures, a page.",
        "compare": "Show what an evaluation got right and wrong: rankings, heat maps, a page.",
    },
    "Methods": {
        "train": "Train MC4AD or another method on a dataset's templates, category by category.",
        "evaluate": "Evaluate one or several methods on a dataset's test samples, in one table.",
        "leaderboard": "Compare methods with several seeds: tables, significance, a page.",
        "calibrate": "Score simulated normal products, so that alarms are false at a chosen rate.",
        "pretrain": "Make a Point-MAE encoder: trained on templates, or from a checkpoint.",
        "quality-control": "Run a fast and an accurate method in two stages (HQC): cost and gain.",
        "ablate": "Train and evaluate the variants of one of the paper's ablations.",
        "reproduce": "Train and evaluate a table of the paper, beside the published one.",
    },
    "New scans": {
        "predict": "Score new scans with a trained run: scores, decisions, pictures of the worst.",
        "export-detector": "Write a trained run as a folder that predict and serve take anywhere.",
        "serve": "Score clouds that are sent over HTTP, with a trained run: JSON, PLY, a page.",
    },
}
SUMMARIES = {name: line for lines in GROUPS.values() for name, line in lines.items()}


class LazyGroup(click.Group):
    """A group whose commands are entry points."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _commands().get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        if not isinstance(command, click.Command):
            raise IVError(f"the entry point {entry.value!r} of `iv {cmd_name}` is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        others = {name: "" for name in names if name not in SUMMARIES}
        for title, lines in {**GROUPS, "Of other packages": others}.items():
            if rows := [(name, line) for name, line in lines.items() if name in names]:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command without importing any, and options as click does."""
        found = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        own = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=SUMMARIES.get(name)) for name in found), *own]

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _sigterm_unwinds():
                return super().invoke(ctx)
        except IVError as error:
            click.echo(f"iv: error: {printable(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except click.UsageError as error:
            error.message += _suggestion(error)  # type: ignore[misc]  # final since click 8.5
            raise
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # how a command ends
        except Exception as error:
            missing = missing_package(error)
            if explained := blamed(error):
                traceback.print_exception(error)
                click.echo(f"iv: error: {printable(str(explained))}", err=True)
                ctx.exit(IVError.exit_code)
            if refused := _refused_by_the_system(error):
                click.echo(f"iv: error: {printable(refused)}", err=True)
                ctx.exit(InputError.exit_code)
            if not missing:
                raise
            click.echo(f"iv: error: {missing}", err=True)
            ctx.exit(BackendUnavailable.exit_code)


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that what is half written is removed.

    Commands that stop in an order of their own set their own handlers meanwhile.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)  # as a shell reports a process that a signal ended

    usual = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _suggestion(error: click.UsageError) -> str:
    """Say which command or choice was perhaps meant; click does it for options itself."""
    if re.match(r"Got unexpected extra argument.*-of-\d{5}\.", error.message):
        return ". For all shards give their index, or their pattern in quotation marks"
    given = re.search(r"'(.*?)'", error.message)
    words: Iterable[str] = ()
    if isinstance(error, click.BadParameter) and error.param is not None:
        words = map(str, getattr(error.param.type, "choices", ()))
    elif error.message.startswith("No such command") and error.ctx is not None:
        known = getattr(error, "possibilities", None)  # since click 8.4, but of groups not lazy
        if isinstance(error.ctx.command, click.Group) and not known:
            words = error.ctx.command.list_commands(error.ctx)
    return did_you_mean(given[1], words) if given else ""


def _refused_by_the_system(error: Exception) -> str:
    """Say which file the system refused to read or write, and why; "" for another error.

    HDF5 names the file in its message alone.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    if error.errno == errno.ENAMETOOLONG:
        return f"{error.filename}: the name is too long"
    if error.filename is None and "errno = " not in str(error):
        return ""
    what = str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
    return (
        f"{what}. It was removed, or cannot be read or written, while iv was at work; see to it "
        "and run the same command again"
    )


def _commands() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entries("intravariance.commands")}


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(own_version(), prog_name="iv")
def main() -> None:
    """Build, check and read Anomaly-IntraVariance, a 3D anomaly-detection dataset."""
