# SPDX-License-Identifier: Apache-2.0
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh, mesh_from_arrays, to_unit_sphere
from intravariance.geometry.sampling import sample_surface
from mc4ad_model.registration.likelihood import OUTLIERS
from mc4ad_model.registration.poses import Pose, Registration, rotation_grid, saved_noise
from tests.support.samples import product

NOISE = 0.0447


def bracket(a: float, b: float, c: float, mirrored: bool = False) -> Mesh:
    """Make three bars of different lengths and thicknesses: no symmetry, no mirror image."""
    bars = [
        trimesh.creation.box((a, 0.3, 0.25)),
        trimesh.creation.box((0.25, b, 0.3)),
        trimesh.creation.box((0.2, 0.25, c)),
    ]
    for bar, shift in zip(bars, [(a / 2, 0, 0), (0, b / 2, 0), (0.8 * a, 0, c / 2)], strict=True):
        bar.apply_translation(shift)
    shape = trimesh.util.concatenate(bars)
    vertices = np.asarray(shape.vertices) * ((1, 1, -1) if mirrored else (1, 1, 1))
    return to_unit_sphere(mesh_from_arrays(vertices, np.asarray(shape.faces)))


BRACKETS = [bracket(1.5, 1.0, 0.7), bracket(1.2, 1.2, 0.4), bracket(1.0, 0.6, 1.0)]
TEMPLATES = [sample_surface(m, 6000, np.random.default_rng(1)).points for m in BRACKETS]


@pytest.fixture(scope="module")
def registration() -> Registration:
    return Registration(TEMPLATES)


def scan(index: int, seed: int, points: int = 800) -> np.ndarray:
    """Draw (points, 3) noisy points of a bracket in its templates' frame."""
    rng = np.random.default_rng(seed)
    clean = sample_surface(BRACKETS[index], points, rng).points
    return clean + rng.normal(scale=NOISE, size=clean.shape)


def posed(cloud: np.ndarray, seed: int, shift: float = 0.25) -> np.ndarray:
    """Turn at random and move by up to `shift`, as test clouds are."""
    rng = np.random.default_rng([seed, 7])
    direction = rng.normal(size=3)
    turned = cloud @ Rotation.from_quat(rng.normal(size=4)).as_matrix().T
    return turned + shift * direction / np.linalg.norm(direction)


def back(cloud: np.ndarray, pose: Pose) -> np.ndarray:
    return cloud @ pose.rotation + pose.shift


def fit(index: int, cloud: np.ndarray) -> float:
    """Return the mean distance of a cloud from a template."""
    return float(cKDTree(TEMPLATES[index]).query(cloud)[0].mean())


# --- it finds the pose and the template


