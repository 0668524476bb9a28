# SPDX-License-Identifier: Apache-2.0
"""`iv evaluate`: with stand-ins for runs, whose force is a known function, then trained ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("sklearn")
pytest.importorskip("torch")

import mc4ad_model.commands.evaluate  # noqa: F401 - before `iv` below replaces what it imports
from intravariance import cli
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.evaluation.results import read_results, recompute
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.mc4ad.configuration import RunConfig, ScoringConfig
from mc4ad_model.methods.mc4ad.scoring import point_scores
from mc4ad_model.methods.method import Aggregation, Prediction, Scorer
from mc4ad_model.runs.jobs import train_runs
from mc4ad_model.runs.run_folder import Run, read_run
from tests.support.runs import tiny
from tests.support.samples import make_dataset, small_specification

Iv = Callable[..., Result]


@dataclass(frozen=True)
class StandIn(Run):
    """A run whose method needs no training."""

    fault: InputError | None = None

    def load_method(self, machine: Machine | None = None) -> Scorer:
        if self.fault:
            raise self.fault
        return Away()


class Away:
    """A method of a kind: how far a point is from the unit sphere, along its radius."""

    parameters = 12
    aggregation = Aggregation("mean")

    def score(self, points: np.ndarray) -> Prediction:
        length = np.linalg.norm(points, axis=1, keepdims=True)
        force = (points * (1 - 1 / length)).astype(np.float32)
        return Prediction(point_scores(force, ScoringConfig()), force=force)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("evaluate") / "small.h5")


@pytest.fixture
def runs(data: Path, tmp_path: Path) -> list[StandIn]:
    """Make runs of both categories; a test changes the list as it likes."""
    with open_dataset(data) as dataset:
        identity, digest = dataset.metadata["identity"], dataset.digest
    folder = tmp_path / "run"
    for name in ("ball", "brick"):
        (folder / name).mkdir(parents=True)
    config = RunConfig("quick", scoring=ScoringConfig(object="mean"))
    return [
        StandIn(folder / name, name, 3, "mc4ad", config, digest, identity, {})
        for name in ("ball", "brick")
    ]


@pytest.fixture
def iv(monkeypatch: pytest.MonkeyPatch, runs: list[StandIn], data: Path, tmp_path: Path) -> Iv:
    """`iv evaluate --data DATA --run RUN ARGUMENTS`."""
    monkeypatch.setattr("mc4ad_model.runs.run_folder.find_runs", lambda folder: list(runs))
    entry = EntryPoint(
        "evaluate", "mc4ad_model.commands.evaluate:evaluate_command", "intravariance.commands"
    )
    monkeypatch.setattr(cli, "_commands", lambda: {"evaluate": entry})

    def call(*arguments: object) -> Result:
        line = ["evaluate", "--data", data, "--run", tmp_path / "run", *arguments]
        return CliRunner().invoke(cli.main, [str(word) for word in line])

    return call


def test_it_prints_a_table_and_writes_the_results(iv: Iv, runs: list[StandIn], data: Path) -> None:
    result = iv()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "category", "O-AUROC", "P-AUROC", "O-AUPR", "P-AUPR", "P-AUROC/object", "AU-PRO", "EPE",
        "zero-EPE", "cosine", "FPS",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:4]] == ["ball", "brick", "mean"]
    with open_dataset(data) as dataset:
        for run, line in zip(runs, lines[1:3], strict=True):
            found = read_results(run.folder / "evaluation")
            again = recompute(found, dataset)
            assert again == found.evaluation.metrics
            # what is printed is what anybody computes from the files
            printed = [float(word) for word in line.split()[1:10]]
            assert printed == [
                float(f"{value:.3f}")
                for value in (
                    again.o_auroc, again.p_auroc, again.o_aupr, again.p_aupr,
                    again.p_auroc_objects, again.au_pro, again.force.epe, again.force.displacement,
                    again.force.cosine,
                )
            ]  # fmt: skip
            assert found.origin["seed"] == 3
            assert found.origin["preset"] == "quick"
            assert found.evaluation.cost.parameters == 12
    means = [float(word) for word in lines[3].split()[1:3]]
    each = np.array([[float(word) for word in line.split()[1:3]] for line in lines[1:3]])
    assert means == pytest.approx(each.mean(axis=0), abs=0.0011)
    assert "bulge" in result.stdout and "missing" in result.stdout
    assert "evaluate ball: 12/12" in result.stderr


def test_stdout_is_data_alone(iv: Iv, data: Path) -> None:
    result = iv("--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert not result.stderr
    content = json.loads(result.stdout)
    assert list(content["categories"]) == ["ball", "brick"]
    each = [content["categories"][name]["metrics"]["o_auroc"] for name in ("ball", "brick")]
    assert content["mean"]["O-AUROC"] == pytest.approx(sum(each) / 2)
    assert content["dataset"]["file"] == data.name


def test_a_category_and_another_folder(iv: Iv, tmp_path: Path) -> None:
    result = iv("--category", "brick", "--out", tmp_path / "there", "--quiet")
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["brick"]
    assert not (tmp_path / "run" / "brick" / "evaluation").exists()
    assert "ball" not in result.stdout


def test_the_rule_can_be_chosen(iv: Iv, runs: list[StandIn]) -> None:
    assert iv("--object", "max", "--category", "ball").exit_code == 0
    found = read_results(runs[0].folder / "evaluation")
    assert found.origin["scoring"]["object"] == "max"
    assert found.origin["config"]["scoring"]["object"] == "mean"  # what the run says
    assert all(row.object_score == row.object_max for row in found.evaluation.rows)


def test_results_are_replaced_only_by_force(iv: Iv, runs: list[StandIn]) -> None:
    assert iv("--quiet").exit_code == 0
    before = (runs[0].folder / "evaluation" / "metrics.json").read_bytes()
    result = iv("--seed", 1)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert (runs[0].folder / "evaluation" / "metrics.json").read_bytes() == before
    assert iv("--seed", 1, "--force").exit_code == 0
    assert read_results(runs[0].folder / "evaluation").seed == 1


def test_twice_the_same_but_for_the_time(iv: Iv, runs: list[StandIn]) -> None:
    found = []
    for _ in range(2):
        assert iv("--force", "--quiet").exit_code == 0
        found.append(read_results(runs[0].folder / "evaluation").evaluation)
    assert found[0].metrics == found[1].metrics
    first, second = ([replace(row, seconds=0) for row in one.rows] for one in found)
    assert first == second


def test_another_build_of_the_group_is_allowed_and_said(iv: Iv, runs: list[StandIn]) -> None:
    runs[0] = replace(runs[0], data_digest="0" * 64)
    result = iv()
    assert result.exit_code == 0
    assert "trained on another build" in result.stderr
    assert "ball" in result.stderr.splitlines()[0] and "brick" not in result.stderr.splitlines()[0]


def mistake(result: Result, *words: str) -> None:
    """Exit code 2 and one line that has these words, and no output."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("iv: error:")
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    for word in words:
        assert word in result.stderr


