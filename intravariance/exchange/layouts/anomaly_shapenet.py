# SPDX-License-Identifier: Apache-2.0
"""Anomaly-ShapeNet, with Anomaly-ShapeNet-New.

Li et al., CVPR 2024, arXiv:2311.14897, doi:10.48550/arXiv.2311.14897.
Data CC BY 4.0: https://github.com/Chopper-233/Anomaly-ShapeNet

    [Anomaly-ShapeNet-v2/][dataset/]
        pcd/                                 40 classes; new_pcd/ 12 more
            cap0/
                train/cap0_template0.pcd     binary, x y z, no normals
                test/cap0_positive0.pcd      normal
                test/cap0_bulge0.pcd         bulge concavity hole broken scratch crak bending
                GT/cap0_bulge0.txt           x,y,z,label with commas
        obj/cap0/cap0_template0.obj          taken where train/ has no cloud of the class

The root may be any folder from the top down to the one with the classes.

Traps. `crak` is our `crack`. The files of desk0 are named `desk_bulge0.pcd`. The order of the rows
in GT is not the cloud's, and five files of helmet1 have a row more than the cloud: rows are matched
by coordinates, and points are the cloud's. The vertices of an .obj are the mesh's, not a scan. The
archive is RAR 4: 7z leaves files of 0 bytes; `unar` unpacks it. A class, `cap0`, is the
subcategory; the category is its name without the number, `cap`, as Group 1 of
Anomaly-IntraVariance joins them.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from annotations.vocabulary import DEFECT_TYPES, NORMAL
from intravariance.exchange.layouts.class_folders import class_folders, read_scan, scans_of
from intravariance.exchange.layouts.scan import Scan, Split, check_problems, in_order
from intravariance.files.trees import Tree

NAME = "anomaly-shapenet"
_SPELLINGS = {"positive": NORMAL, "crak": "crack"} | {name: name for name in DEFECT_TYPES}
_STEM = re.compile(r"(?P<product>.+)_(?P<kind>[a-z]+)(?P<number>\d*)")
_MESH = re.compile(r"(?:.*/)?(?P<name>[^/]+)/(?P<stem>[^/]+_template\d*)\.obj")


def recognises(names: list[str]) -> bool:
    """Whether the files of a tree look like this layout."""
    pattern = re.compile(r"(?:.*/)?[^/]+/(?:test/[^/]+_positive\d*|train/[^/]+_template\d+)\.pcd")
    return any(pattern.fullmatch(name) for name in names)


def find(tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
    """All scans, in order. Raises InputError with everything that does not fit."""
    names = tree.files("")
    problems: list[str] = []
    scans: list[Scan] = []
    seen: dict[str, str] = {}
    meshes = [match for match in map(_MESH.fullmatch, names) if match]
    # pcd and new_pcd first: what lies beside them (PASDF's 16384) is made from them.
    for folder in sorted(class_folders(names), key=lambda f: (not f.above.endswith("pcd"), f.path)):
        if folder.name in seen:
            problems.append(
                f"{tree.path / folder.path}: the class lies in {seen[folder.name]} as well; give "
                "the folder that holds one of them"
            )
            continue
        seen[folder.name] = folder.path
        category = product_of(folder.name)

        def defect_of(stem: str, split: Split, name: str = folder.name) -> str | None:
            return _defect(stem, split, name)

        scans += scans_of(folder, tree, category, folder.name, defect_of, problems)
        if not folder.train:
            scans += [
                Scan(f"{folder.name}/{mesh['stem']}", category, folder.name, "train", NORMAL,
                     mesh.string, "", tree, read_scan)
                for mesh in meshes if mesh["name"] == folder.name
            ]  # fmt: skip
    if not scans and not problems:
        problems.append("there are no clouds in folders <class>/train and <class>/test")
    check_problems(problems, NAME, root, skipped)
    return in_order(scans)


def product_of(class_name: str) -> str:
    """ "cap" of "cap0"."""
    return class_name.rstrip("0123456789") or class_name


def _defect(stem: str, split: Split, class_name: str) -> str | None:
    match = _STEM.fullmatch(PurePosixPath(stem).name)
    if match is None or match["product"] not in (class_name, product_of(class_name)):
        return None
    if split == "train":
        return NORMAL if match["kind"] == "template" else None
    return _SPELLINGS.get(match["kind"])
