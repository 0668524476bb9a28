# SPDX-License-Identifier: Apache-2.0
"""A sample as a small HDF5 file of its own, and dataset files assembled from these.

A worker makes the bytes of a shard, and says what there is to know of the sample; only the process
that started it writes files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from intravariance.dataset.opening import File, new_file, open_file
from intravariance.dataset.safety import attribute, child_group, reading
from intravariance.dataset.schema import (
    DATASET_VERSION,
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
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import write_whole

SHARD_FORMAT = "iv-shard"


@dataclass(frozen=True)
class Finished:
    """Hold what a build or an import needs to know of a sample that is made.

    rejections : how many draws of the defect's parameters were refused.
    """

    id: str
    defect: str
    n_points: int
    rejections: int


def finished(sample: Sample) -> Finished:
    """Return what there is to know of a sample once it is stored."""
    rejections = len(sample.parameters.get("rejections", ()))
    return Finished(sample.id, sample.defect, len(sample.labels), rejections)


def shard_bytes(sample: Sample) -> bytes:
    """Return the content of a sample's shard. Raises InputError when it cannot be stored."""
    check_sample(sample)
    buffer = io.BytesIO()  # HDF5 itself may end the process when the disk is full
    with new_file(buffer) as file:
        write_text(file, "format", SHARD_FORMAT)
        file.attrs["format_version"] = np.int32(DATASET_VERSION)
        write_text(file, "location", location(sample))
        file.attrs["n_points"] = np.int32(len(sample.labels))
        write_sample(file.create_group(location(sample)), sample)
    return buffer.getvalue()


def write_shard(path: Path, sample: Sample) -> None:
    """Write one sample to its own small file, which appears under `path` only when complete."""
    write_whole(path, shard_bytes(sample))


def read_shard(path: Path) -> Sample:
    """Read the sample of a shard; IntegrityError when damaged or its digest differs."""
    with open_file(path, SHARD_FORMAT) as file:
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
    with new_file(path) as file:
        for shard in shards:
            with open_file(shard, SHARD_FORMAT) as source:
                sample = _read_shard(source)
                if sample.id in digests:
                    raise InputError(f"{shard}: a second sample with the id {sample.id!r}")
                source.copy(source[location(sample)], file, name=location(sample))
            rows.append(table_row(sample))
            digests[sample.id] = rows[-1]["digest"]
        digest = content_digest(metadata["identity"], digests)
        write_table(file, rows)
        write_header(file, metadata, digest, version_of(rows))
    return digest


def assemble_again(
    path: Path, shards: Sequence[Path], metadata: Mapping[str, Any], dataset: Dataset
) -> str:
    """Write a dataset file like another one, with some samples replaced; return its content digest.

    shards : of the samples that are replaced, `<id>.h5`; all others are copied, not read.
    metadata : as of `assemble`. The file is written in place.
    """
    of_table = [field.name for field in fields(Record) if field.name != "_handle"]
    replaced = {shard.stem: shard for shard in shards}
    rows = []
    with new_file(path) as file:
        for record in dataset:
            if record.id not in replaced:
                record.copy_into(file)
                rows.append({name: getattr(record, name) for name in of_table})
                continue
            with open_file(replaced[record.id], SHARD_FORMAT) as source:
                sample = _read_shard(source)
                source.copy(source[location(sample)], file, name=location(sample))
            rows.append(table_row(sample))
        digest = content_digest(metadata["identity"], {row["id"]: row["digest"] for row in rows})
        write_table(file, rows)
        write_header(file, metadata, digest, version_of(rows))
    return digest


def _read_shard(file: File) -> Sample:
    with reading(file.filename):
        category, split, id = str(attribute(file, "location")).split("/")
        n_points = int(attribute(file, "n_points"))
    group = child_group(child_group(child_group(file, category), split), id)
    sample = read_sample(group, id, category, split, n_points)
    if sample.digest != str(attribute(group, "digest")):
        raise IntegrityError(f"{file.filename}: the content does not have the digest recorded")
    return sample
