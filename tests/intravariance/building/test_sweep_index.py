# SPDX-License-Identifier: Apache-2.0
"""The index of a sweep: read back as written, and refused where it is damaged or lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intravariance.building.sweep_index import INDEX, Sweep, is_sweep, read_sweep
from intravariance.errors import InputError
from intravariance.files.urls import parse_place
from tests.support.samples import make_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return make_sweep(tmp_path_factory.mktemp("index"), sigmas=(0.0, 0.02))


def test_it_is_read_as_it_was_written_by_either_name(sweep: Sweep) -> None:
    for path in (sweep.folder, sweep.folder / INDEX):
        assert is_sweep(path)
        assert read_sweep(path) == sweep
    for member in sweep.members:
        assert not is_sweep(sweep.folder / member.file)
        with sweep.open(member) as dataset:
            assert dataset.digest == member.digest
    assert [member.title for member in sweep.members] == ["noise_sigma=0", "noise_sigma=0.02"]


def test_a_sweep_that_lies_in_an_object_store_is_read_there(sweep: Sweep) -> None:
    store = pytest.importorskip("fsspec", reason="pip install '.[scale]'").filesystem("memory")
    for path in sweep.folder.iterdir():
        store.pipe(f"/swept/{path.name}", path.read_bytes())
    found = read_sweep(parse_place("memory://swept"))
    assert found.members == sweep.members and is_sweep(found.folder)
    with found.open(found.members[1]) as dataset:
        assert dataset.digest == sweep.members[1].digest
    with pytest.raises(InputError, match=f"memory://nothing/{INDEX}: cannot be read"):
        read_sweep(parse_place(f"memory://nothing/{INDEX}"))


def test_a_file_that_is_not_the_one_that_it_names_is_refused(sweep: Sweep, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sweep.folder, tmp_path / "copy"))
    first, second = sweep.members
    shutil.copyfile(copy / second.file, copy / first.file)
    with pytest.raises(InputError, match=f"has the content digest {second.digest}, but {INDEX}"):
        read_sweep(copy).open(first)
    (copy / first.file).unlink()
    with pytest.raises(InputError, match="no such file"):
        read_sweep(copy).open(first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="x"), "is no index of a sweep"),
        (lambda c: c.update(version=9), "has version 9, expected 1"),
        (lambda c: c.pop("members"), "is damaged: KeyError"),
        (lambda c: c.update(members=[]), "it names no files"),
        (lambda c: c.update(members=7), "is damaged"),
        (lambda c: c["members"][0].update(file="../a.h5"), "../a.h5 is no file of this sweep"),
        (lambda c: c["members"][0].update(values={"noise_sigma": 9}), "no file of this sweep"),
        (lambda c: c["members"][0]["values"].update(noise_sigma="a"), "'a' is no number"),
        (lambda c: c.update(swept=[]), "is damaged"),
    ],
)
def test_damage_is_named(
    sweep: Sweep, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = json.loads((sweep.folder / INDEX).read_text())
    change(content)
    (tmp_path / INDEX).write_text(json.dumps(content))
    with pytest.raises(InputError, match=INDEX) as error:
        read_sweep(tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_what_is_no_index_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(InputError, match=f"{INDEX}: is"):
        read_sweep(tmp_path)


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    assert not is_sweep(tmp_path)
    with pytest.raises(InputError, match=f"{INDEX}: cannot be read"):
        read_sweep(tmp_path)
