# SPDX-License-Identifier: Apache-2.0
"""Figures of one defect: how large, what shape, which way, how sharp.

Every figure is of the labelled points of one cloud. A *moved* point is a labelled point whose
displacement is known and longer than `DISPLACEMENT_THRESHOLD`: cuts have none, deformations have
nothing else. Its *place* is where it was before: the point less its displacement. The *region* is
the largest connected part of the labelled points; two of them are linked within twice the median
distance to the 6th nearest labelled neighbour, so the link follows the density of the cloud.

Stored points are noisy and displacements are not. `pristine` is the same product without a defect,
in the same frame, with as many points and the same noise. Figures that compare with it take noise
off; `elongation` and the profile's places cannot, and noise draws both towards round and flat.

Lengths are in radii of the product's bounding sphere, angles in degrees. None: not defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from annotations.vocabulary import DISPLACEMENT_THRESHOLD
from intravariance.errors import InputError
from intravariance.looking.cloud import LabelledCloud

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Three times the default noise and the usual spacing of 100 neighbours.
CURVATURE_RADIUS = 0.15

_LINK_NEIGHBOUR = 6
_NORMAL_NEIGHBOURS = 8
_FEWEST = 10  # points for a shape or a median to mean something


@dataclass(frozen=True)
class Measures:
    """The measures of one defect; every field is described in `QUANTITIES`.

    Parameters
    ----------
    magnitude_mean, magnitude_max
        Mean and largest length of displacement over the moved points, in radii. None without any.
    area_share
        Labelled points / all points. Points are drawn evenly by area, so it is a share of area.
    elongation
        The largest principal standard deviation of the region's points over the second largest;
        1 is round. None with fewer than 10 points.
    angle, angle_spread
        Median and interquartile range, over the moved points, of the angle between the
        displacement and the outward normal of the pristine surface at the point's place, in
        degrees: 0 outwards, 90 along the surface, 180 inwards. The normal is the mean of those
        of the 8 nearest pristine points, without the ones that face away from the point's own
        normal (the other side of a thin wall) unless all do. None with fewer than 10 moved
        points, or without `pristine`.
    curvature_change
        Mean over labelled points of the surface variation (`surface_variation`) minus that of
        the pristine cloud at the pristine point nearest to the point's place; on surface that a
        cut exposed, nearest to the point itself. Positive: more bent, creased or torn than
        before. That the nearest pristine point is chosen adds about 0.003 at the default noise,
        where the surface variation is about 0.12. So `pristine` has to be another draw of the
        noise than the cloud's, for all clouds that are compared. None without `pristine`.
    centre_share
        Mean displacement of the inner half of the region's moved points over the sum of the
        means of the inner and the outer half; halves as in `profile`. 0.5 is flat, 1 is all
        at the centre, below 0.5 is more at the rim. None with fewer than 10 moved points, or an
        empty half.
    """

    magnitude_mean: float | None
    magnitude_max: float | None
    area_share: float | None
    elongation: float | None
    angle: float | None
    angle_spread: float | None
    curvature_change: float | None
    centre_share: float | None


@dataclass(frozen=True)
class Quantity:
    """The title, unit ("" = a pure number) and meaning in one phrase, of a field of `Measures`."""

    title: str
    unit: str
    meaning: str

    @property
    def label(self) -> str:
        """Return the title, with the unit where there is one."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


QUANTITIES: dict[str, Quantity] = {
    "magnitude_mean": Quantity("mean displacement", "radii", "how far the surface was moved"),
    "magnitude_max": Quantity("largest displacement", "radii", "how far its farthest point was"),
    "area_share": Quantity("share of area", "", "labelled points of all points"),
    "elongation": Quantity("elongation", "", "length over width of the region; 1 is round"),
    "angle": Quantity("angle to the normal", "degrees", "0 outwards, 180 inwards (median)"),
    "angle_spread": Quantity("spread of the angle", "degrees", "interquartile range in a defect"),
    "curvature_change": Quantity(
        "change of surface variation", "", "more bent, creased or torn than the pristine surface"
    ),
    "centre_share": Quantity(
        "share of the centre", "", "0.5 moved evenly, 1 only at the centre, 0 only at the rim"
    ),
}


