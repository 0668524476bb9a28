# SPDX-License-Identifier: Apache-2.0
"""Croissant 1.1 metadata (JSON-LD, http://mlcommons.org/croissant/1.1) of a dataset.

Of Parquet files, and of a dataset file together with a table of its samples (CSV): Croissant has
no way to say what is inside an HDF5 file. Licence and citation are the dataset card's. Nothing
depends on the time: a date of publication is what the publisher gives, or is left out, which
validators note as recommended.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intravariance.cards.dataset_card import dataset_card
from intravariance.cards.terms import terms_of
from intravariance.dataset.schema import DATASET_VERSION
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.exchange.parquet.table import ARRAYS, COLUMNS, COUNTS, LABELS
from intravariance.files.checksums import sha256_of

_VERSION = "http://mlcommons.org/croissant/1.1"
_CROISSANT = "http://mlcommons.org/croissant/"
# The @context of the Croissant specification: which vocabulary each word belongs to.
_WORDS = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field",
    "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset",
    "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
    "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": _CROISSANT,
    "rai": f"{_CROISSANT}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "description": {"@container": "@language"},
    "name": {"@container": "@language"},
    **{word: f"cr:{word}" for word in _WORDS},
}
_MEANINGS = {
    "id": "Name of the sample; it says nothing about the label.",
    "category": "Class of products.",
    "subcategory": "Product of the category.",
    "split": "train (normal templates) or test.",
    "defect": "The defect: a number in the record set defects, or its name.",
    "label": "Of the whole sample: 0 normal, 1 anomalous.",
    "n_points": "Number of points.",
    "n_anomalous": "Number of points labelled 1.",
    "difficulty": "Of a defect: hard, medium or easy, after its severity; else empty.",
    "snr": "Departure of a defect from the pristine surface over the noise; empty if unknown.",
    "unit_radius": "Radius of the unit sphere in units of the base mesh's file; empty if unknown.",
    "points": "Points, posed and noisy, in radii of the unit-sphere frame.",
    "normals": "Unit normals of the noise-free surface, in the frame of the points.",
    "labels": "1 where a point is anomalous.",
    "displacement": "From the pristine to the defective surface; NaN where it is not known.",
    "pose": "From the frame of the mesh to that of the points.",
    "mesh_vertices": "Vertices of a template's pristine mesh; none where it is no template.",
    "mesh_faces": "Triangles of that mesh, as rows of vertices.",
    "parameters": "How the sample was made, as JSON.",
    "digest": "SHA-256 of the sample's content.",
}
_TABLE = (
    "id", "category", "subcategory", "split", "defect", "n_points", "n_anomalous", "difficulty",
    "snr", "unit_radius", "digest",
)  # fmt: skip
_TYPES = {
    "float32": "cr:Float32",
    "float64": "cr:Float64",
    "int32": "cr:Int32",
    "uint8": "cr:UInt8",
}


@dataclass(frozen=True)
class Publication:
    """What only the publisher knows. url : of the dataset's page. date : e.g. "2026-11-24".

    creator : who made the dataset.
    """

    url: str | None = None
    date: str | None = None
    creator: str | None = None

    def __post_init__(self) -> None:
        if self.date is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", self.date):
            raise InputError(f"date of publication {self.date!r}: expected YYYY-MM-DD")


def croissant_for_parquet(
    folder: Path,
    card: str,
    metadata: Mapping[str, Any],
    digest: str,
    defects: Sequence[str],
    publication: Publication | None = None,
) -> str:
    """Write the JSON-LD text for the Parquet files in a folder.

    card : the folder's README.md. metadata, digest : of the content (`Dataset.metadata`,
    `content_digest`). defects : the names that the column `defect` counts.
    """
    paths = sorted(folder.glob("data/*/*.parquet"))
    distribution = [
        _file(path, path.relative_to(folder).as_posix(), "application/x-parquet") for path in paths
    ]
    distribution.append(
        {
            "@type": "cr:FileSet",
            "@id": "parquet-files",
            "name": "parquet-files",
            "description": "All Parquet files, one row a sample.",
            "encodingFormat": "application/x-parquet",
            "includes": "data/*/*.parquet",
        }
    )
    fields = [_field(name, {"fileSet": {"@id": "parquet-files"}}) for name in COLUMNS]
    record_sets = [
        _record_set("samples", "One record for each sample.", fields),
        _names("defects", "What the numbers in samples/defect mean.", defects),
        _names("labels", "What the numbers in samples/label mean.", LABELS),
    ]
    return _document(card, metadata, digest, distribution, record_sets, publication)


def croissant_for_hdf5(
    dataset: Dataset, publication: Publication | None = None
) -> tuple[str, bytes]:
    """Write the JSON-LD text for a dataset file, and samples.csv, which lies beside it.

    Reads the whole file, for its checksum.
    """
    with open_dataset(dataset.path) as whole:
        table = samples_table(whole)
        card = dataset_card(whole.path)
        metadata, digest = whole.metadata, whole.digest
    distribution = [
        _file(dataset.path, dataset.path.name, "application/x-hdf5"),
        _file(table, "samples.csv", "text/csv"),
    ]
    fields = [_field(name, {"fileObject": {"@id": "samples.csv"}}, named=True) for name in _TABLE]
    about = (
        "One record for each sample, whose arrays are in the dataset file under "
        "/<category>/<split>/<id>/: points, normals, labels, displacement."
    )
    record_sets = [_record_set("samples", about, fields)]
    return _document(card, metadata, digest, distribution, record_sets, publication), table


def samples_table(dataset: Dataset) -> bytes:
    """Write the table of samples as CSV with a header line, UTF-8, lines ended by a line feed."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_TABLE)
    for record in dataset:
        values = [getattr(record, name) for name in _TABLE]
        writer.writerow(["" if value != value else value for value in values])  # NaN: unknown
    return text.getvalue().encode()