@pytest.mark.parametrize("seed", range(6))
def test_any_pose_of_a_noisy_cloud_is_found(registration, seed):
    index = seed % 3
    cloud = scan(index, seed)
    pose = registration.register(posed(cloud, seed))
    assert pose.template == index
    found = back(posed(cloud, seed), pose)
    assert fit(index, found) <= fit(index, cloud) + 0.001  # as good as the true pose
    assert np.linalg.norm(found - cloud, axis=1).max() < NOISE  # and it is the true pose
    assert np.linalg.det(pose.rotation) == pytest.approx(1)
    assert np.allclose(pose.rotation.T @ pose.rotation, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("name", ["long_ball", "flat_brick"])
def test_a_symmetrical_product_is_laid_on_its_template(name):
    """Any of the equivalent poses will do."""
    rng = np.random.default_rng(3)
    template = sample_surface(product(name), 6000, rng).points
    clean = sample_surface(product(name), 800, rng).points
    cloud = clean + rng.normal(scale=NOISE, size=clean.shape)
    pose = Registration([template]).register(posed(cloud, 3))
    tree = cKDTree(template)
    true = tree.query(cloud)[0].mean()
    assert tree.query(back(posed(cloud, 3), pose))[0].mean() <= true + 0.001


@pytest.mark.parametrize("points", [300, 5000])
def test_few_or_many_points(registration, points):
    cloud = scan(0, 11, points)
    pose = registration.register(posed(cloud, 11))
    assert np.linalg.norm(back(posed(cloud, 11), pose) - cloud, axis=1).max() < 1.5 * NOISE


def test_a_missing_part(registration):
    """A whole bar is gone; what is left is laid where it belongs."""
    cloud = scan(0, 12, 2000)
    kept = cloud[cloud[:, 1] < np.quantile(cloud[:, 1], 0.8)]
    pose = registration.register(posed(kept, 12))
    assert pose.template == 0
    assert np.linalg.norm(back(posed(kept, 12), pose) - kept, axis=1).max() < 1.5 * NOISE


def test_a_twisted_part(registration):
    """One end is turned by 60 degrees; the rest is laid where it belongs."""
    cloud = scan(0, 13, 2000)
    end = cloud[:, 0] > 0.3
    twisted = cloud.copy()
    twisted[end] = cloud[end] @ Rotation.from_euler("x", 60, degrees=True).as_matrix()
    pose = registration.register(posed(twisted, 13))
    assert pose.template == 0
    error = np.linalg.norm(back(posed(twisted, 13), pose) - twisted, axis=1)
    assert error[~end].max() < 3 * NOISE


def test_a_mirror_image_is_not_made_to_fit_by_a_reflection():
    rng = np.random.default_rng(4)
    cloud = sample_surface(bracket(1.5, 1.0, 0.7, mirrored=True), 800, rng).points
    pose = Registration(TEMPLATES[:1]).register(cloud)
    assert np.linalg.det(pose.rotation) == pytest.approx(1)
    assert fit(0, back(cloud, pose)) > 0.03  # a clean cloud of the right hand has 0.01


# --- what it says, and what it does not depend on


def test_likelihood_is_that_of_the_blurred_surface(registration):
    """A kernel density estimate of the template's own points is the referee."""
    cloud = scan(1, 14, 300)
    pose = registration.register(posed(cloud, 14))
    moved = back(posed(cloud, 14), pose)
    blur = max(NOISE, 0.035)
    squared = ((moved[:, None] - TEMPLATES[1][None]) ** 2).sum(axis=2)
    density = np.exp(-squared / (2 * blur**2)).mean(axis=1) / (2 * np.pi * blur**2) ** 1.5
    expected = np.log(OUTLIERS / 8 + (1 - OUTLIERS) * density).mean()
    # a logarithm curves downwards: interpolated between cells it is a little too small
    assert expected - 0.1 < pose.log_likelihood < expected + 0.01


def test_templates_that_differ_by_little_are_told_apart():
    """A plate with a window and one without: each has points where the other has none, or not."""
    outline = trimesh.creation.box((1.2, 0.9, 0.1))
    window = trimesh.util.concatenate(
        [
            trimesh.creation.box((a, b, 0.1), trimesh.transformations.translation_matrix((x, y, 0)))
            for a, b, x, y in ((0.4, 0.9, 0.4, 0), (0.4, 0.9, -0.4, 0), (0.4, 0.3, 0, 0.3),
                               (0.4, 0.3, 0, -0.3))
        ]
    )  # fmt: skip
    rng, surfaces = np.random.default_rng(3), []
    for shape in (outline, window):
        mesh = to_unit_sphere(mesh_from_arrays(np.asarray(shape.vertices), np.asarray(shape.faces)))
        surfaces.append(mesh)
    templates = [sample_surface(mesh, 6000, rng).points for mesh in surfaces]
    both = Registration(templates, NOISE)
    for index, mesh in enumerate(surfaces):
        for seed in range(3):
            clean = sample_surface(mesh, 3000, rng).points
            cloud = posed(clean + rng.normal(scale=NOISE, size=clean.shape), seed)
            assert both.register(cloud).template == index


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.08])
def test_other_noises(noise):
    rng = np.random.default_rng(6)
    clean = sample_surface(BRACKETS[0], 3000, rng).points
    cloud = posed(clean + rng.normal(scale=noise, size=clean.shape), 6)
    pose = Registration(TEMPLATES, noise).register(cloud)
    assert pose.template == 0
    true = posed(clean, 6)
    assert np.linalg.norm(back(true, pose) - clean, axis=1).max() < 0.015 + 0.2 * noise


