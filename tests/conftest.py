# SPDX-License-Identifier: Apache-2.0
"""Datasets that several test modules share, built once with the real command."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

# One thread in this process and in those that tests start, before torch or NumPy is imported: there
# are as many test processes as cores, and threads that wait for each other only burn time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Processes that tests start find compiled what the first of them compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No process of the tests may use a network (see no_network/sitecustomize.py): those that they start
# find it in PYTHONPATH, and this one imports it.
_NO_NETWORK = Path(__file__).parent / "no_network"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(_NO_NETWORK), *filter(None, [os.environ.get("PYTHONPATH")])]
)
runpy.run_path(str(_NO_NETWORK / "sitecustomize.py"))

# Two categories, two products each, every defect type: the smallest build that is all there.
SMALL_SPECIFICATION = """
name = "small"
title = "Small"
points = [2000, 2600]
[[category]]
name = "cone"
subcategories = ["traffic_cone", "funnel"]
templates = 2
positives = 2
defects = { bulge = 1, hole = 1, crack = 1, twist = 1, scratch = 1 }
[[category]]
name = "vase"
subcategories = ["handled_vase", "square_vase"]
templates = 2
positives = 2
defects = { concavity = 1, missing = 1, broken = 1, bending = 1 }
"""

# The files that take longest, half a minute and more: they are begun first, so that no process of
# pytest-xdist is left with one while the others are done.
LONGEST = (
    "intravariance/building/test_group2.py",
    "intravariance/building/test_run.py",
    "test_documents.py",
    "intravariance/building/test_tasks.py",
    "test_notebooks.py",
    "mc4ad_model/commands/test_torchrun.py",
    "blender_scripts/test_designs.py",
    "mc4ad_model/commands/test_inspect.py",
    "intravariance/building/test_blender.py",
    "intravariance/building/test_in_shards.py",
    "mc4ad_model/commands/test_leaderboard.py",
    "mc4ad_model/methods/test_add_a_method.py",
    "mc4ad_model/commands/test_watch.py",
    "intravariance/test_extending.py",
    "test_gpu_benchmark.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, in their order."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


def run_iv(
    *arguments: object, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `iv ARGUMENTS` in a process of its own, as a user does."""
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
    """Skip tests that ask for this where the bpy wheel is not installed."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("Blender is not installed: pip install '.[blender]'")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for what is built once for all processes of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def build_once(path: Path, *arguments: object) -> Path:
    """Build a dataset file, unless another process has built it or builds it now."""
    with FileLock(f"{path}.lock"):
        if not path.exists():
            result = run_iv("build", *arguments, "--out", path)
            assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """Return a folder for prepared base meshes, empty at first, shared by all builds."""
    return shared / "cache"


@pytest.fixture(scope="session")
def small_specification(shared: Path) -> Path:
    """Write the small specification."""
    path = shared / "small.toml"
    path.write_text(SMALL_SPECIFICATION)
    return path


@pytest.fixture(scope="session")
def small_file(shared: Path, small_specification: Path, cache: Path, needs_blender: None) -> Path:
    """Build the small specification."""
    return build_once(shared / "small.h5", "--spec", small_specification, "--cache", cache)


@pytest.fixture(scope="session")
def group2_file(shared: Path, cache: Path, needs_blender: None) -> Path:
    """Do the main job: build the whole of Group 2 with its default settings."""
    arguments = ("--group", 2, "--seed", 0, "--cache", cache)
    return build_once(shared / "group2.h5", *arguments)
