# SPDX-License-Identifier: Apache-2.0
"""Datasets that several test modules share, built once with the real command."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

# One thread in this process and in those that tests start, before torch or NumPy is imported: there
# are as many test processes as cores, and threads that wait for each other only burn time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Two categories, two products each, every defect type: the smallest build that is all there.
SMALL_SPECIFICATION = """
name = "small"
title = "Small"
points = [2000, 2600]
[[category]]
name = "cone"
subcategories = ["traffic_cone", "funnel"]
templates = 2
positives = 4
defects = { bulge = 2, hole = 1, crack = 1, twist = 1, scratch = 1 }
[[category]]
name = "vase"
subcategories = ["handled_vase", "square_vase"]
templates = 2
positives = 4
defects = { concavity = 2, missing = 2, broken = 1, bending = 1 }
"""


def run_iv(
    *arguments: object, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`iv ARGUMENTS` in a process of its own, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-c", "from intravariance.cli import main; main()", *map(str, arguments)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def needs_blender() -> None:
    """Tests that ask for this are skipped where the bpy wheel is not installed."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender is not installed: pip install '.[blender]'")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for prepared base meshes, empty at first, shared by all builds of the tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_specification(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("specification") / "small.toml"
    path.write_text(SMALL_SPECIFICATION)
    return path


@pytest.fixture(scope="session")
def small_file(
    tmp_path_factory: pytest.TempPathFactory,
    small_specification: Path,
    cache: Path,
    needs_blender: None,
) -> Path:
    """The small specification, built."""
    path = tmp_path_factory.mktemp("small") / "small.h5"
    result = run_iv("build", "--spec", small_specification, "--out", path, "--cache", cache)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="session")
def group2_file(tmp_path_factory: pytest.TempPathFactory, cache: Path, needs_blender: None) -> Path:
    """The main job: the whole of Group 2 with its default settings."""
    path = tmp_path_factory.mktemp("group2") / "group2.h5"
    result = run_iv("build", "--group", 2, "--seed", 0, "--out", path, "--cache", cache)
    assert result.returncode == 0, result.stderr
    return path
