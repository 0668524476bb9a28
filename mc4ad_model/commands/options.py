# SPDX-License-Identifier: Apache-2.0
"""Options that several commands of this floor have; `intravariance.commands.options` has more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import click

from intravariance.commands.options import (
    NumberRange,
    dataset_argument,
    number_option,
    path_option,
    quiet_option,
)
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import DEFAULT_METHOD, method_names

Command = Callable[..., None]

data_argument = dataset_argument("data")
method_option = click.option(
    "--method", type=click.Choice(method_names()), default=DEFAULT_METHOD, help="Detection method."
)
_PRESETS = (
    "deviation (one network for all categories, minutes on a CPU), quick (the paper's input, "
    "minutes a category), released, paper, or a TOML file."
)
preset_option = click.option("--preset", default="quick", help=_PRESETS)
method_preset_option = click.option(
    "--preset",
    help=f"A preset of mc4ad: {_PRESETS}  [default: deviation; po3ad and af3ad have their "
    "own; imrnet and r3d_ad have small, their default, and paper]",
)
changes_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a setting; may be repeated. Methods without sections take KEY=VALUE.",
)
seeds_option = click.option("--seeds", default="0,1,2", help="Seeds, separated by commas.")
size_option = number_option("--size", 240, 64, 2048, "Pixels of each picture of a cloud.")
points_option = number_option(
    "--points", 8000, 100, help="Points of a cloud that the page shows at most."
)
samples_option = partial(number_option, "--samples", 4, 1, 100)
run_category_option = click.option(
    "--category", help="Category of the scans, where the run has several."
)
false_alarms_option = click.option(
    "--false-alarms",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    metavar="RATE",
    help="Decide whether each scan is anomalous, at this rate of false alarms, 0.01 say. The "
    "threshold is that of `iv calibrate`, which comes first.",
)
length_option = click.option(
    "--length",
    type=NumberRange(min=0),
    help="Move each scan's centroid to 0 and divide it by this length, in its own unit; 0 keeps "
    "its coordinates.  [default: what `iv import` divided the training clouds by, if it did]",
)
tensorboard_option = path_option(
    "--tensorboard",
    "Folder for event files of TensorBoard: losses by epoch, settings, and what `iv evaluate` "
    "measures.",
)
mlflow_option = click.option(
    "--mlflow",
    metavar="URI",
    help="The same in MLflow: sqlite:///mlflow.db, or the address of a server.",
)
_MACHINE = {
    "device": click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="auto: a GPU if there is one.",
    ),
    "backend": click.option(
        "--backend",
        type=click.Choice(["torch", "triton", "minkowski"]),
        default="torch",
        help="Library that computes the sparse convolutions.",
    ),
    "workers": click.option(
        "--workers",
        type=click.IntRange(min=0),
        help="Processes that make samples; the result does not depend on them.  [default: cores - "
        "1, 4 at most]",
    ),
    "quiet": quiet_option,
}


def machine_options(*names: str) -> Callable[[Command], Command]:
    """Add the options of `Machine` with these names; the command takes them as one `machine`."""

    def decorated(command: Command) -> Command:
        @wraps(command)
        def run(**given: Any) -> None:
            machine = Machine(**{name: given.pop(name) for name in names})
            command(machine=machine, **given)

        for name in reversed(names):
            run = _MACHINE[name](run)
        return run

    return decorated


training_options = machine_options("device", "backend", "workers", "quiet")
scoring_options = machine_options("device", "backend", "quiet")
