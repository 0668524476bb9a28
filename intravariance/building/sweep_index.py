# SPDX-License-Identifier: Apache-2.0
"""The index of a sweep: `sweep.json`, in the folder of the dataset files that it names.

Each member is an ordinary dataset file, which every command takes by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.files.atomic import write_whole

INDEX = "sweep.json"
_FORMAT, _VERSION = "intravariance-sweep", 1

Values = Mapping[str, float]


@dataclass(frozen=True)
class Member:
    """A dataset file of a sweep.

    file : its name in the sweep's folder. values : of the swept keys. digest : of its content.
    """

    file: str
    values: Values
    digest: str

    @property
    def title(self) -> str:
        """Its setting, as "noise_sigma=0.002"."""
        return setting(self.values)


@dataclass(frozen=True)
class Sweep:
    """Dataset files whose samples share geometry. swept : the values of each key, as given."""

    folder: Path
    swept: Mapping[str, tuple[float, ...]]
    members: tuple[Member, ...]

    def open(self, member: Member) -> Dataset:
        """Open the file of a member; InputError where it is not the one that the index names."""
        dataset = open_dataset(self.folder / member.file)
        if dataset.digest != member.digest:
            raise InputError(
                f"{dataset.path}: has the content digest {dataset.digest}, but {INDEX} says "
                f"{member.digest}; give the `iv build` command of the sweep again"
            )
        return dataset

    def write(self) -> None:
        """Write the index, in place of one that is there."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "swept": {key: list(values) for key, values in self.swept.items()},
            "members": [
                {"file": one.file, "values": dict(one.values), "digest": one.digest}
                for one in self.members
            ],
        }
        write_whole(self.folder / INDEX, (json.dumps(content, indent=2) + "\n").encode())


def setting(values: Values) -> str:
    """Write values as they are in names of files: "noise_sigma=0.002-points=2000"."""
    return "-".join(f"{key}={value:.10g}" for key, value in values.items())


def is_sweep(path: Path) -> bool:
    """Tell whether a path names a sweep: its folder, or the index in it."""
    return path.name == INDEX or (path / INDEX).is_file()


def read_sweep(path: Path) -> Sweep:
    """Read a sweep by its folder or its index. The files that it names are not looked at.

    Raises InputError when there is none, or when it is no index of a sweep.
    """
    index = path / INDEX if path.is_dir() else path
    try:
        content: Any = json.loads(index.read_bytes())
    except OSError as error:
        raise InputError(f"{index}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{index}: is not valid JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{index}: is no index of a sweep; expected what `iv build --sweep` wrote")
    if content.get("version") != _VERSION:
        raise InputError(
            f"{index}: has version {content.get('version')!r}, expected {_VERSION}; use the "
            "version of iv that wrote it"
        )
    try:
        swept = {str(k): tuple(map(_number, v)) for k, v in content["swept"].items()}
        members = tuple(_member(one, swept) for one in content["members"])
        if not swept or not members:
            raise ValueError("it names no files")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{index}: is damaged: {error!r}; give the `iv build` command of the sweep again"
        ) from error
    return Sweep(index.parent, swept, members)


def _member(content: Any, swept: Mapping[str, tuple[float, ...]]) -> Member:
    file, values = str(content["file"]), {k: _number(v) for k, v in content["values"].items()}
    if Path(file).name != file or any(values[key] not in swept[key] for key in swept):
        raise ValueError(f"{file} is no file of this sweep")
    return Member(file, {key: values[key] for key in swept}, str(content["digest"]))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
