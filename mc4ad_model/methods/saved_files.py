# SPDX-License-Identifier: Apache-2.0
"""Saved arrays: named ones in `NAME.safetensors`, everything else in `NAME.json` beside it.

The JSON file holds plain values and the SHA-256 of the other file; it may be read and edited, and
nothing notices. It is written last: a pair that was interrupted half-way does not load, rather than
load wrongly. Replacing a pair is therefore not atomic: to be safe, write a new name, then delete
the old pair. Neither file can hold code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import check_target, write_file

TENSORS_FORMAT = "intravariance-tensors"
METHOD_FORMAT = "intravariance-method"
VERSION = 1


def write_pair(
    path: str | Path, content: bytes, description: Mapping[str, Any], force: bool = False
) -> None:
    """Write the bytes of a safetensors file and a description of plain values as a pair.

    Raises
    ------
    InputError
        The files exist or cannot be written, or the description is not plain.
    """
    table, json_file = pair_names(path)
    check_target(table, force)
    check_target(json_file, force)
    header = {
        **description,
        "format": TENSORS_FORMAT,
        "version": VERSION,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        text = json.dumps(header, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{json_file}: the metadata does not fit into JSON: {error}") from error
    write_file(table, content, force)
    write_file(json_file, (text + "\n").encode(), force)


def read_pair(path: str | Path) -> tuple[bytes, dict[str, Any]]:
    """Read what `write_pair` wrote: the bytes, and the description without our own fields.

    Raises
    ------
    InputError
        A file is missing, or is of another format or version.
    IntegrityError
        The two files do not belong together or are damaged.
    """
    table, json_file = pair_names(path)
    for file, other in ((table, json_file), (json_file, table)):
        if not file.is_file():
            half = f"; {other.name} alone is not a checkpoint" if other.is_file() else ""
            raise InputError(f"{file} does not exist{half}")
    description = read_json(json_file, TENSORS_FORMAT)
    del description["version"]
    content = table.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if (stated := description.pop("sha256", None)) != digest:
        raise IntegrityError(
            f"{table}: its SHA-256 is {digest}, but {json_file.name} says {stated}. The file is "
            "damaged, or writing the pair was interrupted: take another checkpoint."
        )
    return content, description


def read_json(path: Path, expected: str, versions: Collection[int] = (VERSION,)) -> dict[str, Any]:
    """Read a JSON file of ours, without the field that says its format.

    Raises
    ------
    InputError
        It is missing, or of another format or version.
    IntegrityError
        It is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or content.pop("format", None) != expected:
        raise InputError(f'{path}: expected "format": "{expected}"; this is another file')
    if (found := content.get("version")) not in versions:
        raise InputError(
            f"{path}: format version {found!r}, but this program reads "
            f"{', '.join(map(str, versions))}; use the version of intravariance that wrote it"
        )
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values, in place of what is there; InputError where the disk refuses."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with writing(path):
        write_file(path, text.encode(), force=True)


def save_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values that `read_json(path, METHOD_FORMAT)` gives back."""
    write_json(path, {**values, "format": METHOD_FORMAT, "version": VERSION})


def save_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any]
) -> None:
    """Write named arrays as a pair, in place of what is there. Errors as of `write_pair`."""
    import safetensors.numpy  # noqa: PLC0415 - weight

    content = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    write_pair(path, content, description, force=True)


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a pair as named arrays and its description. Errors as of `read_pair`."""
    import safetensors.numpy  # noqa: PLC0415 - weight

    content, description = read_pair(path)
    try:
        return safetensors.numpy.load(content), description
    except safetensors.SafetensorError as error:
        raise IntegrityError(f"{path}.safetensors is not a safetensors file: {error}") from error


def pair_names(path: str | Path) -> tuple[Path, Path]:
    """Return the pair's names. Only our own suffixes are cut off: "cap0.5" is a name."""
    path = Path(path)
    name = path.name.removesuffix(".safetensors").removesuffix(".json")
    return path.with_name(name + ".safetensors"), path.with_name(name + ".json")


@contextmanager
def reading() -> Iterator[None]:
    """Raise InputError when what is read inside is damaged: it is the user's to mend."""
    try:
        yield
    except IntegrityError as error:
        raise InputError(
            f"{error} Put back a copy of the run's folder, or train anew with `iv train --force`."
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise InputError when what is done inside cannot write, because the disk is full say."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error}. The last checkpoint, if there is one, is as it "
            "was: make room, and the same command carries on from it."
        ) from error
