# SPDX-License-Identifier: Apache-2.0
"""Every command that reads a dataset file takes an index or a pattern of shards in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from intravariance.cli import main
from intravariance.dataset.store import open_dataset
from intravariance.files.checksums import read_checksums
from tests.support.exporting_samples import make_exportable, plain_folder
from tests.support.samples import make_dataset, split_dataset

Places = dict[str, Path]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Return the same dataset as one file, by an index, and by a pattern."""
    folder = tmp_path_factory.mktemp("shards")
    file = make_dataset(folder / "small.h5")
    index = split_dataset(file, 3)
    return {"file": file, "index": index, "pattern": folder / "small-*-of-00003.h5"}


def iv(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def done(*words: object) -> str:
    result = iv(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


NAMES = pytest.mark.parametrize("name", ["index", "pattern"])


@NAMES
def test_info(places: Places, name: str) -> None:
    def described(which: str) -> dict[str, Any]:
        return json.loads(done("info", places[which], "--json"))

    shards = [f"small-0000{number}-of-00003.h5" for number in range(3)]
    assert described(name) == described("file") | {"files": shards}
    assert "shards          3 files" in done("info", "--data", places[name])
    samples = ("--samples", "--json")
    assert done("info", places[name], *samples) == done("info", places["file"], *samples)


@NAMES
def test_verify(places: Places, name: str) -> None:
    report = json.loads(done("verify", places[name], "--json"))
    assert report["passed"] and report["path"] == str(places[name])
    assert report["digest"] == open_dataset(places["file"]).digest


@NAMES
def test_card(places: Places, name: str) -> None:
    own, one = done("card", places[name]), done("card", places["file"])
    assert f'open_dataset("{places[name].name}")' in own
    assert 'h5py.File("small-00000-of-00003.h5")' in own
    assert '  data_files: ["small-00000-of-00003.h5", "small-00001-of-00003.h5", ' in own
    differing = [
        (first, second)
        for first, second in zip(own.splitlines(), one.splitlines(), strict=True)
        if first != second
    ]
    assert len(differing) == 3


@NAMES
def test_pictures(places: Places, name: str, tmp_path: Path) -> None:
    made = []
    for number, place in enumerate((places[name], places["file"])):
        sheet, one = tmp_path / f"sheet{number}.png", tmp_path / f"one{number}.png"
        done("preview", place, "--out", sheet, "--size", 64, "--jobs", 1, "--quiet")
        done("view", f"{place}:ball/bulge", "--out", one, "--size", 64)
        made.append((sheet.read_bytes(), one.read_bytes()))
    assert made[0] == made[1]


def test_names_of_what_is_written_beside(places: Places, tmp_path: Path) -> None:
    for path in places["index"].parent.glob("small*"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    done("preview", tmp_path / "small-*-of-00003.h5", "--size", 64, "--jobs", 1, "--quiet")
    assert (tmp_path / "small.png").exists()


@NAMES
def test_hand_labels(places: Places, name: str, tmp_path: Path) -> None:
    place, given, out = places[name], tmp_path / "given", tmp_path / "hand.h5"
    done("labels", "export", place, "--out", given, "--category", "ball", "--format", "txt")
    cloud = next(given.glob("**/ball_test_00*.txt"))
    with open_dataset(place) as dataset:
        record = next(r for r in dataset if r.id == cloud.stem)
        wanted = "1" if record.defect != "normal" else "0"
    lines = cloud.read_text().splitlines()
    lines[1] = " ".join([*lines[1].split()[:-1], wanted])
    cloud.write_text("\n".join([*lines, ""]) + "\n")
    done("labels", "import", given, place, "--out", out, "--quiet")
    with open_dataset(out) as labelled, open_dataset(place) as whole:
        assert [r.id for r in labelled] == [r.id for r in whole]
        assert labelled.metadata["identity"]["labels"]["from"] == whole.digest
    done("labels", "compare", given, place, "--json")
    done("labels", "compare", out, place, "--json")
    shard = places["index"].parent / "small-00000-of-00003.h5"
    refused = iv("labels", "import", given, place, "--out", shard, "--force")
    assert refused.exit_code == 2 and "is the dataset itself" in refused.output


@pytest.mark.parametrize("layout", ["anomaly-shapenet", "hf-parquet"])
def test_export(layout: str) -> None:
    if layout == "hf-parquet":
        pytest.importorskip("pyarrow")
    with plain_folder() as folder:
        _compare_exports(layout, folder)


def _compare_exports(layout: str, folder: Path) -> None:
    file = make_exportable(folder / "data.h5")
    trees = []
    for number, place in enumerate((file, split_dataset(file, 4), folder / "data-*-of-00004.h5")):
        out = folder / f"tree{number}"
        done("export", place, "--layout", layout, "--out", out, "--quiet")
        checksums = read_checksums(out)
        told = {"provenance.json", "README.md", "croissant.json"}  # these name the file
        trees.append({name: digest for name, digest in checksums.items() if name not in told})
    assert trees[0] == trees[1] == trees[2]
    materials = json.loads((folder / "tree1" / "provenance.json").read_text())
    assert "data-00003-of-00004.h5" in json.dumps(materials)


def test_a_pattern_that_the_shell_took_apart_is_explained(places: Places) -> None:
    shards = sorted(places["index"].parent.glob("small-*-of-00003.h5"))
    result = iv("info", *shards)
    assert result.exit_code == 2
    assert "in quotation marks" in result.output
