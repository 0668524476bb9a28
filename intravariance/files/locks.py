# SPDX-License-Identifier: Apache-2.0
"""A file that one process at a time holds, so that two do not write the same things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from intravariance.errors import InputError


@contextmanager
def held(lock_file: Path, busy: str) -> Iterator[None]:
    """Hold a file, which is made for this and removed afterwards, while something is done.

    Raises
    ------
    InputError
        Another process holds it, which `busy` tells; or it cannot be made.
    """
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _check_writable(lock_file)
        raise InputError(f"{busy} ({lock_file} is held)") from None
    except OSError as error:
        raise InputError(f"{lock_file}: cannot be written: {error}") from error
    try:
        yield
    finally:
        lock_file.unlink(missing_ok=True)
        lock.release()


def _check_writable(lock_file: Path) -> None:
    """Raise InputError where nobody can make the file: FileLock takes that for one that is held."""
    if lock_file.exists():
        return
    try:
        with open(lock_file, "ab"):
            return
    except OSError as error:
        raise InputError(
            f"{lock_file.parent}: nothing can be written there ({error.strerror})"
        ) from error
