# SPDX-License-Identifier: Apache-2.0
"""The user's own clouds, in folders that say what they are.

    [<category>/]train/<file>                normal
    [<category>/]test/good/<file>            normal: good, normal, positive or ok
    [<category>/]test/<defect>/<file>        a defect
    [<category>/]test/<file>                 a defect without a name: "anomaly"

or without train and test, all of them for testing:

    <file>, <defect>/<file>, good/<file>

A cloud is any file that `intravariance.cloud_files` reads. Its labels lie in it, or beside it as
`<stem>_labels.txt` or `<stem>_labels.npy` (see `read_labels`); a file beside it counts more. Normal
clouds need none. Without a category folder the category is "". Names of defects are written as the
project writes them: "Crak" is crack, "night stand" is night_stand.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import SUFFIXES, PointCloud, parse_labels
from intravariance.layouts.scan import Scan, Split, check_problems, in_order, parse_member
from intravariance.sources.layouts import plain_name
from intravariance.sources.trees import Tree

NAME = "folder"
UNNAMED_DEFECT = "anomaly"
_SPELLINGS = dict.fromkeys(("good", "normal", "positive", "ok"), NORMAL) | {"crak": "crack"}
_LABEL_FILES = ("_labels.txt", "_labels.npy")


def recognises(names: list[str]) -> bool:
    """Whether there is any cloud."""
    return any(_is_cloud(name) for name in names)


def find(tree: Tree, root: Path) -> list[Scan]:
    """All scans, in order. Raises InputError with everything that does not fit."""
    names = tree.files("")
    present = set(names)
    clouds = [name for name in names if _is_cloud(name)]
    split = any(part in ("train", "test") for name in clouds for part in _folders(name))
    problems: list[str] = []
    scans: dict[str, Scan] = {}
    for name in clouds:
        place = _place(_folders(name), split)
        if place is None:
            problems.append(
                f"{tree.path / name}: expected as [<category>/]train/<file>, "
                "[<category>/]test/<defect>/<file> or, in a tree without train and test, "
                "[<defect>/]<file>"
            )
            continue
        stem = name.removesuffix(PurePosixPath(name).suffix)
        truth = next((stem + end for end in _LABEL_FILES if stem + end in present), "")
        if stem in scans:
            problems.append(f"{tree.path / name}: there is {scans[stem].paths[0]} as well")
        scans[stem] = Scan(stem, place[0], "", place[1], place[2], name, truth, tree, read_scan)
    if not clouds:
        problems.append(f"there are no clouds ({' '.join(SUFFIXES)})")
    check_problems(problems, NAME, root)
    return in_order(list(scans.values()))


def read_scan(scan: Scan) -> PointCloud:
    """The cloud, with the labels from the file beside it where there is one."""
    cloud = parse_member(scan.tree, scan.cloud)
    if not scan.truth:
        return cloud
    name = str(scan.tree.path / scan.truth)
    return replace(cloud, labels=parse_labels(scan.tree.read(scan.truth), name, cloud.points))


def _is_cloud(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.lower().endswith(_LABEL_FILES)


def _folders(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts[:-1]


def _place(folders: tuple[str, ...], split: bool) -> tuple[str, Split, str] | None:
    """Category, split and defect of a file in these folders."""
    if not split:
        match folders:
            case ():
                return "", "test", UNNAMED_DEFECT
            case (defect,):
                return "", "test", _defect(defect)
        return None
    match folders:
        case ("train",):
            return "", "train", NORMAL
        case (category, "train"):
            return plain_name(category), "train", NORMAL
        case ("test", *rest) if len(rest) < 2:
            return "", "test", _defect(rest[0]) if rest else UNNAMED_DEFECT
        case (category, "test", *rest) if len(rest) < 2:
            return plain_name(category), "test", _defect(rest[0]) if rest else UNNAMED_DEFECT
    return None


def _defect(folder: str) -> str:
    name = plain_name(folder)
    return _SPELLINGS.get(name, name)
