# SPDX-License-Identifier: Apache-2.0
"""Messages where a library of an extra is missing: for every extra, in a clone and elsewhere."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from intravariance import extras
from intravariance.building.blender import _why_not_started
from intravariance.cloud_files import write_ply
from intravariance.extras import EXTRAS, how_to_install, missing_package, not_installed
from tests import ROOT
from tests.support.samples import make_dataset, sphere_points

# The name that is imported, where it is not the distribution's.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "python_multipart": "python-multipart",
    "mlflow": "mlflow-skinny",
}
CLONE = re.escape(str(ROOT))


def declared() -> dict[str, set[str]]:
    """Return the distributions of each extra, "laspy[lazrs]" as both."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        extra: {
            name
            for line in lines
            for name in re.findall(r"[\w-]+", re.match(r"[\w-]+(\[[\w,-]+\])?", line)[0])
        }
        for extra, lines in groups["optional-dependencies"].items()
    }


def test_each_extra_brings_what_it_is_said_to_bring() -> None:
    groups = declared()
    for library, extra in EXTRAS.items():
        brought = groups[extra] | ({"starlette"} if extra == "serve" else set())  # fastapi's own
        assert DISTRIBUTIONS.get(library, library) in brought, library
    assert {*EXTRAS.values()} == groups.keys() - {"all", "dev", "docs", "release"}


def test_the_command_is_of_a_clone_or_of_a_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert how_to_install("model") == f"pip install -e '.[model]' in {ROOT}"
    monkeypatch.setattr(extras, "_ROOT", tmp_path)  # site-packages has no pyproject.toml
    assert how_to_install("model") == "pip install 'intravariance[model]'"
    assert not_installed(["laspy", "lazrs"]) == (
        "laspy and lazrs are not installed; the extra scans brings them: "
        "pip install 'intravariance[scans]'"
    )


def test_only_libraries_of_extras_are_explained() -> None:
    found = missing_package(ModuleNotFoundError("No module", name="sklearn.metrics"))
    assert found.startswith("sklearn is not installed; the extra inspect brings it")
    assert missing_package(ModuleNotFoundError("No module", name="nosuch")) == ""
    assert missing_package(ModuleNotFoundError("No module")) == ""
    assert missing_package(ValueError("torch")) == ""


def test_blender() -> None:
    said = _why_not_started("ModuleNotFoundError: No module named 'bpy'")
    assert re.search(rf"bpy is not installed.*pip install -e '.\[blender\]' in {CLONE}", said)
    assert "--blender PATH" in said


@pytest.mark.parametrize(
    ("extra", "blocked", "words"),
    [
        ("model", ["torch", "safetensors"], ["train", "small.h5"]),
        ("layouts", ["pyarrow"], ["export", "small.h5", "--layout", "hf-parquet", "--out", "x"]),
        (
            "hub",
            ["huggingface_hub"],
            ["export", "small.h5", "--layout", "hf-parquet", "--push", "a/b", "--out", "x"],
        ),
        ("inspect", ["k3d"], ["view", "cloud.ply", "--out", "x.html"]),
        ("inspect", ["open3d"], ["inspect", "small.h5"]),
        ("scans", ["pye57"], ["view", "cloud.e57"]),
        ("serve", ["fastapi", "starlette", "uvicorn"], ["serve", "--run", "x"]),
        ("scale", ["dask", "distributed"], ["build", "--group", "2", "--executor", "dask"]),
    ],
)
def test_a_command_names_the_extra(
    extra: str, blocked: list[str], words: list[str], tmp_path: Path
) -> None:
    if "small.h5" in words:
        make_dataset(tmp_path / "small.h5")
    points = sphere_points(200, np.random.default_rng(0))
    (tmp_path / "cloud.ply").write_bytes(write_ply(points))
    header = struct.pack("<8sIIQ24x", b"ASTM-E57", 1, 0, 48)
    (tmp_path / "cloud.e57").write_bytes(header)
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
        f"from intravariance.cli import main\nmain({words})"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    said = rf"iv: error: .*not installed; the extra {extra} brings .*'\.\[{extra}\]' in {CLONE}"
    assert re.search(said, result.stderr), result.stderr
    assert not result.stdout
