# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import chisquare, kstest

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, RIM_WIDTH
from intravariance.auroc import auroc
from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.geometry.sampling import (
    LARGEST_SHIFT,
    add_tolerance,
    apply_pose,
    interpolate,
    label_points,
    points_for_area,
    random_pose,
    rotate,
    sample_surface,
)


def box_mesh():
    box = trimesh.creation.box(extents=(1.0, 0.5, 0.2))
    return mesh_from_arrays(box.vertices, box.faces), box


def test_points_are_uniform_by_area_and_on_the_surface():
    mesh, box = box_mesh()
    sampled = sample_surface(mesh, 20_000, np.random.default_rng(0))
    on_box = np.abs(sampled.points / [0.5, 0.25, 0.1]).max(axis=1)
    np.testing.assert_allclose(on_box, 1, atol=1e-6)
    counts = np.bincount(sampled.face, minlength=len(mesh.faces))
    expected = box.area_faces / box.area * 20_000
    assert chisquare(counts, expected).pvalue > 1e-3
    np.testing.assert_allclose(sampled.normals, box.face_normals[sampled.face], atol=1e-6)


def test_points_are_uniform_within_a_triangle():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    mesh = mesh_from_arrays(corners, np.array([[0, 1, 2]]))
    x, y, _ = sample_surface(mesh, 5000, np.random.default_rng(1)).points.T
    # x of a uniform point of this triangle has the distribution function 1 - (1 - x)^2
    for coordinate in (x, y):
        assert kstest(coordinate, lambda t: 1 - (1 - t) ** 2).pvalue > 1e-3


def test_interpolation_is_exact_for_a_linear_field():
    mesh, _ = box_mesh()
    matrix = np.array([[1.0, 2, 3], [0, -1, 4], [2, 2, 0]])
    sampled = sample_surface(mesh, 500, np.random.default_rng(2))
    found = interpolate(mesh.vertices.astype(float) @ matrix, mesh, sampled)
    np.testing.assert_allclose(found, sampled.points @ matrix, atol=1e-6)


def test_labels():
    points = np.zeros((5, 3))
    points[:, 0] = [0, 1, 2, 3, 4]
    displacement = np.zeros((5, 3))
    displacement[0, 1] = 1.01 * DISPLACEMENT_THRESHOLD
    displacement[1, 1] = 0.99 * DISPLACEMENT_THRESHOLD
    exposed = np.array([False, False, True, False, False])
    rim = np.array([[3 + 0.9 * RIM_WIDTH, 0, 0], [4 + 1.1 * RIM_WIDTH, 0, 0]])
    assert label_points(points, displacement, exposed, rim).tolist() == [1, 0, 1, 1, 0]
    none = np.zeros((0, 3))
    assert label_points(points, displacement, exposed, none).tolist() == [1, 0, 1, 0, 0]


def test_poses():
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(random_pose("canonical", rng), np.eye(4))
    turned = random_pose("z", rng)
    np.testing.assert_allclose(turned[:3, 2], [0, 0, 1])
    assert not np.allclose(turned, np.eye(4))
    poses = np.array([random_pose("so3", rng) for _ in range(3000)])
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1)
    # Uniform on SO(3): an image of any unit vector is uniform on the sphere, so each of its
    # coordinates is uniform on [-1, 1].
    for axis in range(3):
        assert kstest((poses[:, axis, 0] + 1) / 2, "uniform").pvalue > 1e-3
    # Shifts uniform in a ball: the volume within the shift's length is uniform.
    shift = np.linalg.norm(poses[:, :3, 3], axis=1) / LARGEST_SHIFT
    assert kstest(shift**3, "uniform").pvalue > 1e-3
    assert turned[2, 3] == 0
    assert 0 < np.linalg.norm(turned[:2, 3]) <= LARGEST_SHIFT


def test_a_pose_turns_then_shifts():
    pose = random_pose("so3", np.random.default_rng(6))
    points = np.random.default_rng(7).normal(size=(10, 3))
    homogeneous = np.c_[points, np.ones(10)] @ pose.T
    np.testing.assert_allclose(apply_pose(points, pose), homogeneous[:, :3])


def test_rotate_is_the_rotation_of_the_pose():
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [0.3, 1.0, -2.0]).as_matrix()
    vectors = np.random.default_rng(4).normal(size=(10, 3))
    np.testing.assert_allclose(rotate(vectors, pose), vectors @ pose[:3, :3].T)


@pytest.mark.parametrize("amplitude", [0.005, 0.02])
def test_tolerance_is_smooth_and_bounded(amplitude):
    sphere = trimesh.creation.icosphere(subdivisions=3)
    mesh = mesh_from_arrays(sphere.vertices, sphere.faces)
    moved = add_tolerance(mesh, amplitude, np.random.default_rng(5)).vertices - mesh.vertices
    size = np.linalg.norm(moved, axis=1)
    assert size.max() <= amplitude
    assert size.max() > 0.1 * amplitude
    edges = sphere.edges_unique
    strain = np.linalg.norm(moved[edges[:, 0]] - moved[edges[:, 1]], axis=1)
    # wave numbers up to 6: neighbouring vertices move nearly together
    assert (strain <= 1.01 * 6 * amplitude * sphere.edges_unique_length + 1e-6).all()


ratios = st.floats(0.4, 2.5)


@given(count=st.integers(7000, 12000), ratio=ratios)
@settings(deadline=None)
def test_the_number_of_points_follows_the_area_within_the_range(count, ratio):
    number = points_for_area(count, ratio, (7000, 12000))
    assert 7000 <= number <= 12000
    assert points_for_area(count, 1.0, (7000, 12000)) == count
    density = number / ratio
    if max(ratio, 1 / ratio) < (12000 / 7000) ** 0.5:
        # the density lies in the range too, and both are nearer to it than the ratio
        assert 7000 - 1 <= density <= 12000 + 2
        assert (number - count) * (ratio - 1) >= -1e-6
        assert (density - count) * (ratio - 1) <= 1
    else:
        assert number == count


@given(count=st.integers(100, 110), ratio=ratios)
def test_a_narrow_range_of_points_is_kept(count, ratio):
    assert points_for_area(500, ratio, (500, 500)) == 500
    assert 100 <= points_for_area(count, ratio, (100, 110)) <= 110


@pytest.mark.parametrize("ratio", [0.93, 1.06])
def test_area_shows_as_little_in_the_number_as_in_the_density(ratio):
    counts = np.arange(7000, 12001)
    numbers = np.array([points_for_area(int(n), ratio, (7000, 12000)) for n in counts])
    labels = np.arange(2 * len(counts)) < len(counts)
    tells = [
        abs(auroc(labels, np.concatenate([values, counts])) - 0.5)
        for values in (numbers, numbers / ratio, counts / ratio)
    ]
    assert tells[0] < 0.7 * tells[2]
    assert tells[1] < 0.7 * tells[2]
