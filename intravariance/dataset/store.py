# SPDX-License-Identifier: Apache-2.0
"""The dataset file: one HDF5 file, readable by any HDF5 tool.

    /samples                                table: id, category, subcategory, split, defect,
                                            digest, n_points, n_anomalous, difficulty, snr,
                                            unit_radius; in the dataset's order
    /<category>/<train|test>/<id>/points        (N, 3) float32, posed and noisy
    /<category>/<train|test>/<id>/normals       (N, 3) float32, of the noise-free surface
    /<category>/<train|test>/<id>/labels        (N,) uint8, 1 = anomalous, 255 = nobody says
    /<category>/<train|test>/<id>/displacement  (N, 3) float32
    /<category>/train/<id>/mesh/vertices        (V, 3) float32, and mesh/faces (F, 3) int32

Units are radii of the unit-sphere frame. Points, normals and displacement are in the stored
(posed) frame, the mesh is in the unit-sphere frame: x_stored = pose @ x_unit_sphere, then noise.
Imported templates have no mesh, and imported clouds may have a unit of their own (see
`exchange.importing`).
Every dataset is one chunk with a Fletcher-32 checksum; nothing in the file depends on the time.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import UNLABELLED
from intravariance.dataset.opening import File, open_file
from intravariance.dataset.safety import attribute, child_group, reading
from intravariance.dataset.schema import (
    DATASET_FORMAT,
    TABLE,
    Sample,
    content_digest,
    has_mesh,
    header,
    read_array,
    read_json,
    read_mesh,
    read_pose,
    read_sample,
    read_table,
    unexpected,
    unexpected_in_sample,
)
from intravariance.dataset.specification import Specification
from intravariance.dataset.specification_reader import specification_from_dict
from intravariance.errors import InputError, IntegrityError
from intravariance.geometry.mesh import Mesh

__all__ = [
    "DATASET_SUFFIXES",
    "Dataset",
    "Record",
    "Sample",
    "content_digest",
    "open_dataset",
    "structure",
]

DATASET_SUFFIXES = (".h5", ".hdf5")  # by which a dataset file is told from other files
# So many files stay open in a process that is given records of them.
_SHARED_FILES = 8


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset file for reading; arrays are read when asked for.

    Raises InputError when there is no such file or it is not ours, IntegrityError when damaged.
    """
    handle = _Handle(Path(path))
    return Dataset(handle, handle.records)


def structure(dataset: Dataset) -> list[str]:
    """Tell what is missing from the file, does not belong there, or contradicts itself.

    Every group and attribute is looked at by name, and the header, and the digests written beside
    the samples.
    """
    with reading(str(dataset.path)):
        return _structure(dataset)


def _structure(dataset: Dataset) -> list[str]:
    file = dataset._handle.file()
    header_values = header(dataset.metadata, dataset.digest, dataset.version)
    problems = unexpected(file, {TABLE, *dataset.categories}, set(header_values))
    problems += [
        f"attribute {name} contradicts the others"
        for name, value in header_values.items()
        if name in file.attrs and attribute(file, name) != value
    ]
    for category in dataset.categories:
        records = [record for record in dataset if record.category == category]
        splits = {record.split for record in records}
        group = child_group(file, category)
        problems += unexpected(group, splits, set())
        for split in sorted(splits):
            ids = {record.id for record in records if record.split == split}
            problems += unexpected(child_group(group, split), ids, set())
    for record in dataset:
        group = record._group()
        problems += unexpected_in_sample(group, record.split, dataset.imported)
        if str(attribute(group, "digest")) != record.digest:
            problems.append(f"{group.name} attribute digest contradicts the table of samples")
    return problems


