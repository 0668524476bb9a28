# SPDX-License-Identifier: Apache-2.0
"""Tasks from ModelNet40 and ShapeNetPart in their HDF5 releases, which the user gives.

    FOLDER/modelnet40_ply_hdf5_2048/    ply_data_train0.h5 ... ply_data_test0.h5 ...
        data   (S, 2048, 3) float32     points
        normal (S, 2048, 3) float32     normals
        label  (S, 1) uint8             class, 0 to 39
    FOLDER/shapenet_part_seg_hdf5_data/ the same, and ply_data_val0.h5
        data   (S, 2048, 3) float32
        label  (S, 1) uint8             category, 0 to 15
        pid    (S, 2048) uint8          part, 0 to 49

The folders may have other names, and one is enough; a folder whose files have `pid` is
ShapeNetPart. Its validation files are learnt from too, as the networks' papers do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.opening import open_foreign
from intravariance.dataset.safety import child_array
from intravariance.errors import InputError, IntegrityError
from intravariance.files.checksums import sha256_of
from intravariance.seeds import generator
from mc4ad_model.classification.plan import Plan, TaskName
from mc4ad_model.classification.tasks import Clouds, Task, chosen_points, unit_cloud

_TRAIN = ("ply_data_train*.h5", "ply_data_val*.h5")
_TEST = ("ply_data_test*.h5",)
_MOST_CLOUDS, _MOST_POINTS = 20_000, 10_000  # of a file, of a cloud


@dataclass(frozen=True, eq=False)
class _Release:
    """The files of a folder: those learnt from, and those tested on."""

    folder: Path
    train: tuple[Path, ...]
    test: tuple[Path, ...]
    names: frozenset[str]  # of the arrays in the first file


class ReleasedFiles:
    """A folder with one of the two releases, or both, as a source of tasks.

    Raises
    ------
    InputError
        There is none, one lacks its test files, or there are two of a kind.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"--data {folder}: no such folder")
        self.name = folder.name
        self._clouds: _Release | None = None
        self._parts: _Release | None = None
        for place in _places(folder):
            found = _release(place)
            kind = "_parts" if "pid" in found.names else "_clouds"
            if (other := getattr(self, kind)) is not None:
                raise InputError(f"--data {folder}: {other.folder} and {place} are of one kind")
            setattr(self, kind, found)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes of all files."""
        found = hashlib.sha256()
        for release in filter(None, (self._clouds, self._parts)):
            for path in (*release.train, *release.test):
                found.update(f"{path.name} {sha256_of(path)}\n".encode())
        return found.hexdigest()

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """Those that there are files for."""
        found: list[TaskName] = []
        if self._clouds is not None:
            found.append("recognition")
            if "normal" in self._clouds.names:
                found.append("recognition-normals")
        return (*found, "segmentation") if self._parts is not None else tuple(found)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on how the files are used, and on what is left out."""
        found = ["The data: the HDF5 releases of " + " and ".join(
            f"{name} ({release.folder})"
            for name, release in (("ModelNet40", self._clouds), ("ShapeNetPart", self._parts))
            if release is not None
        ) + ". Tested after the last epoch; published figures are often of the best one on the "
            "test clouds, and of 2,048 or 10,000 points with normals."]  # fmt: skip
        if self._clouds is None:
            found.append("Left out: classification, since there is no folder of ModelNet40.")
        elif "normal" not in self._clouds.names:
            found.append(
                f"Left out: classification with normals, since {self._clouds.train[0]} has none."
            )
        if self._parts is None:
            found.append("Left out: segmentation, since there is no folder of ShapeNetPart.")
        return tuple(found)

    def load(self, name: TaskName, plan: Plan, seed: int) -> Task:
        """Read a task; of each cloud, as many points as the plan says are drawn by the seed."""
        release = self._parts if name == "segmentation" else self._clouds
        assert release is not None  # not among `tasks` otherwise
        count = plan.part_points if name == "segmentation" else plan.points
        train = _read(release.train, name, count, generator(seed, "classification", name, "train"))
        test = _read(release.test, name, count, generator(0, "classification", name, "test"))
        return Task(
            name=name,
            train=train,
            test=test,
            classes=int(max(train.classes.max(), test.classes.max())) + 1,
            parts=_parts_of(train, test) if name == "segmentation" else (),
        )


