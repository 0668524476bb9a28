# SPDX-License-Identifier: Apache-2.0
"""Parquet files for the Hugging Face Hub: read by `datasets`, by pandas, and by ourselves again."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.commands.import_ import import_command
from intravariance.dataset.store import Sample, open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.layouts.entries import CONTENTS
from intravariance.exchange.parquet import writing as parquet
from intravariance.exchange.parquet.reading import (
    is_parquet_export,
    read_index,
    read_samples,
    restore_dataset,
)
from intravariance.exchange.parquet.table import (
    ARRAYS,
    COLUMNS,
    check_schema,
    defect_names,
    samples_of,
    schema,
    table,
)
from intravariance.files.checksums import check_checksums, write_checksums
from intravariance.geometry.mesh import Mesh
from intravariance.seeds import generator
from intravariance.verification.verify import verify
from tests.samples import make_dataset

pa = pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")
pq = pytest.importorskip("pyarrow.parquet", reason="pip install '.[layouts]'")

# Prints what `datasets` makes of a folder, and what we read when its Arrow types are registered.
LOADING = """
import hashlib, json, sys
import datasets
from intravariance.exchange.parquet.reading import read_samples
from pathlib import Path

folder, arrays = sys.argv[1], sys.argv[2].split(",")
found = {"configurations": datasets.get_dataset_config_names(folder)}
whole = datasets.load_dataset(folder)
found["features"] = {name: repr(f) for name, f in whole["train"].features.items()}
found["splits"] = {split: len(part) for split, part in whole.items()}
found["brick"] = {s: sorted(set(p["category"])) for s, p in
                  datasets.load_dataset(folder, "brick").items()}
found["samples"] = {}
for split, part in whole.items():
    numbers = part.with_format("numpy")
    for row, plain in zip(numbers, part.select_columns(["parameters", "pose"])):
        found["samples"][str(row["id"])] = {
            "split": split,
            "defect": part.features["defect"].int2str(int(row["defect"])),
            "label": part.features["label"].int2str(int(row["label"])),
            "shape": row["points"].shape,
            "parameters": json.loads(plain["parameters"]),
            "pose": plain["pose"],
            "labels": int(row["labels"].sum()),
            "sums": {a: hashlib.sha256(row[a].tobytes()).hexdigest() for a in arrays},
        }
