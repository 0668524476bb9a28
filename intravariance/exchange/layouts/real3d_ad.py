# SPDX-License-Identifier: Apache-2.0
"""Real3D-AD: scans of real toys.

Liu et al., NeurIPS 2023 datasets track, arXiv:2309.13226, doi:10.48550/arXiv.2309.13226.
Data CC BY 4.0: https://github.com/M-3LAB/Real3D-AD

    [Real3D-AD-PCD/]
        airplane/                               12 classes
            train/105_template.pcd              four scans from all sides, 0.2 to 2.7 million points
            test/101_good.pcd, 101_good_cut.pcd normal, from one side only
            test/105_bulge.pcd                  good bulge sink bulges sinks hybrid,
                                                with _cut or _copy behind it for variants
            gt/105_bulge.txt                    x y z label with spaces
    [Real3D-AD-PLY/]airplane/105_template.ply   the templates again, taken where there is no PCD

Traps. Names in the project's own README (`1_prototype.pcd`) are not those in the archive. Training
clouds are whole, test clouds show one side. Points are the cloud's, and rows of gt are matched to
them by coordinates; the benchmark's loader takes those of defective scans from gt. `sink` and the
plural words stay as they are; the defect types of the project are known as well, for trees that
`iv export` wrote.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotations.vocabulary import DEFECT_TYPES, NORMAL
from intravariance.exchange.layouts.class_folders import class_folders, read_scan, scans_of
from intravariance.exchange.layouts.scan import Scan, Split, check_problems, in_order
from intravariance.files.trees import Tree

NAME = "real3d-ad"
DEFECTS = ("bulge", "sink", "bulges", "sinks", "hybrid")
_TEST = re.compile(r".+?_(?P<kind>[a-z]+?)(?:_cut|_copy)*")
_TEMPLATE = re.compile(r".+_(?:template|prototype)(?:_cut|_copy)*")
_LOOSE = re.compile(r"(?:.*/)?(?P<name>[^/]+)/(?P<stem>[^/]+_template)\.ply")


def recognises(names: list[str]) -> bool:
    """Whether the files of a tree look like this layout."""
    pattern = re.compile(
        r"(?:.*/)?[^/]+/(?:test/[^/]+_good(?:_cut|_copy)*|train/[^/]+_template)\.(?:pcd|ply)"
    )
    return any(pattern.fullmatch(name) for name in names)


def find(tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
    """All scans, in order. Raises InputError with everything that does not fit."""
    names = tree.files("")
    problems: list[str] = []
    scans: dict[str, Scan] = {}
    for folder in class_folders(names):
        for scan in scans_of(folder, tree, folder.name, "", _defect, problems):
            other = scans.get(scan.id)
            if other is not None and _suffix(other) == _suffix(scan):
                problems.append(f"{scan.paths[0]}: there is {other.paths[0]} as well")
            elif other is None or _suffix(scan) == "pcd":  # of the same scan in PCD and PLY
                scans[scan.id] = scan
    with_templates = {scan.category for scan in scans.values() if scan.split == "train"}
    for loose in filter(None, map(_LOOSE.fullmatch, names)):
        name, number = loose["name"], f"{loose['name']}/{loose['stem']}"
        if name not in with_templates and name not in ("train", "test", "gt"):
            scans[number] = Scan(number, name, "", "train", NORMAL, loose.string, "", tree,
                                 read_scan)  # fmt: skip
    if not scans and not problems:
        problems.append("there are no clouds in folders <class>/train and <class>/test")
    check_problems(problems, NAME, root, skipped)
    return in_order(list(scans.values()))


def _suffix(scan: Scan) -> str:
    return scan.cloud.rpartition(".")[2].lower()


def _defect(stem: str, split: Split) -> str | None:
    if split == "train":
        return NORMAL if _TEMPLATE.fullmatch(stem) else None
    match = _TEST.fullmatch(stem)
    if match is None:
        return None
    if match["kind"] == "good":
        return NORMAL
    return match["kind"] if match["kind"] in (*DEFECTS, *DEFECT_TYPES) else None
