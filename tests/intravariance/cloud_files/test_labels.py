# SPDX-License-Identifier: Apache-2.0
"""Labels in a file of their own, matched with the points of a cloud."""

from __future__ import annotations

import numpy as np
import pytest

from intravariance.cloud_files import (
    parse_labels,
    read_labels,
    write_text,
)
from intravariance.errors import InputError

# Numbers that text and float32 hold exactly.
from tests.support.cloud_samples import (
    LABELS,
    POINTS,
    lines,
    npy,
)


def test_labels_in_a_file_of_their_own(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("0\n1\n0\n1\n")
    (tmp_path / "b.npy").write_bytes(npy(LABELS))
    (tmp_path / "c.txt").write_bytes(write_text(POINTS[::-1], labels=LABELS[::-1], delimiter=","))
    for name in ("a.txt", "b.npy", "c.txt"):
        np.testing.assert_array_equal(read_labels(tmp_path / name, POINTS), LABELS)


def test_labels_are_matched_by_coordinates() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 3)) * 40
    labels = (rng.random(2000) < 0.3).astype(np.uint8)
    rows = np.column_stack([points, labels])[rng.permutation(2000)]
    shuffled = lines(rows, ",").encode()  # six digits
    np.testing.assert_array_equal(parse_labels(shuffled, "a.txt", points), labels)
    extra = shuffled + b"500,0,0,1\n"  # as five files of Anomaly-ShapeNet have it
    np.testing.assert_array_equal(parse_labels(extra, "a.txt", points), labels)
    twice = shuffled + lines(np.column_stack([points[:5], np.ones(5)]), ",").encode()
    found = parse_labels(twice, "a.txt", points)
    assert found[:5].all() and np.array_equal(found[5:], labels[5:])


def test_far_from_0_the_labels_of_another_cloud_are_refused() -> None:
    """There 1e-5 of the largest coordinate is more than the cloud's size."""
    rng = np.random.default_rng(0)
    points, other = rng.random((2, 500, 3)) * 0.05 + 1e4
    labels = (np.arange(500) < 50).astype(np.uint8)
    rows = np.column_stack([points, labels])[::-1]
    exact = "".join("{:.9g} {:.9g} {:.9g} {:g}\n".format(*row) for row in rows).encode()
    np.testing.assert_array_equal(parse_labels(exact, "a.txt", points), labels)
    with pytest.raises(InputError, match=r"4\d\d of 500 points have no row"):
        parse_labels(npy(np.column_stack([other, labels])), "a.npy", points)
    coarse = lines(np.column_stack([points, labels])).encode()  # 10000 and 10000.1
    with pytest.raises(InputError, match=r"have no row within .* tell neighbours apart"):
        parse_labels(coarse, "a.txt", points)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"0\n1\n", "2 labels for 4 points"),
        (b"0\n1\n2\n0\n", "line 3: the label"),
        (b"0 1\n", r"shape is \(1, 2\)"),
        (write_text(POINTS[:3], labels=LABELS[:3]), "1 of 4 points have no row"),
        (write_text(POINTS / 1000, labels=LABELS), "4 of 4 points.*same unit"),
        (
            write_text(np.vstack([POINTS, POINTS + 99]), labels=np.tile(LABELS, 2)),
            "4 of its 8 rows",
        ),
        (b"nan 0 0 1\n", "not finite"),
    ],
)
def test_labels_that_do_not_belong_to_the_points_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_labels(data, "a_labels.txt", POINTS)
