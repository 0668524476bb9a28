# SPDX-License-Identifier: Apache-2.0
"""Real3D-AD: scans of real toys, read and written.

Liu et al., NeurIPS 2023 datasets track, arXiv:2309.13226, doi:10.48550/arXiv.2309.13226.
Data CC BY 4.0: https://github.com/M-3LAB/Real3D-AD

    [Real3D-AD-PCD/]
        airplane/                               12 classes
            train/105_template.pcd              four scans from all sides, 0.2 to 2.7 million points
            train_cut/105_template_cut0.asc     sides of them, as the tests are; read when asked for
            test/101_good.pcd, 101_good_cut.pcd normal, from one side only
            test/105_bulge.pcd                  good bulge sink bulges sinks hybrid,
                                                with _cut or _copy behind it for variants
            gt/105_bulge.txt                    x y z label with spaces
    [Real3D-AD-PLY/]airplane/105_template.ply   the templates again, read where there is no PCD
    meshes/airplane/105_template.obj            + the pristine mesh
    train.json, test.json                       + lists for MC3D-AD
    README.md                                   + licence and citation
    iv_samples.jsonl, iv_export.json            + what the names do not say

Only `iv export` writes the files marked +.

Traps in reading. Names in the project's own README (`1_prototype.pcd`) are not those in the
archive. Training clouds are whole, test clouds show one side. Points are the cloud's, and rows of
gt are matched to them by coordinates; the benchmark's loader takes those of defective scans from
gt. `sink` and the plural words stay as they are; the defect types of the project are known as well,
for trees that `iv export` wrote.

Writing serves the data set's own benchmark (BTF, PatchCore, Reg3D-AD), ISMP, and PO3AD's Real3D.
The number is that of the sample in its category, in the file's order. Names of defects stay those
of the project; to these readers whatever is not `good` is a defect. The readers name the twelve
original classes in their code, where yours must be put in. The vertices in Real3D-AD-PLY are the
points of the template.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from annotations.vocabulary import DEFECT_TYPES, NORMAL
from intravariance.dataset.added_defects import added_defect_names
from intravariance.dataset.specification import Split
from intravariance.dataset.store import Record, Sample
from intravariance.exchange.layouts.class_folders import (
    CLASS_FOLDERS_HOLD,
    CLOUD_SUFFIXES,
    class_entry,
    class_folders,
    class_lists,
    class_place,
    kind_rank,
    read_scan,
    sample_files,
    scans_of,
)
from intravariance.exchange.layouts.entries import Entry, ExportOptions, Numbers, Rules
from intravariance.exchange.layouts.scan import Scan, check_problems, in_order
from intravariance.exchange.layouts.template_meshes import write_mesh_ply
from intravariance.exchange.layouts.unread import emptied
from intravariance.files.trees import Tree

LAYOUT_NAME = "real3d-ad"
HOLDS = CLASS_FOLDERS_HOLD
CLOUDS, MESHES = "Real3D-AD-PCD", "Real3D-AD-PLY"
DEFECTS = ("bulge", "sink", "bulges", "sinks", "hybrid")
TEMPLATE, GOOD = "template", "good"
_VARIANT = r"(?:_cut\d*|_copy\d*)*"
_TEST = re.compile(rf".+?_(?P<kind>[a-z]+?){_VARIANT}")
_TEMPLATE = re.compile(rf".+_(?:{TEMPLATE}|prototype){_VARIANT}")
_LOOSE = re.compile(rf"(?:.*/)?(?P<name>[^/]+)/(?P<stem>[^/]+_{TEMPLATE})\.ply")
_TYPICAL = re.compile(
    rf"(?:.*/)?[^/]+/(?:test/[^/]+_{GOOD}{_VARIANT}(?:{'|'.join(map(re.escape, CLOUD_SUFFIXES))})"
    rf"|train/[^/]+_{TEMPLATE}\.(?:pcd|ply))"
)
RULES = Rules(
    fewest_points=2048,
    path_words={
        "temp": "Real3D-AD and ISMP leave out test clouds with it in their path, and PO3AD takes "
        "every mesh with `template` in its path for a template",
        "good": "Real3D-AD, ISMP and PO3AD take every cloud with it in its path for a normal one",
        "test": "readers made after R3D-AD's put another folder in its place in the whole path",
    },
    name_words=dict.fromkeys(("cut", "copy"), "in Real3D-AD it marks variants of a scan"),
    path_doubts=("pcd", "cut"),
    name_doubts=("positive", "pcd"),
    letters=True,
    reserved=("train", "gt"),
)


def recognises(names: list[str]) -> bool:
    """Tell whether the files of a tree look like this layout."""
    return any(_TYPICAL.fullmatch(name) for name in names)


def find(
    tree: Tree, root: Path, skipped: list[str] | None = None, train_cut: bool = False
) -> list[Scan]:
    """Return all scans, in order. Raises InputError with everything that does not fit.

    train_cut : the training clouds are those of the folders train_cut, not of train.
    """
    names, train = tree.files(""), "train_cut" if train_cut else "train"
    problems: list[str] = []
    scans: dict[str, Scan] = {}
    for folder in class_folders(names, train):
        for scan in scans_of(folder, tree, folder.name, "", _defect, problems):
            other = scans.get(scan.id)
            if other is not None and kind_rank(other.cloud) == kind_rank(scan.cloud):
                problems.append(f"{scan.paths[0]}: there is {other.paths[0]} as well")
            elif other is None or kind_rank(scan.cloud) < kind_rank(other.cloud):
                scans[scan.id] = scan  # of the same scan in PCD and PLY
    with_templates = {scan.category for scan in scans.values() if scan.split == "train"}
    if train_cut and not with_templates:
        problems.append(f"{tree.path}: there are no clouds in folders <class>/train_cut")
    for loose in filter(None, map(_LOOSE.fullmatch, () if train_cut else names)):
        name, number = loose["name"], f"{loose['name']}/{loose['stem']}"
        if name not in with_templates and name not in ("train", "train_cut", "test", "gt"):
            scans[number] = Scan(number, name, "", "train", NORMAL, loose.string, "", tree,
                                 read_scan)  # fmt: skip
    if not scans and not problems:
        problems.append("there are no clouds in folders <class>/train and <class>/test")
    problems += emptied(tree, scans.values(), lambda name: class_place(name, train, str, _defect))
    check_problems(problems, LAYOUT_NAME, root, skipped)
    return in_order(list(scans.values()))


def plan(records: Sequence[Record], options: ExportOptions) -> list[Entry]:
    """Name the files of each sample, numbered within its category in the order given."""
    numbers = Numbers()
    entries = []
    for record in records:
        word = options.defects.get(record.defect, record.defect)
        kind = TEMPLATE if record.split == "train" else word
        stem = f"{numbers.next(record.category)}_{GOOD if kind == NORMAL else kind}"
        vertices = f"{MESHES}/{record.category}/{stem}.ply"
        entries.append(class_entry(record, CLOUDS, "gt", stem, vertices))
    return entries


def content(sample: Sample, entry: Entry, options: ExportOptions) -> dict[str, bytes]:
    """Return the bytes of each file of a sample, by its name in the tree."""
    return sample_files(sample, entry, options, write_mesh_ply)


def lists(records: Sequence[Record], entries: Sequence[Entry]) -> dict[str, bytes]:
    """Return MC3D-AD's lists."""
    return class_lists(records, entries, CLOUDS)


def _defect(stem: str, split: Split, class_name: str = "") -> str | None:
    if split == "train":
        return NORMAL if _TEMPLATE.fullmatch(stem) else None
    match = _TEST.fullmatch(stem)
    if match is None:
        return None
    if match["kind"] == GOOD:
        return NORMAL
    known = (*DEFECTS, *DEFECT_TYPES, *added_defect_names())
    return match["kind"] if match["kind"] in known else None
