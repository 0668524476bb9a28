# SPDX-License-Identifier: Apache-2.0
"""The dataset file: one HDF5 file, readable by any HDF5 tool; the only module that opens one.

    /samples                                table: id, category, subcategory, split, defect,
                                            n_points, n_anomalous, digest; in the dataset's order
    /<category>/<train|test>/<id>/points        (N, 3) float32, posed and noisy
    /<category>/<train|test>/<id>/normals       (N, 3) float32, of the noise-free surface
    /<category>/<train|test>/<id>/labels        (N,) uint8, 1 = anomalous
    /<category>/<train|test>/<id>/displacement  (N, 3) float32
    /<category>/train/<id>/mesh/vertices        (V, 3) float32, and mesh/faces (F, 3) int32

Units are radii of the unit-sphere frame. Points, normals and displacement are in the stored
(posed) frame, the mesh is in the unit-sphere frame: x_stored = pose @ x_unit_sphere, then noise.
Imported templates have no mesh, and imported clouds may have a unit of their own (`importing`).
Every dataset is one chunk with a Fletcher-32 checksum; nothing in the file depends on the time.
"""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import File  # noqa: TID251 - the one place
from numpy.typing import NDArray

from intravariance.dataset.safety import attribute, child_group, reading
from intravariance.dataset.schema import (
    DATASET_FORMAT,
    DATASET_VERSION,
    TABLE,
    Sample,
    check_sample,
    content_digest,
    header,
    location,
    read_array,
    read_json,
    read_mesh,
    read_pose,
    read_sample,
    read_table,
    table_row,
    unexpected,
    unexpected_in_sample,
    write_header,
    write_sample,
    write_table,
    write_text,
)
from intravariance.dataset.specification import Specification, specification_from_dict
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import write_whole
from intravariance.geometry.mesh import Mesh

__all__ = [
    "DATASET_SUFFIXES",
    "Dataset",
    "Record",
    "Sample",
    "assemble",
    "content_digest",
    "open_dataset",
    "read_shard",
    "structure",
    "write_shard",
]

DATASET_SUFFIXES = (".h5", ".hdf5")  # by which a dataset file is told from other files
SHARD_FORMAT = "iv-shard"


def write_shard(path: Path, sample: Sample) -> None:
    """Write one sample to its own small file, which appears under `path` only when complete."""
    check_sample(sample)
    buffer = io.BytesIO()  # HDF5 itself may end the process when the disk is full
    with File(buffer, "w") as file:
        write_text(file, "format", SHARD_FORMAT)
        file.attrs["format_version"] = np.int32(DATASET_VERSION)
        write_text(file, "location", location(sample))
        file.attrs["n_points"] = np.int32(len(sample.labels))
        write_sample(file.create_group(location(sample)), sample)
    write_whole(path, buffer.getbuffer())


def read_shard(path: Path) -> Sample:
    """The sample of a shard; IntegrityError when damaged or its digest differs."""
    with _open(path, SHARD_FORMAT) as file:
        return _read_shard(file)


