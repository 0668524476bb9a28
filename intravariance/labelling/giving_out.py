# SPDX-License-Identifier: Apache-2.0
"""Clouds for an annotator: a folder of files that CloudCompare opens, and a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import write_ply, write_text
from intravariance.dataset.sample_checks import unposed
from intravariance.dataset.store import Record, Sample
from intravariance.files.atomic import write_file
from intravariance.files.folders import new_folder, write_member
from intravariance.labelling.manifest import MANIFEST, CloudFrame, GivenCloud, Manifest
from intravariance.progress import track

CloudFormat = Literal["ply", "txt"]
FORMATS: tuple[CloudFormat, ...] = ("ply", "txt")


def given_points(sample: Sample, frame: CloudFrame) -> NDArray[np.float32]:
    """Return (N, 3) float32 as the annotator gets them. frame : "upright" is the unit-sphere frame,
    z up; "stored" is that of the dataset file.
    """
    return sample.points if frame == "stored" else _float32(unposed(sample.points, sample.pose))


def give_out(
    records: Sequence[Record],
    dataset_digest: str,
    out: Path,
    frame: CloudFrame = "upright",
    kind: CloudFormat = "ply",
    blind: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> Manifest:
    """Write one file a sample and the manifest into the new folder `out`.

    kind : "ply" is binary, with CloudCompare's float property `scalar_label`; "txt" has a header
    line `//X Y Z Nx Ny Nz label` and nine significant digits. blind : all labels 0, for annotators
    who must not see ours; those of samples without labels always are. The folder appears when it is
    complete, with SHA256SUMS. Raises InputError when `out` exists (without `force`), or holds files
    that were edited (also with it).
    """
    clouds: dict[str, GivenCloud] = {}
    with new_folder(out, MANIFEST, force) as folder:
        # By this the folder is known as ours; the whole manifest takes its place at the end.
        (folder / MANIFEST).write_bytes(Manifest(dataset_digest, frame, blind, {}).to_bytes())
        for record in track(records, len(records), "clouds", quiet):
            data = _cloud(record.load(), frame, kind, blind)
            name = f"{record.id}.{kind}"
            write_member(folder, name, data)
            digest = hashlib.sha256(data).hexdigest()
            clouds[record.id] = GivenCloud(name, digest, record.digest, record.n_points)
        manifest = Manifest(dataset_digest, frame, blind, clouds)
        write_file(folder / MANIFEST, manifest.to_bytes(), force=True)
    return manifest


def _cloud(sample: Sample, frame: CloudFrame, kind: CloudFormat, blind: bool) -> bytes:
    points, normals = given_points(sample, frame), sample.normals
    if frame == "upright":
        normals = _float32(normals.astype(np.float64) @ sample.pose[:3, :3])
    labels = np.zeros_like(sample.labels) if blind or not sample.labelled else sample.labels
    if kind == "txt":
        return write_text(points, normals, labels, header=True)
    return write_ply(points, normals, labels, "scalar_label", "float")


def _float32(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors, dtype=np.float32)
