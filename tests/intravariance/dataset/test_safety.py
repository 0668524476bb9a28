# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from intravariance.dataset.store import open_dataset
from intravariance.errors import IntegrityError
from tests.support.samples import make_dataset


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("safety") / "small.h5")


@pytest.fixture
def copy(file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(file, tmp_path / "copy.h5"))


def replace_points(file: h5py.File, name: str, **options) -> None:
    group = file[name]
    rows = len(group["labels"])
    del group["points"]
    group.create_dataset("points", shape=(rows, 3), dtype="f4", **options)


def external_link(file: h5py.File, name: str, folder: Path) -> None:
    del file[name]["points"]
    file[name]["points"] = h5py.ExternalLink(str(folder / "secret.h5"), "/points")


def soft_link(file: h5py.File, name: str, folder: Path) -> None:
    del file[name]["points"]
    file[name]["points"] = h5py.SoftLink(f"/{name}/normals")


def external_storage(file: h5py.File, name: str, folder: Path) -> None:
    rows = len(file[name]["labels"])
    (folder / "secret.txt").write_bytes(b"s" * rows * 12)
    replace_points(file, name, external=[(str(folder / "secret.txt"), 0, rows * 12)])


def virtual(file: h5py.File, name: str, folder: Path) -> None:
    rows = len(file[name]["labels"])
    layout = h5py.VirtualLayout(shape=(rows, 3), dtype="f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "points", shape=(rows, 3))
    del file[name]["points"]
    file[name].create_virtual_dataset("points", layout)


def huge(file: h5py.File, name: str, folder: Path) -> None:
    del file[name]["points"]
    file[name].create_dataset("points", shape=(10**12, 3), dtype="f4", chunks=(10**6, 3))


def other_filter(file: h5py.File, name: str, folder: Path) -> None:
    replace_points(file, name, compression="lzf")


def object_type(file: h5py.File, name: str, folder: Path) -> None:
    rows = len(file[name]["labels"])
    del file[name]["points"]
    file[name].create_dataset("points", shape=(rows, 3), dtype=h5py.string_dtype())


def other_shape(file: h5py.File, name: str, folder: Path) -> None:
    rows = len(file[name]["labels"])
    del file[name]["points"]
    file[name]["points"] = np.zeros((rows + 1, 3), np.float32)


def group_instead(file: h5py.File, name: str, folder: Path) -> None:
    del file[name]["points"]
    file[name].create_group("points")


def inflating(file: h5py.File, name: str, folder: Path) -> None:
    """Make a few bytes of data whose stored stream would inflate to 64 MB."""
    rows = len(file[name]["labels"])
    del file[name]["points"]
    dataset = file[name].create_dataset(
        "points", shape=(rows, 3), dtype="f4", chunks=(rows, 3), compression="gzip"
    )
    dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(64_000_000)))


def repeated(file: h5py.File, name: str, folder: Path) -> None:
    """Store 60 MB of zeros, in 60 kB."""
    group = file[name]
    del group["points"]
    group.create_dataset(
        "points", data=np.zeros((5_000_000, 3), np.float32), compression="gzip", shuffle=True
    )


def not_stored(file: h5py.File, name: str, folder: Path) -> None:
    """Declare rows that no chunk holds."""
    replace_points(file, name, chunks=(16, 3))


def not_allocated(file: h5py.File, name: str, folder: Path) -> None:
    """Declare rows of an array without chunks, and store none."""
    replace_points(file, name)


@pytest.mark.parametrize(
    "attack",
    [
        external_link, soft_link, external_storage, virtual, huge, other_filter, object_type,
        other_shape, group_instead, inflating, repeated, not_stored, not_allocated,
    ],
)  # fmt: skip
def test_hostile_files_are_refused(attack, copy: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["points"] = np.ones((500, 3), np.float32)
    with h5py.File(copy, "r+") as file:
        attack(file, "ball/test/ball_test_000", tmp_path)
    record = open_dataset(copy)["ball_test_000"]
    with pytest.raises(IntegrityError, match=r"ball_test_000.*points"):
        _ = record.points


@pytest.mark.parametrize("name", ["ball", "ball/test", "ball/test/ball_test_000"])
def test_a_linked_group_is_refused(name: str, copy: Path, tmp_path: Path) -> None:
    shutil.copy(copy, tmp_path / "other.h5")
    with h5py.File(copy, "r+") as file:
        del file[name]
        file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), name)
    with pytest.raises(IntegrityError, match="ExternalLink"):
        open_dataset(copy)["ball_test_000"].load()


@pytest.mark.parametrize("size", [0, 3, 4, 2**31])
def test_a_chunk_of_an_impossible_size_is_refused_before_hdf5_reads_it(
    size: int, copy: Path
) -> None:
    """HDF5 itself takes 4 bytes of checksum off, and ends the process where there are none."""
    with h5py.File(copy) as file:
        chunk = file["ball/test/ball_test_000/points"].id.get_chunk_info(0)
    content = copy.read_bytes()
    # as the index of chunks has it: size, mask of filters, offsets, place in the file
    entry = struct.pack("<II3Q", chunk.size, 0, 0, 0, 0) + struct.pack("<Q", chunk.byte_offset)
    assert content.count(entry) == 1
    copy.write_bytes(content.replace(entry, struct.pack("<I", size) + entry[4:]))
    with pytest.raises(IntegrityError, match=r"ball_test_000/points: .*bytes.* refused"):
        _ = open_dataset(copy)["ball_test_000"].points


def test_a_flipped_bit_in_an_array_is_told_by_its_checksum(copy: Path) -> None:
    with h5py.File(copy) as file:
        chunk = file["ball/test/ball_test_000/points"].id.get_chunk_info(0)
    content = bytearray(copy.read_bytes())
    content[chunk.byte_offset + 100] ^= 4
    copy.write_bytes(content)
    with pytest.raises(IntegrityError, match="ball_test_000/points"):
        _ = open_dataset(copy)["ball_test_000"].points


def test_big_endian_arrays_are_read_as_native(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        group = file["ball/test/ball_test_000"]
        points = group["points"][()]
        del group["points"]
        group.create_dataset("points", data=points, dtype=">f4")
    found = open_dataset(copy)["ball_test_000"]
    assert found.points.dtype == np.dtype("=f4")
    assert found.load().digest == found.digest
