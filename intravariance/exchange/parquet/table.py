# SPDX-License-Identifier: Apache-2.0
"""One sample as one row of a Parquet table, and back, bit for bit.

    id, category, subcategory, split   text; split is "train" or "test"
    defect                             int64, a ClassLabel: 0 is the first of the defect names
    label                              int64, a ClassLabel: 0 normal, 1 anomalous, -1 unknown
    n_points, n_anomalous              int32; n_anomalous is -1 where points have no labels
    points, normals, displacement      (N, 3) float32, as in the dataset file
    labels                             (N,) uint8; all 255 where points have no labels
    pose                               (4, 4) float64
    mesh_vertices, mesh_faces          (V, 3) float32 and (F, 3) int32; (0, 3) where no template
    parameters                         JSON text
    digest                             of the sample, as in the dataset file

The schema carries what `datasets` writes of its own types, so that `load_dataset` knows an array
from a list of lists; other readers see nested lists. Arrays are never null: a missing mesh is
empty, because `datasets` cannot give null arrays of different lengths back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL, UNLABELLED, in_order
from intravariance.dataset.schema import Sample, canonical_json, check_sample, table_row
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, IntegrityError, shortened
from intravariance.geometry.mesh import Mesh

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = ("id", "category", "subcategory", "split", "parameters", "digest")
COUNTS = ("n_points", "n_anomalous")
LABELS = ("normal", "anomalous")
# column -> shape (None: varies) and dtype
ARRAYS: dict[str, tuple[tuple[int | None, ...], str]] = {
    "points": ((None, 3), "float32"),
    "normals": ((None, 3), "float32"),
    "labels": ((None,), "uint8"),
    "displacement": ((None, 3), "float32"),
    "pose": ((4, 4), "float64"),
    "mesh_vertices": ((None, 3), "float32"),
    "mesh_faces": ((None, 3), "int32"),
}
COLUMNS = (
    "id", "category", "subcategory", "split", "defect", "label", *COUNTS, *ARRAYS, "parameters",
    "digest",
)  # fmt: skip
_EXTENSION = b"datasets.features.features.Array2DExtensionType"


def defect_names(dataset: Dataset) -> list[str]:
    """Return the names that the column `defect` counts: "normal", then the defects."""
    return [NORMAL, *in_order({record.defect for record in dataset} - {NORMAL})]


def features(defects: Sequence[str]) -> dict[str, Any]:
    """Describe the columns as `datasets.Features.from_dict` takes them."""
    columns: dict[str, Any] = {name: _value("string") for name in TEXTS}
    columns |= {name: _value("int32") for name in COUNTS}
    columns["defect"] = {"names": list(defects), "_type": "ClassLabel"}
    columns["label"] = {"names": list(LABELS), "_type": "ClassLabel"}
    for name, (shape, dtype) in ARRAYS.items():
        # "Sequence" is the name before datasets 4 of what is now "List"; all versions read it
        columns[name] = (
            {"shape": list(shape), "dtype": dtype, "_type": "Array2D"}
            if len(shape) == 2
            else {"feature": _value(dtype), "length": -1, "_type": "Sequence"}
        )
    return {name: columns[name] for name in COLUMNS}


def schema(defects: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of the table."""
    import pyarrow as pa  # noqa: PLC0415 - weight

    types = {name: pa.string() for name in TEXTS} | {name: pa.int32() for name in COUNTS}
    types |= {"defect": pa.int64(), "label": pa.int64()}
    fields = []
    for name in COLUMNS:
        if name not in ARRAYS:
            fields.append(pa.field(name, types[name]))
            continue
        shape, dtype = ARRAYS[name]
        extension = {
            b"ARROW:extension:name": _EXTENSION,
            b"ARROW:extension:metadata": json.dumps((shape, dtype)).encode(),
        }
        fields.append(pa.field(name, _type(name), metadata=extension if len(shape) == 2 else None))
    info = json.dumps({"info": {"features": features(defects)}})
    return pa.schema(fields, metadata={"huggingface": info})


def table(samples: Sequence[Sample], defects: Sequence[str]) -> pa.Table:
    """Make the table of these samples, a row each, in their order."""
    import pyarrow as pa  # noqa: PLC0415 - weight

    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    meshes = [sample.mesh or empty for sample in samples]
    plain: dict[str, list[Any]] = {
        "defect": [defects.index(sample.defect) for sample in samples],
        "label": [_object_label(sample) for sample in samples],
        "n_points": [len(sample.labels) for sample in samples],
        "n_anomalous": [table_row(sample)["n_anomalous"] for sample in samples],
        "parameters": [canonical_json(sample.parameters) for sample in samples],
        **{name: [getattr(sample, name) for sample in samples]
           for name in TEXTS if name != "parameters"},
    }  # fmt: skip
    arrays: dict[str, list[NDArray[Any]]] = {
        "mesh_vertices": [mesh.vertices for mesh in meshes],
        "mesh_faces": [mesh.faces for mesh in meshes],
    }
    target = schema(defects)
    columns = []
    for field in target:
        if field.name in ARRAYS:
            values = arrays.get(field.name) or [getattr(s, field.name) for s in samples]
            columns.append(_nested(values, field.name))
        else:
            columns.append(pa.array(plain[field.name], field.type))
    return pa.Table.from_arrays(columns, schema=target)


