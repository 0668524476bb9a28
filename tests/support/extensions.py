# SPDX-License-Identifier: Apache-2.0
"""Packages that add to `iv`, for tests: those of documents, installed, and small ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.documents import blocks

needs_pip = pytest.mark.skipif(
    not all(map(find_spec, ("pip", "setuptools"))),
    reason="pip, or setuptools, which builds the package, is not installed",
)
_NAMED = re.compile(r"`([a-z_]+\.(?:py|toml))`")
_PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")


def files_of(document: Path) -> dict[str, str]:
    """Return the files that a document shows, by name: of a package, and what goes with it.

    A block is a file where the text since the block before names one, as `name.py`; the last such
    name is its own.
    """
    text = document.read_text()
    lines, found, start = text.splitlines(), {}, 0
    for block in blocks(text):
        names = _NAMED.findall("\n".join(lines[start : block.line - 1]))
        if block.language in ("python", "toml") and names:
            found[names[-1]] = block.text + "\n"
        start = block.line + len(block.text.splitlines()) + 1
    return found


def install(files: dict[str, str], folder: Path) -> Path:
    """Install a package of these files without a network; return the folder that it is in."""
    source, site = folder / "source", folder / "site"
    source.mkdir(parents=True)
    for name, text in files.items():
        (source / name).write_text(text)
    result = subprocess.run(
        [*_PIP, "--no-build-isolation", "--target", str(site), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return site


def python_path(site: Path) -> str:
    """Return the PYTHONPATH with which a process finds what is installed in a folder too."""
    return os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])


def lines_of_code(text: str) -> int:
    """Count the lines that are not empty."""
    return sum(bool(line.strip()) for line in text.splitlines())


def package(folder: Path, group: str, entries: dict[str, str], **modules: str) -> Path:
    """Put a package into a folder as installers leave it: modules, and metadata with entry points.

    entries : name -> "module:object" of the group. modules : name -> text.
    """
    name = f"more-{group.rpartition('.')[2]}"
    about = folder / f"{name.replace('-', '_')}-1.5.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    points = "".join(f"{entry} = {value}\n" for entry, value in entries.items())
    (about / "entry_points.txt").write_text(f"[{group}]\n{points}")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder
