# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import chisquare, ks_2samp, kstest

from benchmarks.anomalies import looks, plain_released
from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad import anomalies
from mc4ad_model.methods.mc4ad.anomalies import (
    GENERATORS,
    Draw,
    FrozenDraw,
    deform,
    draw,
    draw_frozen,
    partition,
)
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig
from mc4ad_model.pseudo_anomalies.names import PATCH_GENERATORS
from tests.support.samples import sphere_points

NAMES = list(GENERATORS)
CONFIG = AnomalyConfig()
DRAW = Draw(
    normal_share=0.75, attenuation=0.08, elongation=0.9,
    magnitude=0.1, sign=-1.0, axis=np.array([1.0, 0.0, 0.0]),
)  # fmt: skip


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- generators: closed forms. Five points along the axis, one aside; two kinds of normals

POINTS = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0.5, 0, 0], [0, 0.5, 0]]) + 7.0
NORMALS = np.array([[0, 0, 1], [0, 0, 1], [0, 0, -1], [0, 0, 1], [0, -1, 0]], dtype=float)


def test_registry_has_every_name_of_the_configuration():
    assert set(GENERATORS) == set(PATCH_GENERATORS)
    assert all(function.__name__ == name for name, function in GENERATORS.items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # gamma pi (1 - sigma |pi|) (beta lambda n + (1 - lambda) eta), and 0.1 * 0.92 = 0.092
        (
            "da_gen_paper",
            [
                [0, 0, 0],
                [0.092 * 0.25, 0, -0.092 * 0.75],
                [-0.092 * 0.25, 0, -0.092 * 0.75],
                [0.048 * 0.25, 0, -0.048 * 0.75],
                [0, 0, 0],
            ],
        ),
        # beta outside, the direction (0.25, 0, +-0.75) divided by its length
        (
            "da_gen_released",
            [
                [0, 0, 0],
                [-0.092 / np.sqrt(10), 0, -0.092 * 3 / np.sqrt(10)],
                [0.092 / np.sqrt(10), 0, -0.092 * 3 / np.sqrt(10)],
                [-0.048 / np.sqrt(10), 0, -0.048 * 3 / np.sqrt(10)],
                [0, 0, 0],
            ],
        ),
        # r' = 0, 0.92, 0.92, 0.5 * 0.96, 0.5
        (
            "da_gen_radial",
            [
                [0.025, 0, -0.075],
                [0, 0, 0],
                [0, 0, 0],
                [0.025 * (1 - 0.48 / 0.92), 0, -0.075 * (1 - 0.48 / 0.92)],
                [0.025 * (1 - 0.5 / 0.92), 0.075 * (1 - 0.5 / 0.92), 0],
            ],
        ),
        # r' = 0, 0.9, 0.9, 0.5 * 0.95, 0.5
        (
            "da_gen_prerelease",
            [[0, 0, -0.1], [0, 0, 0], [0, 0, 0], [0, 0, -0.1 * (1 - 0.475 / 0.9)],
             [0, -0.1 * (1 - 0.5 / 0.9), 0]],
        ),
        ("norm_as", [[0, 0, -0.1], [0, 0, 0], [0, 0, 0], [0, 0, -0.05], [0, -0.05, 0]]),
        ("norm_as_signed", [[0, 0, -0.1], [0, 0, 0], [0, 0, 0], [0, 0, -0.05], [0, 0.05, 0]]),
    ],
)  # fmt: skip
def test_closed_forms(name, expected):
    found = GENERATORS[name](POINTS, NORMALS, POINTS[0], DRAW)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_radial_is_the_pre_release_profile_stretched_by_sigma():
    """With the direction along positive normals alone both are one formula."""
    points, normals = random().normal(size=(50, 3)), np.abs(sphere_points(50, random(1)))
    one = replace(DRAW, normal_share=1.0, elongation=1 - DRAW.attenuation)
    np.testing.assert_allclose(
        anomalies.da_gen_radial(points, normals, points[3], one),
        anomalies.da_gen_prerelease(points, normals, points[3], one),
    )


