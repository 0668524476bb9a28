# SPDX-License-Identifier: Apache-2.0
"""The parsers that a user's file reaches, each with small valid files, for `hostile_campaign`."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import tifffile
import trimesh

from intravariance.cloud_files import parse_cloud, write_pcd, write_ply, write_text
from intravariance.cloud_files.npy import parse_npy
from intravariance.dataset.specification_reader import load_specification
from intravariance.dataset.store import open_dataset
from intravariance.errors import IntegrityError
from intravariance.exchange.layouts.tiff import read_tiff
from intravariance.exchange.parquet.reading import read_samples
from intravariance.exchange.parquet.writing import write_parquet
from intravariance.files.checksums import write_checksums
from intravariance.files.trees import open_tree
from intravariance.sources.reading import READERS, read_triangles
from intravariance.verification.verify import verify
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.saved_files import load_arrays, read_json, write_pair
from tests.support.samples import make_dataset
from tools.hostile_scans import e57_files, fork_for_libraries, las_files, read_e57

SPECIFICATION = """name = "mine"
title = "Mine"
points = [7000, 12000]
noise_sigma = "0.05 mm"
[[category]]
name = "bracket"
unit = "mm"
subcategories = ["left", "right"]
templates = 2
positives = 10
defects = { crack = 5, bending = 5, scratch = 3 }
"""


@dataclass(frozen=True)
class Format:
    """files : valid ones. read : of a mutant's bytes, with a folder that is its own. prepare : what
    a process of the campaign does first."""

    files: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Any]
    prepare: Callable[[], None] = lambda: None


def _mesh(kind: str) -> Format:
    def files() -> list[bytes]:
        shape = trimesh.creation.icosphere(subdivisions=1)
        variants = [{}, {"encoding": "ascii"}] if kind == "ply" else [{}]
        made = [trimesh.exchange.export.export_mesh(shape, None, kind, **v) for v in variants]
        if kind == "stl":
            made.append(trimesh.exchange.stl.export_stl_ascii(shape))
        return [one.encode() if isinstance(one, str) else one for one in made]

    return Format(files, lambda data, _: read_triangles(data, kind))


def _points() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)).astype(np.float32), rng.integers(0, 2, 40).astype(np.uint8)


def _cloud(suffix: str, writer: Callable[..., bytes], **more: Any) -> Format:
    def files() -> list[bytes]:
        points, labels = _points()
        return [writer(points, None, labels, **more)]

    return Format(files, lambda data, _: parse_cloud(data, f"mutant{suffix}"))


def _las(suffix: str) -> Format:
    def read(data: bytes, _: Path) -> Any:
        return parse_cloud(data, f"mutant{suffix}")

    return Format(lambda: las_files(suffix == ".laz"), read, fork_for_libraries)


def _npy(points: Any, labels: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.column_stack([points, labels]))
    return buffer.getvalue()


def _npz(points: Any, labels: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, points=points, labels=labels)
    return buffer.getvalue()


def _tiff() -> list[bytes]:
    image = np.random.default_rng(0).normal(size=(12, 9, 3)).astype(np.float32)
    made = []
    for compression in (None, "zlib"):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, image, compression=compression, photometric="rgb")
        made.append(buffer.getvalue())
    return made


def _zip() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/train/0.txt", "a/test/dent/1.txt", "größe.txt"):
            archive.writestr(name, "0 0 0\n" * 50)
    return [buffer.getvalue()]


def _read_zip(data: bytes, folder: Path) -> None:
    path = folder / "mutant.zip"
    path.write_bytes(data)
    tree = open_tree(path)
    for name in tree.files(""):
        tree.read(name)


def _read_specification(data: bytes, folder: Path) -> None:
    (folder / "mutant.toml").write_bytes(data)
    load_specification(folder / "mutant.toml")


@cache
def _dataset() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return make_dataset(Path(folder) / "small.h5").read_bytes()


@cache
def _digest() -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "small.h5").write_bytes(_dataset())
        return verify(Path(folder) / "small.h5", probes=False).digest


def _read_dataset(data: bytes, folder: Path) -> None:
    """Verify a mutant: what passes says what the file before said, to the last bit."""
    (folder / "mutant.h5").write_bytes(data)
    report = verify(folder / "mutant.h5", probes=False)
    if not report.passed:
        raise IntegrityError("; ".join(report.failures()))
    if report.digest != _digest():
        raise AssertionError("it passes, and holds something else")


def _parquet() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.h5").write_bytes(_dataset())
        with open_dataset(folder / "small.h5") as dataset:
            write_parquet(dataset, folder / "out")
        return [path.read_bytes() for path in sorted(folder.glob("out/data/brick/train*.parquet"))]


def _read_parquet(data: bytes, folder: Path) -> None:

    path = folder / "data/brick/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    write_checksums(folder)
    list(read_samples(folder))


def _safetensors() -> list[bytes]:
    points, labels = _points()
    return [safetensors.numpy.save({"points": points, "labels": labels})]


def _read_safetensors(data: bytes, folder: Path) -> None:

    write_pair(folder / "mutant", data, {}, force=True)
    load_arrays(folder / "mutant")


def _settings() -> list[bytes]:

    return [json.dumps(RunConfig.load(name).to_mapping()).encode() for name in ("released", None)]


def _read_settings(data: bytes, folder: Path) -> None:

    path = folder / "mutant.json"
    path.write_bytes(b'{"format": "campaign", "version": 1, "config": ' + data + b"}")
    content = read_json(path, "campaign")
    if isinstance(content.get("config"), dict):
        RunConfig.from_mapping(content["config"], str(path))


FORMATS: dict[str, Format] = {
    **{kind: _mesh(kind) for kind in sorted(READERS)},
    "ply cloud": _cloud(".ply", write_ply),
    "pcd": _cloud(".pcd", write_pcd),
    "txt": _cloud(".txt", write_text),
    "csv": _cloud(".csv", write_text, delimiter=",", header=True),
    "pts": _cloud(".pts", write_text),
    "npz": Format(lambda: [_npz(*_points())], lambda data, _: parse_cloud(data, "mutant.npz")),
    "las": _las(".las"),
    "laz": _las(".laz"),
    "e57": Format(e57_files, read_e57, fork_for_libraries),
    "npy": Format(lambda: [_npy(*_points())], lambda data, _: parse_npy(data)),
    "tiff": Format(_tiff, lambda data, _: read_tiff(data)),
    "zip": Format(_zip, _read_zip),
    "toml": Format(lambda: [SPECIFICATION.encode()], _read_specification),
    "h5": Format(lambda: [_dataset()], _read_dataset),
    "parquet": Format(_parquet, _read_parquet),
    "safetensors": Format(_safetensors, _read_safetensors),
    "json": Format(_settings, _read_settings),
}
