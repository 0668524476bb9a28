# SPDX-License-Identifier: Apache-2.0
"""Surfaces without noise, held against spheres and plates, whose surface is a formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.looking.cloud import LabelledCloud, PristineSurface
from intravariance.looking.pristine import averaged, change, pristine_surface, without_noise
from tests.intravariance.looking.test_panels import ball, bulge
from tests.support.samples import sphere_points

SIGMA = 0.0447


@pytest.fixture(scope="module")
def unit_sphere() -> PristineSurface:
    """Return the unit sphere as the mesh of a template."""
    trimesh = pytest.importorskip("trimesh")
    sphere = trimesh.creation.icosphere(4)
    mesh = mesh_from_arrays(sphere.vertices, sphere.faces)
    return pristine_surface(mesh, np.random.default_rng(0))


def noisy(cloud: LabelledCloud, surface: PristineSurface | None) -> LabelledCloud:
    noise = SIGMA * np.random.default_rng(1).normal(size=cloud.points.shape)
    points = cloud.points + noise.astype(np.float32)
    return replace(cloud, points=points, pristine=surface)


def bitten() -> LabelledCloud:
    """Cut the cap x > 0.6 off a ball: the flat cut is labelled, and was no surface before."""
    cloud = ball(count=5000)
    kept = cloud.points[:, 0] <= 0.6
    rng = np.random.default_rng(5)
    angle, radius = rng.uniform(0, 2 * np.pi, 400), 0.8 * np.sqrt(rng.uniform(0, 1, 400))
    cut = np.stack([np.full(400, 0.6), radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    normals = np.tile([1.0, 0.0, 0.0], (400, 1))
    labels = np.concatenate([np.zeros(kept.sum()), np.ones(400)])
    displacement = np.zeros((len(labels), 3))
    displacement[labels > 0] = np.nan
    return replace(
        cloud,
        defect="missing",
        points=np.concatenate([cloud.points[kept], cut]).astype(np.float32),
        normals=np.concatenate([cloud.normals[kept], normals]).astype(np.float32),
        labels=labels.astype(np.uint8),
        displacement=displacement.astype(np.float32),
    )


def test_a_normal_sample_lies_on_the_template_again(unit_sphere: PristineSurface) -> None:
    clean = without_noise(noisy(ball(), unit_sphere))
    assert np.abs(np.linalg.norm(clean.points, axis=1) - 1).max() < 0.01
    assert not clean.labels.any()


def test_a_bulge_keeps_its_height_labels_and_displacement(unit_sphere: PristineSurface) -> None:
    cloud = bulge(reach=0.1)
    clean = without_noise(noisy(cloud, unit_sphere))
    assert clean.points[:, 0].max() == pytest.approx(1.1, abs=0.015)
    calm = clean.points[clean.labels == 0]
    assert np.abs(np.linalg.norm(calm, axis=1) - 1).max() < 0.02
    # the labelled share of the surface: a cap of height 0.3 of a ball
    assert clean.labels.mean() == pytest.approx(0.15, abs=0.02)
    assert clean.moved.max() == pytest.approx(0.1, abs=0.015)


def test_a_cut_stays_open_and_its_face_is_flat(unit_sphere: PristineSurface) -> None:
    clean = without_noise(noisy(bitten(), unit_sphere))
    assert clean.points[clean.labels == 0, 0].max() < 0.75
    face = clean.points[clean.exposed, 0]
    assert face.mean() == pytest.approx(0.6, abs=0.01)
    assert face.std() < SIGMA / 3


def test_what_was_there_before(unit_sphere: PristineSurface) -> None:
    found = change(noisy(bitten(), unit_sphere))
    assert len(found.before) > 100 and found.before[:, 0].min() > 0.5  # the cap, nothing else
    moved = change(noisy(bulge(reach=0.3), unit_sphere))
    assert np.abs(np.linalg.norm(moved.before, axis=1) - 1).max() < 0.02
    assert len(change(noisy(ball(), unit_sphere)).before) == 0


def test_averages_leave_a_fifth_of_the_noise_and_do_not_mix_the_sides_of_a_wall() -> None:
    rng = np.random.default_rng(4)
    flat = rng.uniform(-1, 1, size=(8000, 3))
    side = np.repeat([-1.0, 1.0], 4000)
    flat[:, 1] = 0.04 * side
    normals = np.stack([0 * side, side, 0 * side], axis=1)
    smooth = averaged(flat + SIGMA * rng.normal(size=flat.shape), normals)
    error = smooth[:, 1] - flat[:, 1]
    assert error.std() < 0.2 * SIGMA and abs(error.mean()) < 0.002
    assert np.abs(smooth[side > 0, 1].mean() - 0.04) < 0.003


def test_without_a_template_the_points_themselves_are_averaged() -> None:
    points = sphere_points(6000, np.random.default_rng(7)).astype(np.float32)
    cloud = replace(
        ball(), points=points, normals=points, labels=np.zeros(6000, np.uint8), displacement=None
    )
    clean = without_noise(noisy(cloud, None))
    assert clean.points.shape == points.shape
    assert np.linalg.norm(clean.points, axis=1).std() < SIGMA / 3
    assert averaged(points[:1].astype(np.float64), points[:1]).shape == (1, 3)