@pytest.mark.parametrize("name", ["da_gen_radial", "da_gen_prerelease"])
def test_stretching_is_along_the_axis(name):
    """At one distance from the centre, points on the axis move more than those beside it."""
    angle = np.linspace(0, 2 * np.pi, 41)[:-1]
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    points = np.concatenate([[[0, 0, 0]], 0.5 * ring, ring])
    normals = np.tile([0.0, 0.0, 1.0], (len(points), 1))
    shares = np.linalg.norm(GENERATORS[name](points, normals, points[0], DRAW), axis=1)[1:41]
    assert shares[0] > 1.03 * shares[10]
    assert shares[0] == pytest.approx(shares[20])


def test_released_differs_from_the_paper_by_its_direction_alone():
    points, normals = random().normal(size=(50, 3)), sphere_points(50, random(1))
    paper = anomalies.da_gen_paper(points, normals, points[0], replace(DRAW, sign=1.0))
    released = anomalies.da_gen_released(points, normals, points[0], replace(DRAW, sign=1.0))
    cosine = (paper * released).sum(1)[1:]
    cosine /= np.linalg.norm(paper[1:], axis=1) * np.linalg.norm(released[1:], axis=1)
    np.testing.assert_allclose(cosine, 1)
    pi = (points - points[0]) @ DRAW.axis
    pi /= np.abs(pi).max()
    np.testing.assert_allclose(
        np.linalg.norm(released, axis=1), 0.1 * np.abs(pi) * (1 - 0.08 * np.abs(pi))
    )


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_never_longer_than_the_magnitude(name, seed, size):
    rng = random(seed)
    points, normals = rng.normal(size=(size, 3)), sphere_points(size, rng)
    one = draw(CONFIG, rng)
    found = GENERATORS[name](points, normals, points[0], one)
    assert np.isfinite(found).all()
    assert np.linalg.norm(found, axis=1).max() <= one.magnitude * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_turns_with_the_object_unless_signs_of_normals_are_dropped(name):
    rng = random(3)
    points, normals, one = rng.normal(size=(60, 3)), sphere_points(60, rng), draw(CONFIG, rng)
    turn = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    turned = GENERATORS[name](
        points @ turn.T, normals @ turn.T, turn @ points[0], replace(one, axis=turn @ one.axis)
    )
    same = np.allclose(turned, GENERATORS[name](points, normals, points[0], one) @ turn.T)
    assert same == (name not in ("norm_as", "da_gen_prerelease"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [np.ones((1, 3)), np.ones((4, 3))], ids=["one", "equal"])
def test_patch_without_extent_is_finite(name, points):
    normals = np.zeros_like(points)
    normals[:, 2] = 1
    found = GENERATORS[name](points, normals, points[0], DRAW)
    centre = {"da_gen_paper": 0.0, "da_gen_released": 0.0, "da_gen_radial": np.hypot(0.025, 0.075)}
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), centre.get(name, 0.1))


def test_released_without_a_direction_is_zero():
    found = anomalies.da_gen_released(
        POINTS, np.zeros((5, 3)), POINTS[0], replace(DRAW, normal_share=1.0)
    )
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize(
    ("name", "centre", "rim", "mean", "cosine"),
    [
        # figures of the released and pre-release code and of PO3AD on a sphere
        ("da_gen_released", 0.0, 0.58, 0.40, 0.999),
        ("da_gen_paper", 0.0, 0.57, 0.39, 0.999),
        ("da_gen_prerelease", 1.0, 0.03, 0.34, 0.72),
        ("norm_as", 1.0, 0.03, 0.34, 0.72),
        ("norm_as_signed", 1.0, 0.03, 0.34, 1.0),
        ("da_gen_radial", 0.975, 0.04, 0.34, 0.999),
    ],
)
def test_looks_on_a_sphere(name, centre, rim, mean, cosine):
    found = looks(name, samples=60, points=6400)
    assert found.centre == pytest.approx(centre, abs=0.01)
    assert found.rim == pytest.approx(rim, abs=0.03)
    assert found.mean == pytest.approx(mean, abs=0.025)
    assert found.cosine == pytest.approx(cosine, abs=0.001 if cosine > 0.99 else 0.09)
    assert found.moved == pytest.approx(1 / 64, rel=0.03)  # the very rim or centre does not move
    assert found.outwards == pytest.approx(0.5, abs=0.2)


