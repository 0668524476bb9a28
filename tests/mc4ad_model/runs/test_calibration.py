# SPDX-License-Identifier: Apache-2.0
"""Calibrations in a run's folder: a change of anything that they depend on is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic")

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from mc4ad_model.evaluation.calibration import OWN, NormalScores
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.method import OBJECT_RULES
from mc4ad_model.runs.calibration import (
    calibrate_run,
    check_calibratable,
    read_calibration,
)
from mc4ad_model.runs.jobs import train_runs
from mc4ad_model.runs.run_folder import Run, read_run
from tests.support.samples import UNEVEN, make_dataset

MACHINE = Machine(quiet=True)
RULES = (OWN, *OBJECT_RULES)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    with open_dataset(make_dataset(tmp_path_factory.mktemp("data") / "uneven.h5", UNEVEN)) as data:
        yield data


def train(dataset: Dataset, out: Path, seed: int = 0, force: bool = False) -> Run:
    settings = method_class("random").Settings.load()
    train_runs(dataset, ["ball"], "random", settings, seed, out, MACHINE, force)
    return read_run(out / "ball")


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    return train(dataset, tmp_path / "runs")


@pytest.fixture
def scores(run: Run, dataset: Dataset) -> NormalScores:
    return calibrate_run(run, dataset, 19, 0, MACHINE)


def test_what_is_kept_is_read_back(run: Run, scores: NormalScores, dataset: Dataset) -> None:
    found = read_calibration(run, dataset, (0.05,))
    assert found == scores and len(found) == 19
    assert all(0 < score < 1 for score in found.of())
    content = json.loads((run.folder / "calibration.json").read_bytes())
    assert content["dataset"]["digest"] == dataset.digest
    assert list(content["sha256"]) == ["method.json"]
    assert content["conditions"]["noise_sigma"] == 0.0447


def test_another_fit_is_noticed(run: Run, scores: NormalScores, dataset: Dataset) -> None:
    path = run.folder / "method.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(
        InputError, match=r"another fit, method\.json differs.*iv calibrate .* --run"
    ):
        read_calibration(run, dataset)


def test_training_anew_removes_it(
    run: Run, scores: NormalScores, dataset: Dataset, tmp_path: Path
) -> None:
    assert (run.folder / "calibration.json").is_file()
    train(dataset, tmp_path / "runs", seed=1, force=True)
    assert not (run.folder / "calibration.json").exists()


def test_another_build_is_said_and_another_noise_refused(
    run: Run, scores: NormalScores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_dataset(make_dataset(tmp_path / "again.h5", UNEVEN, seed=1)) as again:
        assert read_calibration(run, again, quiet=False) == scores
    assert "calibrated on another build" in capsys.readouterr().err
    with (
        open_dataset(make_dataset(tmp_path / "clean.h5", UNEVEN, sigma=0.01)) as clean,
        pytest.raises(InputError, match=r"noise_sigma = 0\.0447, here 0\.01.*--force"),
    ):
        read_calibration(run, clean)
    varied = replace(UNEVEN, tolerance=0.01)
    with (
        open_dataset(make_dataset(tmp_path / "varied.h5", varied)) as other,
        pytest.raises(InputError, match=r"\(tolerance = 0\.0, here 0\.01\)"),
    ):
        read_calibration(run, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "notes"}, "another file"),
        ({"version": 9}, "version 9"),
        ({"objects": {"method": [0.1]}}, "contradicts its format.*calibrate again"),
        ({"objects": dict.fromkeys(RULES, [float("nan")] * 19)}, "not finite"),
        ({"clouds": 20}, "numbers of scores differ"),
        ({"sha256": None}, "a part is missing"),
        ({"dataset": {}}, "a part is missing"),
        ({"points": [["high", 1]]}, "contradicts its format"),
    ],
)
def test_a_damaged_one_is_an_error(
    change: dict[str, Any], message: str, run: Run, scores: NormalScores, dataset: Dataset
) -> None:
    path = run.folder / "calibration.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(InputError, match=message):
        read_calibration(run, dataset)


def test_what_stands_in_the_way_is_found_first(run: Run, dataset: Dataset) -> None:
    check_calibratable(run, dataset, MACHINE, force=False)
    calibrate_run(run, dataset, 2, 0, MACHINE)
    with pytest.raises(InputError, match=r"calibration\.json exists.*--force"):
        check_calibratable(run, dataset, MACHINE, force=False)
    check_calibratable(run, dataset, MACHINE, force=True)
    (run.folder / "method.json").unlink()
    with pytest.raises(InputError, match="unfinished"):
        check_calibratable(run, dataset, MACHINE, force=True)