def measure_defect(
    cloud: LabelledCloud, pristine: LabelledCloud | None, radius: float = CURVATURE_RADIUS
) -> Measures:
    """Measure one defect.

    Parameters
    ----------
    cloud
        With labelled points.
    pristine
        The same product without a defect; None when there is none, as of scans.
    radius
        Radius of the neighbourhoods for `curvature_change`.

    Raises
    ------
    InputError
        The cloud has no labelled point.
    """
    labelled = _labelled(cloud)
    moved = _moved(cloud, labelled)
    region = labelled_region(cloud)
    lengths = cloud.moved[moved]
    angle = spread = curvature = None
    if pristine is not None:
        curvature = _curvature_change(cloud, pristine, labelled, radius)
        if moved.sum() >= _FEWEST:
            low, angle, high = np.percentile(_angles(cloud, pristine, moved), (25, 50, 75)).tolist()
            spread = high - low
    return Measures(
        magnitude_mean=float(lengths.mean()) if len(lengths) else None,
        magnitude_max=float(lengths.max()) if len(lengths) else None,
        area_share=float(labelled.mean()),
        elongation=_elongation(cloud.points[region].astype(np.float64)),
        angle=angle,
        angle_spread=spread,
        curvature_change=curvature,
        centre_share=_centre_share(cloud, moved & region),
    )


def profile(cloud: LabelledCloud, bins: int = 10) -> Floats:
    """Measure displacement from the centre of the region to its rim.

    The region's moved points are binned: the distance d of each place from the mean of all places,
    less the depth of that mean beneath the surface, sqrt(d^2 - min d^2), is divided by the largest
    and cut into equal bins.

    Returns
    -------
    (bins,) mean length of displacement in each bin, as a share of the largest length of a point;
    NaN where a bin is empty, and everywhere with fewer than 10 moved points.

    Raises
    ------
    InputError
        The cloud has no labelled point.
    """
    members = _moved(cloud, _labelled(cloud)) & labelled_region(cloud)
    values = np.full(bins, np.nan)
    if members.sum() < _FEWEST:
        return values
    lengths = cloud.moved[members]
    place = np.minimum((_outwardness(cloud, members) * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    total = np.bincount(place, lengths, minlength=bins)
    filled = count > 0
    values[filled] = total[filled] / count[filled] / lengths.max()
    return values


def labelled_region(cloud: LabelledCloud) -> Mask:
    """Return (N,) the largest connected part of the labelled points (of equals, the first)."""
    labelled = np.flatnonzero(cloud.labels > 0)
    region = np.zeros(len(cloud.points), dtype=bool)
    if len(labelled) < 2:
        region[labelled] = True
        return region
    tree = cKDTree(cloud.points[labelled].astype(np.float64))
    nth = min(_LINK_NEIGHBOUR, len(labelled) - 1)
    distance, _ = tree.query(tree.data, k=nth + 1)  # the first is the point itself
    pairs = tree.query_pairs(2 * float(np.median(distance[:, nth])), output_type="ndarray")
    links = np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])
    graph = coo_array(links, shape=(len(labelled), len(labelled)))
    _, component = connected_components(graph, directed=False)
    region[labelled[component == np.bincount(component).argmax()]] = True
    return region


def surface_variation(points: NDArray[Any], queries: NDArray[Any], radius: float) -> Floats:
    """Measure how far a surface is from flat around places: 0 flat, 1/3 no surface at all.

    The smallest eigenvalue of the covariance of the points within `radius`, over the sum of all
    three (Pauly, Gross and Kobbelt 2002).

    Parameters
    ----------
    points
        (N, 3) of the surface.
    queries
        (Q, 3) places, in the same frame.

    Returns
    -------
    (Q,) float64; NaN where fewer than 4 points are within reach or all of them coincide.
    """
    points, queries = np.asarray(points, np.float64), np.asarray(queries, np.float64)
    found = cKDTree(queries).sparse_distance_matrix(
        cKDTree(points), radius, output_type="ndarray"
    )  # pairs: i of the query, j of the point
    offsets = points[found["j"]] - queries[found["i"]]  # small numbers keep their digits
    sums = [np.bincount(found["i"], minlength=len(queries))]
    sums += [np.bincount(found["i"], offsets[:, a], len(queries)) for a in range(3)]
    count, *first = (np.asarray(item, dtype=np.float64) for item in sums)
    enough = count >= 4
    mean = np.stack(first, axis=1)[enough] / count[enough, None]
    covariance = np.zeros((int(enough.sum()), 3, 3))
    for a in range(3):
        for b in range(a, 3):
            products = np.bincount(found["i"], offsets[:, a] * offsets[:, b], len(queries))
            second = products[enough] / count[enough] - mean[:, a] * mean[:, b]
            covariance[:, a, b] = covariance[:, b, a] = second
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance), 0)  # ascending
    total = eigenvalues.sum(axis=1)
    variation = np.full(len(queries), np.nan)
    variation[enough] = np.where(
        total > 0, eigenvalues[:, 0] / np.where(total > 0, total, 1), np.nan
    )
    return variation


