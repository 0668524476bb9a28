# SPDX-License-Identifier: Apache-2.0
"""Croissant metadata, judged and read by `mlcroissant`, the format's own implementation."""

from __future__ import annotations

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
from intravariance.exchange.parquet import writing as parquet
from intravariance.exchange.parquet.croissant import (
    croissant_for_parquet,
)
from intravariance.exchange.parquet.table import COLUMNS
from tests.support.samples import UNEVEN, make_dataset

pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")

# rdflib's reader of JSON-LD uses a class of its own that it deprecates.
RDFLIB = "ignore:ConjunctiveGraph is deprecated:DeprecationWarning"
PYTHON = [sys.executable, "-W", "error", "-W", RDFLIB, "-c"]
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
def croissant(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write Parquet files with their Croissant file."""
    folder = tmp_path_factory.mktemp("croissant") / "parquet"
    with open_dataset(source) as dataset:
        parquet.write_parquet(dataset, folder)
    return folder / "croissant.json"


@pytest.fixture(scope="module")
def judged(croissant: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what READING prints of it."""
    if importlib.util.find_spec("mlcroissant") is None:  # importing it takes seconds
        pytest.skip("pip install '.[dev]'")
    cache = str(tmp_path_factory.mktemp("cache"))
    result = subprocess.run(
        [*PYTHON, READING, str(croissant)],
        env=os.environ | {"CROISSANT_CACHE": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)[str(croissant)]


def test_mlcroissant_finds_no_error(judged: dict[str, Any]) -> None:
    assert judged["errors"] == []
    # The date is recommended; only a publisher knows it.
    assert len(judged["warnings"]) == 1 and "datePublished" in judged["warnings"][0]


def test_the_command_accepts_it(croissant: Path) -> None:
    if importlib.util.find_spec("mlcroissant") is None:
        pytest.skip("pip install '.[dev]'")
    code = "from absl import app; from mlcroissant.scripts.validate import main; app.run(main)"
    result = subprocess.run(
        [*PYTHON, code, "--jsonld", str(croissant)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "Done." in result.stderr


def test_mlcroissant_reads_the_parquet_files(judged: dict[str, Any], source: Path) -> None:
    defects = {row["id"]: row["name"] for row in judged["defects"]}
    labels = {row["id"]: row["name"] for row in judged["labels"]}
    rows = {row["id"]: row for row in judged["samples"]}
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


def test_every_file_has_its_checksum(croissant: Path) -> None:
    content = json.loads(croissant.read_text())
    objects = [d for d in content["distribution"] if d["@type"] == "cr:FileObject"]
    expected = set(croissant.parent.glob("data/*/*"))
    assert {croissant.parent / part["contentUrl"] for part in objects} == expected
    for part in objects:
        data = (croissant.parent / part["contentUrl"]).read_bytes()
        assert part["sha256"] == hashlib.sha256(data).hexdigest()
        assert part["contentSize"] == f"{len(data)} B"


def test_what_it_says_of_the_whole(croissant: Path, source: Path) -> None:
    with open_dataset(source) as dataset:
        digest = dataset.digest
    content = json.loads(croissant.read_text())
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert content["name"] == "Uneven"
    assert content["license"] == "https://spdx.org/licenses/Apache-2.0.html"
    assert content["citeAs"].startswith("@article{liang2025mc4ad,")
    assert content["version"] == f"{DATASET_VERSION}.0.0+{digest[:16]}"
    assert digest in content["description"]
    # nothing depends on the time
    text = re.sub(r'"sha256": "[0-9a-f]*"', "", croissant.read_text())
    assert not re.findall(r"\b20\d\d-\d\d-\d\d\b", text)


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
