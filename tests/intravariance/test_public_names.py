# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

import intravariance

HEAVY = ("numpy", "h5py", "scipy", "open3d", "torch", "matplotlib", "sklearn", "pyarrow", "bpy")


@pytest.mark.parametrize("name", intravariance.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(intravariance, name)
    assert found.__name__ == name
    assert len(found.__doc__.split()) > 3
    assert name in dir(intravariance)


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'open_file'"):
        _ = intravariance.open_file


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import intravariance", ()),
        ("from intravariance import load_group", ()),
        ("from intravariance import open_dataset", ("numpy", "h5py")),
    ],
)
def test_importing_is_light(code: str, allowed: tuple[str, ...]) -> None:
    code += f"; import sys; print(*(n for n in {HEAVY} if n in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) <= set(allowed)
