# SPDX-License-Identifier: Apache-2.0
"""Folders like MVTec 3D-AD's, with point clouds in the place of its images. This form is our own.

    <category>/train/good/xyz/000.ply              binary, float32 x y z nx ny nz
                         /mesh/000.obj             the pristine mesh, unit-sphere frame
              /test/good/xyz/000.ply               normal
                        /gt/000.npy                (N,) uint8, 0 for each point
              /test/<defect>/xyz/000.ply
                            /gt/000.npy            (N,) uint8, 1 = anomalous; none without labels
                            /displacement/000.npy  (N, 3) float32, NaN where a cut exposed surface
    README.md                                      licence and citation
    iv_samples.jsonl, iv_export.json               what the names do not say

MVTec 3D-AD keeps organised images (TIFF) which a cloud without a grid does not fit, so its readers,
anomalib's among them, do not read this: the tree is theirs, and the reading of a file is to change.
Our layout `folder` reads it. Everything in a dataset file comes along.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import write_ply
from intravariance.dataset.store import Record, Sample
from intravariance.exchange.layouts.entries import Entry, ExportOptions, Numbers, Rules
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.exchange.layouts.template_meshes import write_mesh

LAYOUT_NAME = "mvtec-like-folder"
HOLDS = {
    "subcategory": SIDE_FILE,
    "pose": SIDE_FILE,
    "parameters": SIDE_FILE,
    "normals": "the clouds",
    "displacement": "displacement/",
    "mesh": "mesh/",
}
RULES = Rules(reserved=("train", "test", "xyz"), unlabelled=True)


def plan(records: Sequence[Record], options: ExportOptions) -> list[Entry]:
    """Name the files of each sample, numbered within its folder in the order given."""
    numbers = Numbers()
    entries = []
    for record in records:
        kind = "good" if record.defect == NORMAL else record.defect
        number = f"{numbers.next(record.category, record.split, kind):03d}"
        folder = f"{record.category}/{record.split}/{kind}"
        others = {}
        if record.split == "train" and record.has_mesh:
            others["mesh"] = f"{folder}/mesh/{number}.obj"
        if record.defect != NORMAL and record.labelled:
            others["displacement"] = f"{folder}/displacement/{number}.npy"
        known = record.split == "test" and record.labelled
        truth = f"{folder}/gt/{number}.npy" if known else ""
        entries.append(Entry(record.id, f"{folder}/xyz/{number}.ply", truth, others))
    return entries


def content(sample: Sample, entry: Entry, options: ExportOptions) -> dict[str, bytes]:
    """Return the bytes of each file of a sample, by its name in the tree."""
    files = {entry.cloud: write_ply(sample.points, sample.normals)}
    if entry.truth:
        files[entry.truth] = _npy(sample.labels)
    if "displacement" in entry.others:
        files[entry.others["displacement"]] = _npy(sample.displacement)
    if "mesh" in entry.others and sample.mesh is not None:
        files[entry.others["mesh"]] = write_mesh(sample.mesh)
    return files


def lists(records: Sequence[Record], entries: Sequence[Entry]) -> dict[str, bytes]:
    """Return none: no reader asks for lists."""
    return {}


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
