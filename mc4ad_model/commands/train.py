# SPDX-License-Identifier: Apache-2.0
"""`iv train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import open_dataset
from intravariance.tables import Cell, text_table
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods import method_class
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import TRACKS, Track
from mc4ad_model.runs.jobs import PlannedRun, default_folder, plan_runs, train_runs
from mc4ad_model.runs.run_folder import read_run
from mc4ad_model.runs.tracking import tracked
from mc4ad_model.runs.tracking_stores import open_stores


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
    "Folder for the run, one in it for each category.  [default: runs/NAME-DIGEST-LABEL-SEED: name "
    "and digest of the dataset, the preset or the method]",
)
@click.option(
    "--track",
    type=click.Choice(TRACKS),
    help="What may be known of the templates. meshes: their meshes, and the noise of the file. "
    "clouds: the stored clouds alone, as of scans.  [default: meshes if the file has them]",
)
@click.option("--force", is_flag=True, help="Start anew where a run exists.")
@options.tensorboard_option
@options.mlflow_option
@common.dry_run_option
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
    tensorboard: Path | None,
    mlflow: str | None,
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
    with open_dataset(data) as dataset:
        folder = out or default_folder(dataset, method, settings, seed, track)
        chosen = choose_categories(dataset, () if "all" in categories else categories)
        if dry_run:
            planned = plan_runs(
                dataset, chosen, method, settings, seed, folder, machine, force, track
            )
            click.echo(_planned(planned, method, settings, seed, as_json))
            return
        name = dataset.specification.name
        stores = open_stores(tensorboard, mlflow, name) if Ranks.here(machine).first else []
        with tracked(stores, machine.quiet) as tracking:
            machine = replace(machine, on_epoch=tracking.epoch)
            folders = train_runs(
                dataset, chosen, method, settings, seed, folder, machine, force, track
            )
            for done in folders.values():
                tracking.trained(read_run(done))
    if Ranks.here(machine).first:
        paths = {category: str(folder) for category, folder in folders.items()}
        click.echo(json.dumps(paths) if as_json else "\n".join(paths.values()))


def _planned(
    planned: Sequence[PlannedRun], method: str, settings: Settings, seed: int, as_json: bool
) -> str:
    """Return what a training would do."""
    mapping = settings.to_mapping()
    if as_json:
        runs = [asdict(one) | {"folder": str(one.folder)} for one in planned]
        content = {"method": method, "seed": seed, "settings": mapping, "runs": runs}
        return json.dumps(content)
    rows: list[list[Cell]] = [
        [one.category, one.templates, one.track, one.state, str(one.folder)] for one in planned
    ]
    table = text_table(["category", "templates", "track", "state", "folder"], rows)
    return (
        f"{table}\n\nMethod {method}, seed {seed}, with the settings\n"
        f"{json.dumps(mapping, indent=2)}\n"
        f"{len(planned)} trainings (--dry-run: none was started)"
    )
