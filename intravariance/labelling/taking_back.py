# SPDX-License-Identifier: Apache-2.0
"""Hand labels out of a folder that `giving_out` made and an annotator edited."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotations.matching import Matching, match
from intravariance.cloud_files import SUFFIXES, parse_cloud
from intravariance.cloud_files.reading import read_bytes
from intravariance.dataset.store import Dataset, Sample
from intravariance.errors import InputError
from intravariance.files.checksums import NAME as CHECKSUMS
from intravariance.labelling.giving_out import given_points
from intravariance.labelling.manifest import MANIFEST, Manifest, read_manifest


@dataclass(frozen=True, eq=False)
class HandLabels:
    """Labels that a hand gave one sample.

    labels : (N,) uint8 in the order of the sample's points, 0 where the file has no row.
    """

    file: str
    sha256: str
    labels: NDArray[np.uint8]
    matching: Matching
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edited:
    """The files of a folder. files : sample id -> edited file; unchanged : as given out, not
    labelled; absent : taken away; unused : clouds whose name is no sample's."""

    manifest: Manifest
    files: dict[str, Path]
    unchanged: list[str]
    absent: list[str]
    unused: list[str]


def find_edited(folder: Path, dataset: Dataset) -> Edited:
    """List the edited files of a folder.

    A file is edited when its bytes are not those given out, or it is of another kind. Raises
    InputError when a sample is not in the dataset, is another one there, or has two edited files.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder made by `iv labels export`")
    manifest = read_manifest(folder)
    known = {record.id: record.digest for record in dataset}
    for id, cloud in manifest.clouds.items():
        if known.get(id) != cloud.sample:
            fault = "is another sample there" if id in known else "is not there"
            raise InputError(
                f"{folder} was made from another dataset than {dataset.path}: sample {id} {fault}"
            )
    files: dict[str, Path] = {}
    unchanged, unused = set(), []
    for path in sorted(folder.iterdir()):
        given = manifest.clouds.get(path.stem)
        if path.name in (MANIFEST, CHECKSUMS) or not path.is_file():
            continue
        if given is None or path.suffix.lower() not in SUFFIXES:
            unused.append(path.name)
        elif path.name == given.file and _sha256(path) == given.sha256:
            unchanged.add(path.stem)
        elif path.stem in files:
            raise InputError(
                f"{files[path.stem]} and {path.name} are both edited; keep the one that counts"
            )
        else:
            files[path.stem] = path
    rest = [id for id in manifest.clouds if id not in files]
    return Edited(
        manifest=manifest,
        files={id: files[id] for id in manifest.clouds if id in files},
        unchanged=[id for id in rest if id in unchanged],
        absent=[id for id in rest if id not in unchanged],
        unused=unused,
    )


def read_edited(edited: Edited, dataset: Dataset) -> Iterator[tuple[Sample, HandLabels | str]]:
    """Yield each edited sample with its hand labels, or with what is wrong with the file."""
    for id, path in edited.files.items():
        sample = dataset[id].load()
        try:
            yield sample, read_hand(path, sample, edited.manifest)
        except InputError as error:
            yield sample, str(error)


def read_hand(path: Path, sample: Sample, manifest: Manifest) -> HandLabels:
    """Read the hand labels in a cloud file. Raises InputError when it cannot be read, has no
    labels, or its points are not the sample's.
    """
    data = read_bytes(path)
    cloud = parse_cloud(data, str(path))
    if cloud.labels is None:
        raise InputError(
            f"{path}: it has no labels; expected a scalar field `label` of 0 and 1. "
            f"Its columns are {' '.join(cloud.columns)}"
        )
    matching = match(given_points(sample, manifest.frame), cloud.points)
    if not matching.belongs():
        raise InputError(
            f"{path}: {matching.extra:,} of {len(cloud.points):,} rows are no points of "
            f"{sample.id} (within {matching.tolerance:.1g}); was it turned, scaled, resampled, or "
            "saved under another sample's name?"
        )
    return HandLabels(
        file=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        labels=matching.carry(cloud.labels),
        matching=matching,
        notes=cloud.notes,
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()