def test_a_run_of_another_group_is_an_error(iv: Iv, runs: list[StandIn]) -> None:
    specification = {**runs[1].identity["specification"], "name": "group1"}
    runs[1] = replace(runs[1], identity={"specification": specification})
    mistake(iv(), "group1", "small", "brick")


def test_a_category_that_the_file_lacks_is_an_error(iv: Iv, runs: list[StandIn]) -> None:
    runs.append(replace(runs[0], category="vase"))
    mistake(iv(), "no category vase", "ball, brick", "--category")


def test_a_category_that_was_not_trained_is_an_error(iv: Iv) -> None:
    mistake(iv("--category", "vase"), "--category vase", "ball, brick")


def test_nothing_is_evaluated_when_one_run_cannot_be(iv: Iv, runs: list[StandIn]) -> None:
    runs[1] = replace(runs[1], fault=InputError("brick: training is unfinished; go on with ..."))
    mistake(iv(), "unfinished")
    assert not (runs[0].folder / "evaluation" / "metrics.json").exists()


def test_a_missing_file_is_an_error(iv: Iv, tmp_path: Path) -> None:
    mistake(iv("--data", tmp_path / "none.h5"), "none.h5")


@pytest.mark.parametrize(("positives", "defects"), [(0, 3), (6, 0)])
def test_one_class_alone_is_an_error(
    iv: Iv, runs: list[StandIn], tmp_path: Path, positives: int, defects: int
) -> None:
    ball = small_specification().categories[0]
    other = Category("ball", ball.subcategories, 2, positives, {"bulge": defects})
    specification = Specification("small", "Small", (300, 500), (other,))
    path = make_dataset(tmp_path / "one.h5", specification)
    del runs[1]
    mistake(
        iv("--data", path), "category ball", "none of its", "normal" if defects else "defective"
    )


# Runs that were trained


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both categories, four steps each."""

    out = tmp_path_factory.mktemp("trained")
    with open_dataset(data) as dataset:
        train_runs(
            dataset,
            ["ball", "brick"],
            "mc4ad",
            tiny(),
            0,
            out,
            Machine("cpu", workers=0, quiet=True),
        )
    return out


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """Return the trained runs, to be tampered with."""
    return Path(shutil.copytree(trained, tmp_path / "copied"))


def evaluate(data: Path, folder: Path, *arguments: object) -> Result:
    line = ["evaluate", "--data", data, "--run", folder, "--device", "cpu", *arguments]
    return CliRunner().invoke(cli.main, [str(word) for word in line])


def test_a_trained_run_is_evaluated_as_it_says(data: Path, copied: Path) -> None:
    result = evaluate(data, copied, "--quiet")
    assert result.exit_code == 0, result.output
    run = read_run(copied / "ball")
    found = read_results(copied / "ball" / "evaluation")
    method = run.load_method()
    with open_dataset(data) as dataset:
        assert recompute(found, dataset) == found.evaluation.metrics
        for row in found.evaluation.rows[:3]:
            force = method.score(dataset[row.id].points).force
            expected = np.abs(force.astype(float)).sum(axis=1)
            assert found.evaluation.point_scores[row.id] == pytest.approx(expected, rel=1e-6)
    assert found.origin["config"] == run.described["config"]
    # one category's folder is a run too
    assert evaluate(data, copied / "ball", "--quiet", "--force").exit_code == 0


def test_unfinished_training_is_an_error(data: Path, copied: Path) -> None:
    (copied / "brick" / "network.json").unlink()
    mistake(evaluate(data, copied), "brick", "unfinished", "iv train")
    assert evaluate(data, copied, "--category", "ball", "--quiet").exit_code == 0


def test_a_foreign_checkpoint_is_an_error(data: Path, copied: Path) -> None:
    for name in ("network.json", "network.safetensors"):
        shutil.copy(copied / "brick" / name, copied / "ball" / name)
    mistake(evaluate(data, copied), "ball", "of another run", "'brick'")


def test_a_damaged_checkpoint_is_an_error(data: Path, copied: Path) -> None:
    path = copied / "ball" / "network.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = evaluate(data, copied)
    assert result.exit_code == 2
    assert "network.safetensors" in result.stderr and "damaged" in result.stderr
    assert not (copied / "brick" / "evaluation" / "metrics.json").exists()


def test_a_folder_without_runs_is_an_error(data: Path, tmp_path: Path) -> None:
    mistake(evaluate(data, tmp_path), "no training run", "iv train")
