# SPDX-License-Identifier: Apache-2.0
"""Table 5a: the printed values, and `iv reproduce table5a` with real trainings of a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")
from intravariance.cli import main
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IVError
from mc4ad_model.classification.own_products import OwnProducts
from mc4ad_model.classification.plan import PLANS
from mc4ad_model.classification.released_files import ReleasedFiles
from mc4ad_model.machine.device import Machine
from mc4ad_model.paper import generalisation
from mc4ad_model.paper.generalisation import COLUMNS, reproduce_table5a, table_rows
from mc4ad_model.paper.printed_tables import table5a
from tests.mc4ad_model.classification.test_released_files import modelnet40
from tests.support.runs import cpu
from tests.support.samples import make_dataset, small_specification

TINY = replace(
    PLANS["small"], points=32, part_points=32, width=0.1, attention=0.02, neighbours=0.2,
    epochs=2, batch=4, clouds=3,
)  # fmt: skip


def test_the_papers_text_has_the_mean_gains_of_its_table() -> None:
    """Section 5.4: 0.65, 0.6, 0.775 and 0.675."""
    printed = table5a()
    assert list(COLUMNS) == [*printed.columns, "point_auroc"]
    gains = [
        mean(printed.value(n, True, c) - printed.value(n, False, c) for n in printed.plain)
        for c in printed.columns
    ]
    assert gains == pytest.approx([0.65, 0.6, 0.775, 0.675])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table5a") / "small.h5"
    return make_dataset(path, small_specification((300, 400), 4, 2), sigma=0.002)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make preset small smaller still."""
    monkeypatch.setitem(PLANS, "small", TINY)


def iv(*arguments: object) -> Result:
    words = ["reproduce", "table5a", *map(str, arguments)]
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "table5a"


def test_the_table_beside_the_printed_one(data: Path, out: Path) -> None:
    two = ("--network", "PointNet", "--network", "DGCNN")
    result = iv("--data", data, "--out", out, "--seeds", "0,1", *two, "--markdown")
    assert result.exit_code == 0, result.output
    assert "recognition, DGCNN-mc-skip-seed-1: 2/2" in result.stderr
    found = json.loads((out / "table5a.json").read_text())
    assert len(found["trained"]) == 2 * 2 * 2 * 3  # networks, with and without, seeds, tasks
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 * 5 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert any(line.startswith("| DGCNN + MC-Skip, paper | 94.1 | 94.8 | 85.9") for line in lines)
    # of the two networks: 0.9 and 0.8, 0.8 and 0.9, 1.1 and 0.8, 0.6 and 0.7
    paper = "| mean gain, paper | +0.85 | +0.85 | +0.95 | +0.65 | - |"
    assert any(line.startswith(paper) for line in lines)
    values = {
        (one["task"], one["network"], one["mc_skip"], one["seed"]): one["outcome"]["scores"]
        for one in found["trained"]
    }
    both = [
        [100 * values["segmentation", "PointNet", on, seed]["class_iou"] for seed in (0, 1)]
        for on in (False, True)
    ]
    row = next(line for line in lines if line.startswith("| PointNet + MC-Skip, here"))
    assert f"{mean(both[1]):.1f} ±{stdev(both[1]):.1f}" in row
    gains = [after - before for before, after in zip(*both, strict=True)]
    row = next(line for line in lines if line.startswith("| PointNet: gain here"))
    assert f"{mean(gains):+.1f} ±{stdev(gains):.1f}" in row
    for words in ("not ModelNet40 and ShapeNetPart", "preset small", "sigmoid", "Adam"):
        assert words in result.stdout, words
    with open_dataset(data) as dataset:
        assert dataset.digest in result.stdout


def test_what_is_done_is_kept_and_not_done_again(data: Path, out: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*/*.json")}
    assert len(files) == 24
    some = ("--seeds", "0", "--network", "PointNet", "--task", "recognition")
    result = iv("--data", data, "--out", out, *some, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("is trained already") == 2
    found = json.loads(result.stdout)
    assert found["networks"] == ["PointNet"] and list(found["mean_gain"]) == ["accuracy"]
    assert "Left out here: recognition-normals, segmentation." in found["differences"]
    planned = iv(data, "--out", out, "--dry-run", "--seeds", "0,9", "--network", "PointNet")
    assert planned.stdout.count("is trained already") == 6 and planned.stdout.count("new") == 6
    assert "PointNet + MC-Skip" in planned.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*/*.json")} == files


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reproduced(folder: Path) -> list[tuple[object, ...]]:
        with open_dataset(data) as dataset:
            found = reproduce_table5a(
                OwnProducts(dataset), [], ["PointNet", "DGCNN"], TINY, [0], folder, cpu()
            )
        return [
            (one.task, one.network, one.mc_skip, one.outcome.losses, one.outcome.scores)
            for one in found.trained
        ]

    whole = reproduced(tmp_path / "whole")
    real, calls = generalisation.train, []

    def stops(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 6:
            raise IVError("stopped")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(generalisation, "train", stops)
    with pytest.raises(IVError, match="stopped"):
        reproduced(tmp_path / "stopped")
    assert reproduced(tmp_path / "stopped") == whole
    assert len(calls) == 1 + len(whole)


def test_results_of_something_else_are_refused(data: Path, out: Path) -> None:
    one = ("--seeds", "0", "--network", "DGCNN")
    result = iv("--data", data, "--out", out, *one, "--epochs", "1")
    assert result.exit_code == 2
    assert "is of another training (plan differ)" in result.stderr


def test_one_seed_has_no_spread_and_one_release_some_columns(tmp_path: Path) -> None:
    source = ReleasedFiles(modelnet40(tmp_path / "data"))
    machine = Machine("cpu", quiet=True)
    found = reproduce_table5a(source, [], ["PointNet++"], TINY, [3], tmp_path / "out", machine)
    heading, rows = table_rows(found)
    assert heading == ["%", "accuracy", "with normals", "parameters", "seconds"]
    assert not any("±" in str(cell) for row in rows for cell in row)
    assert rows[0][:3] == ["PointNet++, paper", "91.9", "92.2"]
    with pytest.raises(InputError, match="--task segmentation: data has recognition, recog"):
        reproduce_table5a(source, ["segmentation"], ["DGCNN"], TINY, [3], tmp_path, machine)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--json", "--markdown"), "give --json or --markdown, not both"),
        (("--seeds", "1,1"), "--seeds 1,1: expected different whole numbers"),
        (("--data", "none"), "none: no such file; make a dataset with `iv build`"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], message: str, data: Path) -> None:
    result = iv("--data", data, *arguments)
    assert result.exit_code == 2 and message in result.stderr
