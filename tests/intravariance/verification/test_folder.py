# SPDX-License-Identifier: Apache-2.0
"""`iv verify` of a folder that `iv export` wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from intravariance.cli import main
from intravariance.dataset.store import open_dataset
from intravariance.files.checksums import sha256_of, write_checksums
from intravariance.files.provenance import PROVENANCE
from tests.support.exporting_samples import export_to, make_exportable, plain_folder

CLOUD = "vase2/train/good/xyz/001.ply"


@pytest.fixture(scope="module")
def tree() -> Path:
    with plain_folder() as folder:
        with open_dataset(make_exportable(folder / "data.h5")) as dataset:
            export_to(dataset, "mvtec-like-folder", folder / "tree")
        yield folder / "tree"


def iv(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def test_a_tree_as_it_was_written_passes(tree: Path) -> None:
    result = iv("verify", tree)
    assert result.exit_code == 0, result.output
    assert "checksums" in result.stdout and "all passed" in result.stdout
    report = json.loads(iv("verify", tree, "--json").stdout)
    assert report["passed"]
    assert [check["name"] for check in report["checks"]] == ["checksums", "provenance"]


def test_the_statement_names_the_file_that_it_was_made_from(tree: Path) -> None:
    build = json.loads((tree / PROVENANCE).read_bytes())["predicate"]["buildDefinition"]
    command = build["externalParameters"]["command"]
    assert command == "iv export data.h5 --layout mvtec-like-folder --out FOLDER"
    material = build["resolvedDependencies"][0]
    assert material["digest"]["sha256"] == sha256_of(tree.parent / "data.h5")
    with open_dataset(tree.parent / "data.h5") as dataset:
        assert material["annotations"]["contentDigest"] == dataset.digest


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def renamed_in_the_list(tree: Path) -> None:
    """Exchange a cloud for another, and write the list anew: the statement does not fit."""
    shutil.copy(tree / CLOUD.replace("train", "test"), tree / CLOUD)
    write_checksums(tree)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: flip(tree / CLOUD), f"{CLOUD}: changed"),
        (lambda tree: (tree / CLOUD).unlink(), f"{CLOUD}: missing"),
        (lambda tree: (tree / "more.txt").touch(), "more.txt: not in SHA256SUMS"),
        (renamed_in_the_list, f"{CLOUD}: another digest than in SHA256SUMS"),
        (lambda tree: flip(tree / PROVENANCE), f"{PROVENANCE}: changed"),
    ],
)
def test_what_was_changed_is_named(
    change: Callable[[Path], None], said: str, tree: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(tree, tmp_path / "copy"))
    change(copy)
    result = iv("verify", copy)
    assert result.exit_code == 1
    assert said in result.stdout and "all passed" not in result.stdout


def test_other_folders(tree: Path, tmp_path: Path) -> None:
    other = iv("verify", tmp_path)
    assert other.exit_code == 2 and "has no SHA256SUMS" in other.stderr
    published = iv("verify", tree, "--against-published")
    assert published.exit_code == 2 and "is a folder" in published.stderr
    (tmp_path / "a.txt").touch()
    write_checksums(tmp_path)
    plain = iv("verify", tmp_path)
    assert plain.exit_code == 0 and "not applicable: there is no provenance.json" in plain.stdout
