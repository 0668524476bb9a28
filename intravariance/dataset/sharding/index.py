# SPDX-License-Identifier: Apache-2.0
"""The index: a small JSON file beside the shards of a build, which names them as one dataset.

    {"format": "iv-index", "format_version": 1,
     "content_digest": "...",                        of the whole
     "samples": 1000,
     "shards": [{"file": "group2-00000-of-00064.h5", beside the index, in the shards' order
                 "bytes": 4712345,
                 "content_digest": "...",
                 "samples": 16,
                 "digests": {"bowl_train_000": "...", ...}},  by id, in the shard's order
                ...]}

The index is compared with the shards whenever it is opened: see `sharding.whole`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intravariance.dataset.schema import MAX_SAMPLES
from intravariance.errors import InputError
from intravariance.files.urls import size_of

INDEX_SUFFIX = ".index.json"
_FORMAT, _VERSION = "iv-index", 1
_SHARD = {"file": str, "bytes": int, "content_digest": str, "samples": int, "digests": dict}
_WHOLE = {"format_version": int, "content_digest": str, "samples": int, "shards": list}
# A digest and an id take some 120 bytes of JSON; names may be longer.
_MOST_BYTES = 600 * MAX_SAMPLES


@dataclass(frozen=True)
class IndexedShard:
    """An index's entry for a shard: name and size of its file, its digest, its samples' by id."""

    file: str
    bytes: int
    content_digest: str
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """The content of an index: the content digest of the whole, and its shards in their order."""

    content_digest: str
    shards: tuple[IndexedShard, ...]

    def to_bytes(self) -> bytes:
        """Return the index's file, a line for each shard."""
        shards = [
            {
                "file": shard.file,
                "bytes": shard.bytes,
                "content_digest": shard.content_digest,
                "samples": len(shard.digests),
                "digests": dict(shard.digests),
            }
            for shard in self.shards
        ]
        head = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "content_digest": self.content_digest,
            "samples": sum(len(shard.digests) for shard in self.shards),
        }
        lines = ",\n  ".join(json.dumps(shard) for shard in shards)
        return f'{json.dumps(head)[:-1]}, "shards": [\n  {lines}\n]}}\n'.encode()


def index_path(whole: Path) -> Path:
    """Return the index of a dataset's shards: group2.h5 becomes group2.index.json."""
    return whole if is_index(whole) else whole.with_name(whole.stem + INDEX_SUFFIX)


def is_index(path: Path) -> bool:
    """Tell by its name whether a file is an index."""
    return path.name.lower().endswith(INDEX_SUFFIX)


def read_index(path: Path) -> Index:
    """Read an index, and check it against itself.

    Raises
    ------
    InputError
        There is no such file, it is none of ours, or contradicts itself, or names a file that does
        not lie beside it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; `iv build --shards N` or `iv merge` makes it")
    if size_of(path) > _MOST_BYTES:
        raise InputError(f"{path}: is larger than the index of {MAX_SAMPLES:,} samples")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected an index of shards, and it is not JSON") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: not an index of shards, as `iv build --shards N` makes it")
    problems = [*_wrong(content, _WHOLE, "it")] or [
        problem
        for place, shard in enumerate(content["shards"])
        for problem in _wrong_shard(shard, f"shard {place}")
    ]
    if not problems and content["format_version"] != _VERSION:
        problems = [f"it has format version {content['format_version']}, this iv reads {_VERSION}"]
    if not problems and content["samples"] != (n := sum(s["samples"] for s in content["shards"])):
        problems = [f"it says that there are {content['samples']} samples, and lists {n}"]
    if problems:
        raise InputError(f"{path}: {problems[0]}; {again(path)}")
    shards = [
        IndexedShard(shard["file"], shard["bytes"], shard["content_digest"], shard["digests"])
        for shard in content["shards"]
    ]
    return Index(content["content_digest"], tuple(shards))


def again(path: Path) -> str:
    """Say how an index that is wrong is made again."""
    return f"make the index again: `iv merge SHARDS... --out {path} --force`"


def _wrong(content: Any, expected: Mapping[str, type], what: str) -> Iterator[str]:
    """Tell which entries are not there, or of another type."""
    for name, kind in expected.items():
        value = content.get(name) if isinstance(content, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"{what} has no {name}"


def _wrong_shard(shard: Any, what: str) -> Iterator[str]:
    """Tell what is wrong with what is said of one shard."""
    yield from (missing := [*_wrong(shard, _SHARD, what)])
    if missing:
        return
    file, digests = shard["file"], shard["digests"]
    # a name and nothing else, on any system: an index opens no file elsewhere
    if not file or file in (".", "..") or set(file) & set("/\\:\0"):
        yield f"{what} is {file!r}, which does not lie beside the index; refused"
    if shard["samples"] != len(digests):
        yield f"{file} has {shard['samples']} samples, and {len(digests)} are listed"
    if not all(isinstance(digest, str) for digest in digests.values()):
        yield f"{file}: a sample's digest is no text"
