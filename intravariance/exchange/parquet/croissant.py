# SPDX-License-Identifier: Apache-2.0
"""Croissant 1.1 metadata (JSON-LD, http://mlcommons.org/croissant/1.1) of a dataset.

It describes Parquet files: Croissant has no way to say what is inside an HDF5 file. Licence and
citation are the dataset card's. Nothing depends on the time: page, creator and date of publication,
which only a publisher knows, are left out; validators note the date as recommended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from intravariance.cards.terms import terms_of
from intravariance.dataset.schema import DATASET_VERSION
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
    "defect": "The defect: a number in the record set defects.",
    "label": "Of the whole sample: 0 normal, 1 anomalous, -1 unknown.",
    "n_points": "Number of points.",
    "n_anomalous": "Number of points labelled 1; -1 where points have no labels.",
    "difficulty": "Of a defect: hard, medium or easy, after its severity; else empty.",
    "snr": "Departure of a defect from the pristine surface over the noise; empty if unknown.",
    "unit_radius": "Radius of the unit sphere in units of the base mesh's file; empty if unknown.",
    "points": "Points, posed and noisy, in radii of the unit-sphere frame.",
    "normals": "Unit normals of the noise-free surface, in the frame of the points.",
    "labels": "1 where a point is anomalous; 255 on all where nobody says.",
    "displacement": "From the pristine to the defective surface; NaN where it is not known.",
    "pose": "From the frame of the mesh to that of the points.",
    "mesh_vertices": "Vertices of a template's pristine mesh; none where it is no template.",
    "mesh_faces": "Triangles of that mesh, as rows of vertices.",
    "parameters": "How the sample was made, as JSON.",
    "digest": "SHA-256 of the sample's content.",
}
_TYPES = {
    "float32": "cr:Float32",
    "float64": "cr:Float64",
    "int32": "cr:Int32",
    "uint8": "cr:UInt8",
}


def croissant_for_parquet(
    folder: Path, card: str, metadata: Mapping[str, Any], digest: str, defects: Sequence[str]
) -> str:
    """Write the JSON-LD text for the Parquet files in a folder.

    card : the folder's README.md. metadata, digest : of the content (`Dataset.metadata`,
    `content_digest`). defects : the names that the column `defect` counts.
    """
    paths = sorted(folder.glob("data/*/*.parquet"))
    files = {
        "@type": "cr:FileSet",
        "@id": "parquet-files",
        "name": "parquet-files",
        "description": "All Parquet files, one row a sample.",
        "encodingFormat": "application/x-parquet",
        "includes": "data/*/*.parquet",
    }
    specification, terms = metadata["identity"]["specification"], terms_of(card)
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
        # the same words and digest mean the same data; the first number is the file format's
        "version": f"{DATASET_VERSION}.0.0+{digest[:16]}",
        "keywords": ["3D", "point cloud", "anomaly detection", "industrial inspection"],
        "distribution": [*(_file(path, folder) for path in paths), files],
        "recordSet": [
            _record_set("samples", "One record for each sample.", list(map(_field, COLUMNS))),
            _names("defects", "What the numbers in samples/defect mean.", defects),
            _names("labels", "What the numbers in samples/label mean.", LABELS),
        ],
    }
    known = {key: value for key, value in content.items() if value is not None}
    return json.dumps(known, indent=1, ensure_ascii=True) + "\n"


def _file(path: Path, folder: Path) -> dict[str, Any]:
    """Describe a Parquet file in a folder."""
    name = path.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256_of(path),
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


def _field(name: str) -> dict[str, Any]:
    """Describe a column."""
    shape, dtype = ARRAYS.get(name, ((), "int32" if name in COUNTS else ""))
    kind = "cr:Int64" if name in ("defect", "label") else _TYPES.get(dtype, "sc:Text")
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"samples/{name}",
        "name": name,
        "description": _MEANINGS[name],
        "dataType": kind,
        "source": {"fileSet": {"@id": "parquet-files"}, "extract": {"column": name}},
    }
    if shape:
        field |= {"isArray": True, "arrayShape": ",".join(str(size or -1) for size in shape)}
    return field


def _names(name: str, about: str, values: Sequence[str]) -> dict[str, Any]:
    """Make a record set that says what numbers mean."""
    fields = [
        {"@type": "cr:Field", "@id": f"{name}/{key}", "name": key, "dataType": kind}
        for key, kind in (("id", "cr:Int64"), ("name", "sc:Text"))
    ]
    data = [{f"{name}/id": number, f"{name}/name": value} for number, value in enumerate(values)]
    return _record_set(name, about, fields) | {"data": data}
