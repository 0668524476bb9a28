# SPDX-License-Identifier: Apache-2.0
"""The surface of a product and the noise on it, estimated from noisy clouds of it.

Quadrics through the neighbourhoods of a cloud's points smooth it (`local_fits`): a point's foot on
its quadric is its place on the surface, and the way from there to the point is kept as its noise.
So nothing is assumed of the noise; and where two walls are closer together than it is wide, one
sheet is found between them, with offsets that spread as the two walls do.

Lengths are in the cloud's unit. docs/methods.md says how far the estimates are off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from intravariance.errors import InputError
from intravariance.geometry.normals import outward_votes
from mc4ad_model.surfaces.local_fits import FEWEST, Floats, fit_quadrics

Cloud = NDArray[np.float32]

FEWEST_POINTS = 100  # of a cloud
_FLAT = 1e-6  # thickness of a cloud over its length, below which it is but rounding errors thick
# Radius and half height of cylinders, in standard deviations of the noise: where it is measured,
# and where it is smoothed away. Wider ones round more edges off, and narrower ones smooth less.
_WIDTH, _SMOOTHING_WIDTH = 3.0, 4.5
_SPACING = 40  # neighbours whose distance sets where the search for the noise begins
_PLACES = 4800  # of all clouds together, where the noise is measured
_QUIET = 0.25  # share of them, those that spread least, which say what the noise is
_START = 0.01  # noise that the search begins with, as a share of the spacing
_STEP, _KNOWN = 1.5, 0.3
_ROUNDS = 30
_KEPT = 0.9733  # variance of a standard normal distribution cut off at _WIDTH
_AVERAGED = 32  # neighbours whose normals are averaged
_CHUNK = 1000  # points at a time
_SIDE_NEIGHBOURS = 12  # whose normals are to point to the same side


@dataclass(frozen=True, eq=False)
class EstimatedSurface:
    """A cloud, taken apart.

    points, normals : (S, 3) float64, the feet of the cloud's points on the surface, with outward
    unit normals. offsets : (S, 3) float64 from these to the points.
    """

    points: Floats
    normals: Floats
    offsets: Floats

    @cached_property
    def tree(self) -> cKDTree:
        """A k-d tree of the feet."""
        return cKDTree(self.points)

    def noise(self, points: Floats) -> Floats:
        """Return the noise (N, 3) of the feet nearest to points (N, 3) on the surface."""
        return np.asarray(self.offsets[self.tree.query(points)[1]])


def estimate_noise(clouds: Sequence[Cloud], rng: np.random.Generator) -> float:
    """Estimate the standard deviation of the noise across the surface of clouds (N, 3).

    The clouds have the same noise. The search begins with less than there is, which sets the size
    of the cylinders; what is found in them sets the next, until nothing changes. The quarter of the
    places that spread least decide: elsewhere edges, details and thin walls look like noise.

    Raises
    ------
    InputError
        A cloud has fewer than FEWEST_POINTS.
    """
    shuffled = [_shuffled(cloud, rng) for cloud in clouds]
    trees = [cKDTree(points) for points in shuffled]
    count = max(FEWEST_POINTS, _PLACES // len(clouds))
    places = [np.arange(min(len(points), count)) for points in shuffled]
    spacing = [
        np.median(tree.query(points[:count], k=min(_SPACING, len(points)))[0][:, -1])
        for points, tree in zip(shuffled, trees, strict=True)
    ]
    sigma = _START * float(np.median(spacing))
    for _ in range(_ROUNDS):
        measured = [
            _variances(points, tree, where, _WIDTH * sigma)
            for points, tree, where in zip(shuffled, trees, places, strict=True)
        ]
        chosen, own = (np.concatenate(part) for part in zip(*measured, strict=True))
        if len(chosen) < _KNOWN * sum(map(len, places)):
            sigma *= _STEP  # too thin for the clouds
            continue
        quiet = own[np.argsort(chosen, kind="stable")[: max(1, round(_QUIET * len(chosen)))]]
        before, sigma = sigma, float(np.sqrt(quiet.mean() / _KEPT))
        if abs(sigma - before) < 0.005 * before or sigma < 1e-3 * min(spacing):
            break
    return sigma


def estimate_surface(
    cloud: Cloud, noise_sigma: float, rng: np.random.Generator
) -> EstimatedSurface:
    """Estimate the surface of a product from a cloud (N, 3) with about that much noise.

    The feet are in random order.

    Raises
    ------
    InputError
        As `check_cloud`.
    """
    check_cloud(cloud)
    points = _shuffled(cloud, rng)
    tree = cKDTree(points)
    near = tree.query(points, k=min(_AVERAGED, len(points)))[1]
    _, rough = _feet(points, tree, None, noise_sigma)
    feet, normals = _feet(points, tree, _averaged(rough, near), noise_sigma)
    return EstimatedSurface(feet, _outward(feet, normals), points - feet)


def check_cloud(cloud: Cloud, name: str = "point cloud") -> None:
    """Check that a surface can be estimated from a cloud (N, 3).

    Raises
    ------
    InputError
        It has fewer than FEWEST_POINTS, or all of them are in one plane: such a surface has no
        outside. The name is named.
    """
    _check_count(cloud, name)
    length, _, thickness = np.linalg.svd(cloud - cloud.mean(axis=0, dtype=float), False, False)
    if thickness <= _FLAT * length:
        raise InputError(
            f"{name}: all of its points are in one plane; expected the surface of a body, or a "
            "sheet with the noise of a scan"
        )


def _check_count(cloud: Cloud, name: str = "point cloud") -> None:
    if len(cloud) < FEWEST_POINTS:
        raise InputError(
            f"{name}: has {len(cloud)} points; a surface can be estimated from {FEWEST_POINTS} or "
            "more"
        )


def _feet(
    points: Floats, tree: cKDTree, axes: Floats | None, noise_sigma: float
) -> tuple[Floats, Floats]:
    """Return the feet (N, 3) of all points on their quadrics, and the normals (N, 3) there.

    axes : (N, 3) along which heights are measured; None for those of the neighbours' planes.
    """
    feet, normals = points.copy(), np.zeros_like(points)
    for start in range(0, len(points), _CHUNK):
        where = np.arange(start, min(start + _CHUNK, len(points)))
        along = None if axes is None else axes[where]
        width = np.full(len(where), _SMOOTHING_WIDTH * noise_sigma)
        fits = fit_quadrics(points, tree, where, width, along)
        known = (fits.number >= FEWEST)[:, None]
        feet[where] += np.where(known, fits.height[:, None] * fits.axes, 0.0)
        normals[where] = np.where(known, fits.normals, fits.axes)
    return feet, normals


def _variances(
    points: Floats, tree: cKDTree, where: NDArray[np.intp], width: float
) -> tuple[Floats, Floats]:
    """Return the variance of every other neighbour, and that of the rest, where there are enough:
    the first say where it is quiet, the second how quiet, without the luck of being chosen."""
    fits = fit_quadrics(points, tree, where, np.full(len(where), width))
    known = fits.number >= 2 * FEWEST
    first, second = (fits.variance(slice(start, None, 2))[known] for start in (0, 1))
    return first, second


def _outward(points: Floats, normals: Floats) -> Floats:
    """Turn normals (N, 3) so that neighbours agree, and most to the side that can be seen."""
    import open3d as o3d  # noqa: PLC0415 - weight

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points))
    cloud.normals = o3d.utility.Vector3dVector(normals)
    cloud.orient_normals_consistent_tangent_plane(_SIDE_NEIGHBOURS)
    turned = np.asarray(cloud.normals)
    return turned if outward_votes(points, turned).sum() >= 0 else -turned


def _shuffled(cloud: Cloud, rng: np.random.Generator) -> Floats:
    """Return a cloud (N, 3) in random order."""
    _check_count(cloud)
    return np.asarray(cloud[rng.permutation(len(cloud))], dtype=np.float64)


def _averaged(normals: Floats, near: NDArray[np.intp]) -> Floats:
    """Average the directions (N, 3) of some neighbours (N, K); their signs mean nothing."""
    squares = np.einsum("ni,nj->nij", normals, normals).reshape(-1, 9)
    total = np.zeros_like(squares)
    for column in near.T:
        total += squares[column]
    return np.asarray(np.linalg.eigh(total.reshape(-1, 3, 3))[1][:, :, 2])
