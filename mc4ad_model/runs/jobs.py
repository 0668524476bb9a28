# SPDX-License-Identifier: Apache-2.0
"""Training runs on a dataset file, and evaluations of them: what the commands share."""

from __future__ import annotations

from pathlib import Path

from intravariance.dataset.provenance import software
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError
from intravariance.progress import say
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, evaluate_category
from mc4ad_model.evaluation.results import write_results
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Processes
from mc4ad_model.methods.mc4ad.configuration import RunConfig, ScoringConfig
from mc4ad_model.methods.mc4ad.training import steps_per_epoch, train
from mc4ad_model.methods.mc4ad.training_samples import TrainingSamples, read_training_data
from mc4ad_model.runs.run_folder import Run, environment
from mc4ad_model.sparse import get_backend


def train_runs(
    dataset: Dataset,
    categories: list[str],
    config: RunConfig,
    seed: int,
    out: Path,
    machine: Machine,
    force: bool = False,
) -> dict[str, Path]:
    """Train each category that is not trained yet; its folder by its name.

    Raises
    ------
    InputError
        The file cannot be trained on, or the folder holds other runs; found before training starts.
    BackendUnavailable
        The backend is not installed.
    """
    device = machine.torch_device()
    processes = Processes.here(device)
    get_backend(machine.backend)  # an error where it is not installed
    jobs = []
    for category in categories:
        run = Run(
            folder=out / category,
            category=category,
            seed=seed,
            config=config,
            data_digest=dataset.digest,
            identity=dataset.metadata["identity"],
            environment=environment(str(device)),
        )
        data = read_training_data(dataset, category, config)
        steps_per_epoch(TrainingSamples(data, config, seed), config.training, processes)
        jobs.append((run, data))
    for run, _ in jobs:
        run.check(force)
    processes.wait()  # what one writes, another must not take for what was there before
    for run, data in jobs:
        if processes.first:
            run.prepare(force)
        processes.wait()
        if run.finished:
            say(f"train {run.category}: is trained already", machine.quiet or not processes.first)
        else:
            train(run, data, device, machine.backend, machine.loaders, machine.quiet)
    return {run.category: run.folder for run, _ in jobs}


def evaluate_into(
    folder: Path, run: Run, dataset: Dataset, scoring: ScoringConfig, seed: int, machine: Machine
) -> CategoryEvaluation:
    """Evaluate a run on its category of a dataset, and write the results into a folder, in place of
    what is there.

    Parameters
    ----------
    scoring
        The run's own, or another.
    seed
        Of the bootstrap intervals.

    Raises
    ------
    InputError
        Training is unfinished, the dataset cannot be evaluated on, or results cannot be written.
    """
    detector = run.load_detector(machine.backend, str(machine.torch_device()))
    found = evaluate_category(
        evaluated_records(dataset, run.category),
        detector,
        scoring,
        seed,
        parameters=detector.parameters,
        quiet=machine.quiet,
    )
    config = run.described["config"]
    origin = {
        "method": "MC4AD",
        "seed": run.seed,
        "preset": run.config.preset,
        "config": config,
        "data_digest": run.data_digest,
        "scoring": {**config["scoring"], **vars(scoring)},
        "software": software("torch", "numpy", "scipy", "scikit-learn"),
    }
    write_results(folder, found, dataset, seed, origin, force=True)
    return found


def evaluated_records(dataset: Dataset, category: str) -> list[Record]:
    """Test samples of a category.

    Raises
    ------
    InputError
        There is none.
    """
    records = [record for record in dataset.filter(category=category) if record.split == "test"]
    if not records:
        raise InputError(f"{dataset.path}: category {category} has no test samples")
    return records
