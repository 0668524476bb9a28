# SPDX-License-Identifier: Apache-2.0
"""--executor and --scheduler of the commands, on a real Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from intravariance import open_dataset
from intravariance.cli import main
from intravariance.exchange.importing.run import ImportSettings, plan_import
from intravariance.exchange.importing.sample import BadScan, make_sample_file
from tests.support.dask_clusters import Cluster, cluster
from tests.support.exporting_samples import make_exportable, plain_folder
from tests.support.foreign_trees import write_tree
from tests.support.unlabelled_trees import some_scans

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster of two workers, in another folder than the client."""
    with cluster(tmp_path_factory.mktemp("cluster"), "first", "second") as found:
        yield found


def iv(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_an_import_is_the_same(two_workers: Cluster, tmp_path: Path, monkeypatch) -> None:
    write_tree(tmp_path / "scans", some_scans())
    monkeypatch.chdir(tmp_path)  # a path that means nothing to the workers
    digests = []
    for words in (["--jobs", 1], ["--executor", "dask", "--scheduler", two_workers.file]):
        out = tmp_path / f"{len(digests)}.h5"
        result = iv("import", "folder", "scans", "--out", out, *words)
        assert result.exit_code == 0, result.stderr
        with open_dataset(out) as dataset:
            digests.append(dataset.digest)
    assert digests[0] == digests[1]


def test_a_scan_that_cannot_be_read_is_named_the_same(tmp_path: Path) -> None:
    write_tree(tmp_path / "scans", some_scans())
    (tmp_path / "scans" / "train" / "0.xyz").write_text("1 2 three\n")
    jobs = plan_import(ImportSettings("folder", tmp_path / "scans", quiet=True)).jobs
    gone = jobs[2].scan.paths[0]
    gone.unlink()
    expected = [make_sample_file(job) for job in jobs]
    packed = [job.packed() for job in jobs]
    (tmp_path / "scans").rename(tmp_path / "elsewhere")
    again = [make_sample_file(job) for job in packed]
    assert repr(again) == repr(expected)  # some numbers of the table are NaN
    assert sum(isinstance(found, BadScan) for found in expected) == 2


def test_an_export_is_the_same(two_workers: Cluster, tmp_path: Path) -> None:
    file = make_exportable(tmp_path / "file.h5")
    trees = []
    with plain_folder() as folder:
        for words in (["--jobs", 1], ["--executor", "dask", "--scheduler", two_workers.file]):
            out = folder / "tree"
            result = iv("export", file, "--layout", "anomaly-shapenet", "--out", out, *words)
            assert result.exit_code == 0, result.stderr
            trees.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*.*")})
            out.rename(folder / f"kept {len(trees)}")
    assert trees[0] == trees[1] and len(trees[0]) > 10


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    write_tree(tmp_path / "scans", some_scans())
    words = ["import", "folder", tmp_path / "scans", "--out", tmp_path / "x.h5"]
    address = ["--scheduler", "tcp://127.0.0.1:1"]
    for more, said in {
        (*address,): "--scheduler tcp://127.0.0.1:1: is of a Dask cluster; add --executor dask",
        (*address, "--executor", "dask", "--jobs", "2"): "--jobs 2: the cluster of --scheduler",
    }.items():
        result = iv(*words, *more)
        assert result.exit_code == 2 and said in result.stderr, result.stderr
    file = make_exportable(tmp_path / "file.h5")
    words = ["export", file, "--layout", "hf-parquet", "--out", tmp_path / "parquet"]
    result = iv(*words, "--executor", "dask")
    assert result.exit_code == 2 and "--executor: one process writes" in result.stderr
    assert iv(*words).exit_code == 0
    words = ["import", "hf-parquet", tmp_path / "parquet", "--out", tmp_path / "x.h5"]
    result = iv(*words, "--executor", "dask")
    assert result.exit_code == 2 and "--executor: of no use with hf-parquet" in result.stderr
