# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from intravariance.errors import InputError
from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.geometry.sampling import sample_surface
from intravariance.geometry.scanning import (
    LEAST_COSINE,
    STRAY_RADIUS,
    VIEW_DISTANCE,
    DensityField,
    Scanner,
    density_field,
    incidence,
    noise_factor,
    stray_points,
    viewpoints,
)


def ball(radius=1.0):
    shape = trimesh.creation.icosphere(4, radius)
    return mesh_from_arrays(shape.vertices, shape.faces)


def ball_in_a_ball():
    inner, outer = ball(0.5), ball()
    faces = np.concatenate([outer.faces, inner.faces + len(outer.vertices)])
    return mesh_from_arrays(np.concatenate([outer.vertices, inner.vertices]), faces)


def test_viewpoints_stand_around_the_product_in_no_preferred_direction():
    rng = np.random.default_rng(0)
    drawn = np.array([viewpoints(6, rng) for _ in range(400)])
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=2), VIEW_DISTANCE, atol=1e-6)
    assert np.abs(drawn[:, 0].mean(axis=0)).max() < 0.15 * VIEW_DISTANCE
    near = np.linalg.norm(drawn[:, :, None] - drawn[:, None], axis=3)[:, ~np.eye(6, dtype=bool)]
    assert near.min() > 0.8 * VIEW_DISTANCE  # spread: never two on one side
    np.testing.assert_array_equal(np.round(drawn, 9), drawn)


def test_a_scan_from_one_side_holds_what_is_seen_the_more_the_more_squarely():
    mesh, view = ball_in_a_ball(), np.array([[0, 0, VIEW_DISTANCE]])
    where, cosine = Scanner(view).sample(mesh, 40_000, np.random.default_rng(0))
    assert len(where.points) == len(cosine) == 40_000
    assert np.linalg.norm(where.points, axis=1).min() > 0.9  # nothing of the ball inside
    assert cosine.min() > LEAST_COSINE
    np.testing.assert_allclose(incidence(mesh, where, view), cosine)
    # evenly over the picture: of a surface seen at a cosine c, points go with c
    z = where.points[:, 2]
    seen = (5 * z - 1) / np.sqrt(26 - 10 * z)
    counts, edges = np.histogram(z, bins=8, range=(0.4, 1.0))
    middle = (edges[1:] + edges[:-1]) / 2
    expected = (5 * middle - 1) / np.sqrt(26 - 10 * middle)
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), rtol=0.07)
    np.testing.assert_allclose(seen, cosine, atol=0.07)  # of flat triangles


def test_the_view_that_sees_most_squarely_counts():
    mesh, views = ball(), np.array([[VIEW_DISTANCE, 0, 0], [0, VIEW_DISTANCE, 0.0]])
    where = sample_surface(mesh, 500, np.random.default_rng(0))
    alone = [incidence(mesh, where, views[k : k + 1]) for k in (0, 1)]
    np.testing.assert_array_equal(incidence(mesh, where, views), np.maximum(*alone))
    assert (alone[0] == 0).any()


def test_an_even_scanner_samples_as_before():
    mesh = ball()
    scanner = Scanner(np.zeros((0, 3)))
    found, cosine = scanner.sample(mesh, 300, np.random.default_rng(3))
    expected = sample_surface(mesh, 300, np.random.default_rng(3))
    np.testing.assert_array_equal(found.points, expected.points)
    assert scanner.even
    assert (cosine == 1).all()


@pytest.mark.parametrize("variation", [0.1, 0.4])
def test_density_varies_as_much_as_asked_and_smoothly(variation):
    mesh = ball()
    places = sample_surface(mesh, 2_000, np.random.default_rng(0)).points
    spreads = []
    for seed in range(40):
        field = density_field(variation, np.random.default_rng(seed))
        density = field(places)
        assert density.max() <= 1
        spreads.append(density.std() / density.mean())
        step = field(places + 0.02) / density
        assert np.abs(np.log(step)).max() < 0.02 * 12 * 2 * np.sqrt(3 * 6) * field.strength
    assert np.mean(spreads) == pytest.approx(variation, rel=0.2)


def test_points_go_with_the_density():
    mesh, field = ball(), density_field(0.5, np.random.default_rng(5))
    scanner = Scanner(np.zeros((0, 3)), field)
    where, _ = scanner.sample(mesh, 60_000, np.random.default_rng(0))
    assert len(where.points) == 60_000
    places = sample_surface(mesh, 200, np.random.default_rng(1)).points
    even = sample_surface(mesh, 60_000, np.random.default_rng(2)).points
    counts = [
        cKDTree(points).query_ball_point(places, 0.1, return_length=True)
        for points in (where.points, even)
    ]
    assert np.corrcoef(counts[0] / counts[1], field(places))[0, 1] > 0.95


def test_a_scanner_that_sees_nothing_says_so():
    nothing = DensityField(np.zeros((6, 3)), np.full(6, -np.pi / 2), 3.0)
    with pytest.raises(InputError, match="ask for more viewpoints"):
        Scanner(np.zeros((0, 3)), nothing).sample(ball(), 100, np.random.default_rng(0))


def test_noise_grows_with_the_footprint():
    np.testing.assert_allclose(noise_factor(np.array([1, 0.5]), 0.3), [1, 1.3])
    np.testing.assert_allclose(noise_factor(np.array([1, 0.5]), 0.0), 1)


def test_stray_points_fill_their_ball_evenly():
    radius = np.linalg.norm(stray_points(4_000, np.random.default_rng(0)), axis=1)
    assert radius.max() <= STRAY_RADIUS
    assert (radius < STRAY_RADIUS / 2).mean() == pytest.approx(1 / 8, abs=0.02)