def _places(folder: Path) -> list[Path]:
    """Find the folders with training files: this one, or some up to two levels below it."""
    patterns = [f"{above}{_TRAIN[0]}" for above in ("", "*/", "*/*/")]
    found = sorted({path.parent for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        raise InputError(
            f"--data {folder}: no {_TRAIN[0]} in it or in its folders; expected the folder with "
            "modelnet40_ply_hdf5_2048 or shapenet_part_seg_hdf5_data as they are released (nothing "
            "is downloaded), or a dataset file made by `iv build`"
        )
    return found


def _release(place: Path) -> _Release:
    train, test = (
        tuple(path for pattern in patterns for path in sorted(place.glob(pattern)))
        for patterns in (_TRAIN, _TEST)
    )
    if not test:
        raise InputError(f"{place}: training files but no {_TEST[0]}; expected the whole release")
    with open_foreign(train[0]) as file:
        return _Release(place, train, test, frozenset(file))


def _read(paths: tuple[Path, ...], name: TaskName, count: int, rng: np.random.Generator) -> Clouds:
    points, classes, parts = [], [], []
    for path in paths:
        arrays = _arrays(path, name)
        for row, cloud in enumerate(arrays["data"]):
            chosen = chosen_points(len(cloud), count, rng)
            found = unit_cloud(cloud[chosen].astype(np.float64))
            if "normal" in arrays:
                found = np.concatenate([found, arrays["normal"][row][chosen]], axis=1)
            points.append(found)
            if "pid" in arrays:
                parts.append(arrays["pid"][row][chosen])
        classes.append(arrays["label"][:, 0])
    return Clouds(
        np.stack(points),
        np.concatenate(classes).astype(np.int64),
        np.stack(parts).astype(np.int64) if parts else None,
    )


def _arrays(path: Path, name: TaskName) -> dict[str, NDArray[Any]]:
    """Read the arrays that a task needs from one file, and check that they fit together."""
    wanted: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "data": ("f4", (None, None, 3)), "label": ("u1", (None, 1))
    }  # fmt: skip
    if name == "recognition-normals":
        wanted["normal"] = ("f4", (None, None, 3))
    if name == "segmentation":
        wanted["pid"] = ("u1", (None, None))
    try:
        with open_foreign(path) as file:
            found = {
                key: child_array(file, key, kind, shape, _MOST_CLOUDS, _MOST_POINTS)
                for key, (kind, shape) in wanted.items()
            }
    except IntegrityError as error:
        raise InputError(f"{error}; take the file from its release again") from error
    shape = found["data"].shape
    for key, array in found.items():
        expected = {"normal": shape, "label": (shape[0], 1), "pid": shape[:2]}.get(key, shape)
        if array.shape != expected:
            raise InputError(f"{path}: {key} has shape {array.shape}, expected {expected}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path}: {key} has values that are not finite")
    if not all(shape):
        raise InputError(f"{path}: data has shape {shape}; expected clouds")
    return found


def _parts_of(*clouds: Clouds) -> tuple[tuple[int, ...], ...]:
    """List the parts of each category, as they occur."""
    found: dict[int, set[int]] = {}
    for one in clouds:
        assert one.parts is not None
        for category, parts in zip(one.classes, one.parts, strict=True):
            found.setdefault(int(category), set()).update(np.unique(parts).tolist())
    if missing := [number for number in range(max(found) + 1) if number not in found]:
        raise InputError(f"ShapeNetPart: no cloud of category {missing[0]}; files are missing")
    return tuple(tuple(sorted(found[number])) for number in range(len(found)))
