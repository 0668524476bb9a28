# SPDX-License-Identifier: Apache-2.0
"""Gauss-Newton steps on the likelihood of a cloud on templates, for many poses at a time.

Every point pulls along the gradient of the log-likelihood, and points that fit nowhere pull little.
A point on a blurred surface tells its place along the gradient with the precision 1 / blur ** 2.

Arrays are float32 and hold coordinates in the middle axis, (B, 3, P), so that a coordinate of all
points lies in one piece; rotations are for row vectors, points @ rotation + shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mc4ad_model.registration.likelihood import REACH, Field, Floats, Points, inlier_weight

_LARGEST_TURN, _LARGEST_SHIFT = 0.3, 0.15  # of a step, in radians and radii
_REGION = 5  # cells along the edge of the cubes in which a defect is looked for


@dataclass(frozen=True)
class Poses:
    """B poses: template (B,), rotation (B, 3, 3), shift (B, 3), mean log-likelihood (B,)."""

    template: NDArray[np.intp]
    rotation: Points
    shift: Points
    value: Points

    def __getitem__(self, rows: Any) -> Poses:
        return Poses(self.template[rows], self.rotation[rows], self.shift[rows], self.value[rows])

    @property
    def best_first(self) -> NDArray[np.intp]:
        """Return the rows by decreasing likelihood."""
        return np.argsort(-self.value, kind="stable")

    def of(self, cloud: Floats) -> Floats:
        """Return a cloud (3, P) in each pose, (B, 3, P)."""
        turned = np.matmul(self.rotation.astype(np.float32).swapaxes(1, 2), cloud)
        turned += self.shift.astype(np.float32)[..., None]
        return np.asarray(turned)


def valued(field: Field, cloud: Floats, poses: Poses, smooth: bool = False) -> Poses:
    """Return the poses with the likelihood of a cloud (3, P)."""
    read = field.interpolated if smooth else field.nearest
    found = read(poses.template, poses.of(cloud))
    value = found[..., 0].mean(axis=1, dtype=np.float64)
    return Poses(poses.template, poses.rotation, poses.shift, value)


def refined(
    field: Field,
    cloud: Floats,
    poses: Poses,
    steps: int,
    smooth: bool = False,
    regions: tuple[float, ...] = (),
) -> Poses:
    """Take some steps from all poses.

    Parameters
    ----------
    cloud : (3, P)
    smooth
        Interpolate the field.
    regions
        One width for each step: regions of the template from which the cloud lies off by so much,
        on the mean, pull a quarter as much as others; a bent part then bends the pose less.
    """
    read = field.interpolated if smooth else field.nearest
    for step in range(steps):
        moved = poses.of(cloud)
        found = read(poses.template, moved)
        share = None
        if regions:
            share = _region_weight(field, poses.template, moved, found, regions[step])
        poses = _stepped(poses, moved, found, share, field.blur)
    return valued(field, cloud, poses, smooth)


def _stepped(
    poses: Poses, moved: Floats, found: Floats, share: Floats | None, blur: float
) -> Poses:
    """Take a step.

    moved : (B, 3, P) the cloud in each pose. found : (B, P, 4) log-likelihood and gradient there.
    share : (B, P) of each point's pull that counts; None for all of it.
    """
    centre = moved.mean(axis=2, keepdims=True, dtype=np.float64).astype(np.float32)
    x, y, z = np.moveaxis(moved - centre, 1, 0)
    gx, gy, gz = np.moveaxis(found[..., 1:], -1, 0)
    length = np.sqrt(gx * gx + gy * gy + gz * gz + np.float32(1e-12))
    lever = np.zeros((len(moved), 6, moved.shape[2]), dtype=np.float32)
    np.divide(gx, length, out=lever[:, 3])
    np.divide(gy, length, out=lever[:, 4])
    np.divide(gz, length, out=lever[:, 5])
    nx, ny, nz = lever[:, 3], lever[:, 4], lever[:, 5]
    lever[:, 0] = y * nz - z * ny
    lever[:, 1] = z * nx - x * nz
    lever[:, 2] = x * ny - y * nx
    weight = inlier_weight(found[..., 0]) * np.float32(1 / blur**2)
    if share is not None:
        weight, length = weight * share, length * share
    pulled = np.concatenate([lever * weight[:, None], length[:, None]], axis=1)
    both = np.matmul(lever, pulled.swapaxes(1, 2)).astype(np.float64)  # (B, 6, 7)
    information, slope = both[..., :6], both[..., 6:]
    # along symmetries nothing is known: a little of the mean information keeps the pose there
    mean = np.trace(information, axis1=1, axis2=2) / 6
    information = information + (1e-3 * mean + 1e-9)[:, None, None] * np.eye(6)
    update = np.linalg.solve(information, slope)[..., 0]
    turn = Rotation.from_rotvec(_shortened(update[:, :3], _LARGEST_TURN)).as_matrix()
    turn = turn.swapaxes(1, 2)  # for row vectors
    middle = centre[..., 0].astype(np.float64)
    shift = np.einsum("bi,bij->bj", poses.shift - middle, turn) + middle
    return Poses(
        poses.template,
        poses.rotation @ turn,
        shift + _shortened(update[:, 3:], _LARGEST_SHIFT),
        poses.value,
    )


def _region_weight(
    field: Field, templates: NDArray[np.intp], moved: Floats, found: Floats, width: float
) -> Floats:
    """Return (B, P) weights by how far the cloud lies from the template in a point's region.

    The mean gradient in a cube, less that of points drawn from the model, times blur ** 2, is the
    mean offset there.
    """
    count = field.size // _REGION
    place = (moved + np.float32(REACH)) * np.float32(1 / (_REGION * field.cell))
    np.clip(place, 0, count - 1, out=place)  # first: integers hold no far outlier
    cells = place.astype(np.int32)
    regions = (cells[:, 0] * count + cells[:, 1]) * count + cells[:, 2]  # (B, P)
    weights = np.zeros(regions.shape, dtype=np.float32)
    for b, own in enumerate(regions):
        number = np.maximum(np.bincount(own, minlength=count**3), 1)
        sums = [np.bincount(own, found[b, :, i], minlength=count**3) for i in (1, 2, 3)]
        mean = np.stack(sums, axis=-1) / number[:, None]
        mean -= field.region_gradients(int(templates[b]), _REGION)
        # the noise of the mean itself is no offset
        squared = (mean**2).sum(axis=1) * field.blur**4 - 2 * field.blur**2 / number
        weights[b] = ((1 + np.maximum(squared, 0) / width**2) ** -2.0)[own]
    return weights


def _shortened(vectors: Points, longest: float) -> Points:
    """Return vectors (B, 3) cut to a length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * np.minimum(1, longest / np.maximum(lengths, 1e-12)))
