# SPDX-License-Identifier: Apache-2.0
"""Files that go with a job of a leaderboard to another machine, and files that come back.

Files that many jobs read, the dataset's and an encoder's, are sent once to a worker, which keeps
them in its own folder under their SHA-256; a job's folder has links to them. The rest are the files
of the job's own folder, in both directions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from intravariance.dataset.provenance import code_digest, made_with, software
from intravariance.errors import InputError, IVError
from intravariance.executors.dask_worker import worker_folder
from intravariance.extensions import Extension, find
from intravariance.files.atomic import write_whole
from intravariance.files.folders import write_member
from mc4ad_model.methods.saved_files import writing

# Most bytes of a job's files, since two machines hold all of them in memory.
LARGEST = 2 * 2**30
_LIBRARIES = ("torch", "open3d", "scikit-learn", "safetensors")


@dataclass(frozen=True)
class Luggage:
    """Names are those in the temporary folder of the job.

    Parameters
    ----------
    data
        Name of the dataset; "" where it is in a store, which any machine can read.
    links
        Files of the sender that other jobs read too, by name.
    places
        Names of the files and folders that settings name, by what they say.
    begun
        Content of the files of the job's folder that an earlier process left, by their names in it.
    """

    data: str
    links: Mapping[str, Path]
    places: Mapping[str, str]
    begun: Mapping[str, bytes]


def pack(
    data: Path,
    files: Sequence[Path],
    given: Mapping[str, Sequence[Path]],
    begun: Mapping[str, bytes],
) -> Luggage:
    """Pack what a job reads.

    Parameters
    ----------
    data, files
        What the user called the dataset, and its files; none where it is in a store.
    given
        See `Settings.given_files`.
    begun
        See `Luggage`.
    """
    links, places, name = {}, {}, ""
    if files:
        absolute = [Path(os.path.abspath(path)) for path in (data, *files)]
        root = os.path.commonpath([path.parent for path in absolute])
        names = [f"data/{path.relative_to(root).as_posix()}" for path in absolute]
        name, links = names[0], dict(zip(names[1:], absolute[1:], strict=True))
    for number, (named, paths) in enumerate(given.items()):
        if not paths:  # what is not there is not there on the other machine
            continue
        own = {f"given-{number}/{path.name}": Path(os.path.abspath(path)) for path in paths}
        links |= own
        places[named] = next(iter(own)) if [*paths] == [Path(named)] else f"given-{number}"
    return Luggage(name, links, places, begun)


def keep(content: bytes) -> Path:
    """Keep a content in the worker's own folder for the jobs to come, and return its file."""
    path = worker_folder() / "kept" / hashlib.sha256(content).hexdigest()
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content)
    return path


@contextmanager
def unpacked(luggage: Luggage, kept: Mapping[Path, Path]) -> Iterator[tuple[Path, Path]]:
    """Give a temporary folder that has all that a job reads, and the job's folder in it.

    kept : files of this machine with the content of those that `luggage.links` names.
    """
    with TemporaryDirectory(dir=worker_folder()) as name:
        root = Path(name)
        for link, path in luggage.links.items():
            (root / link).parent.mkdir(parents=True, exist_ok=True)
            (root / link).symlink_to(kept[path])
        folder = root / "runs"
        folder.mkdir()
        for own, content in luggage.begun.items():
            write_member(folder, own, content)
        yield root, folder


def contents(folder: Path, parts: Iterable[str]) -> dict[str, bytes]:
    """Read the files of some files and folders of a folder, where they are there, by their names.

    Files that were still being written are left out. Raises IVError where the files are too large
    to be sent, or cannot be read.
    """
    try:
        paths = [
            path
            for part in parts
            for path in (folder / part, *sorted((folder / part).rglob("*")))
            if path.is_file() and not _unfinished(path.relative_to(folder))
        ]
        if (size := sum(path.stat().st_size for path in paths)) > LARGEST:
            raise IVError(
                f"{folder}: holds {size / 2**30:.1f} GiB, more than the {LARGEST / 2**30:.0f} GiB "
                "that a job can take along; leave out --executor for this row"
            )
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    except OSError as error:
        raise IVError(f"{folder}: cannot be read: {error}") from error


def _unfinished(path: Path) -> bool:
    return any(part.endswith((".partial", ".lock")) for part in path.parts)


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a folder, which is made: each of its own folders as a whole, in place of one
    that is there. Files on their way are in the folder `coming`.

    Raises InputError where they cannot be written, or a name leads out of the folder.
    """
    for name in files:
        own = PurePosixPath(name)
        if own.is_absolute() or not own.parts or ".." in own.parts:
            raise InputError(f"{folder}: a worker sent a file named {name!r}")
    new, old = coming(folder) / "new", coming(folder) / "old"
    with writing(folder):
        shutil.rmtree(coming(folder), ignore_errors=True)
        for part in (new, old, folder):
            part.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_member(new, name, content)
        for path in sorted(new.iterdir()):
            with suppress(FileNotFoundError):
                os.rename(folder / path.name, old / path.name)
            os.rename(path, folder / path.name)
        shutil.rmtree(coming(folder))


def coming(folder: Path) -> Path:
    """Name the folder of what is not yet in a job's folder; a killed process may leave it."""
    return folder.with_name(f"{folder.name}.partial")


@dataclass(frozen=True)
class RanWith:
    """Says what must be the same wherever jobs of one leaderboard run; see `DaskExecutor`.

    added : kind, name and package of what installed packages add to its rows.
    """

    added: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def of(cls, extensions: Iterable[Extension]) -> RanWith:
        """Make one from the extensions that the rows use."""
        return cls(tuple(sorted({(e.kind, e.name, e.package) for e in extensions})))

    def __call__(self) -> dict[str, str]:
        found = made_with() | {"mc4ad_model": code_digest("mc4ad_model")[:12]}
        for library in _LIBRARIES:
            with suppress(PackageNotFoundError):
                # torch says after a plus for which devices it was built
                found[library] = software(library)[library].partition("+")[0]
        for kind, name, package in self.added:
            found[f"the package {package} with the {kind} {name}"] = _version(kind, name)
        return found


def _version(kind: str, name: str) -> str:
    """Say which version adds a name, "" where none does, with a digest of its code."""
    extension = find(kind, name, ())
    if extension is None:
        return ""
    package = extension.entry.module.partition(".")[0]
    return f"{extension.version}, code {code_digest(package)[:12]}"
