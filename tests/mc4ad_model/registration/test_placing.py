# SPDX-License-Identifier: Apache-2.0
"""Clouds on templates: what is refused, and which poses are not to be believed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from intravariance.errors import InputError
from intravariance.geometry.mesh import mesh_from_arrays, to_unit_sphere
from intravariance.geometry.sampling import sample_surface
from mc4ad_model.registration.by_features import FeatureMatching, FeatureRegistration
from mc4ad_model.registration.even_points import even_points
from mc4ad_model.registration.placing import Placing
from mc4ad_model.registration.poses import Registration
from tests.mc4ad_model.registration.test_poses import BRACKETS, posed
from tests.support.samples import product

RANSAC = FeatureMatching(
    voxel=0.05, normal_radius=2, feature_radius=5, match=1.5, icp=0.4, to_plane=False
)
SURFACES = [even_points(b, 20_000, np.random.default_rng(1)) for b in BRACKETS[:2]]


def scan(mesh, noise: float, seed: int, count: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = sample_surface(mesh, count, rng).points
    return posed(points + rng.normal(scale=noise, size=points.shape), seed)


def cross():
    """Make a product that fits no template."""
    bars = [trimesh.creation.box(size) for size in ((2, 0.3, 0.3), (0.3, 2, 0.3))]
    shape = trimesh.util.concatenate(bars)
    return to_unit_sphere(mesh_from_arrays(np.asarray(shape.vertices), np.asarray(shape.faces)))


@pytest.fixture(scope="module", params=[0.0447, 0.002, 0.0])
def noisy(request) -> tuple[Placing, float]:
    return Placing(Registration(SURFACES, request.param), request.param), request.param


def test_a_normal_cloud_is_brought_to_its_template_without_a_note(noisy) -> None:
    placing, noise = noisy
    registration = Registration(SURFACES, noise)
    for seed, mesh in enumerate(BRACKETS[:2]):
        cloud = scan(mesh, noise, seed).astype(np.float32)
        found, pose = placing.place(cloud), registration.register(cloud)
        assert found.note is None and found.pose.template == seed
        assert np.array_equal(found.pose.rotation, pose.rotation)
        assert np.array_equal(found.points, cloud.astype(np.float64) @ pose.rotation + pose.shift)


def test_a_foreign_cloud_has_a_note_that_says_by_how_much(noisy) -> None:
    placing, noise = noisy
    note = placing.place(scan(cross(), noise, 3)).note
    assert note is not None
    found = re.fullmatch(r"fits no template: (\d\.\d\d) nats a point less likely", note)
    assert found is not None and float(found[1]) > 0.5


def test_clouds_that_cannot_be_placed_are_refused() -> None:
    placing, cloud = Placing(Registration(SURFACES[:1]), 0.0447), scan(BRACKETS[0], 0.0447, 5)
    for points, named in (
        (cloud[:0], "at least one point"),
        (np.full((50, 3), np.nan), "finite"),
        (cloud[:1], "found 0 times"),
        (10 * cloud, "found 10"),
    ):
        with pytest.raises(InputError, match=named):
            placing.place(points)


def test_a_pose_of_ransac_is_in_doubt_where_it_is_wrong_and_not_where_it_is_right() -> None:
    """At little noise features find the pose; at sigma 0.03 they are noise."""
    pytest.importorskip("open3d")
    mesh = product("tall_brick")
    surface = even_points(mesh, 20_000, np.random.default_rng(1))
    registration = FeatureRegistration([surface], RANSAC)
    for noise, right in ((0.002, True), (0.03, False)):
        placed = Placing(registration, noise).place(scan(mesh, noise, 1))
        assert (np.median(cKDTree(surface).query(placed.points)[0]) < 0.02) == right
        assert (placed.note is None) == right
    assert placed.note is not None
    assert re.fullmatch(r"registered in doubt: \d\.\d\d nats a point less likely", placed.note)
