# SPDX-License-Identifier: Apache-2.0
"""Tables: PTS, and empty fields at the ends of lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.cloud_files import AnomalousLabels, ReadingChoices, parse_cloud
from intravariance.cloud_files.text import parse_rows
from intravariance.errors import InputError
from tests.support.cloud_samples import LABELS, POINTS, ROWS, lines

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:g}"))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 7).flatmap(
        lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1)
    ),
    st.sampled_from([",", ";"]),
    st.integers(1, 3),
)
def test_empty_fields_at_the_end_of_all_lines_change_nothing(
    rows: list[list[float]], mark: str, empty: int
) -> None:
    table = np.array(rows)
    plain = parse_rows(lines(table, mark).encode())
    found = parse_rows(lines(table, mark, f"{mark} " * empty + "\n").encode())
    np.testing.assert_array_equal(found, plain)
    np.testing.assert_array_equal(plain, table)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"1,2,3,\n4,5,6\n", "line 2 does not end with ',', and the first line does"),
        (b"1,2,3\n4,5,6,\n", "line 2: expected are 3 numbers with commas"),
        (b"1,2,3,\n4,,6,\n", "line 2: '' is not a number"),
        (b"1,2,3,\n4,5,\n", "line 2: expected are 3 numbers with commas"),
    ],
)
def test_an_empty_field_of_some_lines_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_cloud(data, "a.xyz")


def test_pts_has_intensity_and_colours() -> None:
    rows = np.column_stack([POINTS, np.full(4, -1200), np.full((4, 3), 130)])
    cloud = parse_cloud(("4\n" + lines(rows)).encode(), "a.pts")
    np.testing.assert_array_equal(cloud.points, POINTS)
    assert cloud.labels is None and cloud.normals is None
    assert cloud.notes == ("columns 4 to 7 not used: they are intensity and colours",)
    cloud = parse_cloud(lines(rows[:, :4]).encode(), "a.pts")
    assert cloud.labels is None and cloud.notes == ("column 4 not used: it is intensity",)


def test_pts_with_labels() -> None:
    rows = np.column_stack([POINTS, LABELS])
    np.testing.assert_array_equal(parse_cloud(lines(rows).encode(), "a.pts").labels, LABELS)
    choices = ReadingChoices(anomalous=AnomalousLabels.parse("8"))
    masked = lines(np.column_stack([POINTS, 8 * LABELS])).encode()
    np.testing.assert_array_equal(parse_cloud(masked, "a.pts", choices).labels, LABELS)
    named = ("x y z i r g b gt\n" + lines(np.insert(ROWS[:, :7], 3, 9, axis=1))).encode()
    np.testing.assert_array_equal(parse_cloud(named, "a.pts").labels, LABELS)


def test_a_pts_file_that_was_cut_off_is_told_by_its_count() -> None:
    data = ("4\n" + lines(POINTS)).encode()
    for end in range(data.index(b"\n") + 1, len(data) - 1):
        if data[:end].count(b"\n") == 4 and data[end - 1 : end] not in b"\n ":
            continue  # a number cut short is a number
        with pytest.raises(
            InputError, match=r"declares 4 points|expected are|not a number|no points"
        ):
            parse_cloud(data[:end], "a.pts")


LONG = b"1 " * 200_000
PCD = b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA ascii\n"


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("a.txt", LONG + b"\n", 1),
        ("a.txt", b"# x y z " + LONG + b"\n0 0 0\n", 1),
        ("a.txt", b"0 0 0\n1 1 1\n" + LONG, 3),
        ("a.csv", b"\n0,0,0,\n" + b"1," * 200_000 + b"\n", 3),
        ("a.pcd", PCD + LONG + b"\n0 0 0\n", 9),
        ("a.obj", b"# v\nv " + LONG, 2),
    ],
)
def test_a_line_too_long_for_a_point_is_refused_before_it_is_taken_apart(
    name: str, data: bytes, line: int
) -> None:
    with pytest.raises(InputError, match=rf"line {line} has [34]\d\d,\d\d\d bytes"):
        parse_cloud(data, name)
