# SPDX-License-Identifier: Apache-2.0
"""The dataset file comes back from Parquet; a damaged folder gives none."""

from __future__ import annotations

import itertools
import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from intravariance.commands.import_ import import_command
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.parquet.reading import (
    read_index,
    read_samples,
    restore_dataset,
)
from intravariance.executors.serial import SerialExecutor
from intravariance.files.checksums import write_checksums
from intravariance.seeds import generator
from intravariance.verification.folder import folder_problems

pa = pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")
pq = pytest.importorskip("pyarrow.parquet", reason="pip install '.[layouts]'")


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


def test_checksum_lists_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the checksums"):
        folder_problems(tmp_path)
    for line in ("no digest", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/passwd"):
        (tmp_path / "SHA256SUMS").write_text(line + "\n")
        with pytest.raises(InputError, match="line 1"):
            folder_problems(tmp_path)
    (tmp_path / "two\nlines").touch()
    with pytest.raises(InputError, match="cannot hold this file name"):
        write_checksums(tmp_path)


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


def test_one_long_text_that_many_rows_share_is_not_made_for_each(
    folder: Path, tmp_path: Path
) -> None:
    name = "data/brick/train-00000-of-00001.parquet"
    rows = pq.read_table(folder / name)
    first = rows.slice(0, 1)
    place = rows.schema.get_field_index("subcategory")
    many = pa.concat_tables([first] * 300).set_column(
        place, rows.schema.field(place), pa.array(["x" * 2_000_000] * 300)
    )
    (tmp_path / name).parent.mkdir(parents=True)
    pq.write_table(many, tmp_path / name, row_group_size=300, compression="zstd")
    write_checksums(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match=r"a damaged row: .*characters"):
            list(read_samples(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


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
            import_dataset(
                ImportSettings(layout, Path(path)), tmp_path / "back.h5", SerialExecutor()
            )


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
