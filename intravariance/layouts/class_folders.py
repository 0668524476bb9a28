# SPDX-License-Identifier: Apache-2.0
"""What Anomaly-ShapeNet and Real3D-AD have in common: <class>/{train,test,GT}/<file>.

Ground truth is a table `x y z label` for each defective cloud, with the cloud's stem. Points are
read from it as well, not only labels, as both benchmarks' own loaders do: its order is not the
cloud's, and some have a row more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import PointCloud
from intravariance.layouts.scan import Scan, Split, parse_member
from intravariance.sources.trees import Tree

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
    """The ground truth's points and labels where there is one, the cloud otherwise."""
    return parse_member(scan.tree, scan.truth or scan.cloud)
