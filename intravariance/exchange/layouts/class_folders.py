# SPDX-License-Identifier: Apache-2.0
"""The folders that Anomaly-ShapeNet and Real3D-AD share: <class>/{train,test,GT}/<file>.

Ground truth is a table `x y z label` for each defective cloud, with the cloud's stem. Its order is
not the cloud's, and some have a row more, so rows are matched by coordinates. Points are always the
cloud's: both benchmarks' own loaders take those of defective clouds from the ground truth, so that
digits and order tell them from normal ones. An export keeps the order of the cloud.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import SUFFIXES, PointCloud, write_pcd, write_text
from intravariance.cloud_files.labels import match_labels
from intravariance.dataset.specification import Split
from intravariance.dataset.store import Record, Sample
from intravariance.errors import InputError
from intravariance.exchange.layouts.entries import Entry, ExportOptions
from intravariance.exchange.layouts.scan import Scan, parse_member
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.exchange.layouts.template_meshes import normal_faces, write_mesh
from intravariance.exchange.layouts.unread import Place, is_prose
from intravariance.files.trees import Tree

# As both data sets come, then what others made of them; of one scan in several, the first is read.
CLOUD_SUFFIXES = (
    ".pcd",
    ".ply",
    *(suffix for suffix in SUFFIXES if suffix not in (".pcd", ".ply")),
)
# Where an exported tree has each of `CONTENTS`, "" for nowhere.
CLASS_FOLDERS_HOLD = {
    "subcategory": SIDE_FILE,
    "pose": SIDE_FILE,
    "parameters": SIDE_FILE,
    "normals": "",
    "displacement": "",
    "mesh": "meshes/",
}
_PLACE = re.compile(
    r"(?:(?P<above>.*)/)?(?P<name>[^/]+)/(?P<part>train|train_cut|test|gt)/(?P<file>[^/]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ClassFolder:
    """Hold the names of the files of one class.

    above : the folder that it lies in, "" at the root. train, test : clouds. truth : by stem.
    """

    above: str
    name: str
    train: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    truth: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Return the folder's name in the tree."""
        return f"{self.above}/{self.name}" if self.above else self.name


def class_folders(names: list[str], train: str = "train") -> list[ClassFolder]:
    """Return the class folders among the files of a tree; files of other kinds are left out.

    train : the folder of the training clouds. Where clouds in a folder share their stem, the one of
    the first kind in CLOUD_SUFFIXES is taken.
    """
    folders: dict[tuple[str, str], ClassFolder] = {}
    for name in sorted(names, key=lambda name: (kind_rank(name), name)):
        place = _PLACE.fullmatch(name)
        if place is None or is_prose(name):
            continue
        path, part = PurePosixPath(name), place["part"].lower()
        if path.suffix.lower() not in ((".txt",) if part == "gt" else CLOUD_SUFFIXES):
            continue
        key = (place["above"] or "", place["name"])
        if part == "gt":
            folders.setdefault(key, ClassFolder(*key)).truth[path.stem] = name
        elif part in (train, "test"):
            folder = folders.setdefault(key, ClassFolder(*key))
            clouds = folder.train if part == train else folder.test
            if path.stem not in {PurePosixPath(cloud).stem for cloud in clouds}:
                clouds.append(name)
    for folder in folders.values():
        folder.train.sort()
        folder.test.sort()
    return list(folders.values())


def kind_rank(name: str) -> int:
    """Return the place of a file's kind in CLOUD_SUFFIXES."""
    suffix = PurePosixPath(name).suffix.lower()
    return CLOUD_SUFFIXES.index(suffix) if suffix in CLOUD_SUFFIXES else len(CLOUD_SUFFIXES)


def class_place(
    name: str, train: str, category_of: Callable[[str], str], defect_of: Callable[..., str | None]
) -> Place | None:
    """Return where a cloud of a name would belong, whatever its kind; None for nowhere.

    category_of : of the folder of a class. defect_of : (stem, split, folder's name) -> defect.
    """
    place = _PLACE.fullmatch(name)
    if place is None or place["part"].lower() not in (train, "test"):
        return None
    split: Split = "test" if place["part"].lower() == "test" else "train"
    defect = defect_of(PurePosixPath(name).stem, split, place["name"])
    return category_of(place["name"]), split, defect or ""


