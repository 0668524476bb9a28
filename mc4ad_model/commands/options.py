# SPDX-License-Identifier: Apache-2.0
"""Options that several commands of this floor have; `intravariance.commands.options` has more."""

from __future__ import annotations

from pathlib import Path

import click

from mc4ad_model.methods import DEFAULT_METHOD, method_names

data_option = click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Dataset file."
)
method_option = click.option(
    "--method",
    type=click.Choice(method_names()),
    default=DEFAULT_METHOD,
    show_default=True,
    help="Detection method.",
)
_PRESETS = "quick (minutes a category on a CPU), released, paper, or a TOML file."
preset_option = click.option("--preset", default="quick", show_default=True, help=_PRESETS)
method_preset_option = click.option(
    "--preset", help=f"A preset of mc4ad: {_PRESETS}  [default: quick]"
)
changes_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a setting; may be repeated. Methods without sections take KEY=VALUE.",
)
seeds_option = click.option(
    "--seeds", default="0,1,2", show_default=True, help="Seeds, separated by commas."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: a GPU if there is one.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["torch", "triton", "minkowski"]),
    default="torch",
    show_default=True,
    help="Library that computes the sparse convolutions.",
)
size_option = click.option(
    "--size",
    type=click.IntRange(64, 2048),
    default=240,
    show_default=True,
    help="Pixels of each picture of a cloud.",
)
points_option = click.option(
    "--points",
    type=click.IntRange(min=100),
    default=8000,
    show_default=True,
    help="Points of a cloud that the page shows at most.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that make samples; the result does not depend on them.  [default: cores - 1, "
    "4 at most]",
)
