# SPDX-License-Identifier: Apache-2.0
"""MulSen-AD: products seen by a camera, an infrared camera and a laser scanner; its point clouds.

Li et al., arXiv:2412.14592, doi:10.48550/arXiv.2412.14592.
Code MIT: https://github.com/ZZZBBBZZZ/MulSen-AD

    [MulSen_AD/]
        capsule/                            15 classes
            Pointcloud/train/0.stl          the scan as a mesh; its distinct vertices are the cloud
            Pointcloud/test/good/0.stl
            Pointcloud/test/hole/0.stl      the defects differ from class to class
            Pointcloud/GT/hole/0.txt        x,y,z,... of the anomalous points alone
            RGB/GT/hole/data.csv            object,RGB,IR,PC: in which sensor an object is anomalous
            RGB/..., Infrared/...           images, not read

Traps. An object of test/hole may be anomalous in a picture alone: where data.csv has 0 under PC its
cloud is normal, has no ground truth, and is read as a normal test cloud, as the data set's own
reader for single 3D detection does. data.csv names objects by the number of the file; where its
numbers are not those of the files, its rows are those of the files in order, as that reader takes
them. Each row of the ground truth marks the vertex nearest to it. That reader takes the nearest at
any distance; here a row farther away than vertices are from each other is refused. Vertices that
are exactly the same count once, in the order of their first place in the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import PointCloud
from intravariance.cloud_files.cloud import AXES, cloud_from_columns
from intravariance.cloud_files.text import parse_cells
from intravariance.dataset.specification import Split
from intravariance.errors import InputError
from intravariance.exchange.layouts.scan import Scan, check_problems, in_order, natural
from intravariance.exchange.layouts.unread import Place, emptied
from intravariance.files.trees import Tree
from intravariance.sources.formats.stl import read_stl

LAYOUT_NAME = "mulsen-ad"
_PLACE = re.compile(
    r"(?P<above>(?:.*/)?(?P<name>[^/]+)/)Pointcloud/"
    r"(?:(?P<part>train)|(?P<test>test|GT)/(?P<defect>[^/]+))/(?P<stem>[^/]+)\.(?P<suffix>[^/.]+)"
)
_GOOD = "good"
# A row of ground truth may lie this many median distances of neighbours away from its vertex.
_REACH = 1.0
_ASKED = 2000  # vertices whose neighbours are looked at
_SENSORS = 4  # columns of data.csv: object, RGB, IR, PC

# Anomalous or not in the cloud, by the stem of the file.
_Labels = dict[str, bool]


def recognises(names: list[str]) -> bool:
    """Tell whether the files of a tree look like this layout."""
    return any(
        match["suffix"].lower() == "stl" and match["test"] != "GT"
        for match in map(_PLACE.fullmatch, names)
        if match
    )


def find(tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
    """Return all scans, in order. Raises InputError with everything that does not fit."""
    names = tree.files("")
    places = {name: match for name in names if (match := _PLACE.fullmatch(name))}
    truths = {
        (match["above"], match["defect"].lower(), match["stem"]): name
        for name, match in places.items()
        if match["test"] == "GT" and match["suffix"].lower() == "txt"
    }
    clouds = {
        name: match
        for name, match in places.items()
        if match["test"] != "GT" and match["suffix"].lower() == "stl"
    }
    problems: list[str] = []
    labels = _anomalous(tree, names, list(clouds.values()), problems)
    scans: dict[str, Scan] = {}
    for name, match in clouds.items():
        split: Split = "test" if match["test"] else "train"
        truth, defect = "", NORMAL
        folder = "train" if split == "train" else match["defect"]
        its = labels.get((match["above"], folder), {}) if split == "test" else {}
        if its.get(match["stem"]):
            defect = folder.lower()
            truth = truths.pop((match["above"], defect, match["stem"]), "")
            if not truth:
                problems.append(
                    f"{tree.path / name}: its ground truth is missing, expected as "
                    f"Pointcloud/GT/{folder}/{match['stem']}.txt"
                )
        number = f"{match['name']}/{folder}/{match['stem']}"
        if number in scans:
            problems.append(f"{tree.path / name}: there is {scans[number].paths[0]} as well")
            continue
        listing = _listing(match["above"], folder)
        scans[number] = Scan(
            number, match["name"], "", split, defect, name, truth, tree, read_scan,
            lists=(listing,) if its and listing in names else (),
        )  # fmt: skip
    known = {(m["above"], (m["defect"] or "").lower(), m["stem"]) for m in clouds.values()}
    problems += [
        f"{tree.path / name}: there is no cloud {key[2]}.stl in Pointcloud/test/{key[1]}"
        for key, name in sorted(truths.items())
        if key not in known
    ]
    if not scans and not problems:
        problems.append("there are no clouds <class>/Pointcloud/{train,test/<defect>}/*.stl")
    problems += emptied(tree, scans.values(), _place)
    check_problems(problems, LAYOUT_NAME, root, skipped)
    return in_order(list(scans.values()))


def read_scan(scan: Scan) -> PointCloud:
    """Read the distinct vertices of a scan, with the labels of its ground truth.

    Raises InputError when either file is damaged, or a row of the ground truth has no vertex.
    """
    try:
        vertices = _distinct(read_stl(scan.tree.read(scan.cloud))[0])
        cloud = cloud_from_columns(dict(zip(AXES, vertices.T, strict=True)), choices=scan.choices)
    except InputError as error:
        raise InputError(f"{scan.paths[0]}: {error}") from error
    if not scan.truth:
        return cloud
    try:
        rows = parse_cells(scan.tree.read(scan.truth))[0]
        return replace(cloud, labels=_nearest(rows, cloud.points))
    except InputError as error:
        raise InputError(f"{scan.paths[1]}: {error}") from error


def _distinct(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the different rows of (N, 3), in the order of their first places."""
    if not len(vertices):
        raise InputError("it has no vertices")
    order = np.lexsort(vertices.T)
    rows = vertices[order]
    first = np.append(True, (rows[1:] != rows[:-1]).any(axis=1))
    return np.asarray(vertices[np.sort(order[first])])


