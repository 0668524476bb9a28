# SPDX-License-Identifier: Apache-2.0
"""Stores of `runs.tracking`: TensorBoard's event files, and MLflow.

Both are written by their own libraries, of the extra `logging`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from intravariance.errors import InputError, shortened
from mc4ad_model.runs.tracking import Entry, Kind, Numbers, Store

_TAG, _SUFFIX = "iv.training", ".iv"
_BATCH, _LONGEST = 100, 500  # parameters in a request of MLflow, characters of a value


def open_stores(tensorboard: Path | None, mlflow: str | None, experiment: str) -> list[Store]:
    """Open the stores that were asked for.

    Parameters
    ----------
    tensorboard
        Folder for event files.
    mlflow
        Tracking URI.
    experiment
        Name of the experiment in MLflow, made where there is none.

    Raises
    ------
    InputError
        One cannot be used.
    ModuleNotFoundError
        A library is not installed.
    """
    stores: list[Store] = []
    if tensorboard is not None:
        stores.append(TensorBoard(tensorboard))
    if mlflow is not None:
        stores.append(MLflow(mlflow, experiment))
    return stores


class TensorBoard:
    """Event files: `tensorboard --logdir FOLDER` shows them.

        FOLDER/mine/vase/              the training of vase in runs/mine
        FOLDER/mine/vase/evaluation/   its evaluation

    Event files can only be added to, so that the earlier ones of an entry are replaced; those of
    others stay. The times in them are when they were written.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - weight

        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--tensorboard {folder}: no folder can be made: {error}") from error
        if not os.access(folder, os.W_OK):
            raise InputError(f"--tensorboard {folder}: is not writable")
        self.name = f"TensorBoard in {folder}"
        self._folder, self._new_writer = folder, SummaryWriter
        self._writers: dict[tuple[str, Kind], Any] = {}
        self._written: dict[str, int] = {}

    def points(self, entry: Entry, epochs: Sequence[Numbers]) -> None:
        """Write the epochs that are not written yet."""
        writer = self._writer(entry, "training")
        first = self._written.get(entry.id, 0)
        for epoch in range(first, len(epochs)):
            for name, value in epochs[epoch].items():
                writer.add_scalar(name, value, epoch)
        self._written[entry.id] = len(epochs)
        writer.flush()

    def values(self, entry: Entry, kind: Kind, values: Numbers) -> None:
        """Write them, as of epoch 0."""
        writer = self._writer(entry, kind)
        for name, value in values.items():
            writer.add_scalar(name.replace(".", "/"), value, 0)
        writer.flush()

    def close(self, finished: Sequence[Entry]) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, entry: Entry, kind: Kind) -> Any:
        """Return what writes an entry's file, a new one in place of those of earlier processes."""
        if (entry.id, kind) not in self._writers:
            folder = self._folder / entry.name / ("" if kind == "training" else kind)
            for path in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
                path.unlink()
            # a TensorBoard that is running forgets what it read of them
            writer = self._new_writer(str(folder), purge_step=0, filename_suffix=_SUFFIX)
            if kind == "training":
                about = json.dumps({**entry.parameters, **entry.tags}, indent=1)
                writer.add_text("settings", "```json\n" + about + "\n```", 0)
            self._writers[entry.id, kind] = writer
        return self._writers[entry.id, kind]


class MLflow:
    """An MLflow tracking store: a database (sqlite:///mlflow.db) or a server.

    An entry is a run, found again by a tag. The library's reports on its own use are switched off.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is imported
        from mlflow import MlflowClient  # noqa: PLC0415 - weight

        for name in ("mlflow", "alembic"):  # tables that it makes are no news
            logging.getLogger(name).setLevel(logging.WARNING)
        self.name = f"MLflow at {_without_password(uri)}"
        try:
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            made = found.experiment_id if found else self._client.create_experiment(experiment)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # of databases, of HTTP, of its own
            said = shortened(str(error).replace(uri, _without_password(uri)))
            raise InputError(f"--mlflow {_without_password(uri)}: cannot be used: {said}") from None
        self._experiment = str(made)
        self._runs: dict[str, str] = {}
        self._steps: dict[tuple[str, str], set[int]] = {}

    def points(self, entry: Entry, epochs: Sequence[Numbers]) -> None:
        """Log the points that the run lacks."""
        run = self._run(entry)
        missing = [
            (name, value, epoch)
            for epoch, numbers in enumerate(epochs)
            for name, value in numbers.items()
            if epoch not in self._known_steps(run, name)
        ]
        self._log(run, missing)

    def values(self, entry: Entry, kind: Kind, values: Numbers) -> None:
        """Log those that changed."""
        run = self._run(entry)
        latest = self._client.get_run(run).data.metrics
        named = {n if kind == "training" else f"evaluation.{n}": v for n, v in values.items()}
        plain = {name.replace(".", "/"): value for name, value in named.items()}
        self._log(run, [(n, v, 0) for n, v in plain.items() if latest.get(n) != v])

    def close(self, finished: Sequence[Entry]) -> None:
        """Say of each run how it ended."""
        done = {entry.id for entry in finished}
        for id, run in self._runs.items():
            self._client.set_terminated(run, "FINISHED" if id in done else "KILLED")

    def _log(self, run: str, points: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - weight

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in points]
        for batch in _batches(metrics):
            self._client.log_batch(run, metrics=batch)
        for name, _, step in points:
            self._known_steps(run, name).add(step)

    def _known_steps(self, run: str, name: str) -> set[int]:
        if (run, name) not in self._steps:
            history = self._client.get_metric_history(run, name)
            self._steps[run, name] = {point.step for point in history}
        return self._steps[run, name]

    def _run(self, entry: Entry) -> str:
        if entry.id not in self._runs:
            found = self._client.search_runs(
                [self._experiment], f"tags.`{_TAG}` = '{entry.id}'", max_results=1
            )
            if found:
                self._runs[entry.id] = found[0].info.run_id
                self._client.update_run(found[0].info.run_id, status="RUNNING")
            else:
                self._runs[entry.id] = self._made(entry)
        return self._runs[entry.id]

    def _made(self, entry: Entry) -> str:
        from mlflow.entities import Param  # noqa: PLC0415 - weight

        tags = {_TAG: entry.id, **entry.tags}
        made = self._client.create_run(self._experiment, tags=tags, run_name=entry.name)
        run = str(made.info.run_id)
        values = ((name, str(value)[:_LONGEST]) for name, value in entry.parameters.items())
        for batch in _batches([Param(name, value) for name, value in values]):
            self._client.log_batch(run, params=batch)
        return run


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return uri.replace(f"{parts.netloc.rpartition('@')[0]}@", "") if "@" in parts.netloc else uri
