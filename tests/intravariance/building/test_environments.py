# SPDX-License-Identifier: Apache-2.0
"""The same samples in every arithmetic environment: see tools/digest_environments.py, which tries
more of them.
"""

import importlib.util
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from intravariance import open_dataset
from tests import ROOT
from tests.conftest import run_iv

CATEGORY = "cone"


@pytest.fixture(scope="module")
def tool():
    """Load the tool, which is not part of the package."""
    path = ROOT / "tools" / "digest_environments.py"
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module  # dataclasses look for it
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def environments(tool, tmp_path):
    """Return environment variables by name of the environment."""
    (tmp_path / "sitecustomize.py").write_text(tool.NOISE)
    return {e.name: e.variables for e in tool.environments(tmp_path, [])}


def digests(path) -> dict[str, str]:
    with open_dataset(path) as dataset:
        return {record.id: record.digest for record in dataset.filter(category=CATEGORY)}


@pytest.mark.parametrize("name", ["oldest of all", "noise"])
def test_another_environment_makes_the_same_samples(
    name, environments, small_file, small_specification, tmp_path
):
    """Base meshes are made there anew, and the defects of Blender."""
    out = tmp_path / "other.h5"
    result = run_iv(
        *("build", "--spec", small_specification, "--category", CATEGORY, "--jobs", 1),
        *("--cache", tmp_path / "cache", "--out", out),
        **environments[name],
    )
    assert result.returncode == 0, result.stderr
    found, expected = digests(out), digests(small_file)
    assert len(found) == len(expected) > 6
    assert found == expected


def test_the_noise_is_there(environments):
    """Another program notices the noise that the build does not."""
    code = "import math, numpy as np\nfor _ in range(40): print(repr(np.sin(1.0)), math.exp(1.0))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environments["noise"],
        capture_output=True,
        text=True,
        check=True,
    )
    numbers = np.array([line.split() for line in result.stdout.splitlines()], dtype=float)
    for column, exact in zip(numbers.T, (math.sin(1.0), math.exp(1.0)), strict=True):
        assert len(set(column)) > 1
        assert np.abs(column - exact).max() <= 2 * np.spacing(exact)