found["read"] = {sample.id: sample.digest for sample in read_samples(Path(folder))}
print(json.dumps(found))
"""
FLOATS = ("points", "normals", "displacement")


def export(source: Path, out: Path, **options: Any) -> Path:
    with open_dataset(source) as dataset:
        parquet.write_parquet(dataset, out, **options)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def front_matter(folder: Path) -> dict[str, Any]:
    content = yaml.safe_load((folder / "README.md").read_text().split("---\n", 2)[1])
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("source") / "small.h5")


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(source, tmp_path_factory.mktemp("exported") / "small")


@pytest.fixture(scope="module")
def loaded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what LOADING prints, in a process without network in which warnings are errors."""
    if importlib.util.find_spec("datasets") is None:  # importing it takes seconds
        pytest.skip("pip install '.[dev]'")
    home = str(tmp_path_factory.mktemp("home"))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADING, str(folder), ",".join(FLOATS)],
        env=os.environ | {"HF_HOME": home, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_the_tree(folder: Path, source: Path) -> None:
    data = [
        f"data/{category}/{split}-00000-of-00001.parquet"
        for category in ("ball", "brick")
        for split in ("test", "train")
    ]
    others = ["README.md", "SHA256SUMS", "croissant.json", "iv_export.json"]
    assert sorted(contents(folder)) == sorted([*others, *data])
    assert is_parquet_export(folder)
    assert not is_parquet_export(source.parent)
    assert set(parquet.HOLDS) == set(CONTENTS)
    assert not [path for path in folder.parent.iterdir() if path != folder]  # nothing left over


def test_load_dataset_gives_splits_and_features(loaded: dict[str, Any], source: Path) -> None:
    features = loaded["features"]
    assert list(features) == list(COLUMNS)
    assert features["points"] == "Array2D(shape=(None, 3), dtype='float32')"
    assert features["pose"] == "Array2D(shape=(4, 4), dtype='float64')"
    assert features["labels"] == "List(Value('uint8'))"
    assert features["defect"] == "ClassLabel(names=['normal', 'bulge', 'missing'])"
    assert sorted(loaded["configurations"]) == ["all", "ball", "brick"]
    assert loaded["brick"] == {"train": ["brick"], "test": ["brick"]}
    with open_dataset(source) as dataset:
        splits = {s: len(dataset.filter(split=s)) for s in ("train", "test")}
    assert loaded["splits"] == splits


def test_load_dataset_gives_every_sample(loaded: dict[str, Any], source: Path) -> None:
    with open_dataset(source) as dataset:
        assert set(loaded["samples"]) == {record.id for record in dataset}
        for record in dataset:
            row = loaded["samples"][record.id]
            assert row["split"] == record.split
            assert row["defect"] == record.defect
            assert row["label"] == ("normal" if record.defect == "normal" else "anomalous")
            assert row["shape"] == [record.n_points, 3]
            assert row["labels"] == record.n_anomalous
            assert row["parameters"] == record.parameters
            assert np.array_equal(row["pose"], record.pose)
            for name in FLOATS:
                expected = hashlib.sha256(getattr(record, name).tobytes()).hexdigest()
                assert row["sums"][name] == expected, (record.id, name)


def test_reading_is_the_same_where_datasets_is_imported(
    loaded: dict[str, Any], source: Path, folder: Path
) -> None:
    with open_dataset(source) as dataset:
        expected = {record.id: record.digest for record in dataset}
    assert loaded["read"] == expected
    assert {sample.id: sample.digest for sample in read_samples(folder)} == expected


def test_the_dataset_file_comes_back_byte_by_byte(
    folder: Path, source: Path, tmp_path: Path
) -> None:
    digest = restore_dataset(folder, tmp_path / "back.h5")
    assert (tmp_path / "back.h5").read_bytes() == source.read_bytes()
    with open_dataset(source) as dataset:
        assert digest == dataset.digest == read_index(folder)["content_digest"]
    assert [path.name for path in tmp_path.iterdir()] == ["back.h5"]
    with pytest.raises(InputError, match="exists"):
        restore_dataset(folder, tmp_path / "back.h5")


def test_pandas_reads_it(folder: Path, source: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install '.[dev]'")
    rows = pandas.read_parquet(folder / "data/brick/train-00000-of-00001.parquet")
    with open_dataset(source) as dataset:
        record = dataset[rows["id"][0]]
        assert np.array_equal(np.stack(rows["points"][0]), record.points)
        assert record.mesh is not None
        assert np.array_equal(np.stack(rows["mesh_faces"][0]), record.mesh.faces)
        assert rows["n_points"].tolist() == [dataset[id].n_points for id in rows["id"]]


def test_the_same_dataset_gives_the_same_bytes(source: Path, folder: Path, tmp_path: Path) -> None:
    assert contents(export(source, tmp_path / "again")) == contents(folder)


def test_coreutils_accept_the_checksums(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    if shutil.which("sha256sum"):
        assert subprocess.run(check, cwd=copy, check=False).returncode == 0
    assert check_checksums(copy) == []
    (copy / "extra.txt").touch()
    (copy / ".cache").mkdir()
    (copy / ".cache/hidden").touch()
    (copy / "croissant.json").unlink()
    card = (copy / "README.md").read_bytes()
    (copy / "README.md").write_bytes(card[:-1] + b"?")
    problems = ["README.md: changed", "croissant.json: missing", "extra.txt: not in SHA256SUMS"]
    assert check_checksums(copy) == problems


def test_checksum_lists_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the checksums"):
        check_checksums(tmp_path)
    for line in ("no digest", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/passwd"):
        (tmp_path / "SHA256SUMS").write_text(line + "\n")
        with pytest.raises(InputError, match="line 1"):
            check_checksums(tmp_path)
    (tmp_path / "two\nlines").touch()
    with pytest.raises(InputError, match="cannot hold this file name"):
        write_checksums(tmp_path)


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
    monkeypatch.setattr(parquet, "FILE_BYTES", 5 * sample)
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


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_any_bits_come_back(counts: list[int], seed: int) -> None:
    """Every bit pattern of a float, NaNs with payloads among them; with and without a mesh."""
    rng = generator(seed)

    def bits(*shape: int) -> Any:
        return rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)

    samples = [
        Sample(
            id=f"sample_{number}",
            category="thing",
            subcategory="one",
            split="train" if number % 2 else "test",
            defect=("normal", "bulge", "odd_word")[number % 3],
            points=bits(count, 3),
            normals=bits(count, 3),
            labels=rng.integers(0, 256, count, dtype=np.uint8),
            displacement=bits(count, 3),
            pose=rng.integers(0, 2**62, (4, 4)).view(np.float64),
            parameters={"text": "\u00e9\n", "number": 0.1, "nested": [1, {"a": None}]},
            mesh=Mesh(bits(count, 3), rng.integers(0, 2**31, (count, 3), dtype=np.int32))
            if number % 2
            else None,
        )
        for number, count in enumerate(counts)
    ]
    defects = ["normal", "bulge", "odd_word"]
    buffer = pa.BufferOutputStream()
    pq.write_table(table(samples, defects), buffer, row_group_size=2)
    rows = pq.read_table(pa.BufferReader(buffer.getvalue()))
    back = samples_of(rows, check_schema(rows.schema, "buffer"), "buffer")
    assert [sample.digest for sample in back] == [sample.digest for sample in samples]
    for sample, original in zip(back, samples, strict=True):
        assert (sample.mesh is None) == (original.mesh is None)
        assert sample.parameters == original.parameters
        for name in ("points", "normals", "labels", "displacement", "pose"):
            array, expected = getattr(sample, name), getattr(original, name)
            assert array.dtype == expected.dtype
            assert array.tobytes() == expected.tobytes()


def test_a_changed_byte_is_found_before_arrow_sees_it(folder: Path, tmp_path: Path) -> None:
    """Arrow ends the process on some of these files."""
    name = "data/brick/train-00000-of-00001.parquet"
    good = (folder / name).read_bytes()
    target = tmp_path / name
    target.parent.mkdir(parents=True)
    shutil.copy(folder / "SHA256SUMS", tmp_path)
    target.write_bytes(good)
    assert len(list(read_samples(tmp_path))) == 2
    rng = generator(0, "damage")
    for place in rng.integers(0, len(good), 100):
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        target.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"train-00000-of-00001\.parquet: damaged"):
            list(read_samples(tmp_path))
    for length in (0, 4, 100, len(good) // 2, len(good) - 1):
        target.write_bytes(good[:length])
        with pytest.raises(IntegrityError, match="damaged"):
            list(read_samples(tmp_path))


def test_a_file_that_is_no_parquet_file(folder: Path, tmp_path: Path) -> None:
    """Though its checksum is right."""
    target = tmp_path / "data/brick/test-00000-of-00001.parquet"
    target.parent.mkdir(parents=True)
    for content in (b"", b"PAR1", b"PAR1 some text PAR1", (folder / "README.md").read_bytes()):
        target.write_bytes(content)
        write_checksums(tmp_path)
        with pytest.raises(IntegrityError, match="damaged, or no Parquet file"):
            list(read_samples(tmp_path))


def test_a_changed_index_is_found(folder: Path, tmp_path: Path) -> None:
    """Though it is whole, and says nothing of the digests' content."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    index = json.loads((copy / "iv_export.json").read_text())
    index["metadata"]["software"]["iv"] = "9.9"
    (copy / "iv_export.json").write_text(json.dumps(index))
    with pytest.raises(IntegrityError, match=r"iv_export\.json: damaged: it is not as SHA256SUMS"):
        restore_dataset(copy, tmp_path / "back.h5")
    write_checksums(copy)
    restore_dataset(copy, tmp_path / "back.h5")


def test_an_archive_is_to_be_unpacked_first(folder: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "flat"), "zip", folder)
    below = shutil.make_archive(str(tmp_path / "below"), "zip", folder.parent, folder.name)
    for layout, path in itertools.product(("auto", "hf-parquet"), (archive, below)):
        with pytest.raises(InputError, match="unpack it first"):
            import_dataset(ImportSettings(layout, Path(path)), tmp_path / "back.h5")


def test_options_that_do_not_apply_are_refused(folder: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "back.h5"
    for options in (["--name", "x"], ["--normalise", "none"], ["--skip-bad"], ["--jobs", "2"]):
        words = ["auto", str(folder), "--out", str(out), *options]
        result = CliRunner().invoke(import_command, words)
        assert isinstance(result.exception, InputError)
        assert str(result.exception).startswith(f"{options[0]}: of no use with hf-parquet")
    result = CliRunner().invoke(import_command, ["hf-parquet", str(folder), "--out", str(out)])
    assert result.exit_code == 0 and out.read_bytes() == source.read_bytes()


def _drop_a_file(folder: Path) -> None:
    (folder / "data/ball/train-00000-of-00001.parquet").unlink()


def _swap_files(folder: Path) -> None:
    one, other = (folder / f"data/{c}/test-00000-of-00001.parquet" for c in ("ball", "brick"))
    one.rename(folder / "aside")
    other.rename(one)
    (folder / "aside").rename(other)


def _twice(folder: Path) -> None:
    path = folder / "data/ball/test-00000-of-00001.parquet"
    shutil.copy(path, path.with_name("test-00001-of-00002.parquet"))


def _change_index(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "iv_export.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def _cut_index(folder: Path) -> None:
    path = folder / "iv_export.json"
    path.write_text(path.read_text()[:-50])


def _another_column(folder: Path) -> None:
    path = folder / "data/ball/test-00000-of-00001.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.append_column("more", pa.array([0] * len(rows))), path)


def _another_label(folder: Path) -> None:
    path = folder / "data/ball/test-00000-of-00001.parquet"
    rows = pq.read_table(path)
    place = rows.schema.get_field_index("labels")
    counts = rows.column("n_points").to_pylist()
    changed = pa.array([[0] * count for count in counts], rows.schema.field(place).type)
    pq.write_table(rows.set_column(place, rows.schema.field(place), changed), path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_drop_a_file, IntegrityError, "2 of 28 samples are missing"),
        (_swap_files, IntegrityError, "of another category or split"),
        (_twice, IntegrityError, "or there twice"),
        (_another_column, IntegrityError, "the columns more are not as iv writes them"),
        (_another_label, IntegrityError, "does not have the digest recorded"),
        (_change_index(content_digest="0" * 64), IntegrityError, "other digests"),
        (_change_index(samples=[]), IntegrityError, "damaged"),
        (_change_index(samples=["a", "a"]), IntegrityError, "damaged"),
        (_change_index(metadata=None), IntegrityError, "damaged"),
        (_cut_index, IntegrityError, "damaged"),
        (_change_index(layout="anomaly-shapenet"), InputError, "not what `iv export"),
        (_change_index(format_version=9), InputError, "has format version 9, this iv reads 1"),
        (lambda f: (f / "iv_export.json").unlink(), InputError, "expected what `iv export"),
        (lambda f: shutil.rmtree(f / "data"), InputError, "no files data/<category>"),
    ],
)
def test_what_is_not_whole_makes_no_file(
    folder: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    error: type[Exception],
    message: str,
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    change(copy)
    write_checksums(copy)
    with pytest.raises(error, match=message):
        restore_dataset(copy, tmp_path / "back.h5")
    assert not list(tmp_path.glob("back.h5*"))


def test_a_row_group_that_claims_too_much_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intravariance.exchange.parquet.reading.MAX_ROWS", 100)
    with pytest.raises(IntegrityError, match="row group 0 claims"):
        list(read_samples(folder))


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


def test_the_schema_names_every_array(source: Path) -> None:
    with open_dataset(source) as dataset:
        found = schema(defect_names(dataset))
    assert found.names == list(COLUMNS)
    assert set(ARRAYS) < set(COLUMNS)
    with pytest.raises(IntegrityError, match="no names of defects"):
        check_schema(found.remove_metadata(), "table")
