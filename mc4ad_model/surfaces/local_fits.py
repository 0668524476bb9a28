# SPDX-License-Identifier: Apache-2.0
"""Quadrics through the neighbourhoods of a cloud's points.

Around a point, the part of the cloud inside a cylinder is described by a quadric over the plane
across the cylinder's axis. Heights are measured along the axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

FEWEST = 10  # points in a cylinder, below which a fit says nothing
FREEDOM = 6  # of a quadric over a plane
_REACHED = 40  # neighbours that the cylinder's radius reaches at the least
_MOST = 160  # neighbours that are looked at; where there are more, of a part of the cloud
_REFITS = 3
_RIDGE = 1e-6
_SMALLEST = 1e-9  # radius, of a cylinder around points that coincide


@dataclass(frozen=True, eq=False)
class Fits:
    """Quadrics at P points of a cloud.

    axes : (P, 3) unit vectors along which heights are measured. normals : (P, 3) of the quadrics
    over the point. height : (P,) of the quadric over the point. neighbours : (P, K) rows of the
    cloud's points, nearest first. inside : (P, K) bool, those in the cylinder. residuals : (P, K)
    heights of these over the quadric, 0 elsewhere.
    """

    axes: Floats
    normals: Floats
    height: Floats
    neighbours: Indices
    inside: NDArray[np.bool_]
    residuals: Floats

    @property
    def number(self) -> Indices:
        """(P,) points in each cylinder."""
        return np.asarray(self.inside.sum(axis=1))

    def variance(self, part: slice = slice(None)) -> Floats:
        """(P,) of the heights of some neighbours, corrected for the freedom of the fit."""
        share = np.maximum(self.number - FREEDOM, 1) / np.maximum(self.number, 1)
        number = np.maximum(self.inside[:, part].sum(axis=1), 1)
        return np.asarray((self.residuals[:, part] ** 2).sum(axis=1) / number / share)


def fit_quadrics(
    points: Floats, tree: cKDTree, where: Indices, width: Floats, along: Floats | None = None
) -> Fits:
    """Fit quadrics at some points of a cloud (N, 3), which is in random order.

    Parameters
    ----------
    tree
        A k-d tree of the points.
    where : (P,) rows of the points at which to fit
    width : (P,) smallest radius, and half height, of their cylinders
    along : (P, 3) unit axes of these; None for the normals of the planes through the neighbours
    """
    near, neighbours, radius = _around(points, tree, where, width)
    axes = _planes(near, radius) if along is None else _completed(along)
    local = near @ axes  # (P, K, 3): height, then the plane
    height, plane = local[..., 0], local[..., 1:] / radius[:, None, None]
    u, v = plane[..., 0], plane[..., 1]
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)  # (P, K, 6)
    within = u * u + v * v <= 1
    residuals = height
    for _ in range(_REFITS):
        inside = within & (np.abs(residuals) <= width[:, None])
        chosen = np.where(inside[..., None], terms, 0.0)
        square = chosen.swapaxes(1, 2) @ chosen + _RIDGE * np.eye(FREEDOM)
        right = chosen.swapaxes(1, 2) @ np.where(inside, height, 0.0)[..., None]
        solved = np.linalg.solve(square, right)[..., 0]  # (P, 6)
        residuals = height - (terms @ solved[..., None])[..., 0]
    slopes = -solved[:, 1:3] / radius[:, None]
    tilted = np.einsum("pia,pa->pi", axes, np.column_stack([np.ones(len(where)), slopes]))
    normals = tilted / np.linalg.norm(tilted, axis=1, keepdims=True)
    return Fits(
        axes[..., 0], normals, solved[:, 0], neighbours, inside, np.where(inside, residuals, 0.0)
    )


def _around(
    points: Floats, tree: cKDTree, where: Indices, width: Floats
) -> tuple[Floats, Indices, Floats]:
    """Return the neighbours (P, K, 3) of some points, relative to them, nearest first, their rows
    (P, K), and the radius (P,) of each point's cylinder. Neighbours beyond it are moved far away.

    Where a ball around the cylinder holds more than _MOST points, those of a part of the cloud.
    """
    some = points[where[:: max(1, len(where) // 100)]]
    reach = np.sqrt(2) * float(np.median(width))
    usual = float(np.quantile(tree.query_ball_point(some, reach, return_length=True), 0.9))
    count = len(points)
    if usual > _MOST:
        count = max(_REACHED, int(count * _MOST / usual))
        tree = cKDTree(points[:count])
    distance, index = tree.query(points[where], k=min(_MOST, count))
    radius = np.maximum(np.maximum(width, _SMALLEST), distance[:, min(_REACHED, count) - 1])
    near = points[index] - points[where][:, None]
    near[distance > np.hypot(radius, width)[:, None]] = 1e3
    return near, index, radius


def _planes(near: Floats, radius: Floats) -> Floats:
    """Return (P, 3, 3), in columns: the normal of the neighbours' plane, and two in the plane."""
    squared = (near**2).sum(axis=2) / radius[:, None] ** 2
    weights = np.exp(-2 * squared)
    weights /= weights.sum(axis=1, keepdims=True)
    centred = near - np.einsum("pk,pki->pi", weights, near)[:, None]
    covariance = (centred * weights[..., None]).swapaxes(1, 2) @ centred
    return np.asarray(np.linalg.eigh(covariance)[1])  # in increasing order of their values


def _completed(normals: Floats) -> Floats:
    """Return (P, 3, 3), in columns: unit normals (P, 3), and two vectors at right angles."""
    least = np.eye(3)[np.abs(normals).argmin(axis=1)]
    first = np.cross(normals, least)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([normals, first, np.cross(normals, first)], axis=2)
