# SPDX-License-Identifier: Apache-2.0
"""What Anomaly-ShapeNet and Real3D-AD have in common: <class>/{train,test,GT}/<file>.

Ground truth is a table `x y z label` for each defective cloud, with the cloud's stem. Its order is
not the cloud's, and some have a row more, so rows are matched by coordinates. Points are always the
cloud's: both benchmarks' own loaders take those of defective clouds from the ground truth, so that
digits and order tell them from normal ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import PointCloud
from intravariance.cloud_files.labels import match_labels
from intravariance.errors import InputError
from intravariance.exchange.layouts.scan import Scan, Split, parse_member
from intravariance.files.trees import Tree

CLOUDS = (".pcd", ".ply")
_PLACE = re.compile(
    r"(?:(?P<above>.*)/)?(?P<name>[^/]+)/(?P<part>train|test|gt)/(?P<file>[^/]+)", re.IGNORECASE
)


@dataclass(frozen=True)
class ClassFolder:
    """above : the folder that it lies in, "" at the root. train, test : clouds. truth : by stem."""

    above: str
    name: str
    train: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    truth: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{self.above}/{self.name}" if self.above else self.name


def class_folders(names: list[str]) -> list[ClassFolder]:
    """The class folders among the files of a tree; files of other kinds are left out."""
    folders: dict[tuple[str, str], ClassFolder] = {}
    for name in names:
        place = _PLACE.fullmatch(name)
        if place is None:
            continue
        suffix, part = PurePosixPath(name).suffix.lower(), place["part"].lower()
        if suffix not in ((".txt",) if part == "gt" else CLOUDS):
            continue
        key = (place["above"] or "", place["name"])
        folder = folders.setdefault(key, ClassFolder(*key))
        if part == "gt":
            folder.truth[PurePosixPath(name).stem] = name
        else:
            (folder.train if part == "train" else folder.test).append(name)
    return list(folders.values())


def scans_of(
    folder: ClassFolder,
    tree: Tree,
    category: str,
    subcategory: str,
    defect_of: Callable[[str, Split], str | None],
    problems: list[str],
) -> list[Scan]:
    """The scans of one class; adds to `problems` what does not fit.

    defect_of : the defect that the stem of a file in a split names, None for an unknown name.
    """
    scans = []
    unused = set(folder.truth)
    splits: tuple[tuple[Split, list[str]], ...] = (("train", folder.train), ("test", folder.test))
    for split, names in splits:
        for name in names:
            stem = PurePosixPath(name).stem
            defect = defect_of(stem, split)
            truth = "" if defect in (None, NORMAL) else folder.truth.get(stem, "")
            unused.discard(stem)
            if defect is None:
                problems.append(f"{tree.path / name}: its name is none of this layout")
                continue
            if defect != NORMAL and not truth:
                problems.append(
                    f"{tree.path / name}: its ground truth is missing, expected as {stem}.txt in "
                    f"the folder GT or gt of {folder.path}"
                )
            scans.append(
                Scan(
                    f"{folder.name}/{stem}",
                    category,
                    subcategory,
                    split,
                    defect,
                    name,
                    truth,
                    tree,
                    read_scan,
                )
            )
    problems += [
        f"{tree.path / folder.truth[stem]}: there is no cloud {stem} in {folder.path}/test"
        for stem in sorted(unused)
    ]
    return scans


def read_scan(scan: Scan) -> PointCloud:
    """The cloud, with the labels of its ground truth where it has one.

    Raises InputError when either is damaged, or the ground truth has other points.
    """
    cloud = parse_member(scan.tree, scan.cloud)
    if not scan.truth:
        return cloud
    truth = parse_member(scan.tree, scan.truth)
    if truth.labels is None:
        return replace(cloud, labels=None)
    try:
        labels = match_labels(truth.points, truth.labels, cloud.points)
    except InputError as error:
        raise InputError(
            f"{scan.tree.path / scan.truth}: it is not the ground truth of {scan.cloud}: {error}"
        ) from error
    return replace(cloud, labels=labels, notes=(*cloud.notes, *truth.notes))
