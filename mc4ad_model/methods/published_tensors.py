# SPDX-License-Identifier: Apache-2.0
"""Tensors of checkpoints that others publish as `.pth` files, which are pickles.

They are read with torch's restricted unpickler, which makes tensors, numbers and plain containers
and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intravariance.errors import InputError

_LARGEST = 2**31  # bytes of a file that is opened at all
# A number of NumPy, as training scripts keep their best accuracy.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    type(np.dtype(np.float64)),
    np.dtype,
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]
# First bytes of files that a download may leave in the checkpoint's place.
_NO_CHECKPOINT = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"<!doctype": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}


@dataclass(frozen=True)
class Published:
    """Named tensors of a file. origin : "file", its name, and "sha256"."""

    path: Path
    tensors: dict[str, Tensor]
    origin: dict[str, Any]

    def single_precision(self) -> dict[str, Tensor]:
        """Return the tensors, those of numbers with a fraction in float32.

        Raises
        ------
        InputError
            A number is not finite.
        """
        found = dict(self.tensors)
        for name, tensor in found.items():
            if tensor.is_floating_point() and tensor.layout == torch.strided:
                found[name] = tensor.float()
                if not found[name].isfinite().all():
                    raise InputError(f"{self.path}: {name} has numbers that are not finite")
        return found


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def published_tensors(path: Path, key: str) -> Published:
    """Read the named tensors of a `.pth` file, without the prefix of a network on several GPUs.

    Parameters
    ----------
    key
        Where the file may have them, among other things; or it has nothing else.

    Raises
    ------
    InputError
        The file is missing, too large, damaged, or holds something else than tensors.
    """
    if not path.is_file():
        raise InputError(f"{path} {'is no file' if path.exists() else 'does not exist'}")
    if (size := path.stat().st_size) > _LARGEST:
        raise InputError(f"{path} has {size:,} bytes; expected a network of {_LARGEST:,} at most")
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    for sign, what in _NO_CHECKPOINT.items():
        if start.startswith(sign):
            raise InputError(f"{path} is {what}")
    try:
        # The only place: restricted to tensors, and what comes out is written as safetensors.
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # a damaged or hostile file can make the unpickler raise anything
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        raise InputError(
            f"{path} holds {forbidden[1]}, and only tensors in plain containers are read from a "
            "pickle: anything else could run code. If you trust the file, save its state dict "
            "alone, with the program that made it."
            if forbidden
            else f"{path} is damaged or no file of torch.save ({type(error).__name__}): "
            "download it again"
        ) from error
    state = content.get(key, content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state:
        raise InputError(f"{path}: expected a state dict, found {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise InputError(
                f"{path}: expected a state dict (tensors by name, or a dict that has them under "
                f'"{key}"), found {type(tensor).__name__} under {name!r}'
            )
        if tensor.is_meta:
            raise InputError(f"{path}: {name} has a shape and no numbers (device meta)")
    tensors = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return Published(path, tensors, {"file": path.name, "sha256": file_sha256(path)})
