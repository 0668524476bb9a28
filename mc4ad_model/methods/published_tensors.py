# SPDX-License-Identifier: Apache-2.0
"""Tensors of checkpoints that others publish as `.pth` files, which are pickles.

They are read with torch's restricted unpickler, which makes tensors, numbers and plain containers
and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
# What a download may leave in the checkpoint's place, by its first bytes.
_NO_CHECKPOINT = {
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"<!doctype": "a web page: download the file itself",
    b"<html": "a web page: download the file itself",
}


def published_tensors(path: Path, key: str) -> dict[str, Tensor]:
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
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
