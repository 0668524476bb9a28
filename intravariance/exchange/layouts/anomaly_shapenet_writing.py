# SPDX-License-Identifier: Apache-2.0
"""Anomaly-ShapeNet's folders, for PO3AD, MC4AD, RIF, R3D-AD, Simple3D, MC3D-AD, and PASDF.

    dataset/pcd/<category>/train/<category>_template0.pcd    binary, float32 x y z
                          /test/<category>_positive0.pcd     normal
                          /test/<category>_bulge0.pcd        as are all other defects
                          /GT/<category>_bulge0.txt          x,y,z,label of each point, in order
    dataset/obj/<category>/<category>_template0.obj          vertices are the template's points
    meshes/<category>/<category>_template0.obj               the pristine mesh
    train.json, test.json                                    lists for MC3D-AD
    README.md                                                licence and citation
    iv_samples.jsonl, iv_export.json                         what the names do not say

In the class folders is nothing else, since readers take every file there for a cloud. A category is
a class; the product (subcategory) is in the side file only, for a reader that takes the defect to
be "the name without the class and the digits". `crack` is `crak` on disk, as in the original.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import write_pcd, write_text
from intravariance.dataset.store import Record, Sample
from intravariance.exchange.layouts.entries import Entry, Numbers, Options, Rules, spelled
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.exchange.layouts.template_meshes import normal_faces, write_mesh, write_obj

NAME = "anomaly-shapenet"
HOLDS = {
    "subcategory": SIDE_FILE,
    "pose": SIDE_FILE,
    "parameters": SIDE_FILE,
    "normals": "",
    "displacement": "",
    "mesh": "meshes/",
}
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
CLOUDS = "dataset/pcd"


def plan(records: Sequence[Record], options: Options) -> list[Entry]:
    """The files of each sample, numbered within category and kind in the order given."""
    numbers = Numbers()
    entries = []
    for record in records:
        name, others = record.category, {}
        if record.split == "train":
            stem = f"{name}_template{numbers.next(name, 'template')}"
            others = {"vertices": f"dataset/obj/{name}/{stem}.obj"}
            if record.has_mesh:
                others["mesh"] = f"meshes/{name}/{stem}.obj"
        else:
            kind = "positive" if record.defect == NORMAL else spelled(record.defect, options)
            stem = f"{name}_{kind}{numbers.next(name, kind)}"
        folder = f"{CLOUDS}/{name}"
        truth = "" if record.defect == NORMAL else f"{folder}/GT/{stem}.txt"
        entries.append(Entry(record.id, f"{folder}/{record.split}/{stem}.pcd", truth, others))
    return entries


def content(
    sample: Sample,
    entry: Entry,
    options: Options,
    write_vertices: Callable[[NDArray[Any], NDArray[Any]], bytes] = write_obj,
) -> dict[str, bytes]:
    """The bytes of each file of a sample. write_vertices : of a template, with its faces."""
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


def lists(
    records: Sequence[Record], entries: Sequence[Entry], root: str = CLOUDS
) -> dict[str, bytes]:
    """MC3D-AD's lists, a JSON object a line, with names from the folder `root` on."""
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
