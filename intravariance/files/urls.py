# SPDX-License-Identifier: Apache-2.0
"""Places in object stores, which fsspec reads: s3://bucket/group2.h5, gs://, hf://, memory://.

A `Url` is a path, so that whatever takes a path carries it along; what asks the file system about a
path asks the store. Only what is written for it can open one: `stream` and `read_bytes` here. The
extra `scale` brings fsspec and s3fs; other stores need a package of their own, which fsspec names.
"""

from __future__ import annotations

import gc
import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import Any

from intravariance.errors import InputError, IVError

_WRITTEN = re.compile(r"[a-z][a-z0-9+.-]+://.")
_FOLDED = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]")  # as a path keeps it
# A sample of 10,000 points takes some 300 kB. Each open file keeps so many blocks at most.
_BLOCK, _BLOCKS = 512 * 1024, 16


class Url(PosixPath):
    """A place in an object store. Its methods raise InputError where the store does not answer."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def store(self) -> tuple[Any, str]:
        """Return fsspec's file system, and the name that it has for this place."""
        import fsspec  # noqa: PLC0415 - weight

        # what another machine has written meanwhile must be seen
        return fsspec.core.url_to_fs(str(self), use_listings_cache=False)  # type: ignore[no-any-return]

    def info(self) -> dict[str, Any] | None:
        """Return "size" and "type" ("file", "directory"); None where there is nothing."""
        with asking(self):
            store, name = self.store()
            try:
                return dict(store.info(name))
            except FileNotFoundError:
                return None

    def exists(self, **_: Any) -> bool:
        return self.info() is not None

    def is_file(self, **_: Any) -> bool:
        found = self.info()
        return found is not None and found["type"] == "file"

    def is_dir(self, **_: Any) -> bool:
        found = self.info()
        return found is not None and found["type"] == "directory"

    def resolve(self, strict: bool = False) -> Url:
        return self

    def read_bytes(self) -> bytes:
        with asking(self):
            store, name = self.store()
            return bytes(store.cat_file(name))

    def stream(self) -> Stream:
        """Open the file for reading, a few blocks in memory at a time."""
        with asking(self):
            store, name = self.store()
            file = store.open(
                name,
                "rb",
                block_size=_BLOCK,
                cache_type="blockcache",
                cache_options={"maxblocks": _BLOCKS},
            )
        return Stream(file, self)


class Stream:
    """A file of a store that h5py reads. It is called after its place, in h5py's messages too."""

    def __init__(self, file: Any, url: Url) -> None:
        self._file, self._url = file, url

    def __repr__(self) -> str:
        return str(self._url)

    def seek(self, place: int, whence: int = 0) -> int:
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def read(self, count: int = -1) -> bytes:
        with asking(self._url):
            return bytes(self._file.read(count))

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer, as HDF5 asks for it.

        h5py holds its lock meanwhile, and the client works in a thread of its own: if that thread
        collected garbage of h5py's, both would wait for ever (h5py issue 2019, whose advice this
        is).
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            content = self.read(len(buffer))
        finally:
            if collects:
                gc.enable()
        if len(content) != len(buffer):
            raise OSError(f"{self._url}: ends too early")
        buffer[:] = content
        return len(content)


def parse_place(text: str | Path) -> Path:
    """Return the path, or the place in a store, that a user wrote."""
    if isinstance(text, Url):
        return text
    form = _FOLDED if isinstance(text, Path) else _WRITTEN
    return Url(text) if form.match(str(text)) else Path(text)


def has_pattern(path: Path) -> bool:
    """Tell whether a name has the wildcards of a shell; in a URL, ? has another meaning."""
    return any(sign in str(path) for sign in ("*[" if isinstance(path, Url) else "*[?"))


def matching(path: Path) -> list[Path]:
    """List the files whose names a pattern has, sorted."""
    if not isinstance(path, Url):
        return [Path(name) for name in sorted(glob.glob(str(path)))]
    with asking(path):
        store, pattern = path.store()
        return [Url(store.unstrip_protocol(name)) for name in sorted(store.glob(pattern))]


def size_of(path: Path) -> int:
    """Return the bytes of a file that is there."""
    if not isinstance(path, Url):
        return path.stat().st_size
    found = path.info()
    return -1 if found is None else int(found["size"])


@contextmanager
def asking(url: Url, doing: str = "read") -> Iterator[None]:
    """Turn whatever a store's client raises into an InputError that names the place.

    Each client has exceptions of its own, so that they are told by their message.
    """
    try:
        yield
    except (IVError, KeyboardInterrupt):
        raise
    except ModuleNotFoundError:
        raise  # of fsspec itself: `extras` says which extra brings it
    except Exception as error:
        raise InputError(f"{url}: cannot be {doing}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file or bucket"
    said = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, PermissionError):
        return f"the store gives you no right to it ({said}); see your credentials for it"
    return said
