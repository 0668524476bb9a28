# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md: its files, installed as a package as they stand there, do what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from annotations.vocabulary import DISPLACEMENT_THRESHOLD
from intravariance.dataset.store import open_dataset
from tests import ROOT
from tests.conftest import run_iv
from tests.support.extensions import files_of, install, lines_of_code, needs_pip, python_path
from tests.support.samples import make_dataset, small_specification

pytestmark = needs_pip
FILES = files_of(ROOT / "docs/extending.md")
Iv = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def iv(tmp_path_factory: pytest.TempPathFactory) -> Iv:
    """Return `run_iv` where the document's package is installed."""
    path = python_path(install(FILES, tmp_path_factory.mktemp("package")))

    def run(*arguments: object, folder: Path) -> CompletedProcess[str]:
        return run_iv(*arguments, folder=folder, PYTHONPATH=path)

    return run


def test_the_examples_have_at_most_40_lines() -> None:
    code = {name: text for name, text in FILES.items() if name.endswith(".py")}
    assert len(code) == 4
    for text in code.values():
        assert lines_of_code(text) <= 40


def test_a_source_and_a_defect(iv: Iv, tmp_path: Path, cache: Path, needs_blender: None) -> None:
    (tmp_path / "washers.toml").write_text(FILES["washers.toml"])
    common = ("--spec", "washers.toml", "--source", "washers", "--cache", cache)
    built = iv("build", *common, "--jobs", "1", folder=tmp_path)
    assert built.returncode == 0, built.stderr
    with open_dataset(tmp_path / "washers.h5") as dataset:
        assert len(dataset) == 7 and dataset.specification.defect_types() == ["bulge", "buckle"]
        radii = {record.subcategory: record.unit_radius for record in dataset}
        assert radii["m8"] == pytest.approx(np.hypot(8, 0.8))  # mm, from the middle of the height
        for record in dataset:
            assert record.parameters["base_mesh"].startswith("washers:washer/m")
            if record.defect == "buckle":
                moved = np.linalg.norm(record.displacement, axis=1) > DISPLACEMENT_THRESHOLD
                np.testing.assert_array_equal(moved, record.labels == 1)
                assert record.parameters["defect"]["departure"] >= 0.008
    # what reads a file does without the package
    told = run_iv("info", "washers.h5", folder=tmp_path).stdout
    for added in ("source washers", "defect buckle"):
        assert f"extension       {added} of more-for-iv 1.0" in told
    assert run_iv("verify", "washers.h5", folder=tmp_path).returncode == 0
    card = run_iv("card", "washers.h5", folder=tmp_path).stdout
    assert "| buckle | deformation | a piece of the wall buckled into waves |" in card
    # and what needs it says so
    refused = run_iv("build", *common, "--out", "b.h5", "--dry-run", folder=tmp_path)
    assert refused.returncode == 2
    assert "unknown defect 'buckle'; known: bulge, " in refused.stderr
    (tmp_path / "washers.toml").write_text(FILES["washers.toml"].replace('"m5"', '"m12"'))
    refused = iv("build", *common, "--out", "m12.h5", folder=tmp_path)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "washers:washer/m12: there is no washer m12; expected one of m8, m5" in refused.stderr


def test_a_layout(iv: Iv, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "d.h5", small_specification(positives=1, defects=1))
    tree = tmp_path / "clouds"
    written = iv("export", data, "--layout", "csv-list", "--out", tree, folder=tmp_path)
    assert written.returncode == 0, written.stderr
    assert "left out: normals, displacement, mesh" in written.stdout
    record = json.loads((tree / "iv_export.json").read_bytes())
    assert record["written_by"]["package"] == "more-for-iv"
    assert len(list(tree.glob("*/*.csv"))) == 10
    (tree / "brick/notes.xyz").write_text("1 2 3")
    read = iv(
        "import", "csv-list", tree, "--out", tmp_path / "again.h5", "--jobs", "1", folder=tmp_path
    )
    assert read.returncode == 0, read.stderr
    assert "note: csv-list: not read: brick/notes.xyz" in read.stderr
    with open_dataset(data) as ours, open_dataset(tmp_path / "again.h5") as theirs:
        found = {record.points.tobytes(): record for record in theirs}  # bit for bit
        assert len(found) == len(theirs) == len(ours)
        for own in ours:
            other = found[own.points.tobytes()]
            for name in ("category", "subcategory", "split", "defect"):
                assert getattr(own, name) == getattr(other, name)
            np.testing.assert_array_equal(own.labels, other.labels)
        (extension,) = theirs.metadata["identity"]["extensions"]
    assert extension == {
        "kind": "layout", "name": "csv-list", "package": "more-for-iv", "version": "1.0",
    }  # fmt: skip


def test_a_pseudo_anomaly(iv: Iv, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    data = make_dataset(tmp_path / "d.h5", small_specification((300, 320), 1, 1))
    trained = iv(
        "train", "--data", data, "--category", "ball", "--preset", "quick",
        *(word for change in (
            "anomalies.generator=ripples", "network.width=0.25", "network.voxel_size=0.2",
            "training.epochs=1", "training.repeats=2", "training.batch=2", "data.frame=own",
            "training.constant_epochs=0",
        ) for word in ("--set", change)),
        "--workers", "1", "--out", tmp_path / "run", folder=tmp_path,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    run = json.loads((tmp_path / "run/ball/run.json").read_bytes())
    assert run["config"]["anomalies"]["generator"] == "ripples"
    assert run["environment"]["extensions"][0]["version"] == "1.0"
