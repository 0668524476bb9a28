# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import trimesh

from intravariance.geometry.mesh import Mesh, mesh_from_arrays
from intravariance.geometry.sampling import sample_surface
from intravariance.geometry.template_surface import fit, sample_template, simulate


def mesh_of(shape: trimesh.Trimesh) -> Mesh:
    return mesh_from_arrays(np.asarray(shape.vertices), np.asarray(shape.faces))


CUBE = mesh_of(trimesh.creation.box())
BALL = mesh_of(trimesh.creation.icosphere(subdivisions=4))


def test_distances_from_a_cube_are_exact_beside_its_faces() -> None:
    surface = sample_template(CUBE, np.random.default_rng(0))
    inside_a_face = np.random.default_rng(1).uniform(-0.4, 0.4, size=(200, 2))
    for height in (0.0, 0.01, 0.1, -0.1):
        points = np.column_stack([inside_a_face, np.full(200, 0.5 + height)])
        np.testing.assert_allclose(surface.look_up(points).distances, abs(height), atol=1e-12)
        np.testing.assert_allclose(surface.look_up(points).along, height, atol=1e-12)


def test_distances_agree_with_the_distance_function_of_a_cube() -> None:
    surface = sample_template(CUBE, np.random.default_rng(0))
    points = np.random.default_rng(1).uniform(-1, 1, size=(300, 3))
    beyond = np.abs(points) - 0.5
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=1)
    exact = np.abs(outside + np.minimum(beyond.max(axis=1), 0))
    np.testing.assert_allclose(surface.look_up(points).distances, exact, atol=surface.reach)


def test_simulated_distance_on_flat_surface_is_the_mean_of_a_half_normal() -> None:
    surface = sample_template(CUBE, np.random.default_rng(0))
    found, _ = simulate(CUBE, surface, 0.01, np.random.default_rng(1))
    assert found == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.03)
    distance, cosine = simulate(CUBE, surface, 0.0, np.random.default_rng(1))
    assert distance < 1e-3
    # sampled neighbours of points beside an edge may lie around it
    assert 0.95 < cosine < 1


@pytest.mark.parametrize("mesh", [CUBE, BALL], ids=["cube", "ball"])
@pytest.mark.parametrize("sigma", [0.0447, 0.002])
def test_fit_finds_a_shift_a_scale_and_the_noise(mesh: Mesh, sigma: float) -> None:
    surface = sample_template(mesh, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    points = sample_surface(mesh, 4000, rng).points
    noise = rng.normal(scale=sigma, size=points.shape)

    def fitted(moved: np.ndarray):
        return fit(surface, surface.look_up(moved), sigma, np.random.default_rng(2))

    honest = fitted(points + noise)
    assert honest.shift < 6
    assert honest.scale == pytest.approx(0, abs=0.1 * sigma + 0.001)
    assert honest.residual == pytest.approx(0, abs=0.05 * sigma + 0.0002)
    shifted = fitted(points + noise + [0.02, 0, 0])
    assert shifted.shift > 2 * honest.shift + 5
    scaled = fitted(points * 1.02 + noise)
    assert scaled.scale - honest.scale == pytest.approx(0.02, rel=0.25)
    noisier = fitted(points + 1.2 * noise)
    assert noisier.residual > honest.residual + 0.1 * sigma


def test_a_cloud_with_a_part_missing_fits_as_well_as_a_whole_one() -> None:
    """The remaining part curves to one side; noise alone would look like a shift and a scale."""
    surface = sample_template(BALL, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    points = sample_surface(BALL, 8000, rng).points
    half = points[points[:, 2] > 0.2]
    noisy = half + rng.normal(scale=0.0447, size=half.shape)
    found = fit(surface, surface.look_up(noisy), 0.0447, np.random.default_rng(2))
    assert found.shift < 6
    assert found.scale == pytest.approx(0, abs=0.006)
