# SPDX-License-Identifier: Apache-2.0
"""Experiment tracking: what runs write into their folders, in TensorBoard and MLflow too.

A training writes its losses into metrics.jsonl, a line an epoch; whatever is tracked comes from
there, after each epoch and again at the end. So a training that is resumed, or one that was trained
before, is tracked whole: no point twice, and none missing. Each training has an entry:

    name          that of its folder: a category's, or that of a network which several share
    points        each number of metrics.jsonl, by epoch
    values        seconds, steps and memory of the training; metrics of an evaluation
    parameters    settings, method, seed, track; as tags the digest of the data and versions

tracking.json in the folder has a random number, by which a store finds the entry again. Under
torchrun the first process tracks. A store that fails meanwhile does not stop a training.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from intravariance.errors import IVError, shortened
from intravariance.progress import say
from mc4ad_model.evaluation.category_metrics import CategoryMetrics
from mc4ad_model.evaluation.results import metrics_as_json
from mc4ad_model.methods import method_class
from mc4ad_model.methods.method import IDENTITY
from mc4ad_model.methods.saved_files import write_json
from mc4ad_model.runs.run_folder import FIT, RUN, TIMING, TRACKING, Run
from mc4ad_model.runs.training_command import flat

METRICS = "metrics.jsonl"
Kind = Literal["training", "evaluation"]
Numbers = dict[str, float]


@dataclass(frozen=True)
class Entry:
    """A training as stores know it. id : of its own, random. parameters, tags : plain values."""

    folder: Path
    id: str
    parameters: Mapping[str, Any] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """The folder's name, below that of the training's folder."""
        return f"{self.folder.absolute().parent.name}/{self.folder.name}"


class Store(Protocol):
    """Where entries are tracked. Whatever it has of an entry already, it leaves."""

    name: str

    def points(self, entry: Entry, epochs: Sequence[Numbers]) -> None:
        """Track the numbers of all epochs so far, from the first on."""
        ...

    def values(self, entry: Entry, kind: Kind, values: Numbers) -> None:
        """Track numbers of the whole training, or of an evaluation."""
        ...

    def close(self, finished: Sequence[Entry]) -> None:
        """Write what is not written yet. finished : the entries whose training is at its end."""
        ...


class Tracking:
    """Tracks in all stores; without any, it does nothing."""

    def __init__(self, stores: Sequence[Store], quiet: bool = False) -> None:
        self._stores, self._quiet = list(stores), quiet
        self._entries: dict[Path, Entry] = {}
        self._finished: list[Entry] = []
        self._failed: list[str] = []

    def epoch(self, folder: Path) -> None:
        """Track what is in the metrics.jsonl of a folder."""
        if not self._stores or not (folder / METRICS).is_file():
            return
        entry, lines = self._entry(folder), (folder / METRICS).read_text("utf-8").splitlines()
        epochs = [_numbers(json.loads(line)) for line in lines]
        self._each(lambda store: store.points(entry, epochs))

    def trained(self, run: Run) -> None:
        """Track a run that is trained, and the network that it shares with others."""
        if not self._stores:
            return
        shared = getattr(method_class(run.method), "shared", None)
        folders = [run.folder, *([run.folder.parent / shared] if shared else [])]
        for folder in (one for one in folders if _is_training(one)):
            self.epoch(folder)
            entry = self._entry(folder)
            self._finished.append(entry)
            if values := _costs(folder):
                self._track(entry, "training", values)

    def evaluated(self, run: Run, metrics: CategoryMetrics) -> None:
        """Track the metrics of an evaluation of a run."""
        if self._stores:
            entry = self._entry(run.folder)
            self._finished.append(entry)
            self._track(entry, "evaluation", _numbers(flat(metrics_as_json(metrics))))

    def close(self) -> None:
        """Close the stores.

        Raises
        ------
        IVError
            One failed, now or before: it lacks something.
        """
        self._each(lambda store: store.close(self._finished))
        if self._failed:
            raise IVError(
                f"not all was tracked: {'; '.join(self._failed)}. The run folders are whole; "
                "the same command tracks what is missing"
            )

    def _track(self, entry: Entry, kind: Kind, values: Numbers) -> None:
        self._each(lambda store: store.values(entry, kind, values))

    def _entry(self, folder: Path) -> Entry:
        if folder not in self._entries:
            self._entries[folder] = _entry_of(folder)
        return self._entries[folder]

    def _each(self, action: Callable[[Store], None]) -> None:
        """Do something with each store; leave one out from its first failure on."""
        for store in list(self._stores):
            try:
                action(store)
            except Exception as error:  # what stores raise is nowhere said; training matters more
                self._stores.remove(store)
                reason = f"{store.name}: {type(error).__name__}: {shortened(str(error))}"
                self._failed.append(reason)
                say(f"note: no longer tracked by {reason}", self._quiet)


@contextmanager
def tracked(stores: Sequence[Store], quiet: bool = False) -> Iterator[Tracking]:
    """Track while the block runs. Raises IVError at its end where a store failed."""
    tracking = Tracking(stores, quiet)
    try:
        yield tracking
    except BaseException:
        with suppress(IVError):  # what ended the block is said instead
            tracking.close()
        raise
    tracking.close()


def _is_training(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (RUN, IDENTITY))


def _entry_of(folder: Path) -> Entry:
    """Return a training's entry, by its run.json, or by the identity of a shared network."""
    own = (folder / RUN).is_file()
    content = json.loads((folder / (RUN if own else IDENTITY)).read_bytes())
    names = ("category", "seed", "method", "track", "learn_from")
    about = {name: content[name] for name in names if name in content}
    parameters = about | flat(content["config"])
    specification = content.get("identity", {}).get("specification", {}).get("name")
    tags = {"data_digest": content["data_digest"]}
    tags |= {"specification": specification} if specification else {}
    tags |= {f"version.{k}": str(v) for k, v in content.get("environment", {}).items() if v}
    return Entry(folder, _id_of(folder), parameters, tags)


def _id_of(folder: Path) -> str:
    """Return the random number of a training, drawn when it is first tracked."""
    path = folder / TRACKING
    if not path.is_file():
        write_json(path, {"id": secrets.token_hex(16)})
    return str(json.loads(path.read_bytes())["id"])


def _costs(folder: Path) -> Numbers:
    """Return seconds, and steps and memory where the method tells; of the last process alone."""
    found: dict[str, Any] = {}
    for name, prefix in ((FIT, "fit"), (TIMING, "training")):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_bytes())
            found |= {f"{prefix}.{key}": value for key, value in content.items()}
    return _numbers(found)


def _numbers(values: Mapping[str, Any]) -> Numbers:
    plain = {k: v for k, v in values.items() if isinstance(v, int | float) and k != "epoch"}
    return {key: float(value) for key, value in plain.items() if not isinstance(value, bool)}