def test_a_dipole_pushes_half_of_its_patch_outwards():
    rng = random(8)
    sphere = sphere_points(6400, rng)
    shares = []
    for name in ("da_gen_released", "norm_as_signed"):
        config = replace(CONFIG, generator=name)
        heights = [(deform(sphere, sphere, config, rng) * sphere).sum(axis=1) for _ in range(40)]
        shares.append([(height > 0).sum() / (height != 0).sum() for height in heights])
    assert np.mean(shares[0]) == pytest.approx(0.5, abs=0.05)
    assert np.abs(np.subtract(shares[0], 0.5)).mean() < 0.15
    assert set(shares[1]) == {0.0, 1.0}  # all or nothing


# --- draws


def test_draws_fill_their_ranges():
    rng = random(1)
    draws = [draw(CONFIG, rng) for _ in range(2000)]
    for name in ("magnitude", "normal_share", "attenuation", "elongation"):
        low, high = getattr(CONFIG, name)
        values = [getattr(one, name) for one in draws]
        assert low <= min(values) and max(values) <= high
        assert kstest(values, "uniform", args=(low, high - low)).pvalue > 0.01, name
    assert {one.sign for one in draws} == {-1.0, 1.0}
    assert abs(np.mean([one.sign for one in draws])) < 0.06
    axes = np.array([one.axis for one in draws])
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1)
    for axis in range(3):  # on a sphere each coordinate is uniform
        assert kstest(axes[:, axis], "uniform", args=(-1, 2)).pvalue > 0.01


def test_other_ranges():
    config = replace(CONFIG, magnitude=(0.2, 0.2), normal_share=(0.5, 0.6), attenuation=(1.0, 1.0))
    one = draw(config, random())
    assert (one.magnitude, one.attenuation) == (0.2, 1.0)
    assert 0.5 <= one.normal_share <= 0.6


def test_frozen_draws_stay_the_others_do_not():
    config = replace(CONFIG, frozen=True)
    rng = random(5)
    frozen = draw_frozen(config, rng)
    assert frozen == draw_frozen(config, random(5)) != draw_frozen(config, random(6))
    draws = [draw(config, rng, frozen) for _ in range(20)]
    for name in ("normal_share", "attenuation", "elongation"):
        assert {getattr(one, name) for one in draws} == {getattr(frozen, name)}
        low, high = getattr(config, name)
        assert low <= getattr(frozen, name) <= high
    assert len({one.magnitude for one in draws}) == 20
    free = [draw(CONFIG, rng) for _ in range(20)]
    for name in ("normal_share", "attenuation", "elongation"):
        assert len({getattr(one, name) for one in free}) == 20


def test_nothing_is_frozen_unless_asked_for():
    rng = random(5)
    assert draw_frozen(CONFIG, rng) is None
    assert rng.bit_generator.state == random(5).bit_generator.state
    cloud = sphere_points(200, random())
    frozen = FrozenDraw(1.0, 0.0, 1.0)
    for config, given_ in ((CONFIG, frozen), (replace(CONFIG, frozen=True), None)):
        with pytest.raises(ValueError, match="draw_frozen"):
            deform(cloud, cloud, config, rng, given_)


def test_frozen_reaches_the_displacement():
    """Along the normals exactly with lambda = 1, as drawn for the run."""
    config = replace(CONFIG, frozen=True, deformed=4)
    cloud = sphere_points(640, random())
    found = deform(cloud, cloud, config, random(1), FrozenDraw(1.0, 0.0, 1.0))
    np.testing.assert_allclose(np.cross(found, cloud), 0, atol=1e-15)
    tilted = deform(cloud, cloud, config, random(1), FrozenDraw(0.95, 0.0, 1.0))
    assert np.abs(np.cross(tilted, cloud)).max() > 1e-3


