# SPDX-License-Identifier: Apache-2.0
"""Croissant metadata, judged and read by `mlcroissant`, the format's own implementation."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intravariance.cards.dataset_card import dataset_card
from intravariance.cards.terms import terms_of
from intravariance.dataset.schema import DATASET_VERSION
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.parquet import writing as parquet
from intravariance.exchange.parquet.croissant import (
    Publication,
    croissant_for_hdf5,
    croissant_for_parquet,
    samples_table,
)
from intravariance.exchange.parquet.table import COLUMNS
from tests.samples import UNEVEN, make_dataset

pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")

# rdflib's reader of JSON-LD uses a class of its own that it deprecates.
RDFLIB = "ignore:ConjunctiveGraph is deprecated:DeprecationWarning"
PYTHON = [sys.executable, "-W", "error", "-W", RDFLIB, "-c"]
PUBLICATION = Publication("https://example.org/data", "2026-11-24", "Its Makers")
# For each file: the issues that mlcroissant finds, and what it reads of its record sets.
READING = """
import json, sys
import numpy as np
import mlcroissant as mlc

def plain(value):
    return value.decode() if isinstance(value, bytes) else np.asarray(value).tolist()

found = {}
for name in sys.argv[1:]:
    dataset = mlc.Dataset(name)
    issues = dataset.metadata.ctx.issues
    found[name] = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings)}
    for record_set in dataset.metadata.record_sets:
        rows = [{k.split("/")[1]: plain(v) for k, v in record.items()}
                for record in dataset.records(record_set.id)]
        found[name][record_set.id] = rows
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("source") / "uneven.h5", UNEVEN)


