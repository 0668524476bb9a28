# SPDX-License-Identifier: Apache-2.0
"""A diffusion of points, whose way back is told by a code of a whole cloud.

Paper. Luo and Hu, Diffusion Probabilistic Models for 3D Point Cloud Generation, CVPR 2021, which
R3D-AD takes over: a PointNet makes a code of a cloud; every point goes from noise to the surface
alone, by a perceptron that sees the code and how much noise there is.

Licence of the source. MIT; nothing of it is used, this is written from the equations.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_FINEST = 0.1  # noise, in radii, below which errors of places count alike


class CloudEncoder(nn.Module):
    """A code (B, code) of clouds (B, N, 3), whatever the order of the points."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        sizes = (3, width, width, 2 * width, 4 * width)
        self.points = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.point_norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:])
        ends = (4 * width, 2 * width, width)
        self.cloud = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(ends))
        self.cloud_norms = nn.ModuleList(nn.BatchNorm1d(size) for size in ends[1:])
        self.code = nn.Linear(width, code)

    def forward(self, clouds: Tensor) -> Tensor:
        """Encode clouds (B, N, 3)."""
        count, size, _ = clouds.shape
        values = clouds.reshape(-1, 3)  # (B N, 3)
        for number, (layer, norm) in enumerate(zip(self.points, self.point_norms, strict=True)):
            values = norm(layer(values))
            if number + 1 < len(self.points):
                values = values.relu()
        values = values.reshape(count, size, -1).amax(dim=1)  # (B, 4 width)
        for layer, norm in zip(self.cloud, self.cloud_norms, strict=True):
            values = norm(layer(values)).relu()
        found: Tensor = self.code(values)
        return found


class _GatedLinear(nn.Module):
    """A linear layer whose output is scaled and shifted by what the context says."""

    def __init__(self, inputs: int, outputs: int, context: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(context, outputs)
        self.shift = nn.Linear(context, outputs, bias=False)

    def forward(self, values: Tensor, context: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(context))[:, None]  # (B, 1, outputs)
        found: Tensor = self.layer(values) * gate + self.shift(context)[:, None]
        return found


class Diffusion(nn.Module):
    """The encoder of clouds, and what says which noise is in their points.

    Parameters
    ----------
    width, code
        Channels of the narrowest layers, and of a cloud's code.
    betas : (T,)
        Variance of the noise that is added at each step.
    frequencies
        Waves of each coordinate that a point's place is told by, besides its coordinates.
    places
        Whether the perceptron says where a point was, from which its noise follows, instead of the
        noise itself.
    """

    alphas: Tensor  # (T + 1,), of no noise first
    shares: Tensor  # (T + 1,): their products, the share of the cloud in the variance

    def __init__(
        self, width: int, code: int, betas: Tensor, frequencies: int = 0, places: bool = False
    ) -> None:
        super().__init__()
        self.places = places
        self.frequencies = frequencies
        self.encoder = CloudEncoder(width, code)
        sizes = (3 + 6 * frequencies, width, 2 * width, 4 * width, 2 * width, width, 3)
        self.layers = nn.ModuleList(
            _GatedLinear(a, b, code + 3) for a, b in itertools.pairwise(sizes)
        )
        alphas = 1 - functional.pad(betas.double(), (1, 0))
        self.register_buffer("alphas", alphas.float())
        self.register_buffer("shares", alphas.cumprod(0).float())

    @property
    def steps(self) -> int:
        """Number of steps from a cloud to noise."""
        return len(self.alphas) - 1

    def noise_in(self, points: Tensor, steps: Tensor, codes: Tensor) -> Tensor:
        """Say which noise is in noisy points (B, N, 3) after (B,) steps, given codes (B, code)."""
        beta = (1 - self.alphas[steps])[:, None]
        context = torch.cat([beta, beta.sin(), beta.cos(), codes], dim=1)
        angles = [points * (math.pi * 2**k) for k in range(self.frequencies)]
        waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
        values = torch.cat([points, *waves], dim=2)  # (B, N, 3 + 6 F)
        for number, layer in enumerate(self.layers):
            values = layer(values, context)
            if number + 1 < len(self.layers):
                values = functional.leaky_relu(values)
        if not self.places:
            return points + values
        share = self.shares[steps][:, None, None]
        place = share.sqrt() * points + values
        return (points - share.sqrt() * place) / (1 - share).sqrt()

    def loss(self, clouds: Tensor, shown: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """Return the mean squared error of the noise in clouds, by the codes of others.

        Points go alone, so parts of a cloud may be after different steps.

        Parameters
        ----------
        clouds : (B, N, 3)
            Clouds to be reconstructed.
        shown : (B, M, 3)
            Points of the same clouds that the encoder sees.
        steps : (B, P)
            1 to T, for each of P parts of a cloud, N / P points each.
        noise : (B, N, 3)
            Standard normal.
        """
        count, parts = steps.shape
        points, added = (one.reshape(count * parts, -1, 3) for one in (clouds, noise))
        codes = self.encoder(shown).repeat_interleave(parts, dim=0)  # (B P, code)
        share = self.shares[steps.flatten()][:, None, None]
        noisy = share.sqrt() * points + (1 - share).sqrt() * added  # (B P, N / P, 3)
        found = self.noise_in(noisy, steps.flatten(), codes)
        errors = (found - added).square()
        if self.places:  # of the smallest noise, no finer than it has to be
            errors = errors * (_FINEST**-2 * (1 - share) / share).clamp(max=1)
        return errors.mean()

    @torch.no_grad()
    def reconstruct(self, cloud: Tensor, count: int, rng: np.random.Generator) -> Tensor:
        """Draw (count, 3) points of the cloud that the code of a cloud (N, 3) stands for."""
        code = self.encoder(cloud[None])
        points = _normal(rng, count, cloud)
        for step in range(self.steps, 0, -1):
            alpha, share, before = self.alphas[step], self.shares[step], self.shares[step - 1]
            at = torch.tensor([step], device=cloud.device)
            noise = self.noise_in(points[None], at, code)[0]
            points = (points - (1 - alpha) / (1 - share).sqrt() * noise) / alpha.sqrt()
            if step > 1:
                spread = ((1 - before) / (1 - share) * (1 - alpha)).sqrt()
                points = points + spread * _normal(rng, count, cloud)
        return points


def _normal(rng: np.random.Generator, count: int, like: Tensor) -> Tensor:
    drawn = rng.standard_normal((count, 3), dtype=np.float32)
    return torch.from_numpy(drawn).to(like.device)
