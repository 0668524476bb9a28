# SPDX-License-Identifier: Apache-2.0
"""Parquet files as `datasets` and pandas read them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intravariance.dataset.store import open_dataset
from intravariance.exchange.parquet.reading import (
    read_samples,
)
from intravariance.exchange.parquet.table import (
    COLUMNS,
)

pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")

# Prints what `datasets` makes of a folder, and what we read when its Arrow types are registered.
LOADING = """
import hashlib, json, sys
import datasets
from intravariance.exchange.parquet.reading import read_samples
from pathlib import Path

folder, arrays = sys.argv[1], sys.argv[2].split(",")
found = {"configurations": datasets.get_dataset_config_names(folder)}
whole = datasets.load_dataset(folder)
found["features"] = {name: repr(f) for name, f in whole["train"].features.items()}
found["splits"] = {split: len(part) for split, part in whole.items()}
found["brick"] = {s: sorted(set(p["category"])) for s, p in
                  datasets.load_dataset(folder, "brick").items()}
found["samples"] = {}
for split, part in whole.items():
    numbers = part.with_format("numpy")
    for row, plain in zip(numbers, part.select_columns(["parameters", "pose"])):
        found["samples"][str(row["id"])] = {
            "split": split,
            "defect": part.features["defect"].int2str(int(row["defect"])),
            "label": part.features["label"].int2str(int(row["label"])),
            "shape": row["points"].shape,
            "parameters": json.loads(plain["parameters"]),
            "pose": plain["pose"],
            "labels": int(row["labels"].sum()),
            "sums": {a: hashlib.sha256(row[a].tobytes()).hexdigest() for a in arrays},
        }
found["read"] = {sample.id: sample.digest for sample in read_samples(Path(folder))}
print(json.dumps(found))
"""
FLOATS = ("points", "normals", "displacement")


@pytest.fixture(scope="module")
def loaded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what LOADING prints, in a process without network in which warnings are errors."""
    if importlib.util.find_spec("datasets") is None:  # importing it takes seconds
        pytest.skip("pip install '.[dev]'")
    home = str(tmp_path_factory.mktemp("home"))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADING, str(folder), ",".join(FLOATS)],
        env=os.environ | {"HF_HOME": home, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_load_dataset_gives_splits_and_features(loaded: dict[str, Any], source: Path) -> None:
    features = loaded["features"]
    assert list(features) == list(COLUMNS)
    assert features["points"] == "Array2D(shape=(None, 3), dtype='float32')"
    assert features["pose"] == "Array2D(shape=(4, 4), dtype='float64')"
    assert features["labels"] == "List(Value('uint8'))"
    assert features["defect"] == "ClassLabel(names=['normal', 'bulge', 'missing'])"
    assert sorted(loaded["configurations"]) == ["all", "ball", "brick"]
    assert loaded["brick"] == {"train": ["brick"], "test": ["brick"]}
    with open_dataset(source) as dataset:
        splits = {s: len(dataset.filter(split=s)) for s in ("train", "test")}
    assert loaded["splits"] == splits


def test_load_dataset_gives_every_sample(loaded: dict[str, Any], source: Path) -> None:
    with open_dataset(source) as dataset:
        assert set(loaded["samples"]) == {record.id for record in dataset}
        for record in dataset:
            row = loaded["samples"][record.id]
            assert row["split"] == record.split
            assert row["defect"] == record.defect
            assert row["label"] == ("normal" if record.defect == "normal" else "anomalous")
            assert row["shape"] == [record.n_points, 3]
            assert row["labels"] == record.n_anomalous
            assert row["parameters"] == record.parameters
            assert np.array_equal(row["pose"], record.pose)
            for name in FLOATS:
                expected = hashlib.sha256(getattr(record, name).tobytes()).hexdigest()
                assert row["sums"][name] == expected, (record.id, name)


def test_reading_is_the_same_where_datasets_is_imported(
    loaded: dict[str, Any], source: Path, folder: Path
) -> None:
    with open_dataset(source) as dataset:
        expected = {record.id: record.digest for record in dataset}
    assert loaded["read"] == expected
    assert {sample.id: sample.digest for sample in read_samples(folder)} == expected


def test_pandas_reads_it(folder: Path, source: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pip install '.[dev]'")
    rows = pandas.read_parquet(folder / "data/brick/train-00000-of-00001.parquet")
    with open_dataset(source) as dataset:
        record = dataset[rows["id"][0]]
        assert np.array_equal(np.stack(rows["points"][0]), record.points)
        assert record.mesh is not None
        assert np.array_equal(np.stack(rows["mesh_faces"][0]), record.mesh.faces)
        assert rows["n_points"].tolist() == [dataset[id].n_points for id in rows["id"]]
