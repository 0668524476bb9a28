# SPDX-License-Identifier: Apache-2.0
"""The folder `<out>.partial/` beside a dataset file that is being made.

It holds one small file for each finished sample, each written whole or not at all, a lock, and a
record of what the samples were made with. The same command started again carries on from there.
The dataset file is assembled in it, verified, and only then moved into place.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intravariance.errors import InputError, IntegrityError
from intravariance.progress import say
from intravariance.writing import check_target


@contextmanager
def locked_folder(out: Path) -> Iterator[Path]:
    """The partial folder of `out`, held by this process alone; removed again if nothing came of it.

    Raises InputError when another process holds it, or when it cannot be made.
    """
    from filelock import FileLock, Timeout

    partial = out.with_name(out.name + ".partial")
    try:
        (partial / "samples").mkdir(parents=True, exist_ok=True)
        lock = FileLock(partial / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is building {out} ({partial}/lock is held)") from None
    except OSError as error:
        raise InputError(f"--out {out}: cannot write beside it ({error.strerror})") from error
    try:
        yield partial
    finally:
        if partial.exists() and not any((partial / "samples").iterdir()):
            shutil.rmtree(partial)
        lock.release()


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
    """Whether the system refused to write more. h5py gives its number in the message only."""
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"errno = (\d+)", str(error))):
        number = int(found[1])
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def claim(partial: Path, settings: dict[str, Any], out: Path, force: bool) -> None:
    """Make sure that the samples in the partial folder were made with the same settings.

    settings : JSON-able, all that decides the samples. Others are discarded with `force`, and an
    InputError without.
    """
    record = partial / "build.json"
    text = json.dumps(settings, indent=1, sort_keys=True)
    found = record.read_text(encoding="utf-8", errors="replace") if record.exists() else None
    if found != text and any((partial / "samples").iterdir()):
        if not force:
            raise InputError(
                f"{partial} holds an unfinished build of {out.name} with other settings or another "
                f"version (see {record}). Finish it with its own command, choose another --out, "
                "or discard it with --force."
            )
        shutil.rmtree(partial / "samples")
        (partial / "samples").mkdir()
    temporary = record.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(record)


def finished_points(shard: Path, id: str) -> int | None:
    """Number of points of the sample `id` in its shard; None where it is not finished."""
    from intravariance.store import read_shard

    try:
        sample = read_shard(shard)
    except (InputError, IntegrityError):
        return None
    return len(sample.labels) if sample.id == id else None


def finish(
    partial: Path,
    shards: Sequence[Path],
    metadata: dict[str, Any],
    out: Path,
    force: bool,
    quiet: bool,
) -> str:
    """Assemble the shards, verify the file, move it into place and remove the partial folder.

    Returns the content digest. Raises IntegrityError when the file does not verify; it is kept.
    """
    from intravariance.store import assemble
    from intravariance.verify import verify

    assembled = partial / "assembled.h5"
    digest = assemble(assembled, shards, metadata)
    say("verifying", quiet)
    report = verify(assembled, probes=False)
    if not report.passed:
        raise IntegrityError(f"the assembled file does not verify: {'; '.join(report.failures())}")
    check_target(out, force)  # again: it may have appeared meanwhile
    os.replace(assembled, out)
    shutil.rmtree(partial)
    return digest
