# SPDX-License-Identifier: Apache-2.0
"""The user's own clouds, in folders that say what they are.

    [<category>/]train/<file>                normal
    [<category>/]test/good/<file>            normal: good, normal, positive or ok
    [<category>/]test/<defect>/<file>        a defect
    [<category>/]test/<file>                 a defect without a name: "anomaly"

In folders as MVTec 3D-AD has them, the clouds of <defect> may lie in a folder `xyz` in it, labels
in `gt`, displacement (N, 3) in `displacement`, under the same stem; other folders beside `xyz` are
left out. Training clouds may lie in train/good.

Or without train and test, all of them for testing:

    <file>, <defect>/<file>, good/<file>

Scans of which nobody says whether they have a defect lie in [<category>/]test/unlabelled/, or,
where the caller says so (`unlabelled`), in

    [<category>/]scans/<file>, [<category>/]<file>, [<category>/]test/<file>

Training files may be meshes, too (`sources.mesh_files`). A cloud is any file that
`intravariance.cloud_files` reads, but no .txt or .csv that is called
README, LICENSE, notes or the like (`unread.is_prose`). Its labels lie in it, or beside it as
`<stem>_labels.txt` or `<stem>_labels.npy` (see `read_labels`); a file beside it counts more, and
one in `gt`, .txt or .npy, most. Normal clouds need none, and a defective one without any is stored
so: its object is defective, and nobody says which points are. Without a category folder the
category is "". Defects that the project knows are written as it writes them: "Crak" is crack;
others keep their names.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL, UNLABELLED, UNNAMED_DEFECT, definition
from intravariance.cloud_files import SUFFIXES, PointCloud, parse_labels
from intravariance.cloud_files.npy import parse_array
from intravariance.dataset.specification import Split
from intravariance.errors import InputError, first_of
from intravariance.exchange.layouts.scan import (
    FOREIGN_SPELLINGS,
    Scan,
    check_problems,
    in_order,
    parse_member,
)
from intravariance.exchange.layouts.unread import Place, emptied, is_prose, left_out
from intravariance.files.trees import Tree
from intravariance.names import composed, plain_name
from intravariance.progress import say
from intravariance.sources.mesh_files import may_be_mesh

LAYOUT_NAME = "folder"
_SPELLINGS = dict.fromkeys(("good", "normal", "positive", "ok"), NORMAL) | FOREIGN_SPELLINGS
_LABEL_FILES = ("_labels.txt", "_labels.npy")
# Where two files have one stem, these may be the labels of the other.
_TABLES = (".txt", ".csv", ".npy")
_POINTS = "xyz"


def recognises(names: list[str]) -> bool:
    """Tell whether there is any cloud."""
    return any(is_cloud(name) for name in names)


def find(
    tree: Tree, root: Path, skipped: list[str] | None = None, unlabelled: bool = False
) -> list[Scan]:
    """Return all scans, in order. Raises InputError with everything that does not fit.

    unlabelled : whether nothing is known of scans without a folder that tells.
    """
    names = tree.files("")
    present = set(names)
    clouds = _clouds(names)
    split = any(part in ("train", "test") for name in clouds for part in _folders(name))
    problems: list[str] = []
    scans: dict[str, Scan] = {}
    for name in sorted(clouds, key=lambda name: name.lower().endswith(_TABLES)):
        folders = _inside(_folders(name))
        place = (_unlabelled_place(folders) if unlabelled else None) or _place(folders, split)
        if place is None:
            problems.append(
                f"{tree.path / name}: expected as [<category>/]train/<file>, "
                "[<category>/]test/<defect>/<file> or, in a tree without train and test, "
                f"[<defect>/]<file>. Any file {' '.join(SUFFIXES)} counts as a cloud, but for "
                "README, LICENSE and notes; move others elsewhere"
            )
            continue
        stem = name.removesuffix(PurePosixPath(name).suffix)
        truths = [*_beside(name, "gt", (".txt", ".npy")), *(stem + end for end in _LABEL_FILES)]
        truth = next((truth for truth in truths if truth in present), "")
        moved = next((n for n in _beside(name, "displacement", (".npy",)) if n in present), "")
        if stem in scans:
            problems.append(
                f"{tree.path / name}: there is {scans[stem].paths[0]} as well; labels beside it "
                f"are to be called {PurePosixPath(stem).name}_labels.txt or .npy"
            )
            continue
        scans[stem] = Scan(
            stem, place[0], "", place[1], place[2], name, truth, tree, read_scan, moved,
            needs_labels=bool(truth), may_be_mesh=place[1] == "train" and may_be_mesh(name),
        )  # fmt: skip
    if not clouds:
        found = left_out(tree, ()).kinds() or "no files"
        problems.append(f"there are no clouds ({' '.join(SUFFIXES)}); found are {found}")

    def place_of(name: str) -> Place | None:
        folders = _inside(_folders(name))
        return (_unlabelled_place(folders) if unlabelled else None) or _place(folders, split)

    problems += emptied(tree, scans.values(), place_of)
    check_problems(problems, LAYOUT_NAME, root, skipped)
    _say_loose(list(scans.values()))
    return in_order(list(scans.values()))


def _say_loose(scans: list[Scan]) -> None:
    """Say which scans are taken as defective although no folder says so."""
    loose = [
        scan.cloud
        for scan in scans
        if scan.defect == UNNAMED_DEFECT and _inside(_folders(scan.cloud))[-1:] in ((), ("test",))
    ]
    if loose:
        say(
            f"{len(loose)} scans lie in no folder that says what they are, and are taken as "
            f"defective ({first_of(loose, 3)}). Good ones belong in train/ or test/good/; with "
            "--unlabelled nothing is said of them"
        )


def read_scan(scan: Scan) -> PointCloud:
    """Read the cloud, with the labels from the file beside it where there is one."""
    cloud = parse_member(scan.tree, scan.cloud, scan.choices)
    if scan.truth:
        name, data = str(scan.tree.path / scan.truth), scan.tree.read(scan.truth)
        labels = parse_labels(data, name, cloud.points, scan.choices, cloud.kept)
        cloud = replace(cloud, labels=labels)
    if scan.displacement:
        cloud = replace(cloud, displacement=_read_displacement(scan, cloud))
    return cloud


def _read_displacement(scan: Scan, cloud: PointCloud) -> NDArray[np.float32]:
    count = len(cloud.points) if cloud.kept is None else len(cloud.kept)
    try:
        vectors = parse_array(scan.tree.read(scan.displacement))
        if vectors.shape != (count, 3) or vectors.dtype.kind != "f":
            raise InputError(f"its shape is {vectors.shape}; expected are {(count, 3)} floats")
    except InputError as error:
        raise InputError(f"{scan.tree.path / scan.displacement}: {error}") from error
    return (vectors if cloud.kept is None else vectors[cloud.kept]).astype(np.float32)


def _clouds(names: list[str]) -> list[str]:
    """List the clouds of a tree; where a folder has `xyz` in it, those of that alone."""
    clouds = [
        name
        for name in names
        if is_cloud(name) or ("train" in _folders(name) and may_be_mesh(name))
    ]
    split = {_folders(name)[:-1] for name in clouds if _folders(name)[-1:] == (_POINTS,)}
    return [
        name
        for name in clouds
        if _folders(name)[-1:] == (_POINTS,) or _folders(name)[:-1] not in split
    ]


def _beside(name: str, folder: str, endings: tuple[str, ...]) -> list[str]:
    """List names that the file's counterpart may have in a folder beside its folder `xyz`."""
    path = PurePosixPath(name)
    if path.parent.name != _POINTS:
        return []
    return [str(path.parent.parent / folder / f"{path.stem}{end}") for end in endings]


