# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import oracle
from benchmarks.oracle import OBJECT_SCORES, POINT_SCORES, Scored, by_category, by_defect, score
from intravariance.dataset.scan import Scan
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from tests.support.samples import make_dataset, small_specification

FILE = Path(oracle.__file__)


def scored(defect: str, difficulty: str, value: float, category: str = "ball") -> Scored:
    labels = np.array([0, 0, 1] if difficulty else [0, 0, 0], dtype=np.uint8)
    return Scored(
        category, defect, difficulty, snr=2.0, share=0.5, labels=labels,
        objects=dict.fromkeys(OBJECT_SCORES, value),
        points=dict.fromkeys(POINT_SCORES, np.array([0.0, 1.0, value])),
    )  # fmt: skip


def test_figures_are_means_over_categories_by_type_and_difficulty():
    items = [
        *(scored("normal", "", value, c) for value in (1.0, 2.0) for c in ("ball", "brick")),
        scored("bulge", "easy", 3.0),
        scored("bulge", "hard", 1.5),
        scored("bulge", "hard", 0.0, "brick"),
    ]
    heading, rows = by_defect(items, np.random.default_rng(0))
    column = heading.index("O offset")
    found = {(row[0], row[1]): (row[2], row[column]) for row in rows}
    assert found == {
        ("bulge", "mixed"): (3, (0.75 + 0) / 2),
        ("bulge", "easy"): (1, 1.0),
        ("bulge", "hard"): (2, (0.5 + 0) / 2),
    }
    mixed = dict(zip(heading, rows[0], strict=True))
    assert mixed["snr"] == "2.00" and mixed["labelled, %"] == "50.00"
    assert str(mixed["O deviation"]).startswith("0.375 (")
    # ball: both points labelled 1 (3.0 and 1.5) are above all others; brick: 0.0 ties with one
    assert mixed["P offset"] == pytest.approx((1 + 0.25) / 2)
    heading, rows = by_category(items)
    assert [row[:2] for row in rows] == [["ball", 4], ["brick", 3], ["mean", 7]]
    assert rows[0][2] == 0.75 and rows[2][2] == pytest.approx(0.375)


def test_a_file_is_scored_with_the_pose_undone(tmp_path: Path) -> None:
    """The balls and bricks have cut caps and bulges that can be seen."""
    path = make_dataset(tmp_path / "small.h5", small_specification((1500, 2500)), sigma=0.02)
    with open_dataset(path) as dataset:
        found = list(score(dataset, seed=0, quiet=True))
        tests = dataset.filter(split="test")
        assert [item.defect for item in found] == [record.defect for record in tests]
        for item, record in zip(found, tests, strict=True):
            assert all(len(values) == record.n_points for values in item.points.values())
        _, rows = by_category(found)
        assert rows[-1][2] > 0.8, "objects"
        assert rows[-1][2 + len(OBJECT_SCORES)] > 0.8, "points"
        again = list(score(dataset, seed=0, quiet=True))
        assert [item.objects for item in again] == [item.objects for item in found]


def test_scans_that_do_not_see_all_sides_are_refused(tmp_path: Path) -> None:
    specification = replace(small_specification(), scan=Scan(views=1))
    path = make_dataset(tmp_path / "seen.h5", specification)
    with open_dataset(path) as dataset, pytest.raises(InputError, match="whose clouds see all"):
        list(score(dataset, seed=0, quiet=True))


def test_products_without_meshes_are_the_users_mistake(tmp_path: Path) -> None:
    def without_mesh(sample, rng):
        return replace(sample, mesh=None)

    path = make_dataset(tmp_path / "bare.h5", change=without_mesh)
    with open_dataset(path) as dataset, pytest.raises(InputError, match="there is no mesh of ball"):
        list(score(dataset, seed=0, quiet=True))
    result = subprocess.run(
        [sys.executable, FILE, path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "there is no mesh of ball" in result.stderr
