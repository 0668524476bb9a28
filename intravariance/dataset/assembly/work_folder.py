# SPDX-License-Identifier: Apache-2.0
"""The folder `<out>.partial/` beside a dataset file that is being made.

It holds one small file for each finished sample, each written whole or not at all, a lock, and a
record of what the samples were made with. The same command started again carries on from there.
The dataset file is assembled in it, verified, and only then moved into place. A folder of that name
that is not ours is never written in, and of ours only what we made is removed.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from intravariance.dataset.assembly.sample_files import (
    Finished,
    assemble,
    finished,
    read_sample_file,
)
from intravariance.dataset.schema import canonical_json, content_digest
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import check_target, move_into_place, real, write_whole
from intravariance.progress import say

_SAMPLES, _RECORD, _LOCK = "samples", "build.json", "lock"
_SAMPLE_FILES = ("*.h5", "*.h5.*.partial")
# with what a killed process was writing, also one of an earlier version ("build.tmp")
_OURS = (_RECORD, f"{_RECORD}.*.partial", "build.tmp", "assembled.h5*", _LOCK)


@contextmanager
def locked_folder(out: Path) -> Iterator[Path]:
    """Give the partial folder of `out`, held by this process alone; removed if nothing came of it.

    Raises InputError when another process holds it, when it cannot be made, or when a folder of its
    name is not ours.
    """
    target = real(out)
    partial = target.with_name(target.name + ".partial")
    try:
        _check_ours(partial)
        (partial / _SAMPLES).mkdir(parents=True, exist_ok=True)
        lock = FileLock(partial / _LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is building {out} ({partial}/lock is held)") from None
    except OSError as error:
        raise InputError(f"--out {out}: cannot write beside it ({error.strerror})") from error
    try:
        yield partial
    finally:
        if not _holds_samples(partial):
            discard(partial)
        lock.release()


def _check_ours(partial: Path) -> None:
    """Raise InputError when something of this name exists and is none of our folders."""
    if not partial.is_symlink() and not partial.exists():
        return
    ours = partial.is_dir() and not partial.is_symlink()
    if ours and not any((partial / name).is_file() for name in (_RECORD, _LOCK)):
        # killed before it was locked, there is an empty folder in it
        ours = not any(path.name != _SAMPLES or any(path.iterdir()) for path in partial.iterdir())
    if not ours:
        raise InputError(f"{partial} is in the way, and is not ours; move it away")


def _holds_samples(partial: Path) -> bool:
    return any((partial / _SAMPLES).glob("*.h5"))


def kept(partial: Path) -> str:
    """Return how a refusal ends: where the finished samples are, "" where there are none."""
    return f"\nThe finished samples are kept in {partial}" if _holds_samples(partial) else ""


def clear_samples(partial: Path) -> None:
    """Remove the finished samples, which are of no use."""
    for pattern in _SAMPLE_FILES:
        for path in (partial / _SAMPLES).glob(pattern):
            path.unlink()


def discard(partial: Path) -> None:
    """Remove what we make in a partial folder, and the folder when nothing else is in it."""
    clear_samples(partial)
    for pattern in _OURS:
        for path in partial.glob(pattern):
            path.unlink()
    for folder in (partial / _SAMPLES, partial):
        with suppress(OSError):  # somebody put something in it
            folder.rmdir()


@contextmanager
def plain_disk_errors(out: Path) -> Iterator[None]:
    """Turn the errors of a full disk into an InputError that says what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if _is_disk_full(error):
            raise InputError(
                f"no space left for {out}; what is finished is kept beside it: free some space "
                "and run the same command again"
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    """Return whether the system refused to write more. h5py says so in the message only."""
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"errno = (\d+)", str(error))):
        number = int(found[1])
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def claim(
    partial: Path, settings: dict[str, Any], out: Path, force: bool, work: str = "build"
) -> None:
    """Make sure that the samples in the partial folder were made with the same settings.

    settings : JSON-able, all that decides the samples. Others are discarded with `force`, and an
    InputError without. work : what this is, in a word or two, for that message.
    """
    record = partial / _RECORD
    text = json.dumps(settings | {"work": work}, indent=1, sort_keys=True)
    found = record.read_text(encoding="utf-8", errors="replace") if record.exists() else ""
    if found != text and _holds_samples(partial):
        if not force:
            raise InputError(
                f"{partial} holds an unfinished {_work(found)} of {out.name} with other settings "
                f"or another version (see {record}). Finish it with its own command, choose "
                "another --out, or discard it with --force."
            )
        clear_samples(partial)
    write_whole(record, text.encode())


def _work(record: str) -> str:
    """Return what the record of another command says that it was."""
    try:
        return str(json.loads(record)["work"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return "build"


def found_finished(path: Path, id: str) -> Finished | None:
    """Read what there is to know of the sample `id` from its file; None where it is not whole."""
    try:
        sample = read_sample_file(path)
    except (InputError, IntegrityError):
        return None
    return finished(sample) if sample.id == id else None


@dataclass(frozen=True)
class FinishedDataset:
    """A dataset file that was there already: its content digest, and what is known of samples."""

    digest: str
    samples: tuple[Finished, ...]


def found_dataset(path: Path, metadata: Mapping[str, Any]) -> FinishedDataset | None:
    """Read through a file that may be there; None where it is not whole, or has other metadata."""
    if not path.exists():
        return None
    try:
        with open_dataset(path) as dataset:
            if canonical_json(dataset.metadata) != canonical_json(metadata):
                return None
            digests, made = {}, []
            for record in dataset:
                sample = record.load()
                digests[sample.id] = sample.digest
                made.append(finished(sample))
            if content_digest(dataset.metadata["identity"], digests) != dataset.digest:
                return None
            return FinishedDataset(dataset.digest, tuple(made))
    except (InputError, IntegrityError):
        return None


def finish(
    partial: Path,
    files: Sequence[Path],
    metadata: dict[str, Any],
    out: Path,
    check: Callable[[Path], list[str]],
    force: bool,
    quiet: bool,
    assembling: Callable[[Path, Sequence[Path], Mapping[str, Any]], str] = assemble,
) -> str:
    """Assemble the files, check the file, move it into place and remove the partial folder.

    check : says what is wrong with a dataset file, nothing where it is whole; see
    `verification.verify.failures`. Returns the content digest. Raises IntegrityError when the
    check finds something; the assembled file is kept then.
    """

    def check_whole(assembled: Path) -> None:
        say("verifying", quiet)
        if wrong := check(assembled):
            raise IntegrityError(
                f"the assembled file, kept as {assembled}, does not verify: {'; '.join(wrong)}"
            )
        check_target(out, force)  # again: it may have appeared meanwhile

    assembled = partial / "assembled.h5"
    digest = assembling(assembled, files, metadata)
    move_into_place(assembled, real(out), check_whole)
    discard(partial)
    return digest