def assemble(path: Path, shards: Sequence[Path], metadata: Mapping[str, Any]) -> str:
    """Write the dataset file from shards, in their order; returns the content digest.

    metadata : JSON-able; "identity" is what determines the content (specification, source, seed,
    noise_sigma, ...), "software" the versions that made it. Only one shard is in memory at a time.
    The file is written in place: the caller gives a temporary name and renames it.
    """
    if not shards:
        raise InputError(f"{path}: no samples to put into it")
    digests: dict[str, str] = {}
    rows = []
    with File(path, "w") as file:
        for shard in shards:
            with _open(shard, SHARD_FORMAT) as source:
                sample = _read_shard(source)
                if sample.id in digests:
                    raise InputError(f"{shard}: a second sample with the id {sample.id!r}")
                source.copy(source[location(sample)], file, name=location(sample))
            rows.append(table_row(sample))
            digests[sample.id] = rows[-1]["digest"]
        digest = content_digest(metadata["identity"], digests)
        write_table(file, rows)
        write_header(file, metadata, digest)
    return digest


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset file for reading; arrays are read when asked for.

    Raises InputError when there is no such file or it is not ours, IntegrityError when damaged.
    """
    return Dataset(_Handle(Path(path)))


def structure(dataset: Dataset) -> list[str]:
    """What is missing from the file, what does not belong there, and what contradicts itself:
    every group and attribute by name, the header, the digests written beside the samples."""
    with reading(str(dataset.path)):
        return _structure(dataset)


def _structure(dataset: Dataset) -> list[str]:
    file = dataset._handle.file()
    header_values = header(dataset.metadata, dataset.digest)
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

    Can be pickled and used after fork or in spawned workers: each process opens the file for
    itself. Threads may share it; h5py lets one of them read at a time. `close()` or `with` closes
    the file, a later read opens it again.
    """

    def __init__(self, handle: _Handle, records: Sequence[Record] | None = None) -> None:
        self._handle = handle
        self._records = list(handle.records) if records is None else list(records)
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
        """The samples that match every argument given (each a name or a collection of names).

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
        """The sample at a position, or the one with an id (KeyError when not here)."""
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

    n_points : number of points; n_anomalous : those labelled 1. Other fields as in `Sample`.
    """

    id: str
    category: str
    subcategory: str
    split: str
    defect: str
    digest: str
    n_points: int
    n_anomalous: int
    _handle: _Handle = field(repr=False)

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
        """(N,) uint8, 1 = anomalous."""
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
        """What the sample was made with."""
        return read_json(self._group(), "parameters")

    @property
    def mesh(self) -> Mesh | None:
        """The pristine mesh in the unit-sphere frame; None when the sample is no template."""
        return read_mesh(self._group())

    def load(self) -> Sample:
        """Everything, in memory."""
        return read_sample(self._group(), self.id, self.category, self.split, self.n_points)

    def _group(self) -> h5py.Group:
        group: h5py.Group = self._handle.file()
        for name in (self.category, self.split, self.id):
            group = child_group(group, name)
        return group


class _Handle:
    """A file that each process opens for itself, when it first reads; pickled as its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file = _open(path, DATASET_FORMAT)
        self._opened = os.getpid(), file
        self.digest = str(attribute(file, "content_digest"))
        self.metadata = read_json(file, "metadata")
        with reading(f"{path}: metadata"):
            expected = header(self.metadata, self.digest)["header_digest"]
        if str(attribute(file, "header_digest")) != expected:
            raise IntegrityError(f"{path}: the file's attributes do not have the digest recorded")
        self._rows = read_table(file)

    @cached_property
    def records(self) -> list[Record]:
        return [Record(**row, _handle=self) for row in self._rows]

    def file(self) -> File:
        """The file, open in this process. One inherited over fork has its parent's state, and is
        left to the garbage collector, as is one of two that threads opened at the same time."""
        process, file = self._opened
        if process != os.getpid() or not file:
            file = _open(self.path, DATASET_FORMAT)
            if str(attribute(file, "content_digest")) != self.digest:
                raise IntegrityError(f"{self.path}: was replaced by another file while in use")
            self._opened = os.getpid(), file
        return file

    def close(self) -> None:
        self._opened[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "digest": self.digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        _Handle.__init__(self, state["path"])
        if self.digest != state["digest"]:
            raise IntegrityError(f"{self.path}: was replaced by another file while in use")


def _open(path: Path, expected: str) -> File:
    kind = "dataset" if expected == DATASET_FORMAT else "shard"
    if not path.is_file():
        raise InputError(f"{path}: no such file; make a dataset with `iv build` or `iv import`")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: not an HDF5 file; expected a {kind} made by `iv build`")
    with reading(str(path)):
        file = File(path, "r", locking="best-effort")
        names = set(file.attrs)
    try:
        if not {"format", "format_version"} <= names:
            raise InputError(f"{path}: an HDF5 file, but not a {kind} made by `iv build`")
        found, version = str(attribute(file, "format")), str(attribute(file, "format_version"))
        if found != expected:
            raise InputError(f"{path}: has format {found!r}, expected {expected!r}")
        if version != str(DATASET_VERSION):
            raise InputError(
                f"{path}: has format version {version}, this iv reads {DATASET_VERSION}; "
                "install the iv that made it, or build the dataset again"
            )
    except BaseException:
        file.close()
        raise
    return file


def _read_shard(file: File) -> Sample:
    with reading(file.filename):
        category, split, id = str(attribute(file, "location")).split("/")
        n_points = int(attribute(file, "n_points"))
    group = child_group(child_group(child_group(file, category), split), id)
    sample = read_sample(group, id, category, split, n_points)
    if sample.digest != str(attribute(group, "digest")):
        raise IntegrityError(f"{file.filename}: the content does not have the digest recorded")
    return sample
