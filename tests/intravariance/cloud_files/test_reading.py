# SPDX-License-Identifier: Apache-2.0
"""Cloud files of other tools: what is read from them, and what is refused and with which words."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intravariance.cloud_files import (
    PointCloud,
    parse_cloud,
    read_cloud,
    write_pcd,
    write_ply,
)
from intravariance.errors import InputError

# Numbers that text and float32 hold exactly.
from tests.support.cloud_samples import (
    FULL,
    LABELS,
    NORMALS,
    PCD_FIELDS,
    POINTS,
    ROWS,
    lines,
    npy,
    pcd_compressed,
    ply,
)


@pytest.mark.parametrize("name", FULL)
def test_every_way_to_write_a_cloud_gives_the_cloud(name: str) -> None:
    cloud = parse_cloud(FULL[name][1], FULL[name][0])
    assert cloud.points.dtype == np.float64
    assert cloud.labels is not None and cloud.labels.dtype == np.uint8
    np.testing.assert_array_equal(cloud.points, POINTS)
    np.testing.assert_allclose(cloud.normals, NORMALS, atol=1e-7)
    np.testing.assert_array_equal(cloud.labels, LABELS)
    assert len(cloud.columns) == 7


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.txt", lines(POINTS).encode()),
        ("a.npy", npy(POINTS.astype("f4"))),
        ("a.ply", write_ply(POINTS)),
        ("a.pcd", write_pcd(POINTS)),
        ("a.obj", b"# v 9 9 9\nmtllib ../x\n" + b"v " + lines(POINTS, " ", "\nv ").encode()[:-3]
         + b"\nvn 0 0 1\nvt 0 0\nf 1 2 3 # v\n"),
        ("a.obj", b"v " + lines(ROWS[:, :6], " ", "\r\nv ").encode()[:-2]),
    ],
)  # fmt: skip
def test_points_alone(name: str, data: bytes) -> None:
    cloud = parse_cloud(data, name)
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.normals is None and cloud.labels is None
    assert cloud.columns == ("x", "y", "z") and cloud.notes == ()


def test_four_columns_have_a_label_and_floats_are_labels() -> None:
    cloud = parse_cloud(b"0 0.5 -1 0.0\n1 2 3 1.000\n", "GT/a.txt")
    np.testing.assert_array_equal(cloud.labels, [0, 1])


def test_colours_without_names_are_not_taken_for_normals() -> None:
    cloud = parse_cloud(b"0 0 1 255 0 30 1\n1 0 0 255 255 255 0\n", "a.txt")
    assert cloud.normals is None and "no normals" in cloud.notes[0]
    np.testing.assert_array_equal(cloud.labels, [1, 0])


@pytest.mark.parametrize(
    "row",
    [b"1,0.5,2,255,0,30", b"1 2 3 255 0 30", b"1,2,3,255,0,-1", b"1,2,3,0,1,0", b"1,2,3,1,0,0,1",
     b"x,y,z,r,g,b\n1,2,3,255,0,30"],
)  # fmt: skip
def test_whole_numbers_that_are_no_decimals_are_read(row: bytes) -> None:
    """Colours beside real coordinates, with spaces, named; normals along the axes."""
    cloud = parse_cloud(row + b"\n", "a.csv")
    assert cloud.points[0, 0] == 1 and len(cloud.points) == 1


def test_a_scalar_that_is_no_label_is_left_out_with_a_note() -> None:
    cloud = parse_cloud(b"//X Y Z Scalar_field\n0 0 1 0.25\n1 0 0 0.5\n", "a.txt")
    assert cloud.labels is None and "Scalar_field not used" in cloud.notes[0]


def test_normals_get_length_one_and_bad_ones_leave_the_cloud_without() -> None:
    cloud = parse_cloud(b"x y z nx ny nz\n0 0 1 0 0 1e-20\n1 0 0 3e9 4e9 0\n", "a.txt")
    np.testing.assert_allclose(cloud.normals, [(0, 0, 1), (0.6, 0.8, 0)])
    cloud = parse_cloud(b"x y z nx ny nz\n0 0 1 0 0 nan\n1 0 0 3 4 0\n", "a.txt")
    assert cloud.normals is None and "normals not used" in cloud.notes[0]


def test_pcd_padding_and_fields_of_several_numbers_are_skipped() -> None:
    header = (
        "# comment\nVERSION .7\nFIELDS _ x y z hist\nSIZE 1 4 4 8 2\nTYPE U F F F I\n"
        "COUNT 4 1 1 1 3\nWIDTH 4\nHEIGHT 1\nPOINTS 4\nDATA binary\n"
    )
    body = b"".join(struct.pack("<4B2fd3h", 1, 2, 3, 4, *p, 5, 6, 7) for p in POINTS.tolist())
    cloud = parse_cloud(header.encode() + body, "a.pcd")
    np.testing.assert_array_equal(cloud.points, POINTS)


def test_text_elements_before_the_vertices_are_passed_over_line_by_line() -> None:
    header = (
        b"ply\nformat ascii 1.0\nelement camera 2\nproperty list uchar int views\n"
        b"element vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    whole = header + b"2 7 8\n\n3 1 2 3\n" + lines(POINTS).encode() + b"3 0 1 2\n"
    np.testing.assert_array_equal(parse_cloud(whole, "a.ply").points, POINTS)
    with pytest.raises(InputError, match="7 lines are declared, 6 follow"):
        parse_cloud(whole.replace(b"3 0 1 2\n", b""), "a.ply")
    wrong = whole.replace(b"\n" + lines(POINTS).encode(), b"\n" + b"a b c\n" * 4)
    with pytest.raises(InputError, match="line 15: 'a' is not a number"):
        parse_cloud(wrong, "a.ply")


@pytest.mark.parametrize("order", "<>")
def test_faces_of_one_size_and_of_several_are_passed_over(order: str) -> None:
    header = ply(order).partition(b"element face")[0]
    vertices = ply(order).partition(b"end_header\n")[2][:-13]
    for sizes in ((3, 3, 3), (3, 4, 3), (4, 0, 3)):
        faces = b"".join(
            struct.pack(f"{order}B{size}iBf", size, *range(size), 9, 0.5) for size in sizes
        )
        properties = (
            b"element face 3\nproperty list uchar int vertex_indices\nproperty uchar flag\n"
            b"property float quality\nend_header\n"
        )
        whole = header + properties + vertices + faces
        np.testing.assert_array_equal(parse_cloud(whole, "a.ply").points, POINTS)
        with pytest.raises(InputError, match="cut off"):
            parse_cloud(whole[:-1], "a.ply")
        with pytest.raises(InputError, match="1 bytes follow"):
            parse_cloud(whole + b"x", "a.ply")


BAD = {
    "no such kind": ("a.stl", b"solid", r"a\.stl: expected a point cloud, one of \.ply"),
    "empty": ("a.ply", b"", "empty \\(0 bytes\\)"),
    "only a header": ("a.csv", b"x,y,z\n", "no points"),
    "a word": ("a.txt", b"1 2 3\n\n1 two 3\n", "line 3: 'two' is not a number"),
    "an empty cell": ("a.csv", b"x,y,z\n1,2,3\n1,,3\n", "line 3: '' is not a number"),
    "decimal commas": ("a.csv", b"1,5;2,5;3,0\n", "line 1: '1,5' is not a number.*decimal"),
    "decimal commas and spaces": (
        "a.txt", b"0,12 0,3 1888,5\n-0,1 2,25 3,5\n", "line 1: '12 0' is not a number.*decimal",
    ),
    "decimal commas everywhere": (
        "a.csv", b"0,12,0,3,1888,5\n-0,1,2,25,3,5\n", "line 1: 6 columns of whole numbers may be",
    ),
    "decimal commas everywhere, and a label": (
        "a.csv", b"0,12,0,3,1888,5,1\n-0,1,2,25,3,5,0\n", "line 1: 7 columns of whole.*header line",
    ),
    "mixed delimiters": ("a.txt", b"1 2 3\n1,2,3\n", "line 2: expected are 3 numbers with spaces"),
    "cut off": ("a.txt", b"1 2 3\n1 2\n", "line 2: expected are 3 numbers"),
    "other count": ("a.asc", b"//X Y Z\n3\n1 2 3\n1 2 3\n", "declares 3 points and has 2"),
    "five columns": ("a.txt", b"1 2 3 4 5\n", "5 columns without names"),
    "header of another width": ("a.txt", b"x y z\n1 2 3 4\n", "header names 3 columns"),
    "header without z": ("a.csv", b"x,y,label\n1,2,0\n", "no column z; found are x, y, label"),
    "two labels": ("a.csv", b"x,y,z,gt,label\n1,2,3,0,0\n", "gt and label may all be labels"),
    "name twice": ("a.csv", b"x,y,z,X\n1,2,3,0\n", "a column twice"),
    "NaN": ("a.txt", b"1 2 3\n1 nan 3\n", "line 2: y is nan; 1 of 2 points"),
    "infinite": ("a.npy", npy(np.full((2, 3), np.inf)), "point 1: x is inf; 2 of 2"),
    "huge": ("a.txt", b"1 2 1e200\n", "line 1: z is 1e\\+200"),
    "label 2": ("a.csv", b"x,y,z,label\n1,2,3,0\n1,2,3,2\n", r"line 3: the label \(label\) is 2"),
    "intensities": ("a.txt", b"1 2 3 0.5\n", "line 1.*name the columns in a header line"),
    "UTF-16": ("a.txt", "1 2 3".encode("utf-16"), "no plain text"),
    "no vertices in OBJ": ("a.obj", b"f 1 2 3\n", "no points"),
    "a word in OBJ": ("a.obj", b"vn 0 0 1\nv 1 2 3\nv 1 2 x\n", "line 3: 'x' is not a number"),
    "pickle": ("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 60)
               + b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }".ljust(60),
               "no plain array of numbers"),
    "huge npy": ("a.npy", npy(POINTS).replace(b"(4, 3)", b"(999999999, 3)"), "damaged|takes"),
    "cut-off npy": ("a.npy", npy(POINTS)[:-1], "takes 96 bytes, 95 follow"),
    "npy of one dimension": ("a.npy", npy(np.zeros(9)), r"shape is \(9,\)"),
    "no PLY": ("a.ply", b"solid", "not a valid PLY"),
    "cut-off PLY": ("a.ply", write_ply(POINTS)[:-1], "cut off"),
    "cut-off PLY text": ("a.ply", ply("").replace(b"3 0 1 2\n", b""), "5 lines are declared, 4"),
    "more than the PLY declares": ("a.ply", write_ply(POINTS) + b"12", "2 bytes follow"),
    "huge PLY": ("a.ply", write_ply(POINTS).replace(b"vertex 4", b"vertex 9000000"), "cut off"),
    "huge PLY text": ("a.ply", ply("").replace(b"vertex 4", b"vertex 9000000"), "5 follow"),
    "too many points in PLY": (
        "a.ply", write_ply(POINTS).replace(b"vertex 4", b"vertex 4000000000"), "4,000,000,000 poin",
    ),
    "too many points in npy": ("a.npy", npy(np.zeros((10_000_001, 3), "u1")), "10,000,001 points"),
    "a word in PLY": ("a.ply", ply("").replace(b"16", b"six"), "line 18: 'six' is not a number"),
    "PLY without points": ("a.ply", write_ply(POINTS[:0]), "no points"),
    "no PCD": ("a.pcd", b"\x80\x02", "not a PCD file"),
    "cut-off PCD": ("a.pcd", write_pcd(POINTS)[:-1], "4 points take 48 bytes, 47 follow"),
    "more than the PCD declares": ("a.pcd", write_pcd(POINTS) + b"12", "2 bytes follow"),
    "huge PCD": (
        "a.pcd",
        write_pcd(POINTS).replace(b"S 4", b"S 9000000").replace(b"H 4", b"H 9000000"),
        "9,000,000 points take 108,000,000 bytes, 48 follow",
    ),
    "too many points in PCD": (
        "a.pcd", write_pcd(POINTS).replace(b"S 4", b"S 10000001").replace(b"H 4", b"H 10000001"),
        "10,000,001 points; at most 10,000,000 are read",
    ),
    "cut-off PCD text": ("a.pcd", (PCD_FIELDS + "ascii\n" + lines(ROWS[:3])).encode(), "3 of 7"),
    "width of another count": (
        "a.pcd", write_pcd(POINTS).replace(b"WIDTH 4", b"WIDTH 5"), "POINTS is 4, WIDTH",
    ),
    "unknown encoding": ("a.pcd", (PCD_FIELDS + "zip\n").encode(), "DATA zip: expected"),
    "damaged PCD header": ("a.pcd", write_pcd(POINTS).replace(b"SIZE 4 4 4", b"SIZE 4"), "header"),
    "LZF bomb": ("a.pcd", pcd_compressed(b"\xe0"), "cannot hold the declared 100"),
    "LZF cut off": ("a.pcd", pcd_compressed(b"\x1fabc"), "compressed data is cut off"),
    "LZF from nowhere": ("a.pcd", pcd_compressed(b"\x00a\x20\x05"), "before the beginning"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_the_place_and_the_reason(name: str) -> None:
    path, data, reason = BAD[name]
    with pytest.raises(InputError, match=reason) as error:
        parse_cloud(data, path)
    assert str(error.value).startswith(path)


def test_missing_files_and_folders_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        read_cloud(tmp_path / "a.ply")
    with pytest.raises(InputError, match="found a folder"):
        read_cloud(tmp_path)


@pytest.mark.parametrize("name", FULL)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_give_a_cloud_or_an_input_error(name: str, data: st.DataObject) -> None:
    path, content = FULL[name]
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        match data.draw(st.integers(0, 3)):
            case 0:
                damaged[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
            case 1:
                end = place + data.draw(st.integers(1, 20))
                del damaged[place:end]
            case 2:
                damaged[place:place] = data.draw(
                    st.sampled_from([b"9", b"-", b" ", b",", b"\n", b"nan", b"e300", b"\0", b"x"])
                )
            case 3:
                damaged += damaged[place : place + 30]
    try:
        cloud = parse_cloud(bytes(damaged), path)
    except InputError:
        return
    assert_valid(cloud)


def assert_valid(cloud: PointCloud) -> None:
    assert cloud.points.ndim == 2 and cloud.points.shape[1] == 3 and len(cloud.points)
    assert np.isfinite(cloud.points).all()
    if cloud.normals is not None:
        assert cloud.normals.shape == cloud.points.shape
        np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-6)
    if cloud.labels is not None:
        assert cloud.labels.shape == (len(cloud.points),)
        assert set(cloud.labels.tolist()) <= {0, 1}
