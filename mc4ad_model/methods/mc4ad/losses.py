# SPDX-License-Identifier: Apache-2.0
"""The combined loss of Eq. 10, as in the released code, with the paper's weights or others.

Means run over all points of the batch. Everything is computed in float32 whatever autocast says,
and is finite, with finite gradients, also where a force is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.configuration import LossConfig
from mc4ad_model.methods.mc4ad.deviations.network import Findings
from mc4ad_model.methods.mc4ad.network import Forces

_SMALL = 1e-8  # Eq. 10
_SMALL_IN_MAGNITUDE = 1e-6  # released code; Eq. 10 has 1e-8 there too


@dataclass(frozen=True)
class Losses:
    """The terms before they are weighted, and `total`, their weighted sum; scalars."""

    distance: Tensor
    direction: Tensor
    symmetry_magnitude: Tensor
    symmetry_direction: Tensor
    total: Tensor

    def items(self) -> Iterator[tuple[str, Tensor]]:
        return iter(vars(self).items())


@dataclass(frozen=True)
class DeviationLosses(Losses):
    """Those of a network on deviations: cross-entropies of its evidence, in voxels and objects."""

    evidence: Tensor
    object: Tensor


def combined_loss(forces: Forces, displacement: Tensor, config: LossConfig) -> Losses:
    """Eq. 10.

    Parameters
    ----------
    forces
        Predicted for N points. A network with one force (three channels) has no L_sym.
    displacement : (N, 3)
        The force that deformed each point, F_D, in the same frame; 0 on other points.

    Raises
    ------
    InputError
        Forces and displacement are of different shapes.
    """
    if forces.internal.shape != displacement.shape:
        raise InputError(
            f"displacement: expected {tuple(forces.internal.shape)} as the forces, "
            f"found {tuple(displacement.shape)}"
        )
    with torch.autocast(displacement.device.type, enabled=False):
        forces = _in_float32(forces)  # before they are combined
        target, force = displacement.float(), forces.combined
        weights = _weights(target, config.balanced)  # [N]
        difference = force - target
        if config.distance_norm == "l1":
            error = difference.abs().sum(dim=1)
        else:
            error = difference.square().sum(dim=1)
        distance = (weights * error).sum()
        direction = -(weights * cosine(target, force)).sum()
        if forces.external is None:
            magnitude = alignment = distance.new_zeros(())
        else:
            magnitude, alignment = _symmetry(forces.internal, forces.external)
        symmetry = config.symmetry_magnitude * magnitude + config.symmetry_direction * alignment
        total = (
            config.distance * distance + config.direction * direction + config.symmetry * symmetry
        )
    return Losses(distance, direction, magnitude, alignment, total)


def deviation_loss(
    findings: Findings, force: Tensor, evidence: Tensor, defective: Tensor, config: LossConfig
) -> DeviationLosses:
    """Add the cross-entropies of the evidence to Eq. 10, which is taken over voxels.

    Parameters
    ----------
    force, evidence : (V, 3), (V,)
        The force that made the defect in each voxel, and the share of its points that a defect
        holds.
    defective : (B,)
        1 for objects with a defect.
    """
    losses = combined_loss(findings.forces, force, config)
    with torch.autocast(force.device.type, enabled=False):
        entropy = nn.functional.binary_cross_entropy_with_logits
        own = entropy(findings.evidence.float(), evidence)
        whole = entropy(findings.objects.float(), defective)
        total = losses.total + config.evidence * own + config.object * whole
    return DeviationLosses(**{**vars(losses), "total": total}, evidence=own, object=whole)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """(N,) cosine between vectors (N, 3); 0 where one is 0."""
    first = first / (norm(first)[:, None] + _SMALL)
    second = second / (norm(second)[:, None] + _SMALL)
    return (first * second).sum(dim=1)


def norm(vectors: Tensor) -> Tensor:
    """(N,) Euclidean norm; its gradient at 0 is 0."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return length


def _in_float32(forces: Forces) -> Forces:
    external = None if forces.external is None else forces.external.float()
    return replace(forces, internal=forces.internal.float(), external=external)


def _weights(target: Tensor, balanced: bool) -> Tensor:
    """(N,) weights that add up to 1."""
    count = len(target)
    if not balanced:
        return target.new_full((count,), 1 / count)
    deformed = (target != 0).any(dim=1)
    number = deformed.sum()
    share = torch.where(deformed, number, count - number)  # of the point's own kind
    kinds = (number > 0).long() + (number < count).long()
    return 1 / (share * kinds).to(target.dtype)


def _symmetry(internal: Tensor, external: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the two terms of L_sym.

    It pulls both forces to be equal, as formula and code agree, whatever the paper's prose says of
    opposing directions.
    """
    both = norm(internal) + norm(external) + _SMALL_IN_MAGNITUDE
    magnitude = ((internal - external).abs().sum(dim=1) / both).mean()
    return magnitude, -cosine(internal, external).mean()
