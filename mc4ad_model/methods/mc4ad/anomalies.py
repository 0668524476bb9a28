# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies: patches of a normal cloud, and the displacement that makes a defect of one.

A cloud of N points is cut into G = `patches` disjoint patches, one after the other: a random centre
among the points that are still free, and the K = floor(N / G) free points nearest to it. Early
patches are compact, late ones collect what is left. `deformed` of the first `candidates` patches
are displaced by one of GENERATORS; every other point stays. Displacements are what the network is
trained to predict: deformed minus original position, so that subtracting it repairs.

The paper's Eq. 5, its text, the released code and the code before its release disagree; each is a
generator of its own. Lengths are in the unit of the points (the unit ball's radius, in training),
normals have length 1. All randomness is from the generator passed in, and the same draws are made
for every generator: one seed gives the same patches, magnitudes, signs and axes with each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.anomaly_families import deform_by_family
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig
from mc4ad_model.pseudo_anomalies.added import added_displacement

Vectors = NDArray[np.float64]
Indices = NDArray[np.intp]

# Bound of float32's error in half a squared distance, as a share of the largest half square.
_ROUNDING = 4e-6


@dataclass(frozen=True)
class FrozenDraw:
    """Values that the released code draws once for a run, as default arguments of a method.

    Parameters
    ----------
    normal_share
        Lambda of Eq. 5, the normal's share of the direction.
    attenuation
        Sigma of Eq. 5, the stretching.
    elongation
        The pre-release code's stretching; 1 is none.
    """

    normal_share: float
    attenuation: float
    elongation: float


@dataclass(frozen=True)
class Draw(FrozenDraw):
    """All that is random about one patch's displacement.

    Parameters
    ----------
    magnitude
        Gamma, the largest displacement.
    sign
        Beta, -1 or 1.
    axis
        Eta, (3,) float64, a unit vector uniform on the sphere.
    """

    magnitude: float
    sign: float
    axis: Vectors


@dataclass(frozen=True)
class Patch:
    """Indices of a patch's centre and of all its points (the centre too), in increasing order."""

    centre: int
    members: Indices


def deform(
    points: Vectors,
    normals: Vectors,
    config: AnomalyConfig,
    rng: np.random.Generator,
    frozen: FrozenDraw | None = None,
) -> Vectors:
    """Displace random patches of a normal cloud.

    Parameters
    ----------
    points, normals : (N, 3) float64
    frozen : `draw_frozen`'s answer for the same config

    Returns
    -------
    (N, 3) float64, zeros outside of the deformed patches.

    Raises
    ------
    InputError
        There are fewer points than patches, the arrays do not fit, or a coordinate is not finite.
    ValueError
        `frozen` is missing although `config.frozen` is set, or the other way round.
    """
    if config.frozen != (frozen is not None):
        raise ValueError("frozen: expected draw_frozen(config, rng) of the same config")
    points = np.asarray(points, dtype=np.float64)
    normals = np.asarray(normals, dtype=np.float64)
    if normals.shape != points.shape:
        raise InputError(
            f"pseudo-anomalies: {points.shape} points but {normals.shape} normals; "
            "expected one normal for each point"
        )
    if config.generator == "af3ad":
        return deform_by_family(points, normals, config, rng)
    if config.generator not in GENERATORS:
        return added_displacement(config.generator, points, normals, rng)
    chosen = np.sort(rng.choice(config.candidates, size=config.deformed, replace=False))
    # later patches change nothing in these: they are never cut
    patches = partition(points, config.patches, rng, count=int(chosen[-1]) + 1)
    displacement = np.zeros(points.shape, dtype=np.float64)
    for index in chosen:
        patch = patches[index]
        displacement[patch.members] = GENERATORS[config.generator](
            points[patch.members],
            normals[patch.members],
            points[patch.centre],
            draw(config, rng, frozen),
        )
    return displacement


def draw_frozen(config: AnomalyConfig, rng: np.random.Generator) -> FrozenDraw | None:
    """Draw what stays the same for a whole run; return None unless `config.frozen`."""
    return _draw_shape(config, rng) if config.frozen else None


def draw(config: AnomalyConfig, rng: np.random.Generator, frozen: FrozenDraw | None = None) -> Draw:
    """Return the random numbers of one patch; those of `frozen` are taken from there."""
    magnitude = rng.uniform(*config.magnitude)
    sign = 1.0 if rng.integers(2) else -1.0
    axis = rng.standard_normal(3)
    shape = frozen or _draw_shape(config, rng)
    return Draw(
        normal_share=shape.normal_share,
        attenuation=shape.attenuation,
        elongation=shape.elongation,
        magnitude=magnitude,
        sign=sign,
        axis=axis / np.linalg.norm(axis),
    )


# --- generators: (K, 3) points and normals, (3,) centre, draw -> (K, 3) float64 displacement


def da_gen_paper(points: Vectors, normals: Vectors, centre: Vectors, draw: Draw) -> Vectors:
    """Eq. 5 as printed: a dipole, zero at the centre, opposite at the two ends of the axis.

    F = [beta lambda nu + (1 - lambda) eta] gamma (pi / max pi) (1 - sigma |pi|), with pi the signed
    projection on eta. As in the released code max is over |pi|, and pi is divided by it in both
    places (the paper calls it normalised). The bracket is not normalised.
    """
    pi = _projection(points, centre, draw.axis)
    profile = pi * (1 - draw.attenuation * np.abs(pi))
    return draw.magnitude * profile[:, None] * _direction(normals, draw)


def da_gen_radial(points: Vectors, normals: Vectors, centre: Vectors, draw: Draw) -> Vectors:
    """Eq. 5 with the profile that its text describes: gamma at the centre, decaying to the rim.

    F = [beta lambda nu + (1 - lambda) eta] gamma w, where w falls linearly with the distance, and
    distances along eta count less by sigma: the patch is stretched along eta. That is w of
    `da_gen_prerelease` with elongation 1 - sigma.
    """
    profile = _decay(points, centre, draw.axis, 1 - draw.attenuation)
    return draw.magnitude * profile[:, None] * _direction(normals, draw)


def da_gen_released(points: Vectors, normals: Vectors, centre: Vectors, draw: Draw) -> Vectors:
    """Follow the release: `da_gen_paper` with beta on the whole vector, and a unit direction."""
    pi = _projection(points, centre, draw.axis)
    profile = pi * (1 - draw.attenuation * np.abs(pi))
    direction = draw.normal_share * normals + (1 - draw.normal_share) * draw.axis
    # a length of zero: the normal is missing, or opposite to the axis with a share of one half
    length: Vectors = np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    return draw.sign * draw.magnitude * profile[:, None] * (direction / length)


def da_gen_prerelease(points: Vectors, normals: Vectors, centre: Vectors, draw: Draw) -> Vectors:
    """Follow the code before its release (3348b5c): `norm_as`, longer along the axis."""
    profile = _decay(points, centre, draw.axis, draw.elongation)
    octant: Vectors = np.abs(normals)
    return draw.sign * draw.magnitude * profile[:, None] * octant


def norm_as(points: Vectors, normals: Vectors, centre: Vectors, draw: Draw) -> Vectors:
    """PO3AD's Norm-AS as in its code: the normal's components lose their signs.

    All points of all patches move into the positive octant, or all into the negative one.
    """
    profile = _decay(points, centre, draw.axis, 1.0)
    octant: Vectors = np.abs(normals)
    return draw.sign * draw.magnitude * profile[:, None] * octant


def norm_as_signed(points: Vectors, normals: Vectors, centre: Vectors, draw: Draw) -> Vectors:
    """PO3AD's Norm-AS as described: along the normals, gamma at the centre, zero at the rim."""
    profile = _decay(points, centre, draw.axis, 1.0)
    return draw.sign * draw.magnitude * profile[:, None] * normals


GENERATORS: dict[str, Callable[[Vectors, Vectors, Vectors, Draw], Vectors]] = {
    "da_gen_paper": da_gen_paper,
    "da_gen_radial": da_gen_radial,
    "da_gen_released": da_gen_released,
    "da_gen_prerelease": da_gen_prerelease,
    "norm_as": norm_as,
    "norm_as_signed": norm_as_signed,
}


# --- the patches


def partition(points: Vectors, patches: int, rng: np.random.Generator, count: int) -> list[Patch]:
    """Cut the first `count` of `patches` patches; the N mod `patches` left over go to the last.

    Patches are those of sorting all distances in float64, ties by index (tests compare): float32
    distances only say which points can be among the nearest.

    Parameters
    ----------
    points
        (N, 3) float64.

    Raises
    ------
    InputError
        There are fewer points than patches, or a coordinate is not finite.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < patches:
        raise InputError(
            f"pseudo-anomalies: points of shape {points.shape} cannot be cut into {patches} "
            "patches; take more points, or fewer patches (anomalies.patches)"
        )
    points = np.asarray(points, dtype=np.float64)
    size = len(points) // patches
    free = _FreePoints(points)
    drawn = _draw_points(len(points), rng, batch=2 * count)
    cut = []
    for index in range(count):
        centre = next(point for point in drawn if free.has(point))
        members = free.nearest(centre, size) if index < patches - 1 else free.all()
        free.take(members)
        cut.append(Patch(centre, members))
    return cut


def _draw_points(points: int, rng: np.random.Generator, batch: int) -> Iterator[int]:
    """Any points without end, all alike: the next free one is then any of the free ones."""
    while True:
        yield from rng.integers(points, size=batch).tolist()


class _FreePoints:
    """The points that no patch has taken, and which of them are nearest to a point.

    Half a squared distance is |x|^2 / 2 - x c + |c|^2 / 2. Its first two terms, in float32, are
    `rough`: they tell two distances apart unless these are within `slack`; float64 does then.
    """

    def __init__(self, points: Vectors) -> None:
        self.points = points  # (N, 3)
        # (4, N): x, y, z from one of the points, for digits; half the square, infinite once taken
        self.table = np.zeros((4, len(points)), dtype=np.float32)
        local, self.half_squares = self.table[:3], self.table[3]
        with np.errstate(over="ignore", invalid="ignore"):  # an error below
            for axis in range(3):
                np.subtract(points[:, axis], points[0, axis], out=local[axis], casting="same_kind")
            np.einsum("ij,ij->j", local, local, out=self.half_squares)
        self.half_squares /= 2
        largest = float(self.half_squares.max())
        if not largest < 1e36:  # not a number is not either
            raise InputError(
                "pseudo-anomalies: a coordinate is not finite or larger than 1e18; "
                "normalise the cloud first"
            )
        tiny = float(np.finfo(np.float32).tiny)
        self.slack = _ROUNDING * largest + tiny
        # half the squared radius within which to look, learnt from patch to patch
        self.reach = largest / 100 + tiny

    def has(self, point: int) -> bool:
        """Whether a point is free."""
        return bool(self.half_squares[point] < np.inf)

    def all(self) -> Indices:
        """Return indices of all free points."""
        return np.flatnonzero(self.half_squares < np.inf)

    def take(self, members: Indices) -> None:
        """Take points out of the free ones."""
        self.half_squares[members] = np.inf

    def nearest(self, centre: int, size: int) -> Indices:
        """Return the indices of the `size` free points nearest to a free one, in their order."""
        x, y, z, base = self.table[:, centre].tolist()
        weights = np.array([-x, -y, -z, 1], dtype=np.float32)
        rough = np.einsum("i,ij->j", weights, self.table)  # (N,) infinite where taken
        while True:
            limit = self.reach - base
            near = rough < limit
            found = int(np.count_nonzero(near))  # a fraction of the time of finding them
            if found >= size:
                candidates = np.flatnonzero(near)
                values = rough.take(candidates)
                farthest = float(np.partition(values, size - 1)[size - 1])
                if farthest + self.slack < limit:
                    break
            self.reach *= max(1.3, 1.15 * size / max(found, 1))
        self.reach *= 1.15 * size / found
        inside = values < farthest - self.slack
        unsure = np.flatnonzero(~inside & (values <= farthest + self.slack))
        missing = size - int(np.count_nonzero(inside))
        if missing < len(unsure):
            offsets = self.points[candidates[unsure]] - self.points[centre]
            squares = (offsets * offsets).sum(axis=1)
            unsure = unsure[np.argsort(squares, kind="stable")[:missing]]
        inside[unsure] = True
        members: Indices = candidates[inside]
        return members


# --- what generators share


def _draw_shape(config: AnomalyConfig, rng: np.random.Generator) -> FrozenDraw:
    return FrozenDraw(
        normal_share=rng.uniform(*config.normal_share),
        attenuation=rng.uniform(*config.attenuation),
        elongation=rng.uniform(*config.elongation),
    )


def _direction(normals: Vectors, draw: Draw) -> Vectors:
    """(K, 3), the bracket of Eq. 5: the sign turns the normal alone; of length 1 at most."""
    return draw.sign * draw.normal_share * normals + (1 - draw.normal_share) * draw.axis


def _projection(points: Vectors, centre: Vectors, axis: Vectors) -> Vectors:
    """(K,) positions along the axis, 0 at the centre, the farthest at -1 or 1."""
    projection = (points - centre) @ axis
    farthest = np.abs(projection).max()
    return projection / farthest if farthest > 0 else projection


def _decay(points: Vectors, centre: Vectors, axis: Vectors, elongation: float) -> Vectors:
    """(K,) from 1 at the nearest to the centre to 0 at the rim; longer along the axis.

    Distances are multiplied by 1 - (1 - elongation) |position along the axis|. A patch that is one
    point has 1.
    """
    distances = np.linalg.norm(points - centre, axis=1)
    distances *= 1 - (1 - elongation) * np.abs(_projection(points, centre, axis))
    nearest, farthest = distances.min(), distances.max()
    if farthest == nearest:
        return np.ones(len(points))
    # 1 - r / max r, rescaled to [0, 1], is this
    return np.asarray((farthest - distances) / (farthest - nearest), dtype=np.float64)
