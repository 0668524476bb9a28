# SPDX-License-Identifier: Apache-2.0
"""The clouds that are to be scored: files, folders, and samples of dataset files.

Each is read when its turn comes, so that one is in memory at a time.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import AS_WRITTEN, SUFFIXES, ReadingChoices, read_cloud
from intravariance.dataset.sample_names import choose_sample, split_target
from intravariance.dataset.sharding.whole import is_dataset
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError
from intravariance.exchange.layouts.folder import is_cloud
from intravariance.files.trees import FolderTree
from intravariance.looking.meshes import is_mesh

Points = NDArray[np.floating[Any]]

FEWEST_POINTS = 16  # as in `iv import`


@dataclass(frozen=True, eq=False)
class NamedCloud:
    """A cloud that is not read yet.

    name : as the user knows it. load : gives the points (N, 3) as the file has them, and what is to
    be said of them; raises InputError. dataset : the file that it is a test cloud of, or None.
    """

    name: str
    load: Callable[[], tuple[Points, tuple[str, ...]]]
    dataset: Dataset | None = None


@dataclass
class Found:
    """clouds : in the order of their naming. left_out : files of folders that are no clouds."""

    clouds: list[NamedCloud] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def find_clouds(
    targets: Iterable[str | Path | Points], category: str, choices: ReadingChoices = AS_WRITTEN
) -> Found:
    """List the clouds that a user names.

    Parameters
    ----------
    targets
        Each a cloud file, a folder (with all below it), a dataset file (its test samples of the
        category), FILE.h5:SAMPLE as in `iv view`, or an array (N, 3). A file that is named twice is
        taken once.
    choices
        Which rows of files are points.

    Raises
    ------
    InputError
        There is no file or sample of a name, a folder holds no cloud, or nothing is named.
    """
    found, seen = Found(), set[str]()
    for number, target in enumerate(targets):
        if isinstance(target, np.ndarray):
            found.clouds.append(NamedCloud(f"cloud {number}", partial(_given, target)))
            continue
        clouds, left_out = _named(str(target), category, choices)
        new = [cloud for cloud in clouds if _place(cloud.name) not in seen]
        seen |= {_place(cloud.name) for cloud in new}
        found.clouds += new
        found.left_out += left_out
    if not found.clouds:
        raise InputError("there is nothing to score: name files, folders or FILE.h5:SAMPLE")
    return found


def checked(points: Points) -> Points:
    """Return points (N, 3).

    Raises
    ------
    InputError
        They are of another shape, too few, not finite, or all in one place.
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f":
        raise InputError(f"expected points (N, 3) of floats, found {points.dtype} {points.shape}")
    if len(points) < FEWEST_POINTS:
        raise InputError(f"it has {len(points)} points; expected {FEWEST_POINTS} or more")
    if not np.isfinite(points).all():
        raise InputError("a coordinate is NaN or infinite; remove these points")
    if not np.ptp(points, axis=0).any():
        raise InputError("all of its points coincide")
    return points


def file_cloud(name: str, choices: ReadingChoices = AS_WRITTEN) -> NamedCloud:
    """Return the cloud in a file, to be read when its turn comes. choices : as `find_clouds`."""
    return NamedCloud(shown_name(name), partial(_read, Path(name), choices))


def shown_name(name: str) -> str:
    """Return a file's name as one line of text that can be written anywhere.

    Bytes that are no UTF-8 and control characters become their number (<ff>, <0a>), so that two
    files keep two names.
    """
    text = os.fsencode(name).decode("utf-8", errors="surrogateescape")
    return "".join(
        f"<{ord(c) & 0xFF:02x}>" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text
    )


def _place(name: str) -> str:
    return name if "://" in name else os.path.abspath(name)


def _named(
    target: str, category: str, choices: ReadingChoices
) -> tuple[Sequence[NamedCloud], Sequence[str]]:
    path, sample = split_target(target)
    if is_dataset(path):
        return _of_dataset(path, sample, category), ()
    if path.is_dir() and not sample:
        return _of_folder(path, choices)
    if not Path(target).exists():
        raise InputError(f"{target}: there is no such file or folder")
    return [file_cloud(target, choices)], ()


def _of_dataset(path: Path, sample: str, category: str) -> list[NamedCloud]:
    dataset = open_dataset(path)
    if sample:
        records = [choose_sample(dataset, sample)]
        if records[0].category != category:
            raise InputError(
                f"{path}:{sample}: is of category {records[0].category}, and the run was trained "
                f"on {category}"
            )
    else:
        records = [r for r in dataset.filter(category=category) if r.split == "test"]
        if not records:
            raise InputError(f"{path}: category {category} has no test samples")
    return [NamedCloud(f"{path}:{r.id}", partial(_stored, r), dataset) for r in records]


def _of_folder(path: Path, choices: ReadingChoices) -> tuple[list[NamedCloud], list[str]]:
    tree = FolderTree(path)
    names = tree.files("")
    clouds = [path / name for name in names if is_cloud(name)]
    rest = [str(path / name) for name in names if not is_cloud(name)]
    rest += [f"{path}/{link} (a link that is not followed)" for link in tree.links_left_out("")]
    rest = [*map(shown_name, rest)]
    if not clouds:
        raise InputError(f"{path}: holds no cloud ({' '.join(SUFFIXES)}); {len(rest)} other files")
    return [file_cloud(str(cloud), choices) for cloud in clouds], rest


def _read(path: Path, choices: ReadingChoices) -> tuple[Points, tuple[str, ...]]:
    cloud = read_cloud(path, choices)
    notes = cloud.notes
    if cloud.dropped:
        notes = (*notes, f"{cloud.dropped:,} of its rows are no points and are left out")
    if is_mesh(path):
        notes = (*notes, "its faces are left out: the vertices are taken as the points of a scan")
    return cloud.points, notes


def _stored(record: Record) -> tuple[Points, tuple[str, ...]]:
    return record.points, ()


def _given(points: Points) -> tuple[Points, tuple[str, ...]]:
    return points, ()
