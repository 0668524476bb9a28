# SPDX-License-Identifier: Apache-2.0
"""A sample as a small HDF5 file of its own, and dataset files assembled from these.

A worker makes the bytes of such a file, and says what there is to know of the sample; only the
process that started it writes files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from intravariance.dataset.opening import Content, File, new_file, open_file
from intravariance.dataset.safety import attribute, child_group, reading
from intravariance.dataset.schema import (
    DATASET_VERSION,
    TABLE_COLUMNS,
    Sample,
    check_sample,
    content_digest,
    location,
    read_sample,
    table_row,
    version_of,
    write_header,
    write_sample,
    write_table,
    write_text,
)
from intravariance.dataset.sharding.shards import interleaved
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import write_whole

SAMPLE_FORMAT = "iv-sample"


@dataclass(frozen=True, slots=True)
class Finished:
    """Hold what a build or an import needs to know of a sample that is made.

    values : what the table of samples says of it, in the order of its columns: of many samples,
    their names would take more memory than they. rejections : how many draws of the defect's
    parameters were refused.
    """

    values: tuple[Any, ...]
    rejections: int

    @property
    def row(self) -> dict[str, Any]:
        return dict(zip(TABLE_COLUMNS, self.values, strict=True))

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def defect(self) -> str:
        return str(self.row["defect"])

    @property
    def n_points(self) -> int:
        return int(self.row["n_points"])


def finished(sample: Sample) -> Finished:
    """Return what there is to know of a sample once it is stored."""
    rejections = len(sample.parameters.get("rejections", ()))
    return Finished(tuple(table_row(sample).values()), rejections)


def sample_bytes(sample: Sample) -> bytes:
    """Return the content of a sample's file. Raises InputError when it cannot be stored."""
    check_sample(sample)
    buffer = io.BytesIO()  # HDF5 itself may end the process when the disk is full
    with new_file(buffer) as file:
        write_text(file, "format", SAMPLE_FORMAT)
        file.attrs["format_version"] = np.int32(DATASET_VERSION)
        write_text(file, "location", location(sample))
        file.attrs["n_points"] = np.int32(len(sample.labels))
        write_sample(file.create_group(location(sample)), sample)
    return buffer.getvalue()


def write_sample_file(path: Path, sample: Sample) -> None:
    """Write one sample to its own small file, which appears under `path` only when complete."""
    write_whole(path, sample_bytes(sample), flush=False)  # its digest is compared when it is read


def read_sample_file(path: Path) -> Sample:
    """Read the sample of a sample file; IntegrityError when damaged or its digest differs."""
    with open_file(path, SAMPLE_FORMAT) as file:
        return _read_sample_file(file)


def carried(record: Record) -> Record:
    """Return a record that has its sample's content with it, for a machine without the file."""
    buffer = io.BytesIO()
    with new_file(buffer) as file:
        record.copy_into(file)
    content: Any = Content(record.path, buffer.getvalue())
    return replace(record, _handle=content)


def assemble(
    path: Path,
    files: Sequence[Path],
    metadata: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Write the dataset file from files, in their order; returns the content digest.

    metadata : JSON-able; "identity" is what determines the content (specification, source, seed,
    noise_sigma, ...), "software" the versions that made it. rows : of the table of samples, one for
    each file, where they are known: samples are copied then, not read, and only a later reader
    sees that a file is damaged. Only one sample is in memory at a time.
    The file is written in place: the caller gives a temporary name and renames it.
    """
    if not files:
        raise InputError(f"{path}: no samples to put into it")
    written: dict[str, Mapping[str, Any]] = {}
    with new_file(path) as file:
        for number, one in enumerate(files):
            with open_file(one, SAMPLE_FORMAT) as source:
                row = rows[number] if rows else table_row(_read_sample_file(source))
                if row["id"] in written:
                    raise InputError(f"{one}: a second sample with the id {row['id']!r}")
                place = "/".join(str(row[name]) for name in ("category", "split", "id"))
                with reading(one):
                    group = source[place]
                source.copy(group, file, name=place)
            written[row["id"]] = row
        return _write_rest(file, list(written.values()), metadata)


def assemble_again(
    path: Path, files: Sequence[Path], metadata: Mapping[str, Any], dataset: Dataset
) -> str:
    """Write a dataset file like another one, with some samples replaced; return its content digest.

    files : of the samples that are replaced, `<id>.h5`; all others are copied, not read.
    metadata : as of `assemble`. The file is written in place.
    """
    replaced = {one.stem: one for one in files}
    rows = []
    with new_file(path) as file:
        for record in dataset:
            if record.id not in replaced:
                rows.append(_copied(record, file))
                continue
            with open_file(replaced[record.id], SAMPLE_FORMAT) as source:
                sample = _read_sample_file(source)
                source.copy(source[location(sample)], file, name=location(sample))
            rows.append(table_row(sample))
        return _write_rest(file, rows, metadata)


def assemble_shards(path: Path, whole: Dataset, metadata: Mapping[str, Any]) -> str:
    """Write the dataset file of all shards of a build, in the build's order; return its digest.

    whole : of these shards, one of which is open at a time. metadata : as of `assemble`. Samples
    are copied, not read.
    """
    parts = []
    with new_file(path) as file:
        for shard in whole.parts:
            with shard:
                parts.append([_copied(record, file) for record in shard])
        return _write_rest(file, interleaved(parts), metadata)


def _copied(record: Record, file: File) -> dict[str, Any]:
    """Copy a sample of a dataset file into another one; return its row of the table."""
    record.copy_into(file)
    names = [field.name for field in fields(Record) if field.name != "_handle"]
    return {name: getattr(record, name) for name in names}


def _write_rest(file: File, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> str:
    """Write what is not in samples; return the content digest."""
    digest = content_digest(metadata["identity"], {row["id"]: row["digest"] for row in rows})
    write_table(file, rows)
    write_header(file, metadata, digest, version_of(rows))
    return digest


def _read_sample_file(file: File) -> Sample:
    with reading(file.filename):
        category, split, id = str(attribute(file, "location")).split("/")
        n_points = int(attribute(file, "n_points"))
    group = child_group(child_group(child_group(file, category), split), id)
    sample = read_sample(group, id, category, split, n_points)
    if sample.digest != str(attribute(group, "digest")):
        raise IntegrityError(f"{file.filename}: the content does not have the digest recorded")
    return sample
