# SPDX-License-Identifier: Apache-2.0
"""The folder of Parquet files that is written: its files, its card, its checksums."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.exchange.layouts.entries import CONTENTS
from intravariance.exchange.parquet import writing as parquet
from intravariance.exchange.parquet.reading import (
    is_parquet_export,
    restore_dataset,
)
from intravariance.exchange.parquet.table import (
    COLUMNS,
)
from intravariance.verification.folder import folder_problems
from intravariance.verification.verify import verify
from tests.intravariance.exchange.parquet.exported import contents, export

pq = pytest.importorskip("pyarrow.parquet", reason="pip install '.[layouts]'")


def front_matter(folder: Path) -> dict[str, Any]:
    content = yaml.safe_load((folder / "README.md").read_text().split("---\n", 2)[1])
    assert isinstance(content, dict)
    return content


def test_the_tree(folder: Path, source: Path) -> None:
    data = [
        f"data/{category}/{split}-00000-of-00001.parquet"
        for category in ("ball", "brick")
        for split in ("test", "train")
    ]
    others = ["README.md", "SHA256SUMS", "croissant.json", "iv_export.json", "provenance.json"]
    assert sorted(contents(folder)) == sorted([*others, *data])
    assert is_parquet_export(folder)
    assert not is_parquet_export(source.parent)
    assert set(parquet.HOLDS) == set(CONTENTS)
    assert not [path for path in folder.parent.iterdir() if path != folder]  # nothing left over


def test_the_same_dataset_gives_the_same_bytes(source: Path, folder: Path, tmp_path: Path) -> None:
    assert contents(export(source, tmp_path / "again")) == contents(folder)


def test_coreutils_accept_the_checksums(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    if shutil.which("sha256sum"):
        assert subprocess.run(check, cwd=copy, check=False).returncode == 0
    assert folder_problems(copy) == []
    (copy / "extra.txt").touch()
    (copy / ".cache").mkdir()
    (copy / ".cache/hidden").touch()
    (copy / "croissant.json").unlink()
    card = (copy / "README.md").read_bytes()
    (copy / "README.md").write_bytes(card[:-1] + b"?")
    problems = ["README.md: changed", "croissant.json: missing", "extra.txt: not in SHA256SUMS"]
    assert folder_problems(copy) == problems


def test_the_card_is_that_of_the_folder(folder: Path, source: Path) -> None:
    content = front_matter(folder)
    names = [config["config_name"] for config in content["configs"]]
    assert names == ["all", "ball", "brick"]
    assert [config.get("default", False) for config in content["configs"]] == [True, False, False]
    for config in content["configs"]:
        assert [part["split"] for part in config["data_files"]] == ["train", "test"]
        assert all(list(folder.glob(part["path"])) for part in config["data_files"])
    assert content["license"] == "apache-2.0"
    assert content["annotations_creators"] == ["machine-generated"]
    card = (folder / "README.md").read_text()
    assert "One HDF5 file" not in card
    assert "made from the\ndataset" not in card
    for path in folder.glob("data/*/*"):
        name = path.relative_to(folder).as_posix()
        rows = pq.read_metadata(path).num_rows
        assert f"| `{name}` | {rows} | {path.stat().st_size} |" in card
    for name in COLUMNS:
        assert f"`{name}`" in card, name
    with open_dataset(source) as dataset:
        assert dataset.digest in card


def test_one_category_is_a_dataset_of_its_own(source: Path, tmp_path: Path) -> None:
    with open_dataset(source) as dataset:
        written = parquet.write_parquet(dataset.filter(category="brick"), tmp_path / "brick")
        expected = [record.id for record in dataset if record.category == "brick"]
        whole = dataset.digest
    assert written.samples == len(expected)
    assert written.files == len(contents(tmp_path / "brick"))
    digest = restore_dataset(tmp_path / "brick", tmp_path / "brick.h5")
    assert digest != whole
    with open_dataset(tmp_path / "brick.h5") as dataset:
        assert [record.id for record in dataset] == expected
        assert dataset.digest == digest
        assert [c.name for c in dataset.specification.categories] == ["brick"]
    assert verify(tmp_path / "brick.h5", probes=False).passed
    card = (tmp_path / "brick/README.md").read_text()
    assert f"a part of that file alone: brick, {len(expected)} samples" in card
    assert [c["config_name"] for c in front_matter(tmp_path / "brick")["configs"]] == [
        "all",
        "brick",
    ]


def test_part_of_a_category_is_refused(source: Path, tmp_path: Path) -> None:
    with (
        open_dataset(source) as dataset,
        pytest.raises(InputError, match="choose whole categories"),
    ):
        parquet.write_parquet(dataset.filter(split="test"), tmp_path / "test")
    assert not list(tmp_path.iterdir())


def test_large_data_is_cut_into_files_and_row_groups(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = 500 * 37
    monkeypatch.setattr(parquet, "FILE_BYTES", 3 * sample)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 2 * sample)
    folder = export(source, tmp_path / "cut")
    files = sorted(path.name for path in (folder / "data/ball").glob("test-*"))
    assert len(files) >= 3
    assert files == [f"test-{i:05d}-of-{len(files):05d}.parquet" for i in range(len(files))]
    for path in folder.glob("data/*/*"):
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            assert 1 <= metadata.row_group(group).num_rows <= 3  # of at least 300 points each
    restore_dataset(folder, tmp_path / "back.h5")
    assert (tmp_path / "back.h5").read_bytes() == source.read_bytes()


@given(st.lists(st.integers(1, 400)), st.integers(1, 20_000))
def test_runs_are_in_order_and_as_long_as_they_may_be(counts: list[int], largest: int) -> None:
    records: Any = [SimpleNamespace(n_points=count) for count in counts]
    runs = parquet._cut(records, largest)
    assert [record for run in runs for record in run] == records
    sizes = [[37 * record.n_points for record in run] for run in runs]
    assert all(len(run) == 1 or sum(run) <= largest for run in sizes)
    pairs = itertools.pairwise(sizes)
    assert all(sum(run) + after[0] > largest for run, after in pairs)


def test_targets(source: Path, folder: Path, tmp_path: Path) -> None:
    out = export(source, tmp_path / "out")
    with pytest.raises(InputError, match="exists"):
        export(source, out)
    (out / "README.md").write_text("changed")
    with pytest.raises(InputError, match=r"changed: README\.md\."):
        export(source, out, force=True)
    (out / "README.md").unlink()
    export(source, out, force=True)
    assert contents(out) == contents(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").touch()
    with pytest.raises(InputError, match="holds other files"):
        export(source, other, force=True)
    assert [path.name for path in other.iterdir()] == ["precious.txt"]


def test_a_damaged_sample_is_not_exported(source: Path, tmp_path: Path) -> None:
    with open_dataset(source) as dataset:
        records = list(dataset)
        records[3] = replace(records[3], digest="0" * 64)
        dataset._records[:] = records
        with pytest.raises(IntegrityError, match=f"{records[3].id} is damaged"):
            parquet.write_parquet(dataset, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_without_pyarrow_nothing_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        export(source, tmp_path / "out")
    assert caught.value.name == "pyarrow"
    assert not list(tmp_path.iterdir())
