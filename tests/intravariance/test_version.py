# SPDX-License-Identifier: Apache-2.0
"""The version that commands print and files record: of an installation, as its metadata has it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from intravariance.dataset.provenance import software
from intravariance.version import own_version
from tests.conftest import run_iv

EDITABLE = {"url": "file:///a/tree", "dir_info": {"editable": True}}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the metadata folder of an installation of version 9.8, found before any other."""
    folder = tmp_path / "intravariance-9.8.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: intravariance\nVersion: 9.8\n")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "9.8"),
        ({"url": "file:///a/wheel.whl", "archive_info": {}}, "9.8"),
        ({"url": "file:///a/tree", "dir_info": {}}, "9.8"),
        (EDITABLE, "9.8 (editable)"),
    ],
)
def test_of_an_installation(installed: Path, origin: object, expected: str) -> None:
    if origin is not None:
        (installed / "direct_url.json").write_text(json.dumps(origin))
    assert own_version() == expected
    assert software()["iv"] == expected


def test_the_command_prints_what_files_record() -> None:
    result = run_iv("--version")
    assert result.returncode == 0
    assert result.stdout == f"iv, version {software()['iv']}\n"
    assert version("intravariance") in result.stdout


def test_of_a_tree_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    assert own_version() == software()["iv"] == "source tree"
