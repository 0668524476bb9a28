# SPDX-License-Identifier: Apache-2.0
"""A folder of Parquet files that `iv export --layout hf-parquet` wrote: back to the dataset file.

The folder holds all of the dataset, so that it is no layout of foreign scans (`find_scans`), whose
clouds have labels alone: samples come back whole, and the file with the same content digest.

Each file that is read is checked against SHA256SUMS before anything else looks at it: Arrow ends
the process on some damaged Parquet files. An archive is not read in place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from intravariance.dataset.assembly.sample_files import write_sample_file
from intravariance.dataset.assembly.work_folder import (
    claim,
    clear_samples,
    finish,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.schema import MAX_ROWS, MAX_SAMPLES, content_digest
from intravariance.dataset.store import Sample
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.exchange.layouts.entries import EXPORT_RECORD, PARQUET_LAYOUT
from intravariance.exchange.parquet.table import COLUMNS, check_schema, samples_of
from intravariance.exchange.parquet.writing import (
    PARQUET_VERSION,
    UNLABELLED_PARQUET_VERSION,
)
from intravariance.files.atomic import check_target
from intravariance.files.checksums import NAME as CHECKSUMS
from intravariance.files.checksums import read_checksums, sha256_of
from intravariance.files.trees import open_tree
from intravariance.progress import track
from intravariance.verification.verify import failures

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["PARQUET_LAYOUT", "is_parquet_export", "read_index", "read_samples", "restore_dataset"]

_MAX_INDEX_BYTES = 512 * 2**20


def is_parquet_export(path: Path) -> bool:
    """Tell whether a folder, or what is packed in a .zip file, looks like this layout."""
    if path.is_file() and path.suffix.lower() == ".zip":
        names = open_tree(path).files("")
        return any(PurePosixPath(name).name == EXPORT_RECORD for name in names) and any(
            PurePosixPath(name).match("data/*/*.parquet") for name in names
        )
    return (path / EXPORT_RECORD).is_file() and any(path.glob("data/*/*.parquet"))


def read_index(folder: Path) -> dict[str, Any]:
    """Read iv_export.json: "metadata" and "content_digest" as in the dataset file, "samples" (ids).

    Raises InputError when there is none of ours, IntegrityError when it is damaged.
    """
    path = folder / EXPORT_RECORD
    if folder.is_file():
        raise InputError(f"{folder}: unpack it first, and give the folder, for {PARQUET_LAYOUT}")
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise InputError(f"{path}: too large to be ours")
        data = path.read_bytes()
        _check_digest(path, hashlib.sha256(data).hexdigest(), EXPORT_RECORD, read_checksums(folder))
        content = json.loads(data)
    except OSError as error:
        raise InputError(
            f"{path}: expected what `iv export --layout {PARQUET_LAYOUT}` wrote ({error.strerror})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error
    if not isinstance(content, dict) or content.get("layout") != PARQUET_LAYOUT:
        raise InputError(f"{path}: not what `iv export --layout {PARQUET_LAYOUT}` wrote")
    versions = (PARQUET_VERSION, UNLABELLED_PARQUET_VERSION)
    if content.get("format_version") not in versions:
        raise InputError(
            f"{path}: has format version {content.get('format_version')}, this iv reads "
            f"{' and '.join(map(str, versions))}"
        )
    ids = content.get("samples")
    whole = (
        isinstance(ids, list)
        and 0 < len(ids) <= MAX_SAMPLES
        and all(isinstance(id, str) for id in ids)
        and len(set(ids)) == len(ids)
        and isinstance(content.get("metadata"), dict)
        and isinstance(content["metadata"].get("identity"), dict)
        and isinstance(content.get("content_digest"), str)
    )
    if not whole:
        raise IntegrityError(f"{path}: damaged: it lacks metadata, a digest or samples")
    return content


def read_samples(folder: Path) -> Iterator[Sample]:
    """Read all samples of the folder, file by file; one sample is in memory at a time.

    Raises IntegrityError where a file is damaged, or a sample lies in another's folder.
    """
    paths = sorted(folder.glob("data/*/*.parquet"))
    if not paths:
        raise InputError(f"{folder}: no files data/<category>/*.parquet")
    digests = read_checksums(folder)
    for path in paths:
        _check_digest(path, sha256_of(path), path.relative_to(folder).as_posix(), digests)
        for sample in _read_file(path):
            if (sample.category, sample.split) != (path.parent.name, path.name.split("-")[0]):
                raise IntegrityError(f"{path}: {sample.id!r} is of another category or split")
            yield sample


def restore_dataset(folder: Path, out: Path, force: bool = False, quiet: bool = True) -> str:
    """Make the dataset file `out` (.h5) again; returns its content digest, that of the export.

    Interrupted, it begins again when called again. Raises InputError when `out` exists (without
    `force`), IntegrityError when the folder is damaged or incomplete.
    """
    check_target(out, force)
    index = read_index(folder)
    with plain_disk_errors(out), locked_folder(out) as partial:
        settings = {"layout": PARQUET_LAYOUT, "content": index["content_digest"]}
        claim(partial, settings, out, force, "import")
        try:
            files = _write_sample_files(folder, index, partial / "samples", quiet)
        except IVError:  # it begins again: nothing is worth keeping
            clear_samples(partial)
            raise
        return finish(partial, files, index["metadata"], out, failures, force, quiet)


def _write_sample_files(
    folder: Path, index: dict[str, Any], samples: Path, quiet: bool
) -> list[Path]:
    """Write a file for each sample of the folder, in the order of the index."""
    digests: dict[str, str] = {}
    wanted = set(index["samples"])
    for sample in track(read_samples(folder), len(wanted), "samples", quiet):
        if sample.id not in wanted or sample.id in digests:
            raise IntegrityError(
                f"{folder}: {sample.id!r} is not in {EXPORT_RECORD}, or there twice"
            )
        digests[sample.id] = sample.digest
        write_sample_file(samples / f"{sample.id}.h5", sample)
    missing = sorted(wanted - digests.keys())
    if missing:
        raise IntegrityError(
            f"{folder}: {len(missing)} of {len(wanted)} samples are missing, {missing[0]!r} "
            "among them; get the files again (sha256sum --check SHA256SUMS)"
        )
    if content_digest(index["metadata"]["identity"], digests) != index["content_digest"]:
        raise IntegrityError(
            f"{folder}: its samples are not those of {EXPORT_RECORD}: other digests"
        )
    return [samples / f"{id}.h5" for id in index["samples"]]


def _check_digest(path: Path, digest: str, name: str, listed: Mapping[str, str]) -> None:
    if listed.get(name) != digest:
        raise IntegrityError(f"{path}: damaged: it is not as {CHECKSUMS} has it; get it again")


def _read_file(path: Path) -> Iterator[Sample]:
    import pyarrow as pa  # noqa: PLC0415 - weight
    import pyarrow.parquet as pq  # noqa: PLC0415 - weight

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            defects = check_schema(file.schema_arrow, str(path))
            for group in range(file.num_row_groups):
                _check_sizes(file, group, path)
                # Row by row: one long value that all rows share is small in the file.
                rows = file.iter_batches(1, row_groups=[group], columns=list(COLUMNS))
                for row in rows:
                    yield from samples_of(pa.Table.from_batches([row]), defects, str(path))
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        # Where `datasets` is imported, its types are made from text in the file.
        raise IntegrityError(f"{path}: damaged, or no Parquet file: {error}") from error


def _check_sizes(file: pq.ParquetFile, group: int, path: Path) -> None:
    """Raise IntegrityError when a row group claims more than any of ours can hold."""
    metadata = file.metadata.row_group(group)
    values = max(metadata.column(i).num_values for i in range(metadata.num_columns))
    if metadata.num_rows > MAX_SAMPLES or values > 3 * MAX_ROWS:
        raise IntegrityError(
            f"{path}: row group {group} claims {metadata.num_rows} rows and {values} values"
        )
