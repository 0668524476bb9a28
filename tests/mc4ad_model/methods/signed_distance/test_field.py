# SPDX-License-Identifier: Apache-2.0
"""Signed distances, exact and learnt, against those of a ball."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
import trimesh

from intravariance.geometry.mesh import Mesh, mesh_from_arrays
from mc4ad_model.methods.signed_distance.field import (
    DistanceField,
    FieldShape,
    FieldTraining,
    learn_field,
    signed_distance,
)

SHAPE = FieldShape(layers=3, width=32, frequencies=3)
TRAINING = FieldTraining(steps=300, batch=512, learning_rate=3e-3, clamp=0.1)


def ball() -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=4, radius=0.8)
    return mesh_from_arrays(made.vertices, made.faces)


def places(seed: int, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(0.6, 1.0, size=(count, 1))


def learned(seed: int = 0) -> DistanceField:
    rng = np.random.default_rng(seed)
    return learn_field(ball(), SHAPE, TRAINING, rng, torch.device("cpu"))


def test_the_exact_distance_of_a_ball_is_the_radius_less_its_own():
    at = places(1)
    expected = np.linalg.norm(at, axis=1) - 0.8
    np.testing.assert_allclose(signed_distance(ball(), at), expected, atol=2e-3)


def test_a_network_learns_the_distance_near_the_surface_and_the_same_each_time():
    field, at = learned(), places(2)
    found, exact = field.at(at), signed_distance(ball(), at)
    near = np.abs(exact) < 0.08
    assert np.abs(found - exact)[near].mean() < 0.01
    assert (np.sign(found) == np.sign(exact))[np.abs(exact) > 0.03].mean() > 0.98
    assert np.array_equal(learned().at(at), found)
    assert not np.array_equal(learned(1).at(at), found)


def test_the_encoding_is_sines_and_cosines_of_rising_frequencies():
    """Against a plain loop, with the first layer replaced by a sum of its inputs."""
    field = DistanceField(FieldShape(layers=1, width=1, frequencies=2))
    with torch.no_grad():
        field.hidden[0].weight.copy_(torch.arange(1.0, 16.0)[None] / 15)
        field.hidden[0].bias.fill_(5.0)
        field.head.weight.fill_(1.0)
        field.head.bias.zero_()
    at = np.array([[0.3, -0.2, 0.7]])
    encoded = [*at[0]]
    for frequency in (1, 2):
        encoded += [*np.sin(np.pi * frequency * at[0]), *np.cos(np.pi * frequency * at[0])]
    expected = np.dot(np.arange(1, 16) / 15, encoded) + 5
    np.testing.assert_allclose(field.at(at), [expected], rtol=1e-5)
