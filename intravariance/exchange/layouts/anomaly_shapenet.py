# SPDX-License-Identifier: Apache-2.0
"""Anomaly-ShapeNet, with Anomaly-ShapeNet-New, read and written.

Li et al., CVPR 2024, arXiv:2311.14897, doi:10.48550/arXiv.2311.14897.
Data CC BY 4.0: https://github.com/Chopper-233/Anomaly-ShapeNet

    [Anomaly-ShapeNet-v2/][dataset/]
        pcd/                                 40 classes; new_pcd/ 12 more
            cap0/
                train/cap0_template0.pcd     binary, float32 x y z, no normals
                test/cap0_positive0.pcd      normal
                test/cap0_bulge0.pcd         bulge concavity hole broken scratch crak bending
                GT/cap0_bulge0.txt           x,y,z,label with commas
        obj/cap0/cap0_template0.obj          a mesh; read where train/ has no cloud of the class
    meshes/cap0/cap0_template0.obj           + the pristine mesh
    train.json, test.json                    + lists for MC3D-AD
    README.md                                + licence and citation
    iv_samples.jsonl, iv_export.json         + what the names do not say

Only `iv export` writes the files marked +, beside its folder dataset/. The root that is read may be
any folder from the top down to the one with the classes.

Traps in reading. `crak` is our `crack`. The files of desk0 are named `desk_bulge0.pcd`. The order
of the rows in GT is not the cloud's, and five files of helmet1 have a row more than the cloud: rows
are matched by coordinates, and points are the cloud's. The vertices of an .obj are the mesh's, not
a scan. The archive is RAR 4: 7z leaves files of 0 bytes; `unar` unpacks it. A class, `cap0`, is the
subcategory; the category is its name without the number, `cap`, as Group 1 of
Anomaly-IntraVariance joins them.

Writing serves PO3AD, MC4AD, RIF, R3D-AD, Simple3D, MC3D-AD and PASDF. The class folders hold
nothing else, since these readers take every file there for a cloud. A category is a class; the
product (subcategory) is in the side file only, for a reader that takes the defect to be "the name
without the class and the digits". The vertices in obj/ are the points of the template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from annotations.vocabulary import DEFECT_TYPES, NORMAL
from intravariance.dataset.added_defects import added_defect_names
from intravariance.dataset.specification import Split
from intravariance.dataset.store import Record, Sample
from intravariance.exchange.layouts.class_folders import (
    CLASS_FOLDERS_HOLD,
    class_entry,
    class_folders,
    class_lists,
    class_place,
    read_scan,
    sample_files,
    scans_of,
)
from intravariance.exchange.layouts.entries import Entry, ExportOptions, Numbers, Rules
from intravariance.exchange.layouts.scan import FOREIGN_SPELLINGS, Scan, check_problems, in_order
from intravariance.exchange.layouts.template_meshes import write_obj
from intravariance.exchange.layouts.unread import emptied
from intravariance.files.trees import Tree

LAYOUT_NAME = "anomaly-shapenet"
HOLDS = CLASS_FOLDERS_HOLD
CLOUDS = "dataset/pcd"
TEMPLATE, POSITIVE = "template", "positive"
_SPELLINGS = {name: name for name in DEFECT_TYPES} | FOREIGN_SPELLINGS | {POSITIVE: NORMAL}
_STEM = re.compile(r"(?P<product>.+)_(?P<kind>[a-z]+)(?P<number>\d*)")
_MESH = re.compile(rf"(?:.*/)?(?P<name>[^/]+)/(?P<stem>[^/]+_{TEMPLATE}\d*)\.obj")
_TYPICAL = re.compile(rf"(?:.*/)?[^/]+/(?:test/[^/]+_{POSITIVE}\d*|train/[^/]+_{TEMPLATE}\d+)\.pcd")
RULES = Rules(
    spellings=("crak", "crack"),
    delimiters=(",", " "),
    fewest_points=2048,
    path_words={
        "test": "R3D-AD and Simple3D put `GT` in its place in the whole path of a cloud, and look "
        "for the labels there",
        "temp": "RIF leaves out test clouds with it in their path, and PO3AD takes every mesh with "
        "`template` in its path for a template",
        "positive": "PO3AD, MC4AD and RIF take every cloud with it in its path for a normal one",
    },
    name_words={"pcd": "R3D-AD and Simple3D put `txt` in its place in the name of a cloud"},
    path_doubts=("pcd", "good", "cut"),
    name_doubts=("good", "cut", "copy"),
    letters=True,
)


def recognises(names: list[str]) -> bool:
    """Tell whether the files of a tree look like this layout."""
    return any(_TYPICAL.fullmatch(name) for name in names)


def find(tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
    """Return all scans, in order. Raises InputError with everything that does not fit."""
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
    problems += emptied(tree, scans, lambda name: class_place(name, "train", product_of, _defect))
    check_problems(problems, LAYOUT_NAME, root, skipped)
    return in_order(scans)


def plan(records: Sequence[Record], options: ExportOptions) -> list[Entry]:
    """Name the files of each sample, numbered within category and kind in the order given."""
    numbers = Numbers()
    kinds = {NORMAL: POSITIVE, "crack": options.spelling, **options.defects}
    entries = []
    for record in records:
        name = record.category
        kind = kinds.get(record.defect, record.defect) if record.split == "test" else TEMPLATE
        stem = f"{name}_{kind}{numbers.next(name, kind)}"
        vertices = f"dataset/obj/{name}/{stem}.obj"
        entries.append(class_entry(record, CLOUDS, "GT", stem, vertices))
    return entries


def content(sample: Sample, entry: Entry, options: ExportOptions) -> dict[str, bytes]:
    """Return the bytes of each file of a sample, by its name in the tree."""
    return sample_files(sample, entry, options, write_obj)


def lists(records: Sequence[Record], entries: Sequence[Entry]) -> dict[str, bytes]:
    """Return MC3D-AD's lists."""
    return class_lists(records, entries, CLOUDS)


def product_of(class_name: str) -> str:
    """Return the name of a class without its number: "cap" of "cap0"."""
    return class_name.rstrip("0123456789") or class_name


def _defect(stem: str, split: Split, class_name: str) -> str | None:
    match = _STEM.fullmatch(PurePosixPath(stem).name)
    if match is None or match["product"] not in (class_name, product_of(class_name)):
        return None
    if split == "train":
        return NORMAL if match["kind"] == TEMPLATE else None
    known = _SPELLINGS | {name: name for name in added_defect_names()}
    return known.get(match["kind"])
