# SPDX-License-Identifier: Apache-2.0
"""All shards of a build as one dataset: in the order of the plan, with the whole's content digest.

They are named by their index (`sharding.index`) or by a pattern as a shell takes it, such as
`group2-*-of-00064.h5`. Headers and tables of all shards are read at once, samples when asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from intravariance.dataset.schema import content_digest, version_of
from intravariance.dataset.sharding.handles import FileHandle, Rows, names_in
from intravariance.dataset.sharding.index import (
    INDEX_SUFFIX,
    Index,
    IndexedShard,
    again,
    is_index,
    read_index,
)
from intravariance.dataset.sharding.shards import interleaved, shard_of, whole_metadata
from intravariance.errors import InputError, IntegrityError, shortened
from intravariance.files.urls import Url, has_pattern, matching, size_of

DATASET_SUFFIXES = (".h5", ".hdf5")  # by which a dataset file is told from other files
_SHARED_WHOLES = 8


class Handle(Protocol):
    """A dataset that can be opened: its files, and what they say; see `FileHandle`."""

    path: Path
    digest: str

    @property
    def files(self) -> Sequence[FileHandle]: ...

    @property
    def metadata(self) -> dict[str, Any]: ...

    @property
    def version(self) -> int: ...

    @property
    def names(self) -> dict[str, set[str]]: ...

    def rows(self) -> Rows: ...

    def close(self) -> None: ...


def open_handle(path: Path) -> Handle:
    """Open what a user named: a file, an index, or the files of a pattern.

    Raises
    ------
    InputError
        There is no such file, it is not ours, or files are not the shards of one build, as their
        index says.
    IntegrityError
        A file is damaged.
    """
    return WholeHandle(path) if is_whole(path) else FileHandle(path)


def is_whole(path: Path) -> bool:
    """Tell whether a name is of shards: an index, or a pattern that is no file's name."""
    return is_index(path) or (has_pattern(path) and (isinstance(path, Url) or not path.is_file()))


def is_dataset(path: Path) -> bool:
    """Tell by its name alone whether a user means a dataset: a file, a pattern or an index."""
    return path.suffix.lower() in DATASET_SUFFIXES or is_index(path)


def is_there(path: Path) -> bool:
    """Tell whether there is a file of a name, or of a pattern."""
    return path.is_file() or (has_pattern(path) and bool(matching(path)))


def dataset_name(path: Path) -> str:
    """Return what files that belong to a dataset are called after: "group2" for all its shards."""
    if is_index(path):
        return path.name[: -len(INDEX_SUFFIX)]
    if not is_whole(path):
        return path.stem
    before = re.split(r"[*?\[]", path.stem)[0]
    return re.sub(r"-\d*$", "", before) or "shards"


def files_of(path: Path) -> list[Path]:
    """List the files that a user named.

    Raises InputError where there are none, or an index is wrong.
    """
    if is_index(path):
        return [path.parent / shard.file for shard in read_index(path).shards]
    if not is_whole(path):
        return [path]
    found = matching(path)
    if not found:
        raise InputError(f"{path}: no file has a name like this")
    return found


@dataclass(frozen=True)
class _Whole:
    """The joint record of all shards. files : in their order; others as of `FileHandle`."""

    files: list[FileHandle]
    metadata: dict[str, Any]
    digest: str
    version: int
    names: dict[str, set[str]]


