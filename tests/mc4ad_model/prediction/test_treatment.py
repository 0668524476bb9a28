# SPDX-License-Identifier: Apache-2.0
"""New scans get what the import did to the training clouds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from intravariance.errors import InputError
from intravariance.exchange.importing.thinning import KEEP_ALL, Thinning
from mc4ad_model.methods.method import Prediction
from mc4ad_model.prediction.treatment import kept_scan_points, spread, training_thinning
from mc4ad_model.runs.run_folder import Run

POINTS = np.random.default_rng(0).uniform(size=(400, 3))


def imported(thinning: dict[str, Any], *lengths: float | None) -> Run:
    frames = {f"vase/{number}": {"length": length} for number, length in enumerate(lengths)}
    identity = {"imported": {"thinning": thinning, "frames": frames}}
    return cast(Run, SimpleNamespace(category="vase", identity=identity))


def test_the_same_points_keep_the_same_ones_and_others_do_not() -> None:
    draw = Thinning(max_points=60)
    keep = kept_scan_points(POINTS, draw)
    assert len(keep) == 60 and (np.diff(keep) > 0).all()
    np.testing.assert_array_equal(keep, kept_scan_points(POINTS.copy(), draw))
    assert (keep != kept_scan_points(POINTS + 1, draw)).any()
    assert len(kept_scan_points(POINTS, KEEP_ALL)) == 400
    assert 16 <= len(kept_scan_points(POINTS, Thinning(0.25))) <= 64
    with pytest.raises(InputError, match=r"iv import --voxel 5\), it keeps 1 of 400 .*--length"):
        kept_scan_points(POINTS, Thinning(5.0))


@pytest.mark.parametrize(
    ("lengths", "length", "edge"),
    [
        ((20.0,), 20.0, 0.5),
        ((20.0,), 0.02, 0.0005),  # scans in metres, training in millimetres
        ((20.0,), None, 0.025),  # in the frame of the stored clouds
        ((None,), None, 0.5),
        ((None,), 4.0, 2.0),
        ((20.0, 30.0), 30.0, 0.5),  # one of those
    ],
)
def test_voxels_have_the_unit_of_the_scan(
    lengths: tuple[float | None, ...], length: float | None, edge: float
) -> None:
    found = training_thinning(imported({"voxel": 0.5, "max_points": 9}, *lengths), length)
    assert found.voxel == pytest.approx(edge) and found.max_points == 9
    assert not training_thinning(imported({}, *lengths), length)


def test_every_point_gets_what_the_nearest_kept_one_has() -> None:
    points = np.concatenate([POINTS, POINTS[:5]])  # some lie in one place
    keep = np.array([0, 7, 100, 400])
    force = np.arange(12, dtype=np.float32).reshape(4, 3)
    found = spread(Prediction(np.arange(4, dtype=np.float32), 3.5, force), points, keep)
    distances = np.linalg.norm(points[:, None] - points[keep], axis=-1)
    own = np.take_along_axis(distances, found.points.astype(int)[:, None], 1)[:, 0]
    np.testing.assert_array_equal(own, distances.min(axis=1))
    np.testing.assert_array_equal(found.points[keep], np.arange(4))
    assert found.object == 3.5 and found.force is not None
    np.testing.assert_array_equal(found.force, force[found.points.astype(int)])
