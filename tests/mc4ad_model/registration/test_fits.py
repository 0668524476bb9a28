# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from intravariance.errors import InputError
from intravariance.geometry.sampling import sample_surface
from mc4ad_model.registration.even_points import even_points
from mc4ad_model.registration.fits import (
    check_cloud_scale,
    expected_fits,
    scale_factor,
    simulate_fits,
    size_of,
)
from mc4ad_model.registration.poses import Pose, Registration
from tests.mc4ad_model.registration.test_poses import BRACKETS, NOISE, TEMPLATES, posed, scan


@pytest.fixture(scope="module")
def registration() -> Registration:
    return Registration(TEMPLATES[:2], NOISE)


def test_a_normal_cloud_fits_and_a_foreign_one_does_not(registration):
    fits = simulate_fits(registration, NOISE, (800, 1200), np.random.default_rng(0), clouds=3)
    assert fits.mean.shape == fits.spread.shape == (2,)
    own = registration.register(posed(scan(0, 21), 21))
    assert abs(fits.deficit(own)) < 0.2
    assert fits.fits(own)
    rng = np.random.default_rng(1)
    ball = rng.normal(size=(800, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    foreign = registration.register(ball + rng.normal(scale=NOISE, size=ball.shape))
    assert not fits.fits(foreign)
    assert fits.fits(foreign, limit=100.0)


def test_the_same_seed_simulates_the_same(registration):
    first, second = (
        simulate_fits(registration, NOISE, (300, 300), np.random.default_rng(2), clouds=2)
        for _ in range(2)
    )
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.spread, second.spread)


@pytest.mark.parametrize("noise", [NOISE, 0.002, 0.0])
def test_without_registering_the_same_is_expected_of_a_mesh(noise):
    surface = even_points(BRACKETS[0], 40_000, np.random.default_rng(1))
    simulated = simulate_fits(
        Registration([surface], noise), noise, (4000, 4000), np.random.default_rng(0), clouds=2
    )
    found = expected_fits([surface], noise)
    assert np.abs(found.mean - simulated.mean).max() < 0.05
    assert np.array_equal(found.mean, expected_fits([surface], noise).mean)


@pytest.mark.parametrize(("noise", "likelier"), [(NOISE, 0.2), (0.002, 0.05)])
def test_a_stored_cloud_is_not_compared_with_its_own_points(noise, likelier):
    """As a fresh cloud in its true pose; drawn from the stored one it would be likelier."""
    rng = np.random.default_rng(4)
    stored, fresh = (
        sample_surface(BRACKETS[0], 4000, rng).points + rng.normal(scale=noise, size=(4000, 3))
        for _ in range(2)
    )
    registration = Registration([stored], 0.0)
    true = [
        registration.log_likelihood(cloud, Pose(0, np.eye(3), np.zeros(3), 0.0))
        for cloud in (fresh, stored)
    ]
    assert abs(expected_fits([stored], 0.0).mean[0] - true[0]) < 0.1
    assert true[1] > true[0] + likelier


def test_a_template_of_one_point_has_a_likelihood():
    assert np.isfinite(expected_fits([np.zeros((1, 3))], 0.0).mean).all()


@pytest.mark.parametrize("factor", [0.1, 0.8, 1.0, 25.4])
def test_the_factor_of_the_scale_is_found(factor):
    cloud = posed(scan(0, 22, 4000), 22)
    clean = cloud * factor
    found = scale_factor(clean, [size_of(TEMPLATES[0])], NOISE * factor)
    assert found == pytest.approx(factor, rel=0.03)
    # the template nearest in size is meant
    two = [size_of(TEMPLATES[0] * 3), size_of(TEMPLATES[0])]
    assert scale_factor(cloud, two, NOISE) == pytest.approx(1, rel=0.03)


def test_sizes_are_those_of_surfaces_without_noise():
    half = 0.5 * np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]) + (3, 0, 0)
    assert size_of(half) == pytest.approx(0.5)
    noisy = np.repeat(half, 5000, axis=0) + np.random.default_rng(0).normal(0, 0.2, (20_000, 3))
    assert size_of(noisy) > 0.55
    assert size_of(noisy, 0.2) == pytest.approx(0.5, rel=0.02)


def test_a_cloud_in_another_unit_is_named():
    cloud = posed(scan(1, 23), 23)
    sizes = [size_of(TEMPLATES[1])]
    check_cloud_scale(cloud, sizes, NOISE)
    with pytest.raises(
        InputError, match=r"found 25(\.\d)? times .* multiply its coordinates by 0\.03"
    ):
        check_cloud_scale(cloud * 25.4, sizes, NOISE)
    with pytest.raises(InputError, match=r"found 0 times .* look at the file"):
        check_cloud_scale(np.zeros((5, 3)), sizes, NOISE)
