# SPDX-License-Identifier: Apache-2.0
"""`iv calibrate`, and what `iv evaluate --false-alarms` makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("pydantic")
pytest.importorskip("sklearn")

from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import open_dataset
from mc4ad_model.evaluation.results import read_results, recompute
from mc4ad_model.runs.calibration import read_calibration
from mc4ad_model.runs.run_folder import read_run
from tests.support.samples import BEAD, make_dataset, runs_folder

CLOUDS = 39  # enough for 0.025


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"bulge": 2, "missing": 2}
    categories = (
        Category("ball", ("round_ball",), 1, 4, counts),
        Category("brick", ("flat_brick",), 1, 4, counts),
    )
    specification = Specification("small", "Small", (300, 400), categories)
    return make_dataset(tmp_path_factory.mktemp("calibrate") / "small.h5", specification)


def run_iv(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in arguments])


@pytest.fixture(scope="module")
def calibrated(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and calibrate a method whose scores mean something."""
    out = tmp_path_factory.mktemp("runs") / "run"
    method = ("--method", "registered_distance", "--set", "neighbours=20")
    assert run_iv("train", "--data", data, *method, "--out", out).exit_code == 0
    result = run_iv("calibrate", "--data", data, "--run", out, "--clouds", CLOUDS, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == ["ball", "brick"]
    assert f"calibrate ball: {CLOUDS}/{CLOUDS}" in result.stderr
    for one in found.values():
        assert one["clouds"] == CLOUDS
        assert one["thresholds"]["0.1"] <= one["thresholds"]["0.05"]
        assert one["thresholds"]["0.01"] is None  # takes 99
        assert one["point_quantiles"]["0.9"] < one["point_quantiles"]["0.999"]
    return out


@pytest.fixture
def copied(calibrated: Path, tmp_path: Path) -> Path:
    """Return the runs, to be changed."""
    return Path(shutil.copytree(calibrated, tmp_path / "run"))


def test_alarms_are_evaluated_at_the_calibrated_threshold(data: Path, copied: Path) -> None:
    asked = ("--false-alarms", 0.025, "--false-alarms", 0.5)
    result = run_iv("evaluate", "--data", data, "--run", copied, *asked, "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    with open_dataset(data) as dataset:
        for name in ("ball", "brick"):
            run = read_run(copied / name)
            scores, method = read_calibration(run, dataset, (0.025, 0.5)), run.load_method()
            found = read_results(copied / name / "evaluation")
            assert recompute(found, dataset) == found.evaluation.metrics
            strict, loose = found.evaluation.metrics.alarms
            assert (strict.rate, strict.threshold) == (0.025, max(scores.of()))
            assert loose.threshold == scores.threshold(0.5) < strict.threshold
            assert loose.detected >= strict.detected and loose.detected == 4
            assert found.origin["calibration"]["products"] == CLOUDS
            for row in found.evaluation.rows[:2]:
                own = method.score(dataset[row.id].points).points.astype(float)
                top = np.sort(own)[-int(np.ceil(0.02 * len(own))) :].mean()
                assert row.p_value == (1 + (np.array(scores.of()) >= top).sum()) / (CLOUDS + 1)
            printed = content["categories"][name]["metrics"]["alarms"]
            assert printed[0]["detected"] == strict.detected
    assert [one["rate"] for one in content["alarms"]] == [0.025, 0.5]
    rates = [
        content["categories"][name]["metrics"]["alarms"][1]["detection_rate"]
        for name in ("ball", "brick")
    ]
    assert content["alarms"][1]["detection_rate"] == sum(rates) / 2
    assert content["alarms"][1]["normal"] == 8


def test_alarms_are_printed_in_a_table(data: Path, copied: Path) -> None:
    result = run_iv(
        "evaluate", "--data", data, "--run", copied, "--false-alarms", 0.05, "--object", "max"
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Alarms above"))
    rows = [line.split() for line in lines[start + 2 : start + 5]]
    assert [row[:2] for row in rows] == [["ball", "0.05"], ["brick", "0.05"], ["mean", "0.05"]]
    for row in rows[:2]:
        run = read_run(copied / row[0])
        with open_dataset(data) as dataset:  # the rule's own scores make its threshold
            threshold = read_calibration(run, dataset).threshold(0.05, "max")
        assert row[2] == f"{threshold:.3f}"
        assert row[5].endswith("/4") and rows[2][5].endswith("/8")


def test_without_alarms_nothing_changes(data: Path, copied: Path) -> None:
    result = run_iv("evaluate", "--data", data, "--run", copied, "--quiet")
    assert result.exit_code == 0
    assert "Alarms" not in result.stdout
    found = read_results(copied / "ball" / "evaluation")
    assert found.evaluation.metrics.alarms == ()
    assert all(row.p_value is None for row in found.evaluation.rows)


def test_the_same_seed_gives_the_same_file(data: Path, copied: Path) -> None:
    path = copied / "ball" / "calibration.json"
    before = path.read_bytes()
    words = ("calibrate", "--data", data, "--run", copied, "--category", "ball", "--quiet")
    same = run_iv(*words, "--clouds", CLOUDS, "--force")
    assert same.exit_code == 0 and not same.stderr
    assert path.read_bytes() == before
    assert run_iv(*words, "--clouds", 20, "--seed", 1, "--force").exit_code == 0
    content = json.loads(path.read_bytes())
    assert (content["clouds"], content["seed"]) == (20, 1)
    assert content["objects"]["method"] != json.loads(before)["objects"]["method"][:20]
    assert str(data.parent) not in path.read_text()


def test_thresholds_are_printed_with_how_sure_they_are(data: Path, copied: Path) -> None:
    words = ("calibrate", "--data", data, "--run", copied, "--category", "ball", "--force")
    result = run_iv(*words, "--clouds", 19)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[2].split()[0] == "ball" and lines[2].split()[3] == "-"
    # one of 20 at a rate of 0.05: Beta(1, 19)
    assert lines[-1].split() == ["0.05:", "0.001", "to", "0.176"]


def mistake(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert not result.stdout
    for word in words:
        assert word in result.stderr


def test_a_calibration_is_replaced_only_by_force(data: Path, copied: Path) -> None:
    before = (copied / "ball" / "calibration.json").read_bytes()
    (copied / "ball" / "calibration.json").rename(copied / "kept.json")
    words = ("calibrate", "--data", data, "--run", copied)
    mistake(run_iv(*words), "brick/calibration.json exists", "--force")
    assert not (copied / "ball" / "calibration.json").exists()  # found before the first one
    assert before == (copied / "kept.json").read_bytes()


def test_what_is_not_calibrated_says_what_to_do(data: Path, copied: Path) -> None:
    words = ("evaluate", "--data", data, "--run", copied, "--false-alarms")
    mistake(run_iv(*words, 0.01), "39 normal products", "at least 99", "--clouds 99")
    (copied / "brick" / "calibration.json").unlink()
    mistake(run_iv(*words, 0.1), "brick: has no calibration", "iv calibrate")
    assert not (copied / "ball" / "evaluation").exists()
    assert run_iv(*words, 0.1, "--category", "ball", "--quiet").exit_code == 0


def test_a_method_that_is_not_calibrated_is_not_trained_first(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("evaluate", "--data", data, "--method", "constant", "--false-alarms", 0.1)
    mistake(run_iv(*words), f"{runs_folder(data, 'constant')}: has no calibration")
    assert not Path("runs").exists()
    assert run_iv("train", "--data", data, "--method", "constant").exit_code == 0
    run = ("--run", runs_folder(data, "constant"))
    assert run_iv("calibrate", "--data", data, *run, "--clouds", 9).exit_code == 0
    result = run_iv(*words, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    # a score that is always the same is never an alarm
    (alarms,) = json.loads(result.stdout)["alarms"]
    assert alarms["detection_rate"] == alarms["false_alarm_rate"] == 0


def test_a_calibration_of_another_fit_is_found_before_a_method_is_trained(
    data: Path, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        run_iv("train", "--data", data, "--method", "constant", "--category", "ball").exit_code == 0
    )
    run = ("--run", runs_folder(data, "constant"))
    assert run_iv("calibrate", "--data", data, *run, "--clouds", 9).exit_code == 0
    fitted = copied / "brick" / "templates.json"
    fitted.write_text(fitted.read_text() + "\n")
    words = ("--run", copied, "--method", "constant", "--false-alarms", 0.1)
    mistake(run_iv("evaluate", "--data", data, *words), "another fit, templates.json differs")
    assert not Path(runs_folder(data, "constant"), "brick").exists()


@pytest.mark.parametrize(
    ("rate", "words"), [("0", "0<x<1"), ("1", "0<x<1"), ("few", "not a valid float")]
)
def test_a_rate_is_a_number_between_0_and_1(
    data: Path, copied: Path, rate: str, words: str
) -> None:
    result = run_iv("evaluate", "--data", data, "--run", copied, "--false-alarms", rate)
    mistake(result, words)


def test_runs_that_do_not_fit_are_errors(data: Path, copied: Path, tmp_path: Path) -> None:
    words = ("calibrate", "--data", data, "--run")
    mistake(run_iv(*words, tmp_path / "none"), "no training run")
    mistake(run_iv(*words, copied, "--category", "vase"), "--category vase", "ball, brick")
    (copied / "ball" / "templates.json").unlink()
    mistake(run_iv(*words, copied, "--force"), "unfinished")
    beads = Specification("beads", "Beads", (300, 310), (BEAD,))
    other = make_dataset(tmp_path / "other.h5", beads)
    mistake(
        run_iv("calibrate", "--data", other, "--run", copied), "trained on small", "holds beads"
    )