class WholeHandle:
    """The shards of a build. It is pickled as its name and content digest, as a file is.

    Parameters
    ----------
    path
        An index, a pattern, or the first of `files`.
    digest
        Content digest that the whole must have; None for whichever it has.
    files
        The shards in any order, where `path` does not name them.

    Raises
    ------
    InputError
        A shard is missing, is of another build or there twice, or is not what the index says.
    IntegrityError
        A shard is damaged, or the whole was replaced by another one while in use.
    """

    def __init__(
        self, path: Path, digest: str | None = None, files: Sequence[Path] | None = None
    ) -> None:
        self.path = path
        self._named = None if files is None else tuple(files)
        self._expected = digest
        self._rows: Rows | None = None  # from when they are read until they are asked for
        self.digest = digest or self._whole.digest

    @cached_property
    def _whole(self) -> _Whole:
        index = read_index(self.path) if self._named is None and is_index(self.path) else None
        if index is not None:
            _check_files(self.path, index)
        paths = files_of(self.path) if self._named is None else self._named
        found = [FileHandle(path, whole=self.path) for path in paths]
        tables = [file.rows() for file in found]
        if index is not None:
            _check_shards(self.path, index, [*zip(found, tables, strict=True)])
        whole, self._rows = _joined(found, tables)
        if index is not None and whole.digest != index.content_digest:
            raise InputError(
                f"{self.path}: says that the whole has the content digest "
                f"{index.content_digest}, and it has {whole.digest}; {again(self.path)}"
            )
        if self._expected not in (None, whole.digest):
            raise IntegrityError(f"{self.path}: was replaced by other files while in use")
        return whole

    @property
    def files(self) -> list[FileHandle]:
        """Return the shards, in their order."""
        return self._whole.files

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the metadata that a build in one go would have."""
        return self._whole.metadata

    @property
    def version(self) -> int:
        """Return the version of the format that the whole needs."""
        return self._whole.version

    @property
    def names(self) -> dict[str, set[str]]:
        """Return categories, subcategories, splits and defects of all samples, by these words."""
        return self._whole.names

    def rows(self) -> Rows:
        """Return the shard of each sample, and what its table says of it, in the plan's order."""
        files, rows = self._whole.files, self._rows
        self._rows = None
        return interleaved([file.rows() for file in files]) if rows is None else rows

    def close(self) -> None:
        """Close all shards in this process."""
        if "_whole" in vars(self):
            for file in self._whole.files:
                file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.path, self.digest, self._named)


@lru_cache(maxsize=_SHARED_WHOLES)
def _unpickled(path: Path, digest: str, files: tuple[Path, ...] | None) -> WholeHandle:
    return WholeHandle(path, digest, files)


def _joined(found: Sequence[FileHandle], tables: Sequence[Rows]) -> tuple[_Whole, Rows]:
    """Put shards, in any order, together. Raises InputError where they are not those of a build."""
    metadata = whole_metadata([(file.path, file.metadata) for file in found])
    shards = sorted(zip(found, tables, strict=True), key=lambda shard: _number(shard[0]))
    rows = interleaved([table for _, table in shards])
    counts = Counter(row["id"] for _, row in rows)
    if twice := [id for id, count in counts.items() if count > 1]:
        names = " and ".join(str(file.path) for file, row in rows if row["id"] == twice[0])
        raise InputError(f"{names}: both hold the sample {twice[0]}")
    digests = {row["id"]: row["digest"] for _, row in rows}
    digest = content_digest(metadata["identity"], digests)
    version, files = version_of(row for _, row in rows), [file for file, _ in shards]
    return _Whole(files, metadata, digest, version, names_in(rows)), rows


def _number(file: FileHandle) -> int:
    shard = shard_of(file.metadata)
    return 0 if shard is None else shard.number


def _check_files(path: Path, index: Index) -> None:
    """Raise InputError where a file that the index names is not there, or has another size."""
    missing = [shard.file for shard in index.shards if not (path.parent / shard.file).is_file()]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of {len(index.shards)} shards are not beside it: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    for shard in index.shards:
        size = size_of(path.parent / shard.file)
        if size != shard.bytes:
            raise _lie(path, shard, f"{shard.bytes} bytes", f"{size}")


def _check_shards(path: Path, index: Index, found: Sequence[tuple[FileHandle, Rows]]) -> None:
    """Raise InputError where a shard is not what the index says of it."""
    if not index.shards:
        raise InputError(f"{path}: lists no shard; {again(path)}")
    for place, (shard, (file, rows)) in enumerate(zip(index.shards, found, strict=True)):
        if file.digest != shard.content_digest:
            raise _lie(path, shard, f"the content digest {shard.content_digest}", file.digest)
        own = shard_of(file.metadata)
        if own is not None and own.number != place:
            raise _lie(path, shard, f"the place of shard {place}", f"that of shard {own.number}")
        table = {row["id"]: row["digest"] for _, row in rows}
        if len(table) != len(shard.digests):
            raise _lie(path, shard, f"{len(shard.digests)} samples", f"{len(table)}")
        for (id, digest), (listed, expected) in zip(
            table.items(), shard.digests.items(), strict=True
        ):
            if (id, digest) != (listed, expected):
                said = f"sample {listed} of digest {shortened(expected, 20)}"
                raise _lie(path, shard, said, f"{id} of {shortened(digest, 20)} there")


def _lie(path: Path, shard: IndexedShard, said: str, found: str) -> InputError:
    return InputError(
        f"{path}: says that {shard.file} has {said}, and it has {found}. Put the file back that "
        f"was there, or {again(path)}"
    )
