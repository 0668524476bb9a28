# SPDX-License-Identifier: Apache-2.0
"""A dataset as tar files that training at scale reads from end to end, as WebDataset does.

    data/<category>/train-00000-of-00001.tar    the members of a sample lie one after another:
        000012-vase_train_003.json              all that is known of it, `id` and `label` among it
        000012-vase_train_003.points.npy        (N, 3) float32
        000012-vase_train_003.normals.npy       (N, 3) float32
        000012-vase_train_003.labels.npy        (N,) uint8, 1 = anomalous, 255 = nobody says
        000012-vase_train_003.displacement.npy  (N, 3) float32, NaN where it is not known
        000012-vase_train_003.pose.npy          (4, 4) float64
        000012-vase_train_003.vertices.npy      (V, 3) float32, and .faces.npy (F, 3) int32
    data/<category>/test-00000-of-00001.tar
    iv_export.json, README.md, provenance.json, SHA256SUMS

A member is called after the sample's place in the dataset and its id, whose dots are hyphens: what
comes after the first dot is what WebDataset calls the member. The tar files are plain (POSIX), have
no times and no owners, and are the same bytes for the same dataset.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL, UNLABELLED
from intravariance.cards.dataset_card import dataset_card
from intravariance.cards.terms import terms_of
from intravariance.dataset.schema import ARRAYS, canonical_json
from intravariance.dataset.store import Dataset, Record, Sample
from intravariance.errors import IntegrityError
from intravariance.exchange.exporting.making import making
from intravariance.exchange.exporting.parts import digest_and_metadata
from intravariance.exchange.exporting.tree import Written
from intravariance.exchange.exporting.tree_card import README, tree_card
from intravariance.exchange.layouts.entries import EXPORT_RECORD, WEBDATASET_LAYOUT
from intravariance.exchange.parquet.writing import plan_files
from intravariance.files.atomic import replacing
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.files.provenance import write_provenance
from intravariance.progress import track

# Where a sample has each of `CONTENTS`: members.
HOLDS = {
    "subcategory": ".json",
    "pose": ".pose.npy",
    "parameters": ".json",
    "normals": ".normals.npy",
    "displacement": ".displacement.npy",
    "mesh": ".vertices.npy, .faces.npy",
}


def write_webdataset(
    dataset: Dataset, out: Path, force: bool = False, quiet: bool = True
) -> Written:
    """Write the folder `out`, which appears only when complete; one sample is in memory at a time.

    dataset : a whole file, or whole categories of it (`Dataset.filter(category=...)`). force :
    replace an earlier export. quiet : no progress on stderr.

    Raises InputError when `out` exists (with `force`: when it is no earlier export), or part of a
    category is missing; IntegrityError when a sample is not what the file's table says.
    """
    check_folder(out, EXPORT_RECORD, force)
    digest, metadata = digest_and_metadata(dataset)
    terms = terms_of(dataset_card(dataset.path))
    about = {"layout": WEBDATASET_LAYOUT, "content_digest": digest, "metadata": metadata}
    with new_folder(out, EXPORT_RECORD, force) as folder:
        record = json.dumps(about | {"terms": terms.to_dict()}, indent=1, sort_keys=True) + "\n"
        write_member(folder, EXPORT_RECORD, record.encode())
        for _ in track(_write_files(folder, dataset), len(dataset), "exporting", quiet):
            pass
        write_member(folder, README, tree_card(dataset, WEBDATASET_LAYOUT, digest, terms, ".json"))
        names = write_provenance(folder, making(dataset, WEBDATASET_LAYOUT, {}, {}))
        size = sum((folder / name).stat().st_size for name in names)
    return Written(len(dataset), len(names) + 1, size, dict(HOLDS))


def _write_files(folder: Path, dataset: Dataset) -> Iterator[None]:
    """Write the tar files; yields after each sample."""
    places = {record.id: place for place, record in enumerate(dataset)}
    for file in plan_files(list(dataset), "tar"):
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, tarfile.open(temporary, "w") as tar:
            for record in file.records:
                sample = record.load()
                if sample.digest != record.digest:
                    raise IntegrityError(f"{record.id} is damaged in its file; see `iv verify`")
                key = f"{places[record.id]:06d}-{record.id.replace('.', '-')}"
                for name, content in _members(record, sample).items():
                    member = tarfile.TarInfo(f"{key}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                yield


def _members(record: Record, sample: Sample) -> dict[str, bytes]:
    """Return the files of a sample by what WebDataset calls them."""
    unknown = sample.defect == UNLABELLED and not sample.labelled
    about = {
        "id": record.id,
        "category": record.category,
        "subcategory": record.subcategory,
        "split": record.split,
        "defect": record.defect,
        "label": -1 if unknown else int(record.defect != NORMAL),
        "n_points": record.n_points,
        "n_anomalous": record.n_anomalous,
        "difficulty": record.difficulty,
        "snr": record.snr if isfinite(record.snr) else None,
        "unit_radius": record.unit_radius if isfinite(record.unit_radius) else None,
        "parameters": sample.parameters,
        "digest": record.digest,
    }
    arrays: dict[str, NDArray[Any]] = {n: getattr(sample, n) for n in (*ARRAYS, "pose")}
    if sample.mesh is not None:
        arrays |= {"vertices": sample.mesh.vertices, "faces": sample.mesh.faces}
    content = {"json": canonical_json(about).encode()}
    return content | {f"{name}.npy": _npy(array) for name, array in arrays.items()}


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
