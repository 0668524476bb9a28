# SPDX-License-Identifier: Apache-2.0
"""The dataset file: one HDF5 file, readable by any HDF5 tool, or several that are read as one.

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

A build in shards is such a file for each of them (`sharding.shards`) and an index
(`sharding.index`).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import UNLABELLED
from intravariance.dataset.safety import attribute, child_group, reading
from intravariance.dataset.schema import (
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
    unexpected,
    unexpected_in_sample,
)
from intravariance.dataset.sharding.handles import FileHandle
from intravariance.dataset.sharding.whole import (
    DATASET_SUFFIXES,
    Handle,
    WholeHandle,
    files_of,
    is_whole,
    open_handle,
)
from intravariance.dataset.specification import Specification
from intravariance.dataset.specification_reader import specification_from_dict
from intravariance.errors import InputError
from intravariance.files.urls import parse_place
from intravariance.geometry.mesh import Mesh

__all__ = [
    "DATASET_SUFFIXES",
    "Dataset",
    "Record",
    "Sample",
    "content_digest",
    "open_dataset",
    "open_shards",
    "shard_problems",
    "structure",
]


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset for reading; arrays are read when asked for.

    path : a dataset file, or all shards of a build: their index (group2.index.json) or a pattern of
    their names (group2-*-of-00064.h5). These are read as the one file that they would be. Each may
    be in a store that fsspec reads: s3://bucket/group2.h5.

    Raises InputError when there is no such file, it is not ours, or shards are missing, of
    different builds, or not what their index says; IntegrityError when a file is damaged.
    """
    return _dataset(open_handle(parse_place(path)))


def open_shards(paths: Sequence[Path]) -> Dataset:
    """Open all shards of a build, in any order, as one dataset. Raises as `open_dataset`."""
    if len(paths) == 1 and is_whole(paths[0]):
        return open_dataset(paths[0])
    return _dataset(WholeHandle(paths[0], files=[one for path in paths for one in files_of(path)]))


def _dataset(handle: Handle) -> Dataset:
    return Dataset(handle, [Record(**row, _handle=file) for file, row in handle.rows()])


def structure(dataset: Dataset) -> list[str]:
    """Tell what is missing from the files, does not belong there, or contradicts itself.

    Every group and attribute is looked at by name, and the header, and the digests written beside
    the samples.
    """
    problems, parts = [], dataset.parts
    for part in parts:
        named = f"{part.path.name}: " if len(parts) > 1 else ""
        with part, reading(str(part.path)):
            problems += [f"{named}{problem}" for problem in _structure(part)]
    return problems


def _structure(dataset: Dataset) -> list[str]:
    problems = _structure_above(dataset)  # which lets go of the file
    for record in dataset:
        with record._group() as group:
            problems += unexpected_in_sample(group, record.split, dataset.imported)
            if str(attribute(group, "digest")) != record.digest:
                problems.append(f"{group.name} attribute digest contradicts the table of samples")
    return problems


def _structure_above(dataset: Dataset) -> list[str]:
    """Tell the same of all that is above the samples' groups."""
    (handle,) = dataset._handle.files
    file = handle.file()
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
    return problems


def shard_problems(dataset: Dataset, digests: Mapping[str, str]) -> list[str]:
    """Name the files of a dataset whose samples do not make up the digest that is recorded there.

    digests : of all samples that can be read, by id.
    """
    return [
        f"{part.path.name}: the content does not have the digest recorded"
        for part in dataset.parts
        if part.digest
        != content_digest(
            part.metadata["identity"],
            {record.id: digests[record.id] for record in part if record.id in digests},
        )
    ]


class Dataset:
    """The samples of a file or of all shards of a build, or some of them: a sequence of `Record`.

    It can be pickled and used after fork or in spawned workers: each process opens a file for
    itself, when it first reads from it. Threads may share it; h5py lets one of them read at a time.
    `close()` or `with` closes the files, a later read opens them again, and of many shards some are
    closed meanwhile. Reading raises IntegrityError where another file has taken the place of one.
    """

    def __init__(self, handle: Handle, records: Sequence[Record]) -> None:
        self._handle = handle
        self._records = list(records)
        self._by_id = {record.id: record for record in self._records}

    @property
    def path(self) -> Path:
        """The file, or what the user named its shards by: their index, or a pattern."""
        return self._handle.path

    @property
    def files(self) -> list[Path]:
        """The dataset files: one, or the shards in their order."""
        return [file.path for file in self._handle.files]

    @property
    def parts(self) -> list[Dataset]:
        """Each file as a dataset of its own, with all its samples: the shards, in their order."""
        return [_dataset(file) for file in self._handle.files]

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
        """The content digest of the whole, as recorded, or as shards make it up; of views too."""
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
            known = self._handle.names[key]
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
        """Close the files in this process."""
        self._handle.close()
        for file in {record._handle for record in self._records}:
            file.close()

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
    _handle: FileHandle = field(repr=False)

    @property
    def path(self) -> Path:
        """The dataset that it is of, as `Dataset.path`."""
        return self._handle.whole

    @property
    def file(self) -> Path:
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
        with self._group() as group:
            return read_array(group, "points", self.n_points)

    @property
    def normals(self) -> NDArray[np.float32]:
        """(N, 3) float32 unit normals of the noise-free surface, stored frame."""
        with self._group() as group:
            return read_array(group, "normals", self.n_points)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(N,) uint8, 1 = anomalous; all 255 where points have no labels (see `labelled`)."""
        with self._group() as group:
            return read_array(group, "labels", self.n_points)

    @property
    def displacement(self) -> NDArray[np.float32]:
        """(N, 3) float32, pristine -> defective, stored frame; NaN on newly exposed surface."""
        with self._group() as group:
            return read_array(group, "displacement", self.n_points)

    @property
    def pose(self) -> NDArray[np.float64]:
        """(4, 4) float64, unit-sphere frame -> stored frame."""
        with self._group() as group:
            return read_pose(group)

    @property
    def parameters(self) -> dict[str, Any]:
        """All that the sample was made with."""
        with self._group() as group:
            return read_json(group, "parameters")

    @property
    def mesh(self) -> Mesh | None:
        """The pristine mesh in the unit-sphere frame; None when the sample is no template."""
        with self._group() as group:
            return read_mesh(group)

    @property
    def has_mesh(self) -> bool:
        """Whether there is a mesh, told without reading it."""
        with self._group() as group:
            return has_mesh(group)

    def load(self) -> Sample:
        """Read everything into memory."""
        with self._group() as group:
            return read_sample(group, self.id, self.category, self.split, self.n_points)

    def copy_into(self, file: h5py.Group) -> None:
        """Copy the sample to its place in a file, bit for bit, without looking at what is in it."""
        with self._group() as group:
            file.copy(group, file, name=f"{self.category}/{self.split}/{self.id}")

    def close(self) -> None:
        """Close its file in this process; a later read opens it again."""
        self._handle.close()

    @contextmanager
    def _group(self) -> Iterator[h5py.Group]:
        """Give its group; the file stays open meanwhile, whatever other threads read."""
        file = self._handle.file()
        group: h5py.Group = file
        for name in (self.category, self.split, self.id):
            group = child_group(group, name)
        yield group
