# SPDX-License-Identifier: Apache-2.0
"""`predict_force`: frames and units, with networks whose force is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from intravariance.errors import InputError
from intravariance.geometry.sampling import sample_surface
from mc4ad_model.methods.mc4ad.configuration import ScoringConfig
from mc4ad_model.methods.mc4ad.network import CFPNet, Forces
from mc4ad_model.methods.mc4ad.scoring import point_scores, predict_force
from mc4ad_model.methods.mc4ad.training_samples import centre_and_scale
from mc4ad_model.registration.poses import Pose, Registration
from tests.support.networks import scrambled
from tests.support.runs import tiny
from tests.support.samples import product

Field = Callable[[torch.Tensor], torch.Tensor]


class Known(torch.nn.Module):
    """A network without parameters that answers with a field, and remembers what it was given."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field, self.given = field, []

    def predict(self, clouds: list[torch.Tensor]) -> list[Forces]:
        self.given += clouds
        return [Forces(2 * self.field(c), torch.zeros_like(c), "mean") for c in clouds]


class At:
    """A registration that finds one pose."""

    def __init__(self, rotation: np.ndarray, shift: np.ndarray) -> None:
        self.pose = Pose(0, rotation, shift, 0.0)

    def register(self, points: np.ndarray) -> Pose:
        return self.pose


def predictor(
    field: Field, registration: Any = None
) -> tuple[Callable[[np.ndarray], np.ndarray], Known]:
    network = Known(field)

    def predicted(points: np.ndarray) -> np.ndarray:
        pose = None if registration is None else registration.register(points)
        return predict_force(network, points, pose)  # type: ignore[arg-type]

    return predicted, network


def cloud(seed: int = 0, points: int = 60) -> np.ndarray:
    stretch = (1.0, 0.6, 0.3)
    return (np.random.default_rng(seed).normal(size=(points, 3)) * stretch).astype(np.float32)


def turn(seed: int) -> np.ndarray:
    return np.asarray(Rotation.random(random_state=seed).as_matrix())


LINEAR = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.3, 0.1], [0.2, 0.0, 0.4]])


def some_field(points: torch.Tensor) -> torch.Tensor:
    """Neither symmetrical nor linear."""
    return points @ LINEAR + points.abs() * 0.1 + 0.05


# --- own frame


def test_own_frame_gives_the_network_a_centred_unit_cloud():
    detector, network = predictor(some_field)
    points = cloud() * 3 + 5
    detector(points.astype(np.float32))
    given = network.given[0]
    assert given.dtype == torch.float32
    assert float(given.mean(dim=0).abs().max()) < 1e-6
    assert float(given.norm(dim=1).max()) == pytest.approx(1)


def test_own_frame_answers_in_the_units_of_the_file():
    """A force of 0.5 radii along x on a cloud of radius 3 is 1.5 along x."""
    detector, _ = predictor(lambda p: torch.tensor([0.5, 0, 0]).expand_as(p))
    points = cloud()
    centroid, scale = centre_and_scale(points)
    radius3 = ((points - centroid) * scale * 3 + 7).astype(np.float32)
    force = detector(radius3)
    assert force.dtype == np.float32
    assert np.allclose(force, [1.5, 0, 0], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-3, 3))
def test_own_frame_forces_grow_with_the_cloud_and_stay_when_it_is_moved(seed, size, shift):
    detector, _ = predictor(some_field)
    points = cloud(seed)
    moved = detector((points * size + shift).astype(np.float32))
    assert np.allclose(moved, size * detector(points), rtol=1e-3, atol=1e-4 * size)


def test_own_frame_is_not_turned():
    """As released: the network sees the cloud as it lies."""
    detector, network = predictor(some_field)
    detector(cloud())
    centroid, scale = centre_and_scale(cloud())
    assert np.allclose(network.given[0].numpy(), (cloud() - centroid) * scale, atol=1e-6)


# --- registered frame


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_registered_forces_turn_with_the_cloud(seed):
    """Whatever the pose: the network sees the same cloud, the force is turned with it."""
    rotation, points = turn(seed), cloud(seed)
    shift = np.random.default_rng(seed).normal(size=3)
    detector, network = predictor(some_field, At(rotation, shift))
    posed = ((points - shift) @ rotation.T).astype(np.float32)
    force = detector(posed)
    assert np.allclose(network.given[0].numpy(), points, atol=1e-5)
    expected = some_field(torch.from_numpy(points)).numpy() @ rotation.T
    assert np.allclose(force, expected, atol=1e-5)


def test_registered_forces_have_the_length_of_the_networks():
    detector, _ = predictor(some_field, At(turn(1), np.array([0.3, -0.2, 0.1])))
    points = cloud()
    network = some_field(
        torch.from_numpy(points @ turn(1)).float() + torch.tensor([0.3, -0.2, 0.1])
    )
    assert np.allclose(
        np.linalg.norm(detector(points), axis=1), network.norm(dim=1).numpy(), atol=1e-5
    )


def test_true_displacements_come_back_through_a_real_registration():
    """The network knows what displaced a point in the template's frame; stored, it is the file's
    displacement."""
    rng = np.random.default_rng(2)
    mesh = product("flat_brick")
    points = sample_surface(mesh, 900, rng).points
    displacement = 0.2 * np.exp(-np.square(points - points[0]).sum(1) / 0.1)[:, None] * [0, 0, 1.0]
    template = sample_surface(mesh, 6000, rng).points
    rotation, shift = turn(4), np.array([0.1, -0.2, 0.15])
    stored = ((points + displacement) @ rotation.T + shift).astype(np.float32)
    registration = Registration([template])
    pose = registration.register(stored)
    # a brick lies on its template in four ways: the field must be in the one that was found
    field = torch.from_numpy(displacement @ rotation.T @ pose.rotation).float()
    detector, _ = predictor(lambda p: field, registration)
    assert np.allclose(detector(stored), displacement @ rotation.T, atol=1e-5)


# --- a real network, and bad input


def test_a_real_network_is_asked_through_predict():
    config = tiny()
    network: CFPNet = scrambled(config.network).float()
    points = cloud(points=400)
    centroid, scale = centre_and_scale(points)
    given = torch.from_numpy(((points - centroid) * scale).astype(np.float32))
    expected = network.predict([given])[0].combined.numpy() / scale
    assert np.allclose(predict_force(network, points, None), expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_cloud_without_size_is_an_error(value):
    detector, _ = predictor(some_field)
    with pytest.raises(InputError, match="point cloud"), np.errstate(all="ignore"):
        detector(np.full((10, 3), value, dtype=np.float32))


# --- scores of points


FORCE = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, -1.0]], dtype=np.float32)


def test_point_scores_by_hand() -> None:
    assert point_scores(FORCE, ScoringConfig(point="l1")).tolist() == [7, 0, 3]
    l2 = point_scores(FORCE, ScoringConfig(point="l2"))
    assert l2 == pytest.approx([5, 0, np.sqrt(3)])
    assert l2.dtype == np.float32


def test_l2_does_not_depend_on_the_frame_and_l1_does() -> None:
    """Why the field's L1 is a choice and not a detail: it is no property of the object."""
    rng = np.random.default_rng(0)
    force = rng.normal(size=(50, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    l1, l2 = ScoringConfig(point="l1"), ScoringConfig(point="l2")
    assert point_scores(force @ turn, l2) == pytest.approx(point_scores(force, l2), rel=1e-6)
    assert np.abs(point_scores(force @ turn, l1) - point_scores(force, l1)).max() > 0.1
