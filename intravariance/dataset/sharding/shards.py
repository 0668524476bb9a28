# SPDX-License-Identifier: Apache-2.0
"""Shards: dataset files that each hold a part of a build, made by processes that need no other.

Shard I of N, numbered from 0, holds the samples I, I + N, I + 2 N, ... of the plan. Its metadata
say which it is, and what its samples were made with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from intravariance.errors import InputError, IntegrityError, shortened

_T = TypeVar("_T")
_KEY = "shard"
MOST_SHARDS = 99_999  # of five digits in a name
_TEXT = re.compile(r"(\d{1,5})/(\d{1,5})", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """One of several parts. number : from 0; of : how many there are."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"

    def path(self, whole: Path) -> Path:
        """Return the file of this shard: group2.h5 becomes group2-00003-of-00064.h5."""
        return whole.with_name(
            f"{whole.stem}-{self.number:05d}-of-{self.of:05d}{whole.suffix or '.h5'}"
        )

    def part(self, plan: Sequence[_T]) -> list[_T]:
        """Return what of a plan is this shard's. Raises InputError where nothing is."""
        found = list(plan[self.number :: self.of])
        if not found:
            raise InputError(
                f"{self}: there are {len(plan)} samples; expected {len(plan)} shards at most"
            )
        return found

    def mark(self, metadata: Mapping[str, Any], made_with: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata of this shard's file.

        made_with : JSON-able, all besides the identity that must be the same in all shards.
        """
        shard = {"number": self.number, "of": self.of, "made_with": dict(made_with)}
        return {**metadata, _KEY: shard}


def parse_shard(text: str) -> Shard:
    """Read "I/N", 0 <= I < N. Raises InputError when it is something else."""
    match = _TEXT.fullmatch(text)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not shard.number < shard.of:
        raise InputError(
            f"--shard {text}: expected I/N, the number of a shard and how many there are, counted "
            "from 0: 0/8 to 7/8"
        )
    return shard


def interleaved(parts: Sequence[Sequence[_T]]) -> list[_T]:
    """Put what the shards hold, in their order, into the order of the plan: see `Shard.part`."""
    return [one for turn in zip_longest(*parts) for one in turn if one is not None]


def shard_of(metadata: Mapping[str, Any]) -> Shard | None:
    """Say which shard a file is by its metadata; None for a whole dataset.

    Raises IntegrityError where what the metadata say of it cannot be.
    """
    found = metadata.get(_KEY)
    if found is None:
        return None
    shard, fault = Shard(0, 0), ""
    try:
        shard = Shard(int(found["number"]), int(found["of"]))
        _ = found["made_with"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        fault = str(error)
    if fault or not 0 <= shard.number < shard.of <= MOST_SHARDS:
        raise IntegrityError(f"the metadata say of a shard what cannot be: {shortened(str(found))}")
    return shard


def whole_metadata(shards: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """Check that files are all shards of one build, and return the metadata of the whole.

    Parameters
    ----------
    shards
        Files with their metadata, in any order, at least one.

    Raises
    ------
    InputError
        A file is no shard, shards are of other builds, one is missing or there twice.
    """
    first_path, first = shards[0]
    found: dict[int, Path] = {}
    for path, metadata in shards:
        shard, wanted = shard_of(metadata), shard_of(first)
        if shard is None or wanted is None:
            raise InputError(f"{path if shard is None else first_path} is no shard of a build")
        for what, own, other in _facts(metadata, first):
            if own != other:
                raise InputError(
                    f"{path} and {first_path} are shards of different builds: {what} is {own} and "
                    f"{other}. Build one of them again"
                )
        if shard.number in found:
            raise InputError(f"{path} and {found[shard.number]} are the same {shard}")
        found[shard.number] = path
    count = len(range(int(first[_KEY]["of"])))
    missing = [number for number in range(count) if number not in found]
    if missing:
        named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise InputError(
            f"{len(missing)} of {count} shards are missing: {named}. Make the first with the "
            f"command of the others and --shard {missing[0]}/{count}"
        )
    return {name: value for name, value in first.items() if name != _KEY}


def _facts(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """List what must be the same in two shards: what it is, and its two values."""
    facts = [("the number of shards", own[_KEY]["of"], other[_KEY]["of"])]
    for name in ("identity", "software"):
        facts += _leaves(own.get(name), other.get(name), name)
    return [*facts, *_leaves(own[_KEY]["made_with"], other[_KEY]["made_with"], "made with")]


def _leaves(own: Any, other: Any, name: str) -> list[tuple[str, Any, Any]]:
    """List the values inside two values by name, down to what is no table in both."""
    if not (isinstance(own, Mapping) and isinstance(other, Mapping)):
        return [(name, own, other)]
    keys = [*own, *(key for key in other if key not in own)]
    return [fact for key in keys for fact in _leaves(own.get(key), other.get(key), f"{name} {key}")]