def is_cloud(name: str) -> bool:
    """Tell by its name whether a file is a cloud: no labels of one, no README or the like."""
    if name.lower().endswith(_LABEL_FILES) or is_prose(name):
        return False
    return name.lower().endswith(SUFFIXES)


def _inside(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders that tell what a cloud is."""
    return folders[:-1] if folders[-1:] == (_POINTS,) else folders


def _folders(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts[:-1]


def _place(folders: tuple[str, ...], split: bool) -> tuple[str, Split, str] | None:
    """Return category, split and defect of a file in these folders."""
    if not split:
        match folders:
            case ():
                return "", "test", UNNAMED_DEFECT
            case (defect,):
                return "", "test", _defect(defect)
        return None
    match folders:
        case ("train", *rest) if [_defect(name) for name in rest] in ([], [NORMAL]):
            return "", "train", NORMAL
        case (category, "train", *rest) if [_defect(name) for name in rest] in ([], [NORMAL]):
            return composed(category), "train", NORMAL
        case ("test", *rest) if len(rest) < 2:
            return "", "test", _defect(rest[0]) if rest else UNNAMED_DEFECT
        case (category, "test", *rest) if len(rest) < 2:
            return composed(category), "test", _defect(rest[0]) if rest else UNNAMED_DEFECT
    return None


def _unlabelled_place(folders: tuple[str, ...]) -> tuple[str, Split, str] | None:
    """Return the place of a scan of which nothing is known; None where its folder tells."""
    match folders:
        case () | ("scans",) | ("test",):
            return "", "test", UNLABELLED
        case (("train" | "test"), *_) | (_, "train", *_):
            return None
        case (category,) | (category, "scans") | (category, "test"):
            return composed(category), "test", UNLABELLED
    return None


def _defect(folder: str) -> str:
    name = plain_name(folder)
    return _SPELLINGS.get(name, name if definition(name) else composed(folder))
