# SPDX-License-Identifier: Apache-2.0
"""The notebooks in examples/ run from beginning to end, and show what they are stored with."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from base64 import b64decode
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import ROOT

NEEDED = ("nbclient", "ipykernel", "torch", "open3d", "k3d", "matplotlib", "sklearn")
MISSING = ", ".join(name for name in NEEDED if find_spec(name) is None)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
Cell = dict[str, Any]


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.notebooks", folder],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def code_cells(path: Path) -> list[Cell]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def kinds(cell: Cell) -> list[str]:
    """Return what a cell shows: kinds of data, in order."""
    return [kind for output in cell["outputs"] for kind in output.get("data", {"stream": ""})]


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> Path:
    """Run all of them in a copy of their folder."""
    folder = tmp_path_factory.mktemp("notebooks") / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("*.h5", "runs"))
    for path in folder.glob("*.ipynb"):  # without what they showed before
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell["outputs"] = []
        path.write_text(json.dumps(notebook))
    result = run(folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_is_stored_with(path: Path, again: Path) -> None:
    stored, found = code_cells(path), code_cells(again / path.name)
    assert [cell["source"] for cell in stored] == [cell["source"] for cell in found]
    assert list(map(kinds, stored)) == list(map(kinds, found))
    pictures = [
        output["data"]["image/png"]
        for cell in found for output in cell["outputs"] if "image/png" in output.get("data", {})
    ]  # fmt: skip
    assert pictures
    for picture in pictures:  # something is drawn
        assert np.ptp(np.asarray(Image.open(BytesIO(b64decode(picture))).convert("L"))) > 50


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebooks_are_small_and_without_circumstances(path: Path) -> None:
    assert path.stat().st_size < 300_000
    assert all(cell["execution_count"] is None for cell in code_cells(path))
    assert str(ROOT) not in path.read_text()


def test_cells_that_raise_and_commands_that_fail_are_failures(tmp_path: Path) -> None:
    sources = {"raises": "1 / 0", "fails": "%%sh\niv bluid"}
    for name, source in sources.items():
        cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "source": source}
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}
        notebook["cells"] = [cell | {"execution_count": None}]
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(notebook))
    result = run(tmp_path)
    assert result.returncode == 1
    assert "raises.ipynb" in result.stderr and "ZeroDivisionError" in result.stderr
    assert "fails.ipynb" in result.stderr and "no such command" in result.stderr.lower()