def scans_of(
    folder: ClassFolder,
    tree: Tree,
    category: str,
    subcategory: str,
    defect_of: Callable[[str, Split], str | None],
    problems: list[str],
) -> list[Scan]:
    """Return the scans of one class, and add to `problems` what does not fit.

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
            product = (category, subcategory, split, defect)
            scans.append(Scan(f"{folder.name}/{stem}", *product, name, truth, tree, read_scan))
    problems += [
        f"{tree.path / folder.truth[stem]}: there is no cloud {stem} in {folder.path}/test"
        for stem in sorted(unused)
    ]
    return scans


def read_scan(scan: Scan) -> PointCloud:
    """Read the cloud, with the labels of its ground truth where it has one.

    Raises InputError when either is damaged, or the ground truth has other points.
    """
    cloud = parse_member(scan.tree, scan.cloud, scan.choices)
    if not scan.truth:
        return cloud
    truth = parse_member(scan.tree, scan.truth, scan.choices)
    if truth.labels is None:
        return replace(cloud, labels=None)
    try:
        labels = match_labels(truth.points, truth.labels, cloud.points)
    except InputError as error:
        raise InputError(
            f"{scan.tree.path / scan.truth}: it is not the ground truth of {scan.cloud}: {error}"
        ) from error
    return replace(cloud, labels=labels, notes=(*cloud.notes, *truth.notes))


def class_entry(record: Record, clouds: str, truth: str, stem: str, vertices: str) -> Entry:
    """Name the files of a sample in the class folders under `clouds`.

    truth : the name of the folder for ground truth. vertices : the file for a template's points as
    the vertices of a mesh.
    """
    folder, others = f"{clouds}/{record.category}", {}
    if record.split == "train":
        others["vertices"] = vertices
        if record.has_mesh:
            others["mesh"] = f"meshes/{record.category}/{stem}.obj"
    truth_file = "" if record.defect == NORMAL else f"{folder}/{truth}/{stem}.txt"
    return Entry(record.id, f"{folder}/{record.split}/{stem}.pcd", truth_file, others)


def sample_files(
    sample: Sample,
    entry: Entry,
    options: ExportOptions,
    write_vertices: Callable[[NDArray[Any], NDArray[Any]], bytes],
) -> dict[str, bytes]:
    """Return the bytes of each file of a sample, by its name in the tree.

    write_vertices : makes a mesh file of a template's points and the faces on them.
    """
    files = {entry.cloud: write_pcd(sample.points)}
    if entry.truth:
        rows = write_text(sample.points, labels=sample.labels, delimiter=options.delimiter)
        files[entry.truth] = rows
    if "vertices" in entry.others:
        faces = normal_faces(sample.points, sample.normals, options.noise_sigma)
        files[entry.others["vertices"]] = write_vertices(sample.points, faces)
    if "mesh" in entry.others and sample.mesh is not None:
        files[entry.others["mesh"]] = write_mesh(sample.mesh)
    return files


def class_lists(records: Sequence[Record], entries: Sequence[Entry], root: str) -> dict[str, bytes]:
    """Return MC3D-AD's lists, a JSON object a line, with names from the folder `root` on."""
    lines: dict[str, list[str]] = {"train.json": [], "test.json": []}
    for record, entry in zip(records, entries, strict=True):
        defective = record.defect != NORMAL
        row: dict[str, str | int] = {
            "filename": str(PurePosixPath(entry.cloud).relative_to(root)),
            "label": int(defective),
            "label_name": "defective" if defective else "good",
        }
        if entry.truth:
            row["maskname"] = str(PurePosixPath(entry.truth).relative_to(root))
        row["clsname"] = record.category
        lines[f"{record.split}.json"].append(json.dumps(row) + "\n")
    return {name: "".join(rows).encode() for name, rows in lines.items()}