def test_it_is_deterministic(registration):
    cloud = posed(scan(2, 15), 15)
    first, second = registration.register(cloud), Registration(TEMPLATES).register(cloud)
    assert first.template == second.template
    assert np.array_equal(first.rotation, second.rotation)
    assert np.array_equal(first.shift, second.shift)


def test_the_order_of_points_hardly_matters(registration):
    """Sorted, the first points are one end of the cloud."""
    cloud = posed(scan(1, 16, 16_000), 16)
    poses = [
        registration.register(order)
        for order in (cloud, cloud[np.argsort(cloud[:, 0])], cloud.astype(np.float32))
    ]
    for pose in poses[1:]:
        assert pose.template == poses[0].template
        assert np.linalg.norm(back(cloud, pose) - back(cloud, poses[0]), axis=1).max() < 0.01


def test_how_the_cloud_is_turned_hardly_matters(registration):
    cloud = scan(2, 17, 4000)
    laid = []
    for seed in range(4):
        pose = registration.register(posed(cloud, seed))
        assert pose.template == 2
        laid.append(back(posed(cloud, seed), pose))
    for other in laid[1:]:
        assert np.linalg.norm(other - laid[0], axis=1).max() < 0.01


def test_far_from_the_origin(registration):
    cloud = posed(scan(1, 18, 3000), 18)
    near, far = registration.register(cloud), registration.register(cloud + 90)
    assert near.template == far.template
    assert np.abs(back(cloud, near) - back(cloud + 90, far)).max() < 1e-3


def test_several_threads_find_what_one_finds():
    clouds = [posed(scan(seed % 3, seed), seed) for seed in range(6)]
    alone = Registration(TEMPLATES)
    expected = [alone.register(cloud) for cloud in clouds]
    shared = Registration(TEMPLATES)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.register, clouds))
    for one, other in zip(expected, found, strict=True):
        assert one.template == other.template
        assert np.array_equal(one.rotation, other.rotation)
        assert np.array_equal(one.shift, other.shift)


def test_a_large_cloud_is_registered_by_a_part_of_it(registration):
    rng = np.random.default_rng(19)
    clean = sample_surface(BRACKETS[0], 300_000, rng).points
    cloud = posed(clean + rng.normal(scale=NOISE, size=clean.shape), 19).astype(np.float32)
    before = cloud.copy()
    pose = registration.register(cloud)
    assert pose.template == 0
    assert np.abs(back(posed(clean, 19), pose) - clean).max() < 0.02
    # its own points all count in the likelihood, and none was moved
    assert registration.log_likelihood(cloud, pose) == pytest.approx(pose.log_likelihood, abs=0.03)
    assert np.array_equal(cloud, before)


def test_likelihood_falls_with_a_worse_pose(registration):
    cloud = posed(scan(0, 20, 2000), 20)
    pose = registration.register(cloud)
    assert registration.log_likelihood(cloud, pose) == pytest.approx(pose.log_likelihood, abs=1e-4)
    worse = Pose(0, pose.rotation, pose.shift + 0.05, 0.0)
    assert registration.log_likelihood(cloud, worse) < pose.log_likelihood - 0.1


# --- its parts


def test_the_grid_covers_all_rotations_evenly():
    grid = rotation_grid()
    assert np.allclose(np.swapaxes(grid, 1, 2) @ grid, np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(grid), 1)
    drawn = Rotation.random(300, random_state=0).as_matrix()
    traces = np.einsum("aij,bij->ab", drawn, grid)
    nearest = np.degrees(np.arccos(np.clip((traces.max(axis=1) - 1) / 2, -1, 1)))
    assert nearest.max() < 20
    # each stands for about as many rotations as any other
    assert nearest.mean() < 12


@pytest.mark.parametrize("value", ["0.04", -1.0, 1.5, None])
def test_a_saved_noise_that_is_none_is_refused(tmp_path, value):
    assert saved_noise({"noise_sigma": 0.002}, tmp_path / "templates") == 0.002
    assert saved_noise({}, tmp_path / "templates") == NOISE
    with pytest.raises(InputError, match=r"templates\.json: noise_sigma"):
        saved_noise({"noise_sigma": value}, tmp_path / "templates")
