# SPDX-License-Identifier: Apache-2.0
"""Readers for the community's folder layouts, from a folder or a .zip file, in place.

`find_scans` lists what a tree holds and checks it, without reading a cloud; `Scan.load` reads one.
Each module opens with its layout drawn, its licence and its traps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from intravariance.errors import InputError
from intravariance.exchange.layouts import (
    anomaly_shapenet,
    anomaly_shapenet_writing,
    folder,
    mvtec_3d_ad,
    mvtec_like,
    real3d_ad,
    real3d_ad_writing,
)
from intravariance.exchange.layouts.entries import CONTENTS, Layout, Options
from intravariance.exchange.layouts.scan import Scan
from intravariance.exchange.layouts.side_file import with_side_file
from intravariance.files.trees import Tree, open_tree

__all__ = [
    "CONTENTS",
    "READERS",
    "WRITERS",
    "Layout",
    "Options",
    "Scan",
    "detect_layout",
    "find_scans",
]

# In the order in which they are tried: any folder with clouds is a "folder".
READERS = {module.NAME: module for module in (mvtec_3d_ad, anomaly_shapenet, real3d_ad, folder)}

WRITERS: dict[str, Layout] = {
    layout.NAME: layout for layout in (anomaly_shapenet_writing, real3d_ad_writing, mvtec_like)
}

_UNPACKERS = {
    ".rar": "unar (7z leaves files of 0 bytes where it does not know the method)",
    ".7z": "7z",
    ".tar": "tar",
    ".xz": "tar",
    ".gz": "tar",
    ".tgz": "tar",
}


def find_scans(layout: str, root: Path, skipped: list[str] | None = None) -> list[Scan]:
    """All scans under `root`, a folder or a .zip file, by class, then training first, then name.

    layout : a key of READERS. skipped : what does not fit is left out and added to this list, as
    "<file>: <reason>". Raises InputError for an unknown layout, for archives that must be unpacked
    first, and (without `skipped`) with all that does not fit: unknown names, missing ground truth,
    no scans. Of trees that `iv export` wrote, `side_file` tells categories and subcategories, and
    which clouds are missing or none of the export's.
    """
    if layout not in READERS:
        raise InputError(f"layout {layout}: expected one of {', '.join(READERS)}")
    find: Callable[[Tree, Path, list[str] | None], list[Scan]] = READERS[layout].find
    tree = _open(root)
    return with_side_file(find(tree, root, skipped), tree, skipped)


def detect_layout(root: Path) -> str | None:
    """The layout that the names under `root` look like; None where there is no cloud.

    Raises InputError when `root` is no folder and no .zip file.
    """
    names = _open(root).files("")
    return next((name for name, module in READERS.items() if module.recognises(names)), None)


def _open(root: Path) -> Tree:
    if root.is_dir():
        tree = open_tree(root)
        packed = [name for name in tree.files("") if name.lower().endswith(".rar")]
        if packed and len(packed) == len(tree.files("")):
            raise InputError(f"{root / packed[0]}: unpack it first, with {_UNPACKERS['.rar']}")
        return tree
    suffix = root.suffix.lower()
    if root.is_file() and suffix in _UNPACKERS:
        raise InputError(f"{root}: unpack it first, with {_UNPACKERS[suffix]}, and give the folder")
    if root.is_file() and suffix == ".zip":
        return open_tree(root)
    found = "a file of another kind" if root.exists() else "nothing"
    raise InputError(f"{root}: expected a folder or a .zip file, found {found}")
