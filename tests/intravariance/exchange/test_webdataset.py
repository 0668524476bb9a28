# SPDX-License-Identifier: Apache-2.0
"""Tar files for training at scale: WebDataset's own reader gives back what the dataset holds."""

from __future__ import annotations

import gc
import json
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from intravariance.cli import main
from intravariance.dataset.schema import ARRAYS
from intravariance.dataset.store import Sample, open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.exchange.parquet import writing
from intravariance.exchange.webdataset import write_webdataset
from intravariance.verification.folder import verify_folder
from tests.support.samples import make_dataset, split_dataset


def dotted(sample: Sample, rng: np.random.Generator) -> Sample:
    """Give a sample a name with a dot, which WebDataset takes for the end of its key."""
    return replace(sample, id=sample.id.replace("_0", ".0"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("webdataset") / "small.h5", change=dotted)


def files(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob("data/*/*.tar")))


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the samples with WebDataset, by id."""
    wds = pytest.importorskip("webdataset")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        samples = wds.WebDataset(files(folder), shardshuffle=False).decode()
        found = {sample["json"]["id"]: sample for sample in samples}
        del samples
        gc.collect()
    return found


def test_webdataset_reads_every_sample(file: Path, tmp_path: Path) -> None:
    with open_dataset(file) as dataset:
        written = write_webdataset(dataset, tmp_path / "tar")
        found = read(tmp_path / "tar")
        assert written.samples == len(found) == len(dataset)
        for place, record in enumerate(dataset):
            sample, own = record.load(), found[record.id]
            assert own["__key__"] == f"{place:06d}-{record.id.replace('.', '-')}"
            for name in (*ARRAYS, "pose"):
                array = getattr(sample, name)
                np.testing.assert_array_equal(own[f"{name}.npy"], array)
                assert own[f"{name}.npy"].dtype == array.dtype
            assert ("vertices.npy" in own) == (sample.mesh is not None)
            if sample.mesh is not None:
                np.testing.assert_array_equal(own["vertices.npy"], sample.mesh.vertices)
                np.testing.assert_array_equal(own["faces.npy"], sample.mesh.faces)
            about = own["json"]
            assert about["parameters"] == sample.parameters and about["digest"] == sample.digest
            assert about["label"] == (record.defect != "normal")
            for name in ("category", "subcategory", "split", "defect", "n_points", "n_anomalous"):
                assert about[name] == getattr(record, name)
    assert verify_folder(tmp_path / "tar").passed
    told = json.loads((tmp_path / "tar" / "iv_export.json").read_text())
    assert told["content_digest"] == dataset.digest and told["layout"] == "webdataset"


def test_the_same_dataset_gives_the_same_bytes(file: Path, tmp_path: Path) -> None:
    with open_dataset(file) as one, open_dataset(split_dataset(file, 3)) as shards:
        write_webdataset(one, tmp_path / "a")
        write_webdataset(shards, tmp_path / "b")
    first, second = ([Path(f).read_bytes() for f in files(tmp_path / n)] for n in "ab")
    assert first == second and len(first) == 4
    for name in files(tmp_path / "a"):
        with tarfile.open(name) as tar:
            facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar}
        assert facts == {(0, 0, 0, "", "", 0o644)}


def test_long_files_are_cut(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "FILE_BYTES", 60_000)
    with open_dataset(file) as dataset:
        write_webdataset(dataset, tmp_path / "tar")
        assert len(files(tmp_path / "tar")) > 6
        assert list(read(tmp_path / "tar")) and len(read(tmp_path / "tar")) == len(dataset)


def test_the_command(file: Path, tmp_path: Path) -> None:
    def iv(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, [*map(str, words)])
        return result.exit_code, result.output

    command = ("export", file, "--layout", "webdataset", "--out", tmp_path / "tar")
    code, said = iv(*command, "--category", "ball", "--quiet")
    assert code == 0 and "left out: nothing" in said and "in .pose.npy: pose" in said
    assert {Path(name).parent.name for name in files(tmp_path / "tar")} == {"ball"}
    code, said = iv(*command)
    assert code == 2 and "exists. Choose another name" in said
    code, said = iv(*command, "--force", "--spelling", "crak")
    assert code == 2 and "--spelling: the readers of webdataset do not take it" in said
    code, said = iv("import", tmp_path / "tar", "--layout", "webdataset", "--out", "x.h5")
    assert code == 2


def test_what_cannot_be_written_leaves_nothing(file: Path, tmp_path: Path) -> None:
    with open_dataset(file) as dataset:
        with pytest.raises(InputError, match="choose whole categories"):
            write_webdataset(dataset.filter(split="test"), tmp_path / "tar")
        wrong = [replace(record, digest="0" * 64) for record in dataset]
        damaged = type(dataset)(dataset._handle, wrong)
        with pytest.raises(IntegrityError, match="is damaged in its file"):
            write_webdataset(damaged, tmp_path / "tar")
    assert not [*tmp_path.iterdir()]
