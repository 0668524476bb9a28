# SPDX-License-Identifier: Apache-2.0
"""AF3AD's families of shapes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mc4ad_model.methods.mc4ad.anomalies import deform
from mc4ad_model.methods.mc4ad.anomaly_families import (
    FAMILIES,
    cosine,
    displacement_of,
    gaussian,
    local_frame,
    polynomial,
)
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig

CONFIG = AnomalyConfig(generator="af3ad", magnitude=(0.02, 0.15), radius=(0.05, 0.25), frozen=False)
RNG = np.random.default_rng(0)
# a plate 2 by 1, its normals up
POINTS = np.column_stack([RNG.uniform(-1, 1, 4000), RNG.uniform(-0.5, 0.5, 4000), np.zeros(4000)])
NORMALS = np.tile([0.0, 0.0, 1.0], (4000, 1))
FRAME = np.eye(3)


@pytest.mark.parametrize("kernel", [cosine, gaussian(0.4), polynomial])
def test_kernels_fall_from_one_to_nothing(kernel):
    values = kernel(np.linspace(0, 1.5, 100))
    assert values[0] == 1 and (np.diff(values) <= 0).all()
    assert (values[np.linspace(0, 1.5, 100) > 1] == 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_shape_stays_within_its_radii_and_moves_its_way(name):
    family, radius = FAMILIES[name], 0.2
    moved = displacement_of(family, POINTS, NORMALS, np.zeros(3), FRAME, radius)
    away = np.linalg.norm(POINTS / (np.array(family.radii) * radius), axis=1)
    assert (moved[away >= 1] == 0).all()
    inside = moved[away < 0.5]
    assert (np.linalg.norm(moved, axis=1) <= 1).all() and len(inside) > 5
    expected = [1, 0, 0] if family.along == "u" else [0, 0, family.sign]
    lengths = np.linalg.norm(inside, axis=1, keepdims=True)
    np.testing.assert_allclose(inside / lengths, np.tile(expected, (len(inside), 1)), atol=1e-12)


def test_the_frame_is_that_of_the_neighbours_with_the_normal_on_their_side():
    turn = Rotation.from_rotvec([0.3, 1.0, -0.4]).as_matrix()
    for side in (1, -1):
        frame = local_frame(POINTS @ turn.T + 3, side * NORMALS @ turn.T)
        np.testing.assert_allclose(np.abs(frame @ turn), np.eye(3), atol=0.02)
        assert frame[2] @ (side * turn[:, 2]) > 0.99


def test_sizes_and_places_are_drawn_within_what_is_asked_for():
    reached, shares = [], []
    for seed in range(60):
        moved = deform(POINTS, NORMALS, CONFIG, np.random.default_rng(seed))
        lengths = np.linalg.norm(moved, axis=1)
        reached.append(lengths.max())
        shares.append((lengths > 0).mean())
    assert min(reached) > 0.01 and max(reached) <= 0.15
    # R is at most 0.25, and no family is larger than 3 R by 1.2 R
    assert min(shares) > 0 and max(shares) < np.pi * 0.75 * 0.3 / 2
    assert np.median(reached) < 0.085  # Beta(2, 5) is on the small side


def test_the_same_generator_gives_the_same_and_pose_changes_nothing():
    turn = Rotation.from_rotvec([0.3, 1.0, -0.4]).as_matrix()
    first = deform(POINTS, NORMALS, CONFIG, np.random.default_rng(3))
    again = deform(POINTS, NORMALS, CONFIG, np.random.default_rng(3))
    turned = deform(POINTS @ turn, NORMALS @ turn, CONFIG, np.random.default_rng(3))
    assert np.array_equal(first, again)
    lengths = [np.linalg.norm(moved, axis=1) for moved in (first, turned)]
    np.testing.assert_allclose(*lengths, atol=1e-9)
