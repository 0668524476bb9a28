# SPDX-License-Identifier: Apache-2.0
"""Arrays in .npz files: NumPy itself writes what is read, and hostile archives are refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.cloud_files import parse_cloud
from intravariance.errors import InputError
from tests.support.cloud_samples import LABELS, NORMALS, POINTS, npy, npz


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["points", "xyz", "Points", "arr_0"]),
    st.sampled_from(["f4", "f8", ">f8", "f2"]),
    st.sampled_from(["labels", "mask", "GT", "label", ""]),
    st.sampled_from(["u1", "i8", "f4", "?"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_numpy_writes_is_read(
    name: str, kind: str, label: str, label_kind: str, column: bool, fortran: bool, packed: bool
) -> None:
    points = POINTS.astype(kind)
    arrays = {name: np.asfortranarray(points) if fortran else points}
    if label:
        labels = LABELS.astype(label_kind)
        arrays[label] = labels[:, None] if column else labels
    arrays["frame"] = np.eye(4)[:2]
    if name == "arr_0":
        del arrays["frame"]
    cloud = parse_cloud(npz(packed, **arrays), "a.npz")
    np.testing.assert_array_equal(cloud.points, points.astype("f8"))
    if label:
        np.testing.assert_array_equal(cloud.labels, LABELS)
    else:
        assert cloud.labels is None


def archive(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file.getvalue()


def pickled(name: str) -> bytes:
    objects = np.array([{"a": 1}], dtype=object)
    return npz(**{name: objects, "other": POINTS})


def bomb() -> bytes:
    """Make a header that declares 60 GB, and 60 MB of zeros that take a few kilobytes."""
    header = npy(np.zeros((1, 3), "f8"))[:128].replace(b"(1, 3)", b"(2500000000, 3)")
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
        packed.open("points.npy", "w") as member,
    ):
        member.write(header)
        for _ in range(60):
            member.write(bytes(2**20))
    return file.getvalue()


def long_list() -> bytes:
    data = npz(points=POINTS)
    end = data.rindex(b"PK\x05\x06")
    return data[: end + 12] + struct.pack("<I", 2**30) + data[end + 16 :]


BAD: dict[str, tuple[Any, str]] = {
    "no archive": (b"PK nothing", "not a .npz file, or cut off"),
    "no arrays": (archive(("a.txt", b"x")), "no array of points, or several: its arrays are none"),
    "a pickle as points": (pickled("points"), "points.npy: its header is damaged, or it holds no"),
    "two arrays": (npz(a=POINTS, b=POINTS), "its arrays are a, b"),
    "two arrays of labels": (npz(points=POINTS, label=LABELS, gt=LABELS), "may all be labels"),
    "one row of labels": (npz(points=POINTS, labels=LABELS[:3]), r"labels is \(3,\); expected"),
    "labels twice": (
        npz(points=np.column_stack([POINTS, LABELS]), labels=LABELS), r"\(N, 3\) then",
    ),
    "normals of others": (npz(points=POINTS, normals=NORMALS[:2]), "array normals is"),
    "two columns": (npz(points=POINTS[:, :2]), r"\(4, 2\); expected is \(N, 3\)"),
    "a bomb": (bomb(), "expands .* times, as a zip bomb does"),
    "a list of a gigabyte": (long_list(), "the list of its arrays is longer"),
    "a member that is cut": (
        archive(("points.npy", npy(POINTS)[:-8])), "takes 96 bytes, 88 follow",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_hostile_and_unclear_files_are_refused(name: str) -> None:
    data, reason = BAD[name]
    tracemalloc.start()
    with pytest.raises(InputError, match=reason):
        parse_cloud(data, "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20 + 2 * len(data)
    tracemalloc.stop()


def test_a_pickle_beside_the_points_is_not_touched() -> None:
    cloud = parse_cloud(npz(points=POINTS, note=np.array([{"a": 1}], dtype=object)), "a.npz")
    np.testing.assert_array_equal(cloud.points, POINTS)


def test_every_place_of_a_cut_is_told() -> None:
    data = npz(True, points=POINTS, labels=LABELS)
    for end in range(0, len(data)):
        with pytest.raises(InputError):
            parse_cloud(data[:end], "a.npz")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_bytes_give_a_cloud_or_an_input_error(data: st.DataObject) -> None:
    content = bytearray(npz(True, points=POINTS, labels=LABELS))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        cloud = parse_cloud(bytes(content), "a.npz")
    except InputError:
        return
    assert cloud.points.shape[1] == 3 and np.isfinite(cloud.points).all()