def _object_label(sample: Sample) -> int:
    unknown = sample.defect == UNLABELLED and not sample.labelled
    return -1 if unknown else int(sample.defect != NORMAL)


def check_schema(found: pa.Schema, what: str) -> list[str]:
    """Return the defect names that a table's schema records; IntegrityError when it is not ours."""
    types = {field.name: _storage(field.type) for field in found}
    expected = {field.name: field.type for field in schema([NORMAL])}
    if types != expected:
        wrong = sorted(
            name for name in types.keys() | expected.keys() if types.get(name) != expected.get(name)
        )
        raise IntegrityError(f"{what}: the columns {', '.join(wrong)} are not as iv writes them")
    try:
        content = json.loads((found.metadata or {})[b"huggingface"])
        names = content["info"]["features"]["defect"]["names"]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{what}: it has no names of defects") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise IntegrityError(f"{what}: the names of defects are {names!r}")
    return names


def samples_of(rows: pa.Table, defects: Sequence[str], what: str) -> list[Sample]:
    """Return the samples of a table that `check_schema` accepted.

    Raises IntegrityError when a row contradicts itself or its digest.
    """
    plain: list[dict[str, Any]] = rows.drop_columns(list(ARRAYS)).to_pylist()
    arrays = {name: _arrays(rows, name, what) for name in ARRAYS}
    return [
        _sample(row, {name: column[place] for name, column in arrays.items()}, defects, what)
        for place, row in enumerate(plain)
    ]


def _sample(
    row: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], defects: Sequence[str], what: str
) -> Sample:
    where = f"{what}: sample {row['id']!r}"
    try:
        if not 0 <= row["defect"] < len(defects):
            raise IntegrityError(f"{where}: its defect is number {row['defect']} of {len(defects)}")
        faces = arrays["mesh_faces"]
        values: dict[str, Any] = {
            **{name: row[name] for name in TEXTS if name not in ("parameters", "digest")},
            **{name: array for name, array in arrays.items() if not name.startswith("mesh")},
        }
        sample = Sample(
            defect=defects[row["defect"]],
            parameters=json.loads(row["parameters"]),
            mesh=Mesh(arrays["mesh_vertices"], faces) if len(faces) else None,
            **values,
        )
        check_sample(sample)
        digest = sample.digest
    except (TypeError, ValueError, RecursionError, InputError) as error:
        raise IntegrityError(f"{where}: a damaged row: {shortened(str(error))}") from error
    if digest != row["digest"]:
        raise IntegrityError(f"{where}: it does not have the digest recorded")
    return sample


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _type(name: str) -> pa.DataType:
    """Return the Arrow type of a column of arrays: nested lists."""
    import pyarrow as pa  # noqa: PLC0415 - weight

    shape, dtype = ARRAYS[name]
    kind = pa.from_numpy_dtype(np.dtype(dtype))
    for _ in shape:
        kind = pa.list_(kind)
    return kind


def _storage(kind: pa.DataType) -> pa.DataType:
    """Return what a type is made of: where `datasets` is imported, Arrow knows its types."""
    import pyarrow as pa  # noqa: PLC0415 - weight

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _nested(arrays: Sequence[NDArray[Any]], name: str) -> pa.Array:
    """Make the column of `arrays`, of different lengths."""
    import pyarrow as pa  # noqa: PLC0415 - weight

    values = pa.array(np.concatenate([array.reshape(-1) for array in arrays]))
    rows = sum(len(array) for array in arrays)
    if len(ARRAYS[name][0]) == 2:
        width = ARRAYS[name][0][1] or 0
        values = pa.ListArray.from_arrays(_offsets(np.full(rows, width)), values)
    lengths = np.array([len(array) for array in arrays])
    return pa.ListArray.from_arrays(_offsets(lengths), values)


def _offsets(lengths: NDArray[Any]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415 - weight

    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _arrays(rows: pa.Table, name: str, what: str) -> list[NDArray[Any]]:
    """Return the arrays of a column, each a copy of its own."""
    shape, dtype = ARRAYS[name]
    column = rows.column(name).combine_chunks()
    column = column.storage if hasattr(column, "storage") else column
    inner = column.flatten()
    values = inner.flatten() if len(shape) == 2 else inner
    if column.null_count or inner.null_count or values.null_count:
        raise IntegrityError(f"{what}: the column {name} has nulls")
    lengths = column.value_lengths().to_numpy()
    flat = values.to_numpy(zero_copy_only=False)
    if len(shape) == 2:
        if not (inner.value_lengths().to_numpy() == shape[1]).all():
            raise IntegrityError(f"{what}: a row of {name} is not {shape[1]} numbers")
        flat = flat.reshape(-1, shape[1] or 0)
    ends = np.cumsum(lengths)
    return [
        np.array(flat[end - length : end], dtype=dtype)
        for length, end in zip(lengths, ends, strict=True)
    ]
