# SPDX-License-Identifier: Apache-2.0
"""Samples made with a scanner of the specification, without Blender: the defect is a dent."""

from dataclasses import replace

import numpy as np
import pytest

from intravariance.building.blender import Defective
from intravariance.building.plan import SampleJob
from intravariance.building.sample import SampleSettings, make_sample
from intravariance.building.scan import draw_scanner, glance, scan_surface
from intravariance.dataset.sample_checks import SAMPLE_CHECKS, Expected, on_surface, unposed
from intravariance.dataset.scan import ALL_SIDES, Scan
from intravariance.dataset.specification import Specification
from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.geometry.scanning import LEAST_COSINE
from tests.support.samples import product

BALL = product("round_ball")


def dented(direction):
    """Give the ball with a dent in a direction (3,)."""
    vertices = BALL.vertices.astype(float)
    depth = np.clip(vertices @ direction - 0.85, 0, None)
    moved = -depth[:, None] * direction
    return Defective(
        mesh=mesh_from_arrays(vertices + moved, BALL.faces),
        displacement=moved.astype(np.float32),
        cut=np.zeros(len(BALL.faces), dtype=bool),
        rim=np.zeros((0, 3), dtype=np.float32),
        parameters={"departure": 0.1},  # a number, for the signal-to-noise
        rejections=[],
    )


class Denter:
    """Stands for Blender where the place of the defect is what is tested: dents by the entropy."""

    def defect(self, kind, mesh, entropy, severity, size, donor):
        direction = np.random.default_rng(entropy).normal(size=3)
        return replace(dented(direction / np.linalg.norm(direction)), severity=severity)


def sample(
    scan, defect="concavity", number=0, split="test", sigma=0.01, count=1500, points=(1000, 2000)
):
    job = SampleJob(
        f"ball_{split}_{number:03d}", "ball", "round_ball", split, defect, count,
        None if defect == "normal" else 0.5,
    )  # fmt: skip
    settings = SampleSettings(0, "so3", sigma, 0.0, points, scan)
    return make_sample(job, BALL, "test", settings, Denter())


def expected(scan, sigma=0.01):
    return Expected(Specification("s", "", (1000, 2000), (), scan=scan), sigma)


EVERYTHING = Scan(views=1, incidence_noise=0.2, density_variation=0.3, outliers=0.02)


@pytest.mark.parametrize("scan", [ALL_SIDES, Scan(views=2), EVERYTHING])
@pytest.mark.parametrize("defect", ["normal", "concavity"])
def test_samples_pass_the_checks_and_come_out_the_same_again(scan, defect):
    made = sample(scan, defect)
    problems = {name: check(made, expected(scan)) for name, check in SAMPLE_CHECKS.items()}
    assert not any(problems.values()), problems
    assert made.digest == sample(scan, defect).digest


@pytest.mark.parametrize("number", range(6))
def test_one_view_shows_the_defect_and_one_side(number):
    made = sample(Scan(views=1), number=number)
    view = np.array(made.parameters["viewpoints"])[0]
    points = unposed(made.points, made.pose)
    assert (points @ view / 5).min() > -0.1  # nothing from behind the horizon, but for noise
    assert made.labels.sum() >= 10


def test_viewpoints_are_those_of_a_normal_sample_of_the_same_name():
    for number in range(4):
        views = [sample(Scan(views=1), d, number).parameters["viewpoints"]
                 for d in ("normal", "concavity")]  # fmt: skip
        assert views[0] == views[1]


def test_a_defect_that_is_not_seen_is_drawn_again():
    refused = [sample(Scan(views=1), number=number).parameters["rejections"] for number in range(8)]
    assert any(refused)
    assert all("the viewpoints see" in text for texts in refused for text in texts)


def test_a_defect_that_few_points_from_all_sides_miss_is_drawn_again():
    made = [sample(ALL_SIDES, number=number, count=12, points=(10, 14)) for number in range(12)]
    assert all(one.labels.any() for one in made)
    refused = [text for one in made for text in one.parameters["rejections"]]
    assert set(refused) == {"no point lies on it"}


def test_training_samples_hold_all_sides():
    made = sample(EVERYTHING, "normal", split="train")
    assert "viewpoints" not in made.parameters
    surface = on_surface(made, expected(EVERYTHING))
    assert (surface.points.min(axis=0) < -0.9).all()
    assert (surface.points.max(axis=0) > 0.9).all()


def test_stray_points_are_marked_by_their_normals():
    scan = Scan(outliers=0.05)
    made = sample(scan)
    stray = ~made.normals.any(axis=1)
    assert stray.sum() == round(0.05 * len(made.points))
    assert not made.labels[stray].any()
    assert not made.displacement[stray].any()
    assert len(on_surface(made, expected(scan)).points) == (~stray).sum()
    # one more than asked for is found
    made.normals[np.flatnonzero(~stray)[0]] = 0
    assert "stray" in SAMPLE_CHECKS["ranges"](made, expected(scan))


def test_glances_measure_what_is_shown():
    scanner = draw_scanner(BALL, Scan(views=1), 0, "a", 0)
    towards = scanner.views[0] / 5
    rng = np.random.default_rng(0)
    assert glance(dented(towards), scanner, rng).shown > 0.95
    assert glance(dented(-towards), scanner, rng).shown == 0
    # a unit ball from a distance of 5: the integral of the cosine over what is seen of it
    z = (np.arange(10_000) + 0.5) / 10_000
    cosine = (5 * z - 1) / np.sqrt(26 - 10 * z)
    expected_area = 2 * np.pi * cosine[cosine > LEAST_COSINE].sum() / 10_000
    assert glance(dented(-towards), scanner, rng).area == pytest.approx(expected_area, rel=0.05)


def test_one_option_does_not_change_what_another_draws():
    scanner = draw_scanner(BALL, Scan(), 0, "a", 0)
    plain, stray = (
        scan_surface(dented(np.array([0, 0, 1.0])), 1000, scan, scanner, 0, "a")
        for scan in (Scan(), Scan(outliers=0.1))
    )
    same = stray.normals.any(axis=1)
    assert same.sum() == 900
    np.testing.assert_array_equal(plain.points[same], stray.points[same])


def test_noise_grows_where_a_surface_is_seen_at_an_angle():
    scan = Scan(views=1, incidence_noise=1.0)
    made = sample(scan, "normal")
    points = unposed(made.points, made.pose)
    normals = made.normals.astype(float) @ made.pose[:3, :3]
    towards = np.array(made.parameters["viewpoints"])[0] - normals
    cosine = (normals * towards).sum(axis=1) / np.linalg.norm(towards, axis=1)
    off = np.abs(np.linalg.norm(points, axis=1) - 1)
    assert off[cosine < 0.4].mean() > 1.8 * off[cosine > 0.8].mean()
