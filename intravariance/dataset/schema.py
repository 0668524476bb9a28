# SPDX-License-Identifier: Apache-2.0
"""A sample, and how it, the table of samples and the header lie in an HDF5 file.

The layout is drawn in `store.py`; `opening.py` opens the files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import UNKNOWN_LABEL
from intravariance.dataset.difficulty import described
from intravariance.dataset.safety import (
    MAX_ATTRIBUTE_BYTES,
    attribute,
    checked_dataset,
    child_array,
    child_group,
    reading,
)
from intravariance.dataset.specification import SPLITS
from intravariance.errors import InputError, IntegrityError
from intravariance.geometry.mesh import Mesh, digest_arrays
from intravariance.names import LONGEST_ID, LONGEST_NAME, name_problem

DATASET_FORMAT = "iv"
DATASET_VERSION = 2
# For files with samples whose points have no labels, which earlier readers would misread.
UNLABELLED_VERSION = 3
# Files of version 1 have no _TABLE_DETAILS, which say nothing of their samples then.
READ_VERSIONS = (1, DATASET_VERSION, UNLABELLED_VERSION)
# The version of what a content digest counts: the same in all versions of the file.
_CONTENT_VERSION = 1
MAX_SAMPLES = 1_000_000
MAX_ROWS = 10_000_000  # points, mesh vertices or faces of one sample
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "points": ("f4", (3,)),
    "normals": ("f4", (3,)),
    "labels": ("u1", ()),
    "displacement": ("f4", (3,)),
}
SAMPLE_ATTRIBUTES = {"pose", "defect", "subcategory", "digest", "parameters"}
TABLE = "samples"
# gzip leaves 5 % of labels, 12 % of displacement, 76 % of normals, but 86 % of noisy points
# (measured on three categories of Group 2), which is not worth a slower reading.
COMPRESSED = frozenset(ARRAYS) - {"points"} | {"vertices", "faces", TABLE}
_TABLE_STRINGS = ("id", "category", "subcategory", "split", "defect", "digest")
_NAMES = ("id", "category", "subcategory", "defect")
_TABLE_NUMBERS = ("n_points", "n_anomalous")
_TABLE_DETAILS = {"difficulty": "S", "snr": "f", "unit_radius": "f"}  # see `described`
TABLE_COLUMNS = (*_TABLE_STRINGS, *_TABLE_NUMBERS, *_TABLE_DETAILS)


@dataclass(frozen=True, eq=False)
class Sample:
    """One point cloud with its ground truth.

    id : neutral name, says nothing of the label. defect : "normal", a defect type, or "unlabelled"
    where nobody says whether it has one.
    points, normals, displacement : (N, 3) float32, stored frame; labels : (N,) uint8, 1 where a
    point is anomalous; all UNKNOWN_LABEL (255) where nobody says which are (see `labelled`).
    displacement : pristine -> defective surface; 0 on normal points, NaN where the surface is
    newly exposed by a cut, and on all points of imported clouds that are, or may be, anomalous
    (nobody knows it).
    pose : (4, 4) float64, unit-sphere frame -> stored frame.
    parameters : JSON-able, all that is needed to make the sample again.
    mesh : the pristine product in the unit-sphere frame; templates only.
    """

    id: str
    category: str
    subcategory: str
    split: str
    defect: str
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    labels: NDArray[np.uint8]
    displacement: NDArray[np.float32]
    pose: NDArray[np.float64]
    parameters: dict[str, Any] = field(default_factory=dict)
    mesh: Mesh | None = None

    @property
    def labelled(self) -> bool:
        """Whether its points have labels."""
        return not bool((self.labels == UNKNOWN_LABEL).any())

    @property
    def digest(self) -> str:
        """SHA-256 hex digest of everything above."""
        words = (self.id, self.category, self.subcategory, self.split, self.defect)
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in (*ARRAYS, "pose")}
        if self.mesh is not None:
            arrays |= {"vertices": self.mesh.vertices, "faces": self.mesh.faces}
        content = canonical_json([*words, self.parameters, digest_arrays(**arrays)])
        return hashlib.sha256(content.encode()).hexdigest()


def canonical_json(content: Any) -> str:
    """Write ASCII JSON text that is the same for the same content, whatever the order of keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_digest(identity: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """Compute the SHA-256 hex digest of a dataset: its identity, and each sample's digest by id.

    The identity is the specification, source, seed, noise and so on. Neither the order of samples
    nor the software counts.
    """
    content = canonical_json([_CONTENT_VERSION, identity, sorted(digests.items())])
    return hashlib.sha256(content.encode()).hexdigest()


def location(sample: Sample) -> str:
    """Tell where the sample's group is in a file."""
    return f"{sample.category}/{sample.split}/{sample.id}"


def check_sample(sample: Sample) -> None:
    """Raise InputError when the sample cannot be stored as it is: names, dtypes, shapes."""
    what = f"sample {sample.id!r}"
    for name in _NAMES:
        if problem := _name_problem(name, getattr(sample, name)):
            raise InputError(f"{what}: {name} = {getattr(sample, name)!r} is no name: {problem}")
    if sample.split not in SPLITS or sample.category == TABLE:
        raise InputError(f"{what}: cannot store category {sample.category!r}, {sample.split!r}")
    expected = {name: (dtype, (len(sample.labels), *row)) for name, (dtype, row) in ARRAYS.items()}
    for name, (dtype, shape) in (expected | {"pose": ("f8", (4, 4))}).items():
        array = getattr(sample, name)
        if array.dtype != np.dtype(dtype) or array.shape != shape or not array.size:
            raise InputError(
                f"{what}: {name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
            )


def write_sample(group: h5py.Group, sample: Sample) -> None:
    """Fill the sample's (empty) group."""
    for name in ARRAYS:
        write_array(group, name, getattr(sample, name))
    if sample.mesh is not None:
        mesh = group.create_group("mesh")
        write_array(mesh, "vertices", sample.mesh.vertices)
        write_array(mesh, "faces", sample.mesh.faces)
    group.attrs["pose"] = sample.pose
    for name in ("defect", "subcategory", "digest"):
        write_text(group, name, getattr(sample, name))
    write_text(group, "parameters", canonical_json(sample.parameters))


def write_array(group: h5py.Group, name: str, array: NDArray[Any]) -> None:
    """Write one chunk with a checksum, compressed where that pays (see COMPRESSED)."""
    compression: dict[str, Any] = (
        {"compression": "gzip", "compression_opts": 4, "shuffle": True}
        if name in COMPRESSED
        else {}
    )
    group.create_dataset(name, data=array, chunks=array.shape, fletcher32=True, **compression)


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write a fixed-length attribute, which every HDF5 tool prints; ASCII where that is enough."""
    content = text.encode()
    if len(content) > MAX_ATTRIBUTE_BYTES:
        raise InputError(
            f"{group.name}: {name} takes {len(content)} bytes, an HDF5 attribute holds at most "
            f"{MAX_ATTRIBUTE_BYTES}; use a shorter specification or fewer parameters"
        )
    if content.isascii():
        group.attrs[name] = np.bytes_(content)
    else:
        group.attrs.create(name, content, dtype=h5py.string_dtype("utf-8", len(content)))


def read_sample(group: h5py.Group, id: str, category: str, split: str, n_points: int) -> Sample:
    """Read the sample in a group; its arrays must have `n_points` rows."""
    return Sample(
        id=id,
        category=category,
        split=split,
        subcategory=str(attribute(group, "subcategory")),
        defect=str(attribute(group, "defect")),
        pose=read_pose(group),
        parameters=read_json(group, "parameters"),
        mesh=read_mesh(group),
        **{name: read_array(group, name, n_points) for name in ARRAYS},
    )


def read_array(group: h5py.Group, name: str, n_points: int) -> NDArray[Any]:
    """Read one of ARRAYS, native-endian."""
    dtype, row = ARRAYS[name]
    constant = name != "points"  # a plane has one normal; of most samples no point is displaced
    return child_array(group, name, dtype, (n_points, *row), MAX_ROWS, constant=constant)


def read_pose(group: h5py.Group) -> NDArray[np.float64]:
    """Read the pose, (4, 4) float64."""
    pose = np.asarray(attribute(group, "pose"))
    if pose.shape != (4, 4) or pose.dtype != np.float64:
        raise IntegrityError(f"{_what(group)}: pose is {pose.dtype} {pose.shape}, expected (4, 4)")
    return pose


def has_mesh(group: h5py.Group) -> bool:
    """Return whether a sample's group holds a mesh."""
    with reading(_what(group)):
        return "mesh" in group


def read_mesh(group: h5py.Group) -> Mesh | None:
    """Read the template's mesh; None when there is none."""
    if not has_mesh(group):
        return None
    mesh = child_group(group, "mesh")
    vertices = child_array(mesh, "vertices", "f4", (None, 3), MAX_ROWS)
    faces = child_array(mesh, "faces", "i4", (None, 3), MAX_ROWS)
    indexed = len(faces) > 0 and faces.min() >= 0 and faces.max() < len(vertices)
    if not indexed or not np.isfinite(vertices).all():
        raise IntegrityError(f"{_what(mesh)}: not a finite triangle mesh")
    return Mesh(vertices, faces)


def read_json(group: h5py.Group, name: str) -> dict[str, Any]:
    """Read an attribute that holds a JSON object."""
    try:
        content = json.loads(attribute(group, name))
        canonical_json(content)  # refuses NaN and infinity, which Python reads and JSON has not
    except (ValueError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{_what(group)}: attribute {name!r} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise IntegrityError(f"{_what(group)}: attribute {name!r} is not a JSON object")
    return content


def table_row(sample: Sample) -> dict[str, Any]:
    """Return what the table of samples says of a sample."""
    return {
        **{name: getattr(sample, name) for name in _TABLE_STRINGS},
        "n_points": len(sample.labels),
        "n_anomalous": int(np.count_nonzero(sample.labels)) if sample.labelled else -1,
        **described(sample.parameters),
    }


def write_table(file: h5py.Group, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of samples, one row a sample."""
    details = {name: "<f8" if kind == "f" else kind for name, kind in _TABLE_DETAILS.items()}
    kinds = dict.fromkeys(_TABLE_STRINGS, "S") | dict.fromkeys(_TABLE_NUMBERS, "<i4") | details
    texts = {n: [row[n].encode() for row in rows] for n, kind in kinds.items() if kind == "S"}
    columns = [(n, _string_type(texts[n]) if n in texts else kind) for n, kind in kinds.items()]
    table = np.zeros(len(rows), dtype=columns)
    for name, _ in columns:
        table[name] = texts[name] if name in texts else [row[name] for row in rows]
    write_array(file, TABLE, table)


def _string_type(texts: Sequence[bytes]) -> np.dtype[Any]:
    """Return HDF5's type of a column: ASCII where that is enough, as every reader takes it."""
    encoding = "ascii" if all(text.isascii() for text in texts) else "utf-8"
    return h5py.string_dtype(encoding, max(1, *map(len, texts)))  # type: ignore[no-any-return]


def _name_problem(column: str, text: str) -> str:
    """Tell why a text cannot stand in a column of _NAMES; "" where it can."""
    return name_problem(text, LONGEST_ID if column == "id" else LONGEST_NAME)


def read_table(file: h5py.Group, version: int = DATASET_VERSION) -> list[dict[str, Any]]:
    """Read the table of samples of a file of a version.

    Raises IntegrityError when its columns or names are not as written.
    """
    what = f"{file.file.filename}: /{TABLE}"
    dataset = checked_dataset(file, TABLE, MAX_SAMPLES)
    columns = {name: dataset.dtype[name].kind for name in dataset.dtype.names or ()}
    first = dict.fromkeys(_TABLE_STRINGS, "S") | dict.fromkeys(_TABLE_NUMBERS, "i")
    expected = first if version == 1 else first | _TABLE_DETAILS
    if list(columns.items()) != list(expected.items()) or dataset.dtype.itemsize > 2048:
        raise IntegrityError(f"{what}: has columns {dataset.dtype}")
    kinds: dict[str, Callable[[Any], Any]] = {
        "S": lambda value: value.decode("utf-8"),
        "i": int,
        "f": float,
    }
    with reading(what):
        rows = [
            described({})
            | {
                name: kinds[kind](value)
                for (name, kind), value in zip(columns.items(), values, strict=True)
            }
            for values in dataset[()].tolist()
        ]
    for row in rows:
        if (
            any(_name_problem(name, row[name]) for name in _NAMES)
            or row["split"] not in SPLITS
            or not 0 < row["n_points"] <= MAX_ROWS
            or (row["n_anomalous"] < 0 and version < UNLABELLED_VERSION)
        ):
            raise IntegrityError(f"{what}: damaged row {row}")
    if len({row["id"] for row in rows}) != len(rows):
        raise IntegrityError(f"{what}: names a sample twice")
    return rows


def header(
    metadata: Mapping[str, Any], digest: str, version: int = DATASET_VERSION
) -> dict[str, Any]:
    """Return the file's attributes: all of `metadata` as JSON, and in plain what people look for.

    "header_digest" is the SHA-256 of the others: HDF5 keeps no checksum of attributes.
    """
    identity = metadata["identity"]
    sigma = float(identity["noise_sigma"])
    values: dict[str, Any] = {
        "format": DATASET_FORMAT,
        "format_version": version,
        "metadata": canonical_json(metadata),
        "specification": canonical_json(identity["specification"]),
        "software": canonical_json(metadata.get("software", {})),
        # ASCII, as all attributes; "metadata" has it exactly
        "source": str(identity["source"]).encode("ascii", "backslashreplace").decode(),
        "seed": int(identity["seed"]),
        "noise_sigma": sigma,
        "noise_variance": sigma * sigma,
        "content_digest": digest,
    }
    content = canonical_json(values).encode()
    return values | {"header_digest": hashlib.sha256(content).hexdigest()}


def version_of(rows: Iterable[Mapping[str, Any]]) -> int:
    """Return the lowest version of the format that can say what a table of samples says."""
    unlabelled = any(row["n_anomalous"] < 0 for row in rows)
    return UNLABELLED_VERSION if unlabelled else DATASET_VERSION


def write_header(
    file: h5py.Group, metadata: Mapping[str, Any], digest: str, version: int = DATASET_VERSION
) -> None:
    """Write `header` as file attributes."""
    for name, value in header(metadata, digest, version).items():
        if isinstance(value, str):
            write_text(file, name, value)
        else:
            file.attrs[name] = value


def unexpected(group: h5py.Group, children: set[str], attributes: set[str]) -> list[str]:
    """List names in a group that should not be there, and names that should be and are not."""
    what = group.name.rstrip("/")
    with reading(f"{group.file.filename}: {what}/"):
        found, found_attributes = set(group), set(group.attrs)
    return [f"{what}/{name}: {_fault(name, children)}" for name in sorted(found ^ children)] + [
        f"{what} attribute {name}: {_fault(name, attributes)}"
        for name in sorted(found_attributes ^ attributes)
    ]


def unexpected_in_sample(group: h5py.Group, split: str, imported: bool = False) -> list[str]:
    """List what is `unexpected` in a sample's group and its mesh, which imports need not have."""
    names = set(ARRAYS) | ({"mesh"} if split == "train" else set())
    if imported and "mesh" not in group:
        names -= {"mesh"}
    problems = unexpected(group, names, SAMPLE_ATTRIBUTES)
    if "mesh" in group:
        problems += unexpected(child_group(group, "mesh"), {"vertices", "faces"}, set())
    return problems


def _fault(name: str, expected: set[str]) -> str:
    return "missing" if name in expected else "does not belong here"


def _what(group: h5py.Group) -> str:
    return f"{group.file.filename}: {group.name}"
