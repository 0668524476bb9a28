# SPDX-License-Identifier: Apache-2.0
"""`iv train`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import open_dataset
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods import method_class
from mc4ad_model.methods.templates import TRACKS, Track
from mc4ad_model.runs.jobs import default_folder, train_runs


@click.command("train")
@options.data_argument
@common.categories_option_of(
    "Category to train for; may be repeated. all: each of the file's.", default=("all",)
)
@options.method_option
@options.method_preset_option
@options.changes_option
@common.number_option("--seed", 0, 0)
@common.path_option(
    "--out",
    "Folder for the run, one in it for each category.  [default: runs/NAME-LABEL-SEED, LABEL being "
    "the preset or the method]",
)
@click.option(
    "--track",
    type=click.Choice(TRACKS),
    help="What may be known of the templates. meshes: their meshes, and the noise of the file. "
    "clouds: the stored clouds alone, as of scans.  [default: meshes if the file has them]",
)
@click.option("--force", is_flag=True, help="Start anew where a run exists.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration, train nothing.")
@common.json_option
@options.training_options
def train_command(
    data: Path,
    categories: tuple[str, ...],
    method: str,
    preset: str | None,
    changes: tuple[str, ...],
    seed: int,
    out: Path | None,
    track: Track | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    machine: Machine,
) -> None:
    """Train a method on the templates of a dataset, for one category after another.

    Killed at any moment, the same command (without --force) carries on. MC4AD trains CFP-Net, and
    the network is the one after the last epoch. With its preset deviation all categories share one
    network, which learns from all of the file's, also where --category names one.
    """
    settings = method_class(method).Settings.load(preset, changes)
    if dry_run:
        click.echo(json.dumps(settings.to_mapping(), indent=2))
        return
    with open_dataset(data) as dataset:
        folder = out or default_folder(dataset, method, settings, seed, track)
        chosen = choose_categories(dataset, () if "all" in categories else categories)
        folders = train_runs(dataset, chosen, method, settings, seed, folder, machine, force, track)
    if Ranks.here(machine).first:
        paths = {category: str(folder) for category, folder in folders.items()}
        click.echo(json.dumps(paths) if as_json else "\n".join(paths.values()))
