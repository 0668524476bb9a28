# SPDX-License-Identifier: Apache-2.0
"""Clouds for an annotator: a folder of files that CloudCompare opens, and a manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import write_ply, write_text
from intravariance.errors import InputError
from intravariance.labelling.manifest import NAME, Frame, GivenCloud, Manifest, read_manifest
from intravariance.progress import track
from intravariance.sample_checks import unposed
from intravariance.store import Record, Sample

CloudFormat = Literal["ply", "txt"]
FORMATS: tuple[CloudFormat, ...] = ("ply", "txt")


def given_points(sample: Sample, frame: Frame) -> NDArray[np.float32]:
    """(N, 3) float32 as the annotator gets them. frame : "upright" is the unit-sphere frame, z up;
    "stored" is that of the dataset file."""
    return sample.points if frame == "stored" else _float32(unposed(sample.points, sample.pose))


def give_out(
    records: Sequence[Record],
    dataset_digest: str,
    out: Path,
    frame: Frame = "upright",
    kind: CloudFormat = "ply",
    blind: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> Manifest:
    """Write one file a sample and the manifest into the new folder `out`.

    kind : "ply" is binary, with CloudCompare's float property `scalar_label`; "txt" has a header
    line `//X Y Z Nx Ny Nz label` and nine significant digits. blind : all labels 0, for annotators
    who must not see ours. The folder appears when it is complete. Raises InputError when `out`
    exists (without `force`), or holds files that were edited (also with it).
    """
    check_folder(out, force)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        clouds: dict[str, GivenCloud] = {}
        for record in track(records, len(records), "clouds", quiet):
            data = _cloud(record.load(), frame, kind, blind)
            name = f"{record.id}.{kind}"
            (partial / name).write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            clouds[record.id] = GivenCloud(name, digest, record.digest, record.n_points)
        manifest = Manifest(dataset_digest, frame, blind, clouds)
        (partial / NAME).write_bytes(manifest.to_bytes())
        check_folder(out, force)  # again: someone may have begun to label meanwhile
        if out.exists():
            shutil.rmtree(out)
        os.replace(partial, out)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def check_folder(out: Path, force: bool) -> None:
    """InputError when the folder cannot be made, or what is there must not be replaced."""
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: expected a name in an existing folder")
    if not out.exists():
        return
    if not force:
        raise InputError(f"--out {out} exists. Choose another name, or replace it with --force.")
    if not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, found a file")
    given = read_manifest(out).clouds.values()
    ours = {NAME: ""} | {cloud.file: cloud.sha256 for cloud in given}
    foreign = [path.name for path in sorted(out.iterdir()) if not _untouched(path, ours)]
    if foreign:
        raise InputError(
            f"--out {out}: not replaced, it holds hand labels or files of yours: "
            f"{', '.join(foreign[:3])}{' ...' if len(foreign) > 3 else ''}"
        )


def _untouched(path: Path, ours: dict[str, str]) -> bool:
    if path.name == NAME:
        return True
    if path.name not in ours or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == ours[path.name]


def _cloud(sample: Sample, frame: Frame, kind: CloudFormat, blind: bool) -> bytes:
    points, normals = given_points(sample, frame), sample.normals
    if frame == "upright":
        normals = _float32(normals.astype(np.float64) @ sample.pose[:3, :3])
    labels = np.zeros_like(sample.labels) if blind else sample.labels
    if kind == "txt":
        return write_text(points, normals, labels, header=True)
    return write_ply(points, normals, labels, "scalar_label", "float")


def _float32(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors, dtype=np.float32)
