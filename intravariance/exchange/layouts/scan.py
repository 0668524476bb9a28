# SPDX-License-Identifier: Apache-2.0
"""A cloud of a foreign data set: what its place and name say, and how it is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from annotations.vocabulary import NORMAL, UNKNOWN_LABEL, UNLABELLED
from intravariance.cloud_files import AS_WRITTEN, PointCloud, ReadingChoices, parse_cloud
from intravariance.cloud_files.choices import ANOMALOUS_LABELS
from intravariance.dataset.specification import Split
from intravariance.errors import InputError, first_of
from intravariance.files.trees import CarriedTree, Tree

# How other data sets write the project's defects.
FOREIGN_SPELLINGS = {"crak": "crack"}


@dataclass(frozen=True, eq=False)
class Scan:
    """Name one cloud and its files, not read yet.

    id : unique in its data set, e.g. "bottle0/bottle0_bulge3". category, subcategory : "" where
    the layout has none. defect : "normal", a defect type of the project, or the data set's own
    word in lower case. cloud, truth : names in `tree` of the cloud and of its ground truth ("" for
    none). reader : reads both; labels may be None. displacement : name of a file with that, or "".
    needs_labels : whether a defective scan without labels of its points is refused. may_be_mesh :
    whether it is a training file whose faces, where it has any, count.
    choices : what the user says of its files. lists : names of files that say what it is.
    """

    id: str
    category: str
    subcategory: str
    split: Split
    defect: str
    cloud: str
    truth: str
    tree: Tree
    reader: Callable[[Scan], PointCloud]
    displacement: str = ""
    needs_labels: bool = True
    may_be_mesh: bool = False
    choices: ReadingChoices = AS_WRITTEN
    lists: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names in the tree of all its files."""
        return tuple(filter(None, (self.cloud, self.truth, self.displacement, *self.lists)))

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the files of the cloud and, where it has one, of its ground truth."""
        return tuple(self.tree.path / name for name in (self.cloud, self.truth) if name)

    @property
    def normal(self) -> bool:
        """Tell whether it has no defect."""
        return self.defect == NORMAL

    def carried(self) -> Scan:
        """Return the scan with the content of its files, for a machine without them."""
        names = filter(None, (self.cloud, self.truth, self.displacement))
        return replace(self, tree=CarriedTree.of(self.tree, names))

    def load(self) -> PointCloud:
        """Read the cloud with its labels, all 0 for a normal scan, all UNKNOWN_LABEL without any.

        Raises InputError when a file is damaged, a defective scan has no labels and needs them, or
        a scan that is normal, or of which nothing is known, has anomalous points.
        """
        cloud = self.reader(self)
        if self.defect == UNLABELLED:
            return self._unlabelled(cloud)
        if cloud.labels is None and not self.normal and self.needs_labels:
            raise InputError(
                f"{self.paths[0]}: it is a scan with a defect ({self.defect}) and has no labels"
            )
        if cloud.labels is None:
            label = 0 if self.normal else UNKNOWN_LABEL
            return replace(cloud, labels=np.full(len(cloud.points), label, dtype=np.uint8))
        if self.choices.anomalous and not self.normal and not cloud.labels.any():
            raise InputError(
                f"{self.paths[0]}: it is a scan with a defect ({self.defect}), and none of its "
                f"labels is as {ANOMALOUS_LABELS} {self.choices.anomalous.text} says"
            )
        if self.normal and cloud.labels.any():
            raise InputError(
                f"{self.paths[0]}: it is a normal scan by its name or folder, and "
                f"{int(cloud.labels.sum()):,} of its points are labelled anomalous"
            )
        return cloud

    def _unlabelled(self, cloud: PointCloud) -> PointCloud:
        """Return a cloud of which nothing is known; labels of 0 alone are those of nobody."""
        if cloud.labels is not None and cloud.labels.any():
            raise InputError(
                f"{self.paths[0]}: it is taken for a scan of which nothing is known, and "
                f"{int(cloud.labels.sum()):,} of its points are labelled anomalous. Put it into "
                "test/<defect>/"
            )
        unknown = np.full(len(cloud.points), UNKNOWN_LABEL, dtype=np.uint8)
        return replace(cloud, labels=unknown, displacement=None)


class LayoutReader(Protocol):
    """Read one layout; a module of this package."""

    LAYOUT_NAME: str

    def recognises(self, names: list[str]) -> bool:
        """Tell whether the files of a tree look like this layout."""

    def find(self, tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
        """Return all scans, in order; see `find_scans` for `skipped` and the errors."""


def parse_member(tree: Tree, name: str, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in a file of a tree."""
    return parse_cloud(tree.read(name), str(tree.path / name), choices)


def in_order(scans: list[Scan]) -> list[Scan]:
    """Sort by class, training first, then by id with numbers as numbers (9 before 10)."""

    def key(scan: Scan) -> tuple[object, ...]:
        product = (natural(scan.category), natural(scan.subcategory))
        return *product, scan.split != "train", natural(scan.id)

    return sorted(scans, key=key)


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in a text by their value."""
    return [(int(part[:18]), "") if part.isdigit() else (-1, part)
            for part in re.split(r"([0-9]+)", text)]  # fmt: skip


def check_problems(
    problems: list[str], layout: str, root: Path, skipped: list[str] | None = None
) -> None:
    """Raise InputError with all problems of a listing together, when there are any.

    skipped : a list to add them to instead.
    """
    if skipped is not None:
        skipped += problems
    elif problems:
        raise InputError(f"{root} is not in the layout {layout}:\n  {shown_problems(problems)}")


def shown_problems(problems: Iterable[str]) -> str:
    """Show the first twenty problems, a line each, and how many more there are."""
    return first_of(problems, 20, "\n  ")
