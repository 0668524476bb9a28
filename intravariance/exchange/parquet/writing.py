# SPDX-License-Identifier: Apache-2.0
"""A dataset as Parquet files, as the Hugging Face Hub has them; nothing of it is lost.

    data/<category>/train-00000-of-00001.parquet    a row a sample, see `table`
    data/<category>/test-00000-of-00001.parquet
    iv_export.json                                  identity, software, order of the samples
    README.md                                       the dataset card
    croissant.json                                  the same for machines, see `croissant`
    provenance.json                                 see `files.provenance`
    SHA256SUMS                                      of all these, for `sha256sum --check`

`datasets.load_dataset(folder)` reads the whole; `load_dataset(folder, "vase")` one category. The
same dataset gives the same bytes with the same pyarrow. `exchange.parquet.reading` makes the
dataset file from the folder again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intravariance.dataset.specification import SPLITS
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import IntegrityError
from intravariance.exchange.exporting.making import making
from intravariance.exchange.exporting.parts import digest_and_metadata
from intravariance.exchange.exporting.tree import Written
from intravariance.exchange.layouts.entries import EXPORT_RECORD, PARQUET_LAYOUT
from intravariance.exchange.parquet.card import parquet_card
from intravariance.exchange.parquet.croissant import croissant_for_parquet
from intravariance.exchange.parquet.table import ARRAYS, defect_names, schema, table
from intravariance.files.atomic import replacing
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.files.provenance import write_provenance
from intravariance.progress import say, track

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PARQUET_VERSION = 1
# For exports with samples whose points have no labels, which earlier readers would misread.
UNLABELLED_PARQUET_VERSION = 2
# Where the tree has each of `CONTENTS`: columns.
HOLDS = {
    "subcategory": "subcategory",
    "pose": "pose",
    "parameters": "parameters",
    "normals": "normals",
    "displacement": "displacement",
    "mesh": "mesh_vertices, mesh_faces",
}
# Bytes of the arrays before compression. A row group is held in memory, by readers too; the Hub
# asks for files of a few hundred MB.
ROW_GROUP_BYTES = 16 * 2**20
FILE_BYTES = 192 * 2**20
_POINT_BYTES = 3 * 12 + 1  # points, normals, displacement, label
_COMPRESSION = {"compression": "zstd", "compression_level": 3}


@dataclass(frozen=True)
class _File:
    """One Parquet file to be: its name in the folder, and its rows in groups."""

    name: str
    groups: list[list[Record]]

    @property
    def records(self) -> list[Record]:
        return [record for group in self.groups for record in group]


def write_parquet(dataset: Dataset, out: Path, force: bool = False, quiet: bool = True) -> Written:
    """Write the folder `out`, which appears only when complete.

    dataset : a whole file, or whole categories of it (`Dataset.filter(category=...)`), which
    become a dataset with a content digest of its own. force : replace an earlier export. quiet : no
    progress on stderr. One row group is in memory at a time.

    Raises InputError when `out` exists (with `force`: when it is no earlier export), or part of a
    category is missing; IntegrityError when a sample is not what the file's table says. Needs
    pyarrow, of the extra `layouts`.
    """
    # Where it is missing, that is said before anything is written.
    import pyarrow  # noqa: PLC0415 - weight

    check_folder(out, EXPORT_RECORD, force)
    content = index_of(dataset)
    digest, defects = content["content_digest"], defect_names(dataset)
    files = plan_files(list(dataset))
    with new_folder(out, EXPORT_RECORD, force) as folder:
        index = json.dumps(content, indent=1, sort_keys=True) + "\n"
        write_member(folder, EXPORT_RECORD, index.encode())
        groups = sum(len(file.groups) for file in files)
        for _ in track(_write_files(folder, files, defects), groups, "row groups", quiet):
            pass
        card = parquet_card(dataset, digest, {file.name: file.records for file in files}, folder)
        say("checksums", quiet)
        croissant = croissant_for_parquet(folder, card, content["metadata"], digest, defects)
        write_member(folder, "README.md", card.encode())
        write_member(folder, "croissant.json", croissant.encode())
        arrow = {"pyarrow": pyarrow.__version__}
        names = write_provenance(folder, making(dataset, PARQUET_LAYOUT, {}, arrow))
        size = sum((folder / name).stat().st_size for name in names)
    return Written(len(dataset), len(names) + 1, size)


def index_of(dataset: Dataset) -> dict[str, Any]:
    """Return what iv_export.json holds: all that `shards.assemble` is given beside the samples.

    Raises InputError when the dataset is a selection that cuts through a category.
    """
    digest, metadata = digest_and_metadata(dataset)
    return {
        "layout": PARQUET_LAYOUT,
        "format_version": (
            PARQUET_VERSION
            if all(record.labelled for record in dataset)
            else UNLABELLED_PARQUET_VERSION
        ),
        "content_digest": digest,
        "metadata": metadata,
        "samples": [record.id for record in dataset],
    }


def plan_files(records: Sequence[Record], ending: str = "parquet") -> list[_File]:
    """Decide which sample goes where: by category and split, in order, cut by number of points."""
    files = []
    for category in dict.fromkeys(record.category for record in records):
        for split in SPLITS:
            own = [r for r in records if (r.category, r.split) == (category, split)]
            parts = _cut(own, FILE_BYTES)
            files += [
                _File(
                    f"data/{category}/{split}-{number:05d}-of-{len(parts):05d}.{ending}",
                    _cut(part, ROW_GROUP_BYTES),
                )
                for number, part in enumerate(parts)
            ]
    return files


def _write_files(folder: Path, files: Sequence[_File], defects: Sequence[str]) -> Iterator[None]:
    """Write the files; yields after each row group."""
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, _writer(temporary, defects) as writer:
            for group in file.groups:
                samples = [record.load() for record in group]
                for record, sample in zip(group, samples, strict=True):
                    if sample.digest != record.digest:
                        raise IntegrityError(f"{record.id} is damaged in its file; see `iv verify`")
                writer.write_table(table(samples, defects), row_group_size=len(group))
                yield


def _writer(path: Path, defects: Sequence[str]) -> pq.ParquetWriter:
    import pyarrow.parquet as pq  # noqa: PLC0415 - weight

    return pq.ParquetWriter(
        path,
        schema(defects),
        use_dictionary=False,
        # smallest and largest of a coordinate help no reader
        write_statistics=[field.name for field in schema(defects) if field.name not in ARRAYS],
        write_page_checksum=True,
        **_COMPRESSION,
    )


def _cut(records: Sequence[Record], largest: int) -> list[list[Record]]:
    """Cut the records into runs of at most `largest` bytes of arrays, or of one record."""
    runs: list[list[Record]] = []
    size = largest + 1
    for record in records:
        size += record.n_points * _POINT_BYTES
        if size > largest:
            runs.append([])
            size = record.n_points * _POINT_BYTES
        runs[-1].append(record)
    return runs
