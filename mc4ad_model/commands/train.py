# SPDX-License-Identifier: Apache-2.0
"""`iv train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from intravariance.errors import InputError
from mc4ad_model.commands.options import (
    backend_option,
    changes_option,
    data_option,
    device_option,
    json_option,
    preset_option,
    quiet_option,
    workers_option,
)

if TYPE_CHECKING:
    from intravariance.dataset.store import Dataset


@click.command("train")
@data_option
@click.option(
    "--category",
    "categories",
    multiple=True,
    default=("all",),
    show_default=True,
    help="Category to train a network for; may be repeated. all: each of the file's.",
)
@preset_option
@changes_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the run, one in it for each category.  [default: runs/NAME-PRESET-SEED]",
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
    preset: str,
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
    """Train CFP-Net on the templates of a dataset, one network for each category.

    Killed at any moment, the same command (without --force) carries on. The network is the one
    after the last epoch.
    """
    from intravariance.dataset.store import open_dataset
    from mc4ad_model.machine.device import Machine
    from mc4ad_model.machine.ranks import Ranks
    from mc4ad_model.methods.mc4ad.configuration import RunConfig
    from mc4ad_model.runs.jobs import train_runs

    config = RunConfig.load(preset, changes)
    if dry_run:
        click.echo(json.dumps(config.to_mapping(), indent=2))
        return
    machine = Machine(device, backend, workers, quiet)
    with open_dataset(data) as dataset:
        name = f"{dataset.specification.name}-{Path(preset).stem}-{seed}"
        folders = train_runs(
            dataset,
            _categories(dataset, categories),
            config,
            seed,
            out or Path("runs", name),
            machine,
            force,
        )
    if not Ranks.here(machine.torch_device()).first:
        return
    if as_json:
        click.echo(json.dumps({category: str(folder) for category, folder in folders.items()}))
    else:
        for folder in folders.values():
            click.echo(folder)


def _categories(dataset: Dataset, names: tuple[str, ...]) -> list[str]:
    if "all" in names:
        return dataset.categories
    if unknown := [name for name in names if name not in dataset.categories]:
        raise InputError(
            f"--category {', '.join(unknown)}: {dataset.path} has "
            f"{', '.join(dataset.categories)}; or all"
        )
    return list(dict.fromkeys(names))
