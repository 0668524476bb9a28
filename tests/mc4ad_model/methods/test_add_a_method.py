# SPDX-License-Identifier: Apache-2.0
"""docs/add_a_method.md: its two files, installed as a package as they stand there, are a method."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from intravariance.dataset.specification import Category, Specification
from tests import ROOT
from tests.conftest import run_iv
from tests.documents import blocks
from tests.samples import make_dataset

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("pip", "setuptools", "sklearn", "safetensors"))),
    reason="pip, setuptools (which builds the package) or the extra model is not installed",
)
FILES = {"python": "nearest.py", "toml": "pyproject.toml"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the document's package is installed, without a network."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    text = (ROOT / "docs/add_a_method.md").read_text()
    for block in blocks(text):
        if block.language in FILES:
            (source / FILES[block.language]).write_text(block.text)
    assert {path.name for path in source.iterdir()} == set(FILES.values())
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    result = subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(site), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return site


def test_the_method_has_under_40_lines() -> None:
    (code,) = [
        b for b in blocks((ROOT / "docs/add_a_method.md").read_text()) if b.language == "python"
    ]
    assert len([line for line in code.text.splitlines() if line.strip()]) < 40


def test_the_installed_method_is_evaluated_and_is_a_row(installed: Path, tmp_path: Path) -> None:
    category = Category("ball", ("long_ball",), 1, 2, {"bulge": 2})
    data = make_dataset(tmp_path / "d.h5", Specification("s", "S", (300, 350), (category,)))
    path = os.pathsep.join([str(installed), *sys.path])
    evaluated = run_iv(
        "evaluate",
        "--data",
        data,
        "--method",
        "nearest",
        "--json",
        folder=tmp_path,
        PYTHONPATH=path,
    )
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["method"] == "nearest"
    out = tmp_path / "board"
    ranked = run_iv(
        "leaderboard", "--data", data, "--methods", "nearest,nearest[neighbours=3]", "--out", out,
        "--seeds", "0", "--json", folder=tmp_path, PYTHONPATH=path,
    )  # fmt: skip
    assert ranked.returncode == 0, ranked.stderr
    rows = json.loads(ranked.stdout)["rows"]
    assert rows["nearest"]["seeded"] is False  # as it says itself
    assert rows["nearest[neighbours=3]"]["settings"] == {"neighbours": 3}
    alone = json.loads(evaluated.stdout)["mean"]
    for name in ("O-AUROC", "P-AUROC", "AU-PRO"):
        assert rows["nearest"]["means"][name]["mean"] == alone[name]
    (installed / "nearest.py").write_text((installed / "nearest.py").read_text() + "# changed\n")
    again = run_iv(
        "leaderboard", "--data", data, "--methods", "nearest", "--out", out, "--seeds", "0",
        folder=tmp_path, PYTHONPATH=path,
    )  # fmt: skip
    assert again.returncode == 2
    assert "is a run with another code" in again.stderr