class Dataset:
    """The samples of a file, or some of them: a sequence of `Record`.

    It can be pickled and used after fork or in spawned workers: each process opens the file for
    itself, when it first reads. Threads may share it; h5py lets one of them read at a time.
    `close()` or `with` closes the file, a later read opens it again. Reading raises IntegrityError
    where another file has taken its place.
    """

    def __init__(self, handle: _Handle, records: Sequence[Record]) -> None:
        self._handle = handle
        self._records = list(records)
        self._by_id = {record.id: record for record in self._records}

    @property
    def path(self) -> Path:
        """The file."""
        return self._handle.path

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of what `assemble` was given: "identity" and "software"."""
        return copy.deepcopy(self._handle.metadata)

    @property
    def specification(self) -> Specification:
        """The specification that the file was made from; of imported data, what was found."""
        content = self.metadata["identity"]["specification"]
        origin = f"{self.path}: specification"
        return specification_from_dict(content, origin, imported=self.imported)

    @property
    def imported(self) -> bool:
        """Whether somebody else's clouds are in the file: no meshes, and labels as they were."""
        return "imported" in self._handle.metadata["identity"]

    @property
    def digest(self) -> str:
        """The content digest recorded in the file (of the whole file, also in a filtered view)."""
        return self._handle.digest

    @property
    def version(self) -> int:
        """The version of the file's format."""
        return self._handle.version

    @property
    def categories(self) -> list[str]:
        """The categories, in the file's order."""
        return list(dict.fromkeys(record.category for record in self._records))

    def filter(
        self,
        category: str | Collection[str] | None = None,
        subcategory: str | Collection[str] | None = None,
        split: str | Collection[str] | None = None,
        defect: str | Collection[str] | None = None,
    ) -> Dataset:
        """Choose the samples that match every argument given (each a name or several names).

        Raises InputError for a name that no sample of the file has.
        """
        chosen: list[Record] = list(self._records)
        wanted = {
            "category": category, "subcategory": subcategory, "split": split, "defect": defect
        }  # fmt: skip
        for key, value in wanted.items():
            if value is None:
                continue
            names = {value} if isinstance(value, str) else set(value)
            known = {getattr(record, key) for record in self._handle.records}
            if names - known:
                raise InputError(
                    f"{self.path}: no {key} {', '.join(sorted(names - known))}; "
                    f"the file has {', '.join(sorted(known))}"
                )
            chosen = [record for record in chosen if getattr(record, key) in names]
        return Dataset(self._handle, chosen)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __getitem__(self, key: int | str) -> Record:
        """Return the sample at a position, or the one with an id (KeyError when not here)."""
        return self._by_id[key] if isinstance(key, str) else self._records[key]

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file in this process."""
        self._handle.close()

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, {len(self)} samples)"


@dataclass(frozen=True, eq=False)
class Record:
    """One sample of a file. Arrays are read from the file each time they are asked for.

    It can be pickled, and holds no array: a worker that gets many records of a file opens it once.
    n_points : number of points; n_anomalous : those labelled 1, -1 where points have no labels
    (see `labelled`). difficulty : of a defect, "hard",
    "medium" or "easy" after its severity; "" where there is none. snr : how far a defect departs
    from the pristine surface (root mean square displacement, or depth of a cut) over the standard
    deviation of the file's noise; NaN where there is no defect or no noise, or nobody knows.
    unit_radius : radius of the unit sphere in units of the base mesh's file, NaN where not known.
    Other fields as in `Sample`.
    """

    id: str
    category: str
    subcategory: str
    split: str
    defect: str
    digest: str
    n_points: int
    n_anomalous: int
    difficulty: str
    snr: float
    unit_radius: float
    _handle: _Handle = field(repr=False)

    @property
    def path(self) -> Path:
        """The file that it is read from."""
        return self._handle.path

    @property
    def labelled(self) -> bool:
        """Whether its points have labels."""
        return self.n_anomalous >= 0

    @property
    def object_known(self) -> bool:
        """Whether it is known to be normal or defective."""
        return self.labelled or self.defect != UNLABELLED

    @property
    def points(self) -> NDArray[np.float32]:
        """(N, 3) float32, stored frame, with noise."""
        return read_array(self._group(), "points", self.n_points)

    @property
    def normals(self) -> NDArray[np.float32]:
        """(N, 3) float32 unit normals of the noise-free surface, stored frame."""
        return read_array(self._group(), "normals", self.n_points)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(N,) uint8, 1 = anomalous; all 255 where points have no labels (see `labelled`)."""
        return read_array(self._group(), "labels", self.n_points)

    @property
    def displacement(self) -> NDArray[np.float32]:
        """(N, 3) float32, pristine -> defective, stored frame; NaN on newly exposed surface."""
        return read_array(self._group(), "displacement", self.n_points)

    @property
    def pose(self) -> NDArray[np.float64]:
        """(4, 4) float64, unit-sphere frame -> stored frame."""
        return read_pose(self._group())

    @property
    def parameters(self) -> dict[str, Any]:
        """All that the sample was made with."""
        return read_json(self._group(), "parameters")

    @property
    def mesh(self) -> Mesh | None:
        """The pristine mesh in the unit-sphere frame; None when the sample is no template."""
        return read_mesh(self._group())

    @property
    def has_mesh(self) -> bool:
        """Whether there is a mesh, told without reading it."""
        return has_mesh(self._group())

    def load(self) -> Sample:
        """Read everything into memory."""
        return read_sample(self._group(), self.id, self.category, self.split, self.n_points)

    def copy_into(self, file: h5py.Group) -> None:
        """Copy the sample to its place in a file, bit for bit, without looking at what is in it."""
        file.copy(self._group(), file, name=f"{self.category}/{self.split}/{self.id}")

    def close(self) -> None:
        """Close its file in this process; a later read opens it again."""
        self._handle.close()

    def _group(self) -> h5py.Group:
        group: h5py.Group = self._handle.file()
        for name in (self.category, self.split, self.id):
            group = child_group(group, name)
        return group


