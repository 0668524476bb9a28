# SPDX-License-Identifier: Apache-2.0
"""The rotations in which a template nearly looks like itself, found by registering it to itself.

A mark on a bottle decides how it is turned about its axis, and a few hundred points of a cloud do
not show the mark. So a pose that was found with few points is tried again in all of the template's
lookalikes, with many points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.registration.likelihood import Field, Points
from mc4ad_model.registration.refinement import Poses, refined, valued

_POINTS = 600
_BEHIND = 0.5  # mean log-likelihood that a start may lack, of the coarse field
_ALIKE = 0.15  # and that a lookalike may lack, of the fine field
_APART = np.radians(6)
_STARTS, _MOST = 400, 200  # a ball looks alike in all rotations, and any will do


@dataclass(frozen=True)
class Motions:
    """Rigid motions, points @ rotation + shift: rotation (K, 3, 3), shift (K, 3)."""

    rotation: Points
    shift: Points


def lookalikes(coarse: Field, fine: Field, template: int, points: Points, grid: Points) -> Motions:
    """Return motions that nearly lay a template on itself, the identity among them and first.

    Parameters
    ----------
    coarse, fine
        Fields of templates.
    template, points : (S, 3)
        Which of these, and points of its surface in any order.
    grid : (R, 3, 3)
        Rotations to start from.
    """
    chosen = points[np.random.default_rng(0).permutation(len(points))[:_POINTS]]
    cloud = np.ascontiguousarray(chosen.T, dtype=np.float32)
    middle = chosen.mean(axis=0)
    rotation = np.concatenate([np.eye(3)[None], grid])
    which = np.full(len(rotation), template)
    poses = Poses(which, rotation, middle - middle @ rotation, np.zeros(len(rotation)))
    poses = valued(coarse, cloud, poses)
    near = np.flatnonzero(poses.value[1:] > poses.value[0] - _BEHIND) + 1
    best = near[np.argsort(-poses.value[near], kind="stable")[:_STARTS]]
    poses = poses[np.append(0, best)]
    itself = valued(fine, cloud, poses[:1], smooth=True)
    poses = refined(coarse, cloud, poses[1:], 4)
    poses = refined(fine, cloud, poses, 4, smooth=True)
    poses = poses[poses.value > itself.value[0] - _ALIKE]
    rows = distinct(poses, _APART, _MOST, itself.rotation)
    return Motions(
        np.concatenate([itself.rotation, poses.rotation[rows]]),
        np.concatenate([itself.shift, poses.shift[rows]]),
    )


def distinct(
    poses: Poses, apart: float, most: int, known: Points | None = None
) -> NDArray[np.intp]:
    """Return the rows of the best poses, best first, that are turned by `apart` radians or more
    from each other and from known rotations (K, 3, 3); `most` at most."""
    taken = list[Points]() if known is None else list(known)
    rows = list[int]()
    for row in poses.best_first:
        traces = np.einsum("bij,ij->b", np.array(taken).reshape(-1, 3, 3), poses.rotation[row])
        if (traces < 1 + 2 * np.cos(apart)).all():
            taken.append(poses.rotation[row])
            rows.append(int(row))
        if len(rows) == most:
            break
    return np.array(rows, dtype=np.intp)
