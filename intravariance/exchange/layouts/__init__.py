# SPDX-License-Identifier: Apache-2.0
"""The community's folder layouts: read from a folder or a .zip file in place, and written.

`find_scans` lists what a tree holds and checks it, without reading a cloud; `Scan.load` reads one.
`exporting.tree.write_tree` writes a tree. Each layout is one module, which opens with its tree
drawn, its licence and its traps.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from intravariance.cloud_files import AS_WRITTEN, PointCloud, ReadingChoices
from intravariance.errors import InputError, did_you_mean
from intravariance.exchange.layouts import (
    anomaly_shapenet,
    folder,
    mulsen_ad,
    mvtec_3d_ad,
    mvtec_like,
    real3d_ad,
)
from intravariance.exchange.layouts.added import AddedLayout
from intravariance.exchange.layouts.entries import (
    CONTENTS,
    PARQUET_LAYOUT,
    WEBDATASET_LAYOUT,
    Entry,
    ExportOptions,
    LayoutWriter,
    Numbers,
    Rules,
)
from intravariance.exchange.layouts.scan import LayoutReader, Scan, check_problems
from intravariance.exchange.layouts.side_file import with_side_file
from intravariance.extensions import added, find
from intravariance.files.trees import Tree, open_tree

__all__ = [
    "CONTENTS",
    "PARQUET_LAYOUT",
    "READERS",
    "WEBDATASET_LAYOUT",
    "WRITERS",
    "AddedLayout",
    "Entry",
    "ExportOptions",
    "LayoutReader",
    "LayoutWriter",
    "Numbers",
    "PointCloud",
    "Rules",
    "Scan",
    "added_layouts",
    "check_problems",
    "detect_layout",
    "find_scans",
    "layout_reader",
    "layout_writer",
]

# In the order in which they are tried: any folder with clouds is a "folder".
READERS: dict[str, LayoutReader] = {
    mvtec_3d_ad.LAYOUT_NAME: mvtec_3d_ad,
    mulsen_ad.LAYOUT_NAME: mulsen_ad,
    anomaly_shapenet.LAYOUT_NAME: anomaly_shapenet,
    real3d_ad.LAYOUT_NAME: real3d_ad,
    folder.LAYOUT_NAME: folder,
}

WRITERS: dict[str, LayoutWriter] = {
    anomaly_shapenet.LAYOUT_NAME: anomaly_shapenet,
    real3d_ad.LAYOUT_NAME: real3d_ad,
    mvtec_like.LAYOUT_NAME: mvtec_like,
}

_OWN = ("auto", *READERS, *WRITERS, PARQUET_LAYOUT, WEBDATASET_LAYOUT)

_UNPACKERS = {
    ".rar": "unar (7z leaves files of 0 bytes where it does not know the method)",
    ".7z": "7z",
    ".tar": "tar",
    ".xz": "tar",
    ".gz": "tar",
    ".tgz": "tar",
}


def find_scans(
    layout: str,
    root: Path,
    skipped: list[str] | None = None,
    follow_links: bool = False,
    unlabelled: bool = False,
    choices: ReadingChoices = AS_WRITTEN,
    train_cut: bool = False,
) -> list[Scan]:
    """List all scans under `root`, a folder or a .zip file.

    They come by class, then training first, then by name. layout : a key of READERS, or what an
    installed package adds. skipped : what does not fit is left out and added to this list, as
    "<file>: <reason>". follow_links : also to folders and out of `root`. unlabelled : in the layout
    `folder`, nothing is known of scans whose folder does not tell. choices : what the user says of
    the files. train_cut : of Real3D-AD the training clouds in train_cut, not those in train.

    Raises InputError for an unknown layout, for archives that must be unpacked first, and (without
    `skipped`) with all that does not fit: unknown names, missing ground truth, no scans. In trees
    that `iv export` wrote, `side_file` tells categories and subcategories, and which clouds are
    missing or not the export's.
    """
    reader = layout_reader(layout)
    tree = _open(root, follow_links)
    if unlabelled and layout != folder.LAYOUT_NAME:
        raise InputError(
            f"--unlabelled: of no use with {layout}, which says what each cloud is; it is for the "
            f"layout {folder.LAYOUT_NAME}"
        )
    if train_cut and layout != real3d_ad.LAYOUT_NAME:
        raise InputError(f"--train-cut is for the layout {real3d_ad.LAYOUT_NAME}, not for {layout}")
    if unlabelled:
        scans = folder.find(tree, root, skipped, unlabelled)
    elif train_cut:
        scans = real3d_ad.find(tree, root, skipped, train_cut)
    else:
        scans = reader.find(tree, root, skipped)
    if not unlabelled:
        scans = with_side_file(scans, tree, skipped)
    return [replace(scan, choices=choices) for scan in scans]


def layout_reader(layout: str) -> LayoutReader:
    """Return what reads a layout. Raises InputError where nothing of that name does."""
    if extension := find("layout", layout, _OWN):
        return AddedLayout(extension, "find")
    if layout not in READERS:
        known = layout_names()
        meant = did_you_mean(layout, known)
        raise InputError(f"layout {layout}: expected one of {', '.join(known)}.{meant}")
    return READERS[layout]


def layout_writer(layout: str) -> LayoutWriter:
    """Return what writes a layout. Raises InputError where nothing of that name does."""
    if extension := find("layout", layout, _OWN):
        return AddedLayout(extension, "plan", "content")
    return WRITERS[layout]


def layout_names() -> list[str]:
    """List what `iv import` takes as a layout."""
    return ["auto", *READERS, PARQUET_LAYOUT, *added_layouts()]


def added_layouts() -> list[str]:
    """List the layouts that installed packages add, to be read, written or both."""
    return added("layout", _OWN)


def detect_layout(root: Path, follow_links: bool = False) -> str | None:
    """Return the layout that the names under `root` look like; None where there is no cloud.

    Raises InputError when `root` is no folder and no .zip file.
    """
    names = _open(root, follow_links).files("")
    return next((name for name, module in READERS.items() if module.recognises(names)), None)


def _open(root: Path, follow_links: bool) -> Tree:
    if root.is_dir():
        tree = open_tree(root, follow_links)
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
