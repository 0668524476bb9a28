# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest

from intravariance.dataset.store import open_dataset
from tests.conftest import run_iv
from tests.support.samples import make_dataset, small_specification


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("commands") / "small.h5")


def test_verify_prints_every_check_and_probe(file: Path) -> None:
    result = run_iv("verify", file)
    assert result.returncode == 0, result.stderr
    for word in ("structure", "counts", "noise", "frame shift", "all passed"):
        assert word in result.stdout


def test_verify_ends_with_1_when_a_check_fails(file: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(file, tmp_path / "copy.h5"))
    with h5py.File(copy, "r+") as opened:
        opened["brick/test/brick_test_003/labels"][0] ^= 1
    result = run_iv("verify", copy, "--json")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert not report["passed"]
    failed = {check["name"] for check in report["checks"] if not check["passed"]}
    assert {"digests", "content digest"} <= failed


def test_a_file_that_is_not_published_fails_against_the_published(file: Path) -> None:
    result = run_iv("verify", file, "--against-published")
    assert result.returncode == 1
    assert "no published build has its settings" in result.stdout


@pytest.mark.parametrize("command", ["verify", "info"])
def test_a_users_mistake_ends_with_2_and_one_line(command: str, tmp_path: Path) -> None:
    result = run_iv(command, tmp_path / "missing.h5")
    assert result.returncode == 2
    assert result.stderr.startswith("iv: error:")
    assert result.stderr.count("\n") == 1
    assert not result.stdout


def test_info_counts_the_samples(file: Path) -> None:
    content = json.loads(run_iv("info", file, "--json").stdout)
    specification = small_specification()
    for category, row in zip(specification.categories, content["table"], strict=False):
        assert row == {
            "class": category.name,
            "subcategories": 2,
            "template": category.templates,
            "positive": category.positives,
            **category.defects,
            "total": category.total,
        }
    assert content["table"][-1]["total"] == specification.total == content["samples"]
    assert content["noise_variance"] == pytest.approx(0.0447**2)
    assert [row["defect"] for row in content["difficulty"]] == ["bulge", "missing"]
    for row in content["difficulty"]:
        assert row["hard"] + row["medium"] + row["easy"] == 6
    bulge, missing = content["difficulty"]
    assert 0 < bulge["snr_min"] <= bulge["snr_median"] <= bulge["snr_max"]
    assert missing["snr_median"] is None, "these caps do not say how deep they are"
    low, high = content["points"]
    assert specification.points[0] <= low < high <= specification.points[1]


def test_info_lists_the_samples(file: Path) -> None:
    rows = json.loads(run_iv("info", file, "--samples", "--json").stdout)["samples"]
    with open_dataset(file) as dataset:
        assert [row["id"] for row in rows] == [record.id for record in dataset]
        for row, record in zip(rows, dataset, strict=True):
            assert row["points"] == len(record.points)
            assert row["anomalous"] == record.labels.sum()
    lines = run_iv("info", file, "--samples").stdout.splitlines()
    assert len(lines) == 1 + len(rows) and lines[0].split()[:2] == ["id", "category"]
    assert lines[1].split()[:2] == [rows[0]["id"], rows[0]["category"]]


def test_quiet_is_about_progress_alone(file: Path) -> None:
    loud, quiet = run_iv("verify", file), run_iv("verify", file, "--quiet")
    assert "verify: 4/4" in loud.stderr and not quiet.stderr
    assert loud.stdout == quiet.stdout
    missing = run_iv("verify", "nosuch.h5", "--quiet")
    assert missing.returncode == 2 and "nosuch.h5" in missing.stderr


def test_info_as_text(file: Path) -> None:
    lines = run_iv("info", file).stdout.splitlines()
    digest = json.loads(run_iv("info", file, "--json").stdout)["content_digest"]
    assert f"content digest  {digest}" in lines
    header = next(line for line in lines if line.startswith("class"))
    total = next(line for line in lines if line.startswith("total"))
    assert header.split()[-3:] == ["bulge", "missing", "total"]
    assert total.split() == ["total", "4", "4", "12", "6", "6", str(small_specification().total)]
    assert len(header) == len(total)
    assert [line.split()[0] for line in lines[-3:]] == ["defect", "bulge", "missing"]