# --- the whole


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("deformed", [1, 5])
def test_is_the_generator_on_patches_of_the_partition(name, deformed):
    """Exactly, with the same draws one after the other."""
    cloud, normals = random().normal(size=(1000, 3)), sphere_points(1000, random(1))
    config = replace(CONFIG, generator=name, deformed=deformed)
    rng = random(7)
    chosen = sorted(rng.choice(32, size=deformed, replace=False))
    cut = partition(cloud, 64, rng, chosen[-1] + 1)
    expected = np.zeros((1000, 3))
    for patch in (cut[index] for index in chosen):
        expected[patch.members] = GENERATORS[name](
            cloud[patch.members], normals[patch.members], cloud[patch.centre], draw(config, rng)
        )
    found = deform(cloud, normals, config, random(7))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
    moved = (found != 0).any(axis=1).sum()
    assert 15 * deformed - 2 * deformed <= moved <= 15 * deformed


def test_same_generator_same_result_whatever_the_global_state():
    cloud = sphere_points(700, random())
    results = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        results.append(deform(cloud, cloud, CONFIG, random(9)))
        np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.testing.assert_array_equal(*results)
    assert not np.array_equal(results[0], deform(cloud, cloud, CONFIG, random(10)))


def test_input_is_left_as_it_was():
    cloud, normals = sphere_points(700, random()), sphere_points(700, random(1))
    copies = cloud.copy(), normals.copy()
    for name in NAMES:
        deform(cloud, normals, replace(CONFIG, generator=name), random())
    np.testing.assert_array_equal(cloud, copies[0])
    np.testing.assert_array_equal(normals, copies[1])


def test_every_candidate_is_as_likely(monkeypatch):
    counts = []

    def count_alone(points, patches, rng, count):
        counts.append(count)
        return partition(points, patches, rng, count)

    monkeypatch.setattr(anomalies, "partition", count_alone)
    cloud, rng = sphere_points(64, random()), random(2)
    for _ in range(1600):
        deform(cloud, cloud, replace(CONFIG, candidates=16), rng)
    assert chisquare(np.bincount(counts, minlength=17)[1:]).pvalue > 0.01  # never one too many


def statistics(cloud: np.ndarray, displacement: np.ndarray) -> tuple[float, ...]:
    """(largest and mean length, spread of the patch, outward share) of a sample on a sphere."""
    lengths = np.linalg.norm(displacement, axis=1)
    moved = lengths > 0
    spread = np.linalg.norm(cloud[moved] - cloud[moved].mean(axis=0), axis=1).max()
    outwards = ((displacement * cloud).sum(axis=1)[moved] > 0).mean()
    return float(lengths.max()), float(lengths[moved].mean()), float(spread), float(outwards)


def test_distributed_as_a_plain_rendering_of_the_released_pipeline():
    """Kolmogorov-Smirnov on four statistics, which tell 32 candidates from all 64."""
    rng = random(11)
    cloud = sphere_points(1280, rng)
    config = replace(CONFIG, generator="da_gen_released")
    plain, ours, other = (
        np.array([statistics(cloud, make(cloud, cloud, setting, rng)) for _ in range(300)]).T
        for make, setting in (
            (plain_released, config),
            (deform, config),
            (deform, replace(config, candidates=64)),
        )
    )
    for a, b in zip(plain, ours, strict=True):
        assert ks_2samp(a, b).pvalue > 0.01
    assert ks_2samp(plain[2], other[2]).pvalue < 1e-4


# --- what cannot be done


@pytest.mark.parametrize("shape", [(63, 3), (0, 3), (100, 2), (100,)])
def test_too_few_points(shape):
    with pytest.raises(InputError, match=r"cannot be cut into 64 patches; .*anomalies\.patches"):
        deform(np.ones(shape), np.ones(shape), CONFIG, random())


def test_normals_that_do_not_fit():
    with pytest.raises(InputError, match=r"\(100, 3\) points but \(99, 3\) normals"):
        deform(np.ones((100, 3)), np.ones((99, 3)), CONFIG, random())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 5e18, 1e30, 1e300])
@pytest.mark.parametrize("row", [0, 50])
def test_not_finite(value, row):
    cloud = sphere_points(100, random())
    cloud[row, 1] = value
    with pytest.raises(InputError, match="not finite"):
        deform(cloud, cloud, CONFIG, random())


def test_needs_no_torch():
    code = "import sys, mc4ad_model.methods.mc4ad.anomalies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