class _Handle:
    """A file that each process opens for itself, when it first reads.

    It is pickled as its path and content digest. Those that a process unpickles of one file are one
    handle, so that it opens the file, and reads its table, once at most.
    """

    def __init__(self, path: Path, digest: str | None = None) -> None:
        self.path = path
        self._opened: tuple[int, File, tuple[int, ...]] | None = None  # process, file, its place
        self.digest = digest or self._open()

    @cached_property
    def metadata(self) -> dict[str, Any]:
        file = self.file()
        metadata = read_json(file, "metadata")
        with reading(f"{self.path}: metadata"):
            expected = header(metadata, self.digest, self.version)["header_digest"]
        if str(attribute(file, "header_digest")) != expected:
            raise IntegrityError(
                f"{self.path}: the file's attributes do not have the digest recorded"
            )
        return metadata

    @cached_property
    def version(self) -> int:
        return int(attribute(self.file(), "format_version"))

    @cached_property
    def records(self) -> list[Record]:
        _ = self.metadata  # what is wrong with it is said first
        return [Record(**row, _handle=self) for row in read_table(self.file(), self.version)]

    def file(self) -> File:
        """Return the file, open in this process.

        One inherited over fork has its parent's state, and is left to the garbage collector, as is
        one of two that threads opened at the same time.
        """
        if self._opened is None or self._opened[0] != os.getpid() or not self._opened[1]:
            self._open(self.digest)
        assert self._opened is not None
        return self._opened[1]

    def _open(self, expected: str = "") -> str:
        """Open the file, and return its content digest."""
        place = _place(self.path)
        file = open_file(self.path, DATASET_FORMAT)
        digest = str(attribute(file, "content_digest"))
        if expected and digest != expected:
            raise IntegrityError(f"{self.path}: was replaced by another file while in use")
        self._opened = os.getpid(), file, place
        return digest

    def close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()

    def close_if_replaced(self) -> None:
        if self._opened is not None and self._opened[2] != _place(self.path):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.path, self.digest)


def _unpickled(path: Path, digest: str) -> _Handle:
    handle = _shared_handle(path, digest)
    handle.close_if_replaced()  # what takes its place is noticed when it is opened
    return handle


@lru_cache(maxsize=_SHARED_FILES)
def _shared_handle(path: Path, digest: str) -> _Handle:
    return _Handle(path, digest)


def _place(path: Path) -> tuple[int, ...]:
    """Return what changes when another file takes the place of one; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