def _document(
    card: str,
    metadata: Mapping[str, Any],
    digest: str,
    distribution: Sequence[Mapping[str, Any]],
    record_sets: Sequence[Mapping[str, Any]],
    publication: Publication | None,
) -> str:
    publication = publication or Publication()
    specification = metadata["identity"]["specification"]
    creator = publication.creator
    terms = terms_of(card)
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _VERSION,
        "name": specification["title"] or specification["name"],
        "description": (
            "Labelled 3D point clouds for anomaly detection: a category holds several products, "
            "training samples are normal, test samples are normal or have one defect. Content "
            f"digest {digest}."
        ),
        "license": terms.address(),
        "citeAs": terms.bibtex(),
        "url": publication.url,
        "datePublished": publication.date,
        "creator": {"@type": "sc:Organization", "name": creator} if creator else None,
        # the same words and digest mean the same data; the first number is the file format's
        "version": f"{DATASET_VERSION}.0.0+{digest[:16]}",
        "keywords": ["3D", "point cloud", "anomaly detection", "industrial inspection"],
        "distribution": distribution,
        "recordSet": record_sets,
    }
    known = {key: value for key, value in content.items() if value is not None}
    return json.dumps(known, indent=1, ensure_ascii=True) + "\n"


def _file(content: Path | bytes, name: str, kind: str) -> dict[str, Any]:
    """Describe a file, on disk or about to be."""
    if isinstance(content, bytes):
        size, digest = len(content), hashlib.sha256(content).hexdigest()
    else:
        size, digest = content.stat().st_size, sha256_of(content)
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": kind,
        "sha256": digest,
    }


def _record_set(name: str, about: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": about,
        "key": {"@id": f"{name}/id"},
        "field": fields,
    }


def _field(name: str, source: Mapping[str, Any], named: bool = False) -> dict[str, Any]:
    """Describe a column. named : defect is its name, not a number."""
    plain = dict.fromkeys(COUNTS, "int32") | dict.fromkeys(("snr", "unit_radius"), "float64")
    shape, dtype = ARRAYS.get(name, ((), plain.get(name, "")))
    kind = _TYPES.get(dtype, "sc:Text")
    if name in ("defect", "label") and not named:
        kind = "cr:Int64"
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": _MEANINGS[name],
        "dataType": kind,
        "source": {**source, "extract": {"column": name}},
    }
    if shape:
        sizes = ",".join(str(size or -1) for size in shape)
        field |= {"isArray": True, "arrayShape": sizes}
    return field


def _names(name: str, about: str, values: Sequence[str]) -> dict[str, Any]:
    """Make a record set that says what numbers mean."""
    columns = (("id", "cr:Int64"), ("name", "sc:Text"))
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": about,
        "key": {"@id": f"{name}/id"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{key}", "name": key, "dataType": kind}
            for key, kind in columns
        ],
        "data": [{f"{name}/id": n, f"{name}/name": value} for n, value in enumerate(values)],
    }
