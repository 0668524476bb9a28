# SPDX-License-Identifier: Apache-2.0
"""The seam behind which every detection method stands, MC4AD included.

A method learns from the templates of one category and then scores clouds of it, one at a time.
Both reach it as NumPy arrays: a method needs no torch unless it brings its own. `METHODS` lists
the methods that come with the package; docs/methods.md shows how to add one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import Templates

# A folder that the fits of several categories share (`shared` of a method's class, its name) has
# this file of plain values, which say what the rest depends on.
IDENTITY = "identity.json"

ObjectRule = Literal["max", "mean", "top"]
OBJECT_RULES: tuple[ObjectRule, ...] = get_args(ObjectRule)


@dataclass(frozen=True)
class Aggregation:
    """How the scores of an object's points become the score of the object.

    Parameters
    ----------
    object
        "max", "mean", or "top": the mean of the highest ceil(top_share * N) scores.
    top_share
        Share of the points that "top" takes.
    """

    object: ObjectRule = "mean"
    top_share: float = 0.01


@dataclass(frozen=True, eq=False)
class Prediction:
    """A method's scores of a cloud of N points, in the order of the points.

    Parameters
    ----------
    points : (N,) float32
        Anomaly score of each point; higher is more anomalous.
    object
        Anomaly score of the cloud; None to have it aggregated from the points.
    force : (N, 3) float32, or None
        What displaced each point from the pristine surface, in the stored frame and its units;
        None for a method that does not predict it.
    note
        What a person should know before believing the scores, in a few words; None for nothing.
    """

    points: NDArray[np.float32]
    object: float | None = None
    force: NDArray[np.float32] | None = None
    note: str | None = None


@dataclass(frozen=True)
class FittedOn:
    """The data that a method was fitted on; `data_digest` is the dataset file's content digest."""

    category: str
    seed: int
    data_digest: str

    @classmethod
    def from_mapping(cls, values: Any, where: str) -> FittedOn:
        """Read what `vars` of one gave, from JSON.

        Raises
        ------
        InputError
            A value is missing or of another type; `where` is named.
        """
        kinds = {"category": str, "seed": int, "data_digest": str}
        if not isinstance(values, Mapping):
            raise InputError(f"{where}: expected a table, found {values!r}")
        if wrong := [k for k, kind in kinds.items() if not isinstance(values.get(k), kind)]:
            raise InputError(f"{where}: {', '.join(wrong)}: missing or of another type")
        return cls(**{name: values[name] for name in kinds})


class Scorer(Protocol):
    """Anything that scores clouds and so can be evaluated, such as a method that was fitted."""

    @property
    def aggregation(self) -> Aggregation:
        """How its point scores become an object's score, where a prediction has none."""
        ...

    @property
    def parameters(self) -> int | None:
        """Number of learnt parameters; None where that means nothing."""
        ...

    def score(self, points: NDArray[np.float32], /) -> Prediction:
        """Score one cloud.

        Parameters
        ----------
        points : (N, 3) float32, stored frame
        """
        ...


@runtime_checkable
class Transductive(Protocol):
    """A scorer whose scores may depend on the test set as a whole, as those of some published
    methods do. Evaluation calls `look_at` once before the first score."""

    def look_at(self, clouds: Iterable[NDArray[np.float32]], /) -> None:
        """Look at all test clouds of the category, (N, 3) each; their labels are not shown.

        Raises
        ------
        InputError
            As `score`.
        """
        ...


class Method(Scorer, Protocol):
    """A detection method for one category, made from an instance of its `Settings` and the machine
    to use (None for the default).

    Attributes
    ----------
    title
        Its name in tables.
    Settings
        A frozen dataclass, see `mc4ad_model.methods.settings.Settings`.
    files
        Names or patterns of the files that `fit` and `save` write, the one that `save` writes last
        first: a folder that has it holds a fitted method.
    fitted_on
        Set by `fit` and `load`; None before.

    A method may have three more, which `is_seeded`, leaderboards and training read: `seeded`, False
    where the seed of `fit` changes no score, so that one run says all; `frame`, a word for where
    clouds are compared, unless it is a setting; and `shared`, see `IDENTITY`.
    """

    title: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    files: ClassVar[tuple[str, ...]]
    fitted_on: FittedOn | None

    def __init__(self, settings: Any, machine: Machine | None = None) -> None: ...

    def check(self, templates: Templates) -> None:
        """Find what would keep `fit` from succeeding, before any category is begun.

        Raises
        ------
        InputError
            These templates and settings do not go together.
        BackendUnavailable
            Something is not installed.
        """
        ...

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Learn from the templates of a category.

        Parameters
        ----------
        rng
            From `intravariance.seeds.generator`, all randomness is drawn or derived from it.
        folder
            An existing folder where a long fit may keep what it needs to go on after an
            interruption; the same call then ends with the same result.

        Raises
        ------
        InputError
            As `check`, or a file in the folder is damaged or cannot be written.
        IVError
            Interrupted, or the fit failed.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` reads into an existing folder; files[0] last.

        Raises
        ------
        InputError
            A file cannot be written.
        """
        ...

    def load(self, folder: Path) -> None:
        """Take up what `save` wrote.

        Raises
        ------
        InputError
            A file is missing, damaged, or was saved with other settings.
        """
        ...


def is_seeded(method: Method) -> bool:
    """Tell whether the seed of `fit` may change scores; so it is unless the method says not."""
    return bool(getattr(method, "seeded", True))
