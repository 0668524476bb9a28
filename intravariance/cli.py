# SPDX-License-Identifier: Apache-2.0
"""`iv`: a click group that finds its commands in the entry-point group `intravariance.commands`.

A command's module is imported when that command runs, and not before, so `iv --help` is instant
and a broken or missing extra breaks its own command only.
"""

from __future__ import annotations

import errno
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, version
from types import FrameType

import click

from intravariance.errors import BackendUnavailable, InputError, IVError, printable
from intravariance.extensions import blamed, entries

# One line each, so that `iv --help` need not import the commands; others show without a line.
SUMMARIES = {
    "ablate": "Train and evaluate the variants of one of the paper's ablations.",
    "build": "Build a dataset: base meshes, Blender defects, labelled point clouds, one HDF5 file.",
    "calibrate": "Score simulated normal products, so that alarms are false at a rate you choose.",
    "card": "Write the dataset card (Markdown) of a dataset file.",
    "compare": "Show what an evaluation got right and wrong: rankings, heat maps, a page.",
    "evaluate": "Evaluate one or several methods on a dataset's test samples, in one table.",
    "export": "Write a dataset file as folders of the community's layouts, or as Parquet.",
    "import": "Read a folder in one of the community's layouts, or your own, into a dataset file.",
    "info": "Show what a dataset file holds: counts, noise, source, digest.",
    "inspect": "Show pseudo-anomalies beside real defects: figures, pictures, a page.",
    "labels": "Give clouds to CloudCompare, take hand labels back, measure their agreement.",
    "leaderboard": "Compare methods with several seeds on a file: tables, significance, a page.",
    "predict": "Score new scans with a trained run: scores, decisions, pictures of the worst.",
    "pretrain": "Make a Point-MAE encoder: trained on a file's templates, or from a checkpoint.",
    "preview": "Draw a contact sheet of a dataset file: templates and defects, labels in colour.",
    "quality-control": "Run a fast and an accurate method in two stages (HQC): cost and gain.",
    "reproduce": "Train and evaluate a table of the paper, and print it beside the published one.",
    "serve": "Score clouds that are sent over HTTP, with a trained run: JSON, PLY, a page.",
    "train": "Train MC4AD or another method on a dataset's templates, category by category.",
    "verify": "Check a dataset file: whole, to specification, free of shortcuts.",
    "view": "Look at one point cloud, of a dataset file or your own: a picture or a page.",
}


# Packages of the extras, which a command may find missing.
EXTRAS = {
    **dict.fromkeys(("torch", "safetensors", "sklearn"), "model"),
    "pyarrow": "layouts",
    **dict.fromkeys(("open3d", "matplotlib", "k3d"), "inspect"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "python_multipart"), "serve"),
}


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
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES.get(name, "")) for name in sorted(_commands())])

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _sigterm_unwinds():
                return super().invoke(ctx)
        except IVError as error:
            click.echo(f"iv: error: {printable(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            click.echo(f"iv: error: {error.filename}: the name is too long", err=True)
            ctx.exit(InputError.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # how a command ends
        except Exception as error:
            extra = _missing_extra(error)
            if explained := blamed(error):
                traceback.print_exception(error)
                click.echo(f"iv: error: {printable(str(explained))}", err=True)
                ctx.exit(IVError.exit_code)
            if not extra:
                raise
            click.echo(f"iv: error: {extra}", err=True)
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


def _missing_extra(error: Exception) -> str:
    """Say which extra brings the package that is missing; "" for another error."""
    if not isinstance(error, ModuleNotFoundError):
        return ""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return ""
    return (
        f"{error.name} is not installed; the extra {extra} brings it. In the project's folder: pip "
        f"install '.[{extra}]'"
    )


def _commands() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entries("intravariance.commands")}


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(version("intravariance"), prog_name="iv")
def main() -> None:
    """Build, check and read Anomaly-IntraVariance, a 3D anomaly-detection dataset."""