@pytest.fixture(scope="module")
def files(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make Croissant files of Parquet and of the dataset file, with and without a publication."""
    folder = tmp_path_factory.mktemp("croissant")
    found = {}
    with open_dataset(source) as dataset:
        for name, publication in (("bare", None), ("published", PUBLICATION)):
            parquet.write_parquet(dataset, folder / name, publication)
            found[f"parquet {name}"] = folder / name / "croissant.json"
            text, table = croissant_for_hdf5(dataset, publication)
            found[f"hdf5 {name}"] = source.parent / f"{name}.json"
            found[f"hdf5 {name}"].write_text(text)
    (source.parent / "samples.csv").write_bytes(table)
    return found


@pytest.fixture(scope="module")
def judged(
    files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Return what READING prints of each."""
    if importlib.util.find_spec("mlcroissant") is None:  # importing it takes seconds
        pytest.skip("pip install '.[dev]'")
    cache = str(tmp_path_factory.mktemp("cache"))
    result = subprocess.run(
        [*PYTHON, READING, *map(str, files.values())],
        env=os.environ | {"CROISSANT_CACHE": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    return {name: found[str(path)] for name, path in files.items()}


def test_mlcroissant_finds_no_error(judged: dict[str, dict[str, Any]]) -> None:
    for name, found in judged.items():
        assert found["errors"] == [], name
        # The date is recommended; only a publisher knows it.
        expected = 0 if name.endswith("published") else 1
        assert len(found["warnings"]) == expected, found["warnings"]
        assert all("datePublished" in text for text in found["warnings"])


def test_the_command_accepts_it(files: dict[str, Path]) -> None:
    if importlib.util.find_spec("mlcroissant") is None:
        pytest.skip("pip install '.[dev]'")
    path = files["parquet published"]
    code = "from absl import app; from mlcroissant.scripts.validate import main; app.run(main)"
    result = subprocess.run(
        [*PYTHON, code, "--jsonld", str(path)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "warning" not in result.stderr
    assert "Done." in result.stderr


def test_mlcroissant_reads_the_parquet_files(
    judged: dict[str, dict[str, Any]], source: Path
) -> None:
    found = judged["parquet bare"]
    defects = {row["id"]: row["name"] for row in found["defects"]}
    labels = {row["id"]: row["name"] for row in found["labels"]}
    rows = {row["id"]: row for row in found["samples"]}
    with open_dataset(source) as dataset:
        assert set(rows) == {record.id for record in dataset}
        for record in dataset:
            row = rows[record.id]
            assert list(row) == list(COLUMNS)
            assert defects[row["defect"]] == record.defect
            assert labels[row["label"]] == ("normal" if record.defect == "normal" else "anomalous")
            assert (row["n_points"], row["n_anomalous"]) == (record.n_points, record.n_anomalous)
            assert json.loads(row["parameters"]) == record.parameters
            for name in ("points", "normals", "labels", "displacement", "pose"):
                expected = getattr(record, name)
                array = np.array(row[name], dtype=float).astype(expected.dtype)
                assert np.array_equal(array, expected, equal_nan=expected.dtype.kind == "f"), name
            faces = record.mesh.faces if record.mesh else np.zeros((0, 3))
            assert row["mesh_faces"] == faces.tolist()


def test_mlcroissant_reads_the_table_beside_the_dataset_file(
    judged: dict[str, dict[str, Any]], source: Path
) -> None:
    with open_dataset(source) as dataset:
        found = judged["hdf5 bare"]["samples"]
        names = (
            "id", "category", "subcategory", "split", "defect", "n_points", "n_anomalous",
            "difficulty", "snr", "unit_radius", "digest",
        )  # fmt: skip
        for row, record in zip(found, dataset, strict=True):
            assert list(row) == list(names)
            for name, value in row.items():
                expected = getattr(record, name)
                unknown = expected in ("",) or expected != expected
                assert (value is None or value != value) if unknown else value == expected, name
        rows = list(csv.DictReader(samples_table(dataset).decode().splitlines()))
        assert [row["id"] for row in rows] == [record.id for record in dataset]
        assert [row["difficulty"] for row in rows] == [record.difficulty for record in dataset]


def test_every_file_has_its_checksum(files: dict[str, Path]) -> None:
    for name, path in files.items():
        content = json.loads(path.read_text())
        objects = [d for d in content["distribution"] if d["@type"] == "cr:FileObject"]
        expected = set(path.parent.glob("data/*/*")) or {
            path.parent / "uneven.h5",
            path.parent / "samples.csv",
        }
        assert {path.parent / part["contentUrl"] for part in objects} == expected, name
        for part in objects:
            data = (path.parent / part["contentUrl"]).read_bytes()
            assert part["sha256"] == hashlib.sha256(data).hexdigest()
            assert part["contentSize"] == f"{len(data)} B"


def test_what_it_says_of_the_whole(files: dict[str, Path], source: Path) -> None:
    with open_dataset(source) as dataset:
        digest = dataset.digest
    for name, path in files.items():
        content = json.loads(path.read_text())
        assert content["conformsTo"] == "http://mlcommons.org/croissant/1.1"
        assert content["name"] == "Uneven"
        assert content["license"] == "https://spdx.org/licenses/Apache-2.0.html"
        assert content["citeAs"].startswith("@article{liang2025mc4ad,")
        assert content["version"] == f"{DATASET_VERSION}.0.0+{digest[:16]}"
        assert digest in content["description"]
        # no date but the publisher's
        text = re.sub(r'"sha256": "[0-9a-f]*"', "", path.read_text())
        dates = re.findall(r"\b20\d\d-\d\d-\d\d\b", text)
        assert dates == (["2026-11-24"] if name.endswith("published") else [])
        assert content.get("creator", {}).get("name") == (
            "Its Makers" if name.endswith("published") else None
        )
        assert content.get("url") == (
            "https://example.org/data" if name.endswith("published") else None
        )


def test_it_is_the_same_each_time(source: Path, files: dict[str, Path]) -> None:
    with open_dataset(source) as dataset:
        text, table = croissant_for_hdf5(dataset)
        # of the whole file, whatever is chosen
        part, _ = croissant_for_hdf5(dataset.filter(category="ball"))
    assert text == part == files["hdf5 bare"].read_text()
    assert table == (source.parent / "samples.csv").read_bytes()


def test_licence_and_citation_are_the_cards(tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other.h5", UNEVEN, source="folder")
    card = dataset_card(other)
    assert terms_of(card).address() == "that-of-the-base-meshes"
    address = "https://spdx.org/licenses/CC-BY-4.0.html"
    assert terms_of("---\nlicense: cc-by-4.0\n---\n").address() == address
    linked = f"---\nlicense: other\nlicense_name: its\nlicense_link: {address}\n---\n"
    assert terms_of(linked).address() == address
    assert terms_of("---\nlicense: cc-by-nc-4.0\n---\n").address() == "cc-by-nc-4.0"
    assert terms_of("---\nlicense: other\n---\n").address() is None
    assert terms_of("no citation").bibtex() is None
    with open_dataset(other) as dataset:
        text = croissant_for_parquet(tmp_path, "", dataset.metadata, dataset.digest, ["normal"])
    content = json.loads(text)
    assert "license" not in content
    assert "citeAs" not in content


def test_a_date_is_a_date() -> None:
    with pytest.raises(InputError, match="expected YYYY-MM-DD"):
        Publication(date="yesterday")
