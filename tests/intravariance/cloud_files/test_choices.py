# SPDX-License-Identifier: Apache-2.0
"""Choices of the user for files: which rows are points, and which numbers are anomalous."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.cloud_files import (
    AnomalousLabels,
    ReadingChoices,
    parse_cloud,
    parse_labels,
)
from intravariance.errors import InputError
from tests.support.cloud_samples import FULL, POINTS, ROWS, lines, npy, npz

DROP = ReadingChoices(drop_no_return=True)
KINDS = {
    "a.txt": lambda rows: lines(rows).encode(),
    "a.pts": lambda rows: (f"{len(rows)}\n" + lines(rows, "\t")).encode(),
    "a.npy": npy,
    "a.npz": lambda rows: npz(points=rows[:, :3], normals=rows[:, 3:6], labels=rows[:, 6]),
    "a.ply": lambda rows: ply_text(rows),
}


def ply_text(rows: np.ndarray) -> bytes:
    names = ("x", "y", "z", "nx", "ny", "nz", "label")
    properties = "".join(f"property float {name}\n" for name in names)
    header = f"ply\nformat ascii 1.0\nelement vertex {len(rows)}\n{properties}end_header\n"
    return (header + lines(rows)).encode()


def meaning(text: str, values: list[float]) -> list[int]:
    labels = AnomalousLabels.parse(text).of(np.array(values), "label", str)
    assert labels.dtype == np.uint8
    return labels.tolist()


def test_numbers_ranges_and_nonzero() -> None:
    values = [0, 1, 2, 3, 4, 255, -1, 0.5]
    assert meaning("255", values) == [0, 0, 0, 0, 0, 1, 0, 0]
    assert meaning("1-3", values) == [0, 1, 1, 1, 0, 0, 0, 0]
    assert meaning(" 1 , 3-4 ", values) == [0, 1, 0, 1, 1, 0, 0, 0]
    assert meaning("NonZero", values) == [0, 1, 1, 1, 1, 1, 1, 1]
    assert meaning("-1", values) == [0, 0, 0, 0, 0, 0, 1, 0]
    assert meaning("-2--1", values) == [0, 0, 0, 0, 0, 0, 1, 0]
    assert meaning("0.5-0.9", values) == [0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("text", ["", "x", "3-1", "1,,2", "1-2-3", "1e5", "nan", "1" * 400])
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--anomalous-labels .*expected a number \(255\)"):
        AnomalousLabels.parse(text)


@given(st.integers(-300, 300), st.integers(0, 300), st.lists(st.integers(-400, 400), min_size=1))
def test_a_range_holds_both_ends(first: int, length: int, values: list[int]) -> None:
    wanted = [int(first <= value <= first + length) for value in values]
    assert meaning(f"{first}-{first + length}", values) == wanted


@pytest.mark.parametrize("value", [255, 3])
def test_the_error_names_the_option_and_the_numbers_found(value: int) -> None:
    rows = np.column_stack([POINTS, np.array([0, value, 0, value])])
    with pytest.raises(InputError) as error:
        parse_cloud(lines(rows).encode(), "a.xyz")
    assert f"Found are 0 (2 points), {value} (2 points)" in str(error.value)
    assert f"`iv import` takes --anomalous-labels {value};" in str(error.value)
    choices = ReadingChoices(anomalous=AnomalousLabels.parse(str(value)))
    cloud = parse_cloud(lines(rows).encode(), "a.xyz", choices)
    np.testing.assert_array_equal(cloud.labels, [0, 1, 0, 1])
    one = lines(rows[:, 3:]).encode()
    with pytest.raises(InputError, match=r"a_labels.txt: line 2: .*takes --anomalous-labels"):
        parse_labels(one, "a_labels.txt", POINTS)
    found = parse_labels(one, "a_labels.txt", POINTS, choices)
    np.testing.assert_array_equal(found, [0, 1, 0, 1])


def test_a_label_that_is_no_number_stays_an_error() -> None:
    choices = ReadingChoices(anomalous=AnomalousLabels.parse("nonzero"))
    with pytest.raises(InputError, match=r"line 2: the label \(label\) is no number"):
        parse_cloud(b"0 0 1 0\n1 0 0 nan\n", "a.xyz", choices)


def test_an_unnamed_scalar_is_the_label_where_its_numbers_are_told() -> None:
    data = b"//X Y Z Scalar_field\n0 0 1 0\n1 0 0 7\n"
    choices = ReadingChoices(anomalous=AnomalousLabels.parse("7"))
    np.testing.assert_array_equal(parse_cloud(data, "a.txt", choices).labels, [0, 1])
    assert parse_cloud(data, "a.txt").labels is None


@st.composite
def clouds_with_holes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Rows x y z nx ny nz label of which some are no points, and which are (at least one)."""
    count = draw(st.integers(1, 12))
    good = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    good[draw(st.integers(0, count - 1))] = True
    rows = np.resize(ROWS, (count, 7)) + 0.0
    rows[:, :3] += np.arange(1, count + 1)[:, None]  # none of them is (0, 0, 0)
    for row in np.flatnonzero(~good):
        hole = draw(st.sampled_from([(np.nan,) * 3, (0, 0, 0), (1, np.nan, 2), (np.inf, 0, 0)]))
        rows[row] = (*hole, *[draw(st.sampled_from([np.nan, 0, 5]))] * 4)
    return rows, good


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=clouds_with_holes())
def test_dropping_is_reading_a_file_without_these_rows(
    name: str, data: tuple[np.ndarray, np.ndarray]
) -> None:
    rows, good = data
    cloud = parse_cloud(KINDS[name](rows), name, DROP)
    wanted = parse_cloud(KINDS[name](rows[good]), name)
    np.testing.assert_array_equal(cloud.points, wanted.points)
    np.testing.assert_array_equal(cloud.normals, wanted.normals)
    np.testing.assert_array_equal(cloud.labels, wanted.labels)
    assert cloud.dropped == (~good).sum() and (cloud.kept is None) == good.all()
    labels = np.where(good, np.arange(len(good)) % 2, np.nan)
    wanted_labels = (np.arange(len(good)) % 2)[good]
    for column in (labels, labels[good]):  # of the rows of the file, or of its points
        found = parse_labels(npy(column), "a.npy", cloud.points, DROP, cloud.kept)
        np.testing.assert_array_equal(found, wanted_labels)
    table = np.column_stack([rows[:, :3], labels])[::-1]
    found = parse_labels(npy(table), "a.npy", cloud.points, DROP, cloud.kept)
    np.testing.assert_array_equal(found, wanted_labels)


def test_without_the_option_the_error_names_it_and_the_rows_stay_true() -> None:
    data = b"nan nan nan 0\n0 0 1 0\n0 0 0 0\n1 0 0 9\n"
    with pytest.raises(InputError, match=r"line 1: x is nan; 1 of 4 .*with --drop-no-return"):
        parse_cloud(data, "a.xyz")
    with pytest.raises(InputError, match=r"a.xyz: line 4: the label"):
        parse_cloud(data, "a.xyz", DROP)
    with pytest.raises(InputError, match="none of its 2 points is one: all are 0 or not finite"):
        parse_cloud(b"nan 0 0\n0 0 0\n", "a.xyz", DROP)


@pytest.mark.parametrize("name", FULL)
def test_choices_change_nothing_where_there_is_nothing_to_choose(name: str) -> None:
    path, data = FULL[name]
    choices = ReadingChoices(True, AnomalousLabels.parse("1"))
    cloud, same = parse_cloud(data, path, choices), parse_cloud(data, path)
    np.testing.assert_array_equal(cloud.points, same.points)
    np.testing.assert_array_equal(cloud.labels, same.labels)
    assert cloud.kept is None