def _labelled(cloud: LabelledCloud) -> Mask:
    """Return (N,) the labelled points; raise InputError when there is none."""
    labelled = cloud.labels > 0
    if not labelled.any():
        raise InputError(
            f"{cloud.name}: no point is labelled anomalous, so there is no defect to measure; "
            "give the cloud's labels, or leave it out"
        )
    return labelled


def _moved(cloud: LabelledCloud, labelled: Mask) -> Mask:
    """Return (N,) labelled points whose displacement is known and not zero."""
    with np.errstate(invalid="ignore"):
        return np.asarray(labelled & (cloud.moved > DISPLACEMENT_THRESHOLD))


def _places(cloud: LabelledCloud, members: Mask) -> Floats:
    """Return (M, 3) places of points before the defect; their own place where that is unknown."""
    points = cloud.points[members].astype(np.float64)
    if cloud.displacement is None:
        return points
    return points - np.nan_to_num(cloud.displacement[members].astype(np.float64))


def _elongation(points: Floats) -> float | None:
    if len(points) < _FEWEST:
        return None
    _, second, largest = np.linalg.eigvalsh(np.cov(points.T))
    return float(np.sqrt(largest / second)) if second > 1e-9 * largest else None


def _angles(cloud: LabelledCloud, pristine: LabelledCloud, moved: Mask) -> Floats:
    """Return (M,) degrees between the displacement of moved points and the pristine normal."""
    assert cloud.displacement is not None  # or nothing would have moved
    count = min(_NORMAL_NEIGHBOURS, len(pristine.points))
    tree = cKDTree(pristine.points.astype(np.float64))
    _, index = tree.query(_places(cloud, moved), k=np.arange(1, count + 1))  # (M, count)
    near = pristine.normals[index].astype(np.float64)  # (M, count, 3)
    facing = (near * cloud.normals[moved, None]).sum(axis=2) > 0
    facing |= ~facing.any(axis=1, keepdims=True)
    normal = (near * facing[:, :, None]).sum(axis=1)
    displacement = cloud.displacement[moved].astype(np.float64)
    across = np.linalg.norm(np.cross(displacement, normal), axis=1)
    along = (displacement * normal).sum(axis=1)
    return np.asarray(np.degrees(np.arctan2(across, along)))


def _curvature_change(
    cloud: LabelledCloud, pristine: LabelledCloud, labelled: Mask, radius: float
) -> float | None:
    before = pristine.points.astype(np.float64)
    _, nearest = cKDTree(before).query(_places(cloud, labelled))
    places, which = np.unique(nearest, return_inverse=True)
    change = (
        surface_variation(cloud.points, cloud.points[labelled], radius)
        - surface_variation(before, before[places], radius)[which]
    )
    known = np.isfinite(change)
    return float(change[known].mean()) if known.any() else None


def _outwardness(cloud: LabelledCloud, members: Mask) -> Floats:
    """Return (M,) from 0 at the place nearest to the mean of all places to 1 at the farthest.

    On a curved surface the mean lies beneath it. Pythagoras takes that depth off.
    """
    places = _places(cloud, members)
    squared = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    squared -= squared.min()
    return np.asarray(np.sqrt(squared / (squared.max() or 1.0)))


def _centre_share(cloud: LabelledCloud, members: Mask) -> float | None:
    if members.sum() < _FEWEST:
        return None
    lengths, inner = cloud.moved[members], _outwardness(cloud, members) < 0.5
    if inner.all() or not inner.any():
        return None
    centre, rim = lengths[inner].mean(), lengths[~inner].mean()
    return float(centre / (centre + rim))
