# SPDX-License-Identifier: Apache-2.0
"""A network that learns the signed distance from one surface, as DeepSDF and PASDF do.

A place goes through a positional encoding (sines and cosines of rising frequencies) and a
perceptron, which gives its distance from the surface, negative inside. The network learns the
distances of places near the surface; of others it learns only that they are far. Its loss is the L1
norm of distances that are cut off at `clamp`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import point_cloud_utils
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import sample_surface

Floats = NDArray[np.float64]

_PLACES = 50_000  # that a training draws its batches from
_NEAR = (0.1, 0.02)  # spread of places around the surface, radii, for two fifths of them each
_EXTENT = 1.2  # of the cube that the last fifth fills, from 0
_ROWS = 65_536  # places that are computed at once


@dataclass(frozen=True)
class FieldShape:
    """The size of the network."""

    layers: int
    width: int
    frequencies: int


class DistanceField(nn.Module):
    """The signed distance (N,) of places (N, 3), in radii."""

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.frequencies = shape.frequencies
        sizes = [3 + 6 * shape.frequencies] + [shape.width] * shape.layers
        hidden = [
            module
            for before, after in itertools.pairwise(sizes)
            for module in (nn.Linear(before, after), nn.ReLU())
        ]
        self.hidden, self.head = nn.Sequential(*hidden), nn.Linear(sizes[-1], 1)

    def forward(self, places: Tensor) -> Tensor:
        """Encode the places and look them up."""
        scales = np.pi * 2.0 ** np.arange(self.frequencies)
        angles = [places * float(scale) for scale in scales]
        encoded = [places, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))]
        found: Tensor = self.head(self.hidden(torch.cat(encoded, dim=1)))[:, 0]
        return found

    def at(self, places: NDArray[Any]) -> Floats:
        """Look places (N, 3) up: (N,)."""
        device = next(self.parameters()).device
        with torch.no_grad():
            found = [
                self(torch.from_numpy(places[first : first + _ROWS]).float().to(device))
                for first in range(0, len(places), _ROWS)
            ]
        return np.asarray(torch.cat(found).double().cpu().numpy())


@dataclass(frozen=True)
class FieldTraining:
    """How a field is learnt: Adam, with the L1 norm of distances that are cut off at `clamp`."""

    steps: int
    batch: int
    learning_rate: float
    clamp: float


def signed_distance(mesh: Mesh, places: NDArray[Any]) -> Floats:
    """Return the exact distances (N,) of places (N, 3) from a closed surface, negative inside."""
    found, _, _ = point_cloud_utils.signed_distance_to_mesh(
        np.ascontiguousarray(places, dtype=np.float64),
        mesh.vertices.astype(np.float64),
        mesh.faces.astype(np.int64),
    )
    return np.asarray(found, dtype=np.float64)


def learn_field(
    mesh: Mesh,
    shape: FieldShape,
    training: FieldTraining,
    rng: np.random.Generator,
    device: torch.device,
) -> DistanceField:
    """Train a network on the signed distance from a surface, in the template's frame."""
    places = _places(mesh, rng)
    distances = signed_distance(mesh, places)
    inputs, targets = (torch.from_numpy(a).float().to(device) for a in (places, distances))
    targets = targets.clamp(-training.clamp, training.clamp)
    initial = torch.Generator().manual_seed(int(rng.integers(2**31)))
    field = DistanceField(shape)
    for parameter in field.parameters():
        bound = parameter.shape[-1] ** -0.5
        nn.init.uniform_(parameter, -bound, bound, generator=initial)
    with torch.no_grad():  # what is cut off has no gradient, so start well within
        field.head.weight *= training.clamp
        field.head.bias.zero_()
    field = field.to(device)
    optimiser = torch.optim.Adam(field.parameters(), lr=training.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    for _ in range(training.steps):
        chosen = torch.from_numpy(rng.integers(len(places), size=training.batch)).to(device)
        found = field(inputs[chosen]).clamp(-training.clamp, training.clamp)
        loss = (found - targets[chosen]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return field.eval()


def _places(mesh: Mesh, rng: np.random.Generator) -> Floats:
    fifth = _PLACES // 5
    near = [
        sample_surface(mesh, 2 * fifth, rng).points + rng.normal(scale=spread, size=(2 * fifth, 3))
        for spread in _NEAR
    ]
    return np.concatenate([*near, rng.uniform(-_EXTENT, _EXTENT, size=(fifth, 3))])
