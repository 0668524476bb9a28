# SPDX-License-Identifier: Apache-2.0
"""`iv train`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from intravariance.commands.options import (
    choose_categories,
    json_option,
    quiet_option,
)
from intravariance.dataset.store import open_dataset
from mc4ad_model.commands.options import (
    backend_option,
    changes_option,
    data_option,
    device_option,
    method_option,
    method_preset_option,
    workers_option,
)
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods import method_class
from mc4ad_model.runs.jobs import default_folder, train_runs


@click.command("train")
@data_option
@click.option(
    "--category",
    "categories",
    multiple=True,
    default=("all",),
    show_default=True,
    help="Category to train for; may be repeated. all: each of the file's.",
)
@method_option
@method_preset_option
@changes_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the run, one in it for each category.  [default: "
    "runs/NAME-LABEL-SEED, LABEL being the preset or the method]",
)
@click.option("--force", is_flag=True, help="Start anew where a run exists.")
@device_option
@backend_option
@workers_option
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration, train nothing.")
@json_option
@quiet_option
def train_command(
    data: Path,
    categories: tuple[str, ...],
    method: str,
    preset: str | None,
    changes: tuple[str, ...],
    seed: int,
    out: Path | None,
    force: bool,
    device: str,
    backend: str,
    workers: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a method on the templates of a dataset, for one category after another.

    Killed at any moment, the same command (without --force) carries on. MC4AD trains CFP-Net, and
    the network is the one after the last epoch.
    """
    settings = method_class(method).Settings.load(preset, changes)
    if dry_run:
        click.echo(json.dumps(settings.to_mapping(), indent=2))
        return
    machine = Machine(device, backend, workers, quiet)
    with open_dataset(data) as dataset:
        folder = out or default_folder(dataset, method, settings, seed)
        chosen = choose_categories(dataset, () if "all" in categories else categories)
        folders = train_runs(dataset, chosen, method, settings, seed, folder, machine, force)
    if not Ranks.here(machine).first:
        return
    if as_json:
        click.echo(json.dumps({category: str(folder) for category, folder in folders.items()}))
    else:
        for folder in folders.values():
            click.echo(folder)
