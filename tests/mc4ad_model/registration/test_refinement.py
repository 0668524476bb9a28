# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from mc4ad_model.registration.likelihood import REACH, Field
from mc4ad_model.registration.lookalikes import distinct, lookalikes
from mc4ad_model.registration.poses import rotation_grid
from mc4ad_model.registration.refinement import Poses, refined, valued
from tests.mc4ad_model.registration.test_poses import NOISE, TEMPLATES, scan


@pytest.fixture(scope="module")
def field() -> Field:
    return Field(TEMPLATES[:2], NOISE, 0.04)


def pose(template: int, vector: tuple[float, ...] = (0, 0, 0), shift=(0, 0, 0)) -> Poses:
    rotation = Rotation.from_rotvec(vector).as_matrix().T
    return Poses(np.array([template]), rotation[None], np.array([shift], float), np.zeros(1))


def test_interpolation_is_that_of_scipy(field):
    points = np.random.default_rng(0).uniform(-1.5, 1.5, size=(1, 3, 200)).astype(np.float32)
    found = field.interpolated(np.array([1]), points)[0]
    grid = field.values.reshape(2, field.size, field.size, field.size, 4)[1]
    place = (points[0] + REACH) / field.cell - 0.5
    for column in range(4):
        expected = map_coordinates(grid[..., column], place, order=1, mode="nearest")
        assert np.allclose(found[:, column], expected, atol=2e-3 * np.abs(grid[..., column]).max())


def test_outside_the_grid_counts_as_its_border(field):
    points = np.full((1, 3, 1), 50, dtype=np.float32)
    for read in (field.nearest, field.interpolated):
        assert np.isfinite(read(np.array([0]), points)).all()


def cast_first(points: np.ndarray, field: Field) -> np.ndarray:
    """Return the rows as they were found by casting to integers before clipping."""
    cells = ((points + np.float32(REACH)) * np.float32(1 / field.cell)).astype(np.int32)
    x, y, z = np.clip(cells, 0, field.size - 1).swapaxes(0, 1)
    return (x * field.size + y) * field.size + z


def test_far_outliers_are_at_the_border_and_near_points_where_they_were(field):
    near = np.random.default_rng(0).uniform(-3, 3, size=(2, 3, 5000)).astype(np.float32)
    np.testing.assert_array_equal(field.rows(near), cast_first(near, field))
    far = np.array([[1e30, -1e30, 0], [3, -3, 0]], dtype=np.float32)[:, :, None]
    rows = field.rows(far)
    assert rows[0] == rows[1]
    cloud = np.ascontiguousarray(scan(0, 1, 500).T, dtype=np.float32)
    cloud[:, 0] = 1e12
    found = refined(field, cloud, pose(0), 1, regions=(0.05,))  # warnings are errors
    assert np.isfinite(found.value).all()


def test_steps_climb_to_the_pose(field):
    cloud = np.ascontiguousarray(scan(0, 1, 4000).T, dtype=np.float32)
    start = pose(0, (0.1, -0.1, 0.05), (0.03, 0.02, -0.04))
    found = refined(field, cloud, start, 6, smooth=True)
    assert found.value[0] > valued(field, cloud, start, smooth=True).value[0] + 0.1
    assert np.linalg.norm(Rotation.from_matrix(found.rotation[0]).as_rotvec()) < 0.03
    assert np.linalg.norm(found.shift[0]) < 0.01


def test_a_moved_part_pulls_less_by_regions(field):
    """An end is moved by 0.08, less than two standard deviations: its points count as inliers."""
    errors = list[tuple[float, float]]()
    for axis, direction in itertools.product(range(3), repeat=2):
        cloud = scan(0, 2, 6000)
        end = cloud[:, axis] > np.quantile(cloud[:, axis], 0.9)
        still = cloud[~end]
        cloud[end, direction] += 0.08
        moved = np.ascontiguousarray(cloud.T, dtype=np.float32)
        plain = refined(field, moved, pose(0), 6, smooth=True)
        robust = refined(field, moved, plain, 6, smooth=True, regions=(0.04, 0.02, *4 * (0.015,)))
        found = [still @ p.rotation[0] + p.shift[0] - still for p in (plain, robust)]
        errors.append((float(np.abs(found[0]).mean()), float(np.abs(found[1]).mean())))
    plain_error, robust_error = np.mean(errors, axis=0)
    assert robust_error < 0.75 * plain_error


def test_points_of_the_model_have_no_mean_offset_by_regions(field):
    """Weights are measured from these offsets: with many points of the model none is left."""
    edge = 5
    cloud = scan(1, 3, 60_000)
    moved = cloud.T[None].astype(np.float32)
    gradient = field.interpolated(np.array([1]), moved)[0, :, 1:]
    count = field.size // edge
    cells = ((cloud + REACH) / (edge * field.cell)).astype(int)
    region = (cells[:, 0] * count + cells[:, 1]) * count + cells[:, 2]
    number = np.bincount(region, minlength=count**3)
    many = number > 400
    mean = (
        np.stack(
            [np.bincount(region, gradient[:, i], minlength=count**3)[many] for i in range(3)],
            axis=-1,
        )
        / number[many, None]
    )
    left = mean - field.region_gradients(1, edge)[many]
    raw, rest = (np.linalg.norm(v, axis=1).mean() * NOISE**2 for v in (mean, left))
    assert rest < 0.006  # radii; 0.0447 / sqrt(400) is 0.002
    assert rest < 0.6 * raw


def test_lookalikes_of_a_square_plate_and_of_a_bracket():
    rng = np.random.default_rng(0)
    plate = rng.uniform(-0.7, 0.7, size=(8000, 3)) * (1, 1, 0.1)
    fields = Field([plate, TEMPLATES[0]], 0.10, 0.08), Field([plate, TEMPLATES[0]], NOISE, 0.04)
    found = lookalikes(*fields, 0, plate, rotation_grid())
    angles = np.degrees(Rotation.from_matrix(found.rotation).magnitude())
    assert angles[0] == 0
    assert len(angles) == 8  # the square's, turned over or not
    assert np.allclose(np.sort(angles), [0, 90, 90, 180, 180, 180, 180, 180], atol=4)
    assert len(lookalikes(*fields, 1, TEMPLATES[0], rotation_grid()).rotation) == 1


def test_distinct_keeps_the_best_of_those_that_agree():
    turns = Rotation.from_rotvec(np.radians([[0, 0, a] for a in (0, 1, 20, 40)])).as_matrix()
    poses = Poses(np.zeros(4, int), turns, np.zeros((4, 3)), np.array([1.0, 2.0, 3.0, 0.5]))
    assert list(distinct(poses, np.radians(8), 9)) == [2, 1, 3]
    assert list(distinct(poses, np.radians(8), 1)) == [2]
    assert list(distinct(poses, np.radians(8), 9, known=turns[3:])) == [2, 1]
