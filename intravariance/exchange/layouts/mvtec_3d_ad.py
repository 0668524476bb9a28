# SPDX-License-Identifier: Apache-2.0
"""MVTec 3D-AD (Bergmann et al., VISAPP 2022, doi:10.5220/0010865000003124).

Data CC BY-NC-SA 4.0: https://www.mvtec.com/company/research/datasets/mvtec-3d-ad

    [mvtec_3d_anomaly_detection/]
        bagel/                              10 classes
            train/good/xyz/000.tiff         organised float32 H x W x 3 in metres, 0 0 0 = missing
            validation/good/...             normal too; not listed, as the benchmark trains without
            test/good/xyz/000.tiff
            test/crack/xyz/000.tiff         the defects differ from class to class
            test/crack/gt/000.png           not 0 = anomalous; good scans may have one
            */*/rgb/000.png                 not read

Traps. The cloud shows the table under the product as well: it is removed as the published methods
(BTF, M3DM) do, with their parameters but deterministically. A plane is fitted by RANSAC to the
pixels of the image's border, PLANE_DISTANCE m thick and in PLANE_TRIALS trials, and everything
within REMOVAL_DISTANCE m of it goes. Those connected parts of the rest stay that have at least
PART_SHARE of the points of the largest; points within LINK_DISTANCE m are connected. (The published
methods keep the largest cluster of DBSCAN alone, at the same distance and with 30 points: of a
product broken in two they keep one half.) Ground truth on removed pixels is lost; a note says how
much. There are no normals. The paper of the data set and other users count 948 anomalous scans
among the 4,147; the paper of MC4AD says 894, presumably the same digits mixed up.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import PointCloud
from intravariance.cloud_files.cloud import LARGEST_COORDINATE
from intravariance.dataset.specification import Split
from intravariance.errors import InputError
from intravariance.exchange.layouts.scan import Scan, check_problems, in_order
from intravariance.exchange.layouts.tiff import check_size, read_tiff
from intravariance.exchange.layouts.unread import Place, emptied
from intravariance.files.trees import Tree
from intravariance.seeds import generator

LAYOUT_NAME = "mvtec-3d-ad"
BORDER = 10  # pixels
PLANE_DISTANCE, PLANE_TRIALS = 0.004, 1000
REMOVAL_DISTANCE = 0.005
LINK_DISTANCE, CELL = 0.006, 0.0015
PART_SHARE = 0.1
_SCORED = 2000  # border points that judge a trial
_FEWEST = 50  # border points for a plane
_PLACE = re.compile(
    r"(?:.*/)?(?P<name>[^/]+)/(?P<split>train|validation|test)/(?P<defect>[^/]+)/"
    r"(?P<kind>xyz|gt)/(?P<stem>[^/]+)\.(?P<suffix>tiff?|png)"
)
_ANY_PLACE = re.compile(
    r"(?:.*/)?(?P<name>[^/]+)/(?P<split>train|test)/(?P<defect>[^/]+)(?:/xyz)?/[^/]+"
)

Grid = NDArray[np.float64]
Mask = NDArray[np.bool_]
_Image = TypeVar("_Image", Grid, Mask)


def recognises(names: list[str]) -> bool:
    """Tell whether the files of a tree look like this layout."""
    return any(
        match["kind"] == "xyz" for match in map(_PLACE.fullmatch, names) if match is not None
    )


def find(tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
    """Return all scans of train and test, in order.

    Raises InputError with everything that is missing.
    """
    places = {name: match for name in tree.files("") if (match := _PLACE.fullmatch(name))}
    truths = {_key(match): name for name, match in places.items() if match["kind"] == "gt"}
    problems: list[str] = []
    scans: dict[str, Scan] = {}
    for name, match in places.items():
        if match["kind"] != "xyz" or match["split"] == "validation" or match["suffix"] == "png":
            continue
        split: Split = "train" if match["split"] == "train" else "test"
        defect = NORMAL if match["defect"] == "good" else match["defect"].lower()
        number, truth = _key(match), truths.get(_key(match), "")
        if defect != NORMAL and not truth:
            problems.append(
                f"{tree.path / name}: its ground truth is missing, expected as "
                f"../gt/{match['stem']}.png"
            )
        if number in scans:
            problems.append(f"{tree.path / name}: there is {scans[number].paths[0]} as well")
            continue
        scans[number] = Scan(number, match["name"], "", split, defect, name, truth, tree,
                             read_scan)  # fmt: skip
    if not scans and not problems:
        problems.append("there are no files <class>/{train,test}/<good or defect>/xyz/*.tiff")
    problems += emptied(tree, scans.values(), _place)
    check_problems(problems, LAYOUT_NAME, root, skipped)
    return in_order(list(scans.values()))


def read_scan(scan: Scan) -> PointCloud:
    """Read the points of the product, row by row, without the table under it."""
    grid = _read(scan, scan.cloud, read_tiff)
    present = (grid != 0).any(axis=2) & (np.abs(grid) <= LARGEST_COORDINATE).all(axis=2)
    if not present.any():
        raise InputError(f"{scan.paths[0]}: it has no points")
    kept = product_pixels(grid, present, generator(0, scan.id, "background plane"))
    if not kept.any():
        raise InputError(f"{scan.paths[0]}: nothing is left when the background is removed")
    notes = [f"background removed: {int(present.sum() - kept.sum()):,} of {present.sum():,} points"]
    labels = None
    if scan.truth:
        truth = _read(scan, scan.truth, _read_mask)
        if truth.shape != kept.shape:
            raise InputError(
                f"{scan.paths[1]}: its size is {truth.shape[1]} x {truth.shape[0]}, that of "
                f"the scan {kept.shape[1]} x {kept.shape[0]}"
            )
        lost = int((truth & present & ~kept).sum())
        notes += [f"{lost:,} anomalous points lie in the removed background"] if lost else []
        labels = truth[kept].astype(np.uint8)
    return PointCloud(grid[kept], None, labels, notes=tuple(notes))


def product_pixels(grid: Grid, present: Mask, rng: np.random.Generator) -> Mask:
    """Tell which pixels show the product, (H, W).

    grid : (H, W, 3), m. present : (H, W) pixels with a point. Where the border has too few points
    for a plane, only connected parts are chosen.
    """
    border = present.copy()
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    kept = present.copy()
    if border.sum() >= _FEWEST:
        normal, offset = fit_plane(grid[border], rng)
        kept &= np.abs(grid @ normal - offset) >= REMOVAL_DISTANCE
    kept[kept] = largest_parts(grid[kept])
    return kept


def fit_plane(points: Grid, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Return unit normal and offset of the plane near the most of `points`, (N, 3), N >= 3.

    RANSAC over planes through three points, then least squares on the points within
    PLANE_DISTANCE.
    """
    trials = points[rng.integers(0, len(points), (PLANE_TRIALS, 3))]  # (T, 3, 3)
    normals = np.cross(trials[:, 1] - trials[:, 0], trials[:, 2] - trials[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.maximum(lengths, 1e-300)  # three points in a line: a plane that nothing is near
    offsets = np.where(lengths[:, 0] > 0, (normals * trials[:, 0]).sum(axis=1), np.inf)
    judges = points[rng.permutation(len(points))[:_SCORED]]
    near = (np.abs(judges @ normals.T - offsets) < PLANE_DISTANCE).sum(axis=0)  # (T,)
    normal, offset = normals[near.argmax()], float(offsets[near.argmax()])
    for _ in range(2):
        inliers = points[np.abs(points @ normal - offset) < PLANE_DISTANCE]
        if len(inliers) < 3:
            break
        centre = inliers.mean(axis=0)
        normal = np.linalg.svd(inliers - centre, full_matrices=False)[2][2]
        offset = float(centre @ normal)
    return normal, offset


def largest_parts(points: Grid) -> Mask:
    """Tell which of `points`, (N, 3), lie in a part of at least PART_SHARE of the largest, (N,).

    Points in a cell of CELL are one part, and so are cells whose points' means are within
    LINK_DISTANCE: parts closer than about CELL more than it may join.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    if not len(points):
        return np.zeros(0, dtype=bool)
    cells, cell, counts = np.unique(
        np.floor(points / CELL), axis=0, return_inverse=True, return_counts=True
    )
    cell = cell.reshape(-1)  # NumPy 2.0 keeps a second axis
    means = np.stack(
        [np.bincount(cell, points[:, axis], len(cells)) / counts for axis in range(3)], axis=1
    )
    pairs = cKDTree(means).query_pairs(LINK_DISTANCE, output_type="ndarray")  # (P, 2)
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    part = connected_components(graph, directed=False)[1]  # of each cell
    sizes = np.bincount(part, counts)
    return np.asarray((sizes >= PART_SHARE * sizes.max())[part[cell]])


def _place(name: str) -> Place | None:
    """Return where a scan of a name would belong, whatever its kind."""
    match = _ANY_PLACE.fullmatch(name)
    if match is None:
        return None
    defect = NORMAL if match["defect"] == "good" else match["defect"].lower()
    return match["name"], "train" if match["split"] == "train" else "test", defect


def _key(match: re.Match[str]) -> str:
    return f"{match['name']}/{match['split']}/{match['defect']}/{match['stem']}"


def _read(scan: Scan, name: str, parse: Callable[[bytes], _Image]) -> _Image:
    try:
        return parse(scan.tree.read(name))
    except InputError as error:
        raise InputError(f"{scan.tree.path / name}: {error}") from error


def _read_mask(data: bytes) -> Mask:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            check_size(picture.width, picture.height)
            return np.asarray(picture.convert("L")) > 0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"it is not a readable PNG image ({error})") from error
