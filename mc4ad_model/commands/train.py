# SPDX-License-Identifier: Apache-2.0
"""`iv train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from intravariance.errors import InputError
from intravariance.progress import say

if TYPE_CHECKING:
    import torch

    from intravariance.store import Dataset
    from mc4ad_model.configuration import RunConfig
    from mc4ad_model.data import TrainingData
    from mc4ad_model.run_folder import Run


@click.command("train")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Dataset file.")
@click.option(
    "--category",
    "categories",
    multiple=True,
    default=("all",),
    show_default=True,
    help="Category to train a network for; may be repeated. all: each of the file's.",
)
@click.option(
    "--preset",
    default="quick",
    show_default=True,
    help="quick (minutes on a CPU), released, paper, or a TOML file.",
)
@click.option(
    "--set", "changes", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a preset's value."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the run, one in it for each category.  [default: runs/NAME-PRESET-SEED]",
)
@click.option("--force", is_flag=True, help="Start anew where a run exists.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: a GPU if there is one.",
)
@click.option(
    "--backend",
    type=click.Choice(["torch", "minkowski"]),
    default="torch",
    show_default=True,
    help="What computes the sparse convolutions.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that make samples; the result does not depend on them.  [default: cores - 1, "
    "4 at most]",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration, train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
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

    Killed at any moment, the same command carries on. The network is the one after the last epoch.
    """
    from intravariance.store import open_dataset
    from mc4ad_model.configuration import RunConfig
    from mc4ad_model.processes import Processes

    config = RunConfig.load(preset, changes)
    if dry_run:
        click.echo(json.dumps(config.to_mapping(), indent=2))
        return
    with open_dataset(data) as dataset:
        name = f"{dataset.specification.name}-{Path(preset).stem}-{seed}"
        folders = train_runs(
            dataset, _categories(dataset, categories), config, seed, out or Path("runs", name),
            force, device, backend, workers, quiet,
        )  # fmt: skip
    if not Processes.here(_device(device)).first:
        return
    if as_json:
        click.echo(json.dumps({category: str(folder) for category, folder in folders.items()}))
    else:
        for folder in folders.values():
            click.echo(folder)


def train_runs(
    dataset: Dataset,
    categories: list[str],
    config: RunConfig,
    seed: int,
    out: Path,
    force: bool = False,
    device: str = "auto",
    backend: str = "torch",
    workers: int | None = None,
    quiet: bool = False,
) -> dict[str, Path]:
    """Train each category that is not trained yet; its folder by its name.

    Raises
    ------
    InputError
        The file cannot be trained on, or the folder holds other runs; found before training starts.
    """
    from mc4ad_model.data import TrainingSamples, read_training_data
    from mc4ad_model.processes import Processes
    from mc4ad_model.run_folder import Run, environment
    from mc4ad_model.sparse import get_backend
    from mc4ad_model.training import steps_per_epoch, train

    chosen = _device(device)
    processes = Processes.here(chosen)
    get_backend(backend)  # an error where it is not installed
    if workers is None:
        workers = min(4, _cores() - 1)
    jobs: list[tuple[Run, TrainingData]] = []
    for category in categories:
        run = Run(
            folder=out / category,
            category=category,
            seed=seed,
            config=config,
            data_digest=dataset.digest,
            identity=dataset.metadata["identity"],
            environment=environment(str(chosen)),
        )
        training_data = read_training_data(dataset, category, config)
        steps_per_epoch(TrainingSamples(training_data, config, seed), config.training, processes)
        jobs.append((run, training_data))
    for run, _ in jobs:
        run.check(force)
    processes.wait()  # what one writes, another must not take for what was there before
    for run, data in jobs:
        if processes.first:
            run.prepare(force)
        processes.wait()
        if run.finished:
            say(f"train {run.category}: is trained already", quiet or not processes.first)
        else:
            train(run, data, chosen, backend, workers, quiet)
    return {run.category: run.folder for run, _ in jobs}


def _categories(dataset: Dataset, names: tuple[str, ...]) -> list[str]:
    if "all" in names:
        return dataset.categories
    if unknown := [name for name in names if name not in dataset.categories]:
        raise InputError(
            f"--category {', '.join(unknown)}: {dataset.path} has "
            f"{', '.join(dataset.categories)}; or all"
        )
    return list(dict.fromkeys(names))


def _device(name: str) -> torch.device:
    import os

    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no GPU here; take --device cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise InputError(
            f"torchrun: process {number} has no GPU of its own, there are "
            f"{torch.cuda.device_count()}; start as many processes as GPUs, or take --device cpu"
        )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device


def _cores() -> int:
    import os

    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