def _nearest(rows: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return (N,) labels of `points`, (N, 3), 1 where a point is the nearest to one of `rows`."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    if rows.shape[1] < 3 or not np.isfinite(rows[:, :3]).all():
        raise InputError(f"it has {rows.shape[1]} columns, expected x,y,z of finite numbers")
    tree = cKDTree(points)
    some = points[:: max(1, len(points) // _ASKED)]
    spacing = float(np.median(tree.query(some, 2)[0][:, 1])) if len(points) > 1 else 0.0
    distance, nearest = tree.query(rows[:, :3])
    far = int((distance > _REACH * spacing).sum())
    if far:
        raise InputError(
            f"{far:,} of its {len(rows):,} rows are no vertices of the scan: the farthest is "
            f"{distance.max():.3g} away, and vertices are {spacing:.3g} apart. Do both belong "
            "together?"
        )
    labels = np.zeros(len(points), dtype=np.uint8)
    labels[nearest] = 1
    return labels


def _anomalous(
    tree: Tree, names: list[str], clouds: list[re.Match[str]], problems: list[str]
) -> dict[tuple[str, str], _Labels]:
    """Read which clouds are anomalous, for each class and folder of a defect."""
    stems: dict[tuple[str, str], list[str]] = defaultdict(list)
    for match in clouds:
        if match["test"] and match["defect"].lower() != _GOOD:
            stems[match["above"], match["defect"]].append(match["stem"])
    listed = set(names)
    return {
        key: _labels(tree, *key, its, problems)
        if _listing(*key) in listed
        else dict.fromkeys(its, True)
        for key, its in stems.items()
    }


def _listing(above: str, defect: str) -> str:
    return f"{above}RGB/GT/{defect}/data.csv"


def _labels(tree: Tree, above: str, defect: str, stems: list[str], problems: list[str]) -> _Labels:
    """Read which clouds of a defect's folder are anomalous, from its data.csv.

    Adds to `problems` when that does not fit, and takes all of them for anomalous.
    """
    name = _listing(above, defect)
    everyone = dict.fromkeys(stems, True)
    rows = [line.split(",") for line in tree.read(name).decode("latin-1").splitlines()[1:]]
    rows = [[cell.strip() for cell in row] for row in rows if any(map(str.strip, row))]
    if any(len(row) < _SENSORS or row[_SENSORS - 1] not in ("0", "1") for row in rows):
        problems.append(
            f"{tree.path / name}: expected are lines object,RGB,IR,PC with 0 or 1 for a sensor"
        )
        return everyone
    anomalous = [row[_SENSORS - 1] == "1" for row in rows]
    by_number = dict(zip((row[0] for row in rows), anomalous, strict=True))
    if set(stems) <= set(by_number):
        return {stem: by_number[stem] for stem in stems}
    if len(rows) == len(stems):
        return dict(zip(sorted(stems, key=natural), anomalous, strict=True))
    problems.append(
        f"{tree.path / name}: it has {len(rows)} objects, and Pointcloud/test/{defect} has "
        f"{len(stems)} scans"
    )
    return everyone


def _place(name: str) -> Place | None:
    """Return where a cloud of a name would belong, whatever its kind."""
    match = _PLACE.fullmatch(f"{name}." if "." not in name.rpartition("/")[2] else name)
    if match is None or match["test"] == "GT":
        return None
    if match["part"]:
        return match["name"], "train", NORMAL
    defect = match["defect"].lower()
    return match["name"], "test", NORMAL if defect == _GOOD else defect
