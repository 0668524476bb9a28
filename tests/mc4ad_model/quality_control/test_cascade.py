# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from sklearn.metrics import roc_auc_score

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.commands.quality_control import quality_control_command
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.quality_control.cascade import (
    Reference,
    Scores,
    accept_lowest,
    cascade,
    match_quantiles,
    score_objects,
)
from mc4ad_model.quality_control.gain import StageComparison, Timing, compare_stages
from mc4ad_model.runs.jobs import train_runs
from tests.support.samples import make_dataset
from tests.support.scorers import FunctionScorer

OBJECT_SCORES = arrays(
    np.float64, st.integers(1, 30), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 2))
)
SHARES = st.floats(0, 1)


def made_scores(objects: object, seconds: float = 1.0, points: int = 5, seed: int = 0) -> Scores:
    """Scores of objects whose points' scores are drawn at random."""
    values = np.asarray(objects, dtype=np.float64)
    rng = np.random.default_rng(seed)
    clouds = tuple(rng.random(points) for _ in values)
    return Scores(values, clouds, np.full(len(values), seconds))


# Who is accepted


def test_the_lowest_are_accepted_in_the_number_of_eq_11() -> None:
    assert accept_lowest([3, 1, 2, 9, 0], 0.5).tolist() == [False, True, False, False, True]
    assert accept_lowest([5, 5, 5, 5], 0.5).tolist() == [True, True, False, False]
    assert accept_lowest(range(100), 0.29).sum() == 29  # 0.29 * 100 < 29 in floating point
    for share in (-0.1, 1.1):
        with pytest.raises(InputError, match="from 0 to 1"):
            accept_lowest([1, 2], share)


@given(OBJECT_SCORES, SHARES)
def test_no_accepted_object_is_above_another(objects: np.ndarray, share: float) -> None:
    accepted = accept_lowest(objects, share)
    assert share * len(objects) - 1 < accepted.sum() <= share * len(objects) + 1e-6
    if 0 < accepted.sum() < len(objects):
        assert objects[accepted].max() <= objects[~accepted].min()


# Scores of both stages together


@given(OBJECT_SCORES, SHARES, st.integers(0, 5))
def test_accepted_objects_are_below_the_others_and_each_stage_keeps_its_order(
    objects: np.ndarray, share: float, seed: int
) -> None:
    second = np.round(np.random.default_rng(seed).normal(size=len(objects)), 1)
    accepted = accept_lowest(objects, share)
    first = made_scores(objects)
    both = cascade(first, accepted, made_scores(second[~accepted]))
    ranks = both.objects
    if accepted.any() and not accepted.all():
        assert ranks[accepted].max() < ranks[~accepted].min()
    for part, own in ((accepted, objects), (~accepted, second)):
        order = np.sign(own[part][:, None] - own[part])  # ties included
        assert np.array_equal(np.sign(ranks[part][:, None] - ranks[part]), order)
    # without a reference an accepted object keeps V_P's map, and every point is there
    for index in np.flatnonzero(accepted):
        assert both.points[index] is first.points[index]
    assert np.array_equal(both.seconds, 1.0 + ~accepted)


def test_a_share_of_none_or_all_is_one_scorer_alone() -> None:
    first, second = made_scores([1, 3, 2], seed=1), made_scores([6, 5, 7], seed=2)
    nobody, everybody = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    for accepted, rest, own in ((nobody, second, second), (everybody, made_scores([]), first)):
        both = cascade(first, accepted, rest)
        assert np.array_equal(np.argsort(both.objects), np.argsort(own.objects))
        assert all(a is b for a, b in zip(both.points, own.points, strict=True))
    with pytest.raises(InputError, match="scores of 3 objects"):
        cascade(first, nobody, made_scores([1]))


def test_quantiles_are_matched() -> None:
    rng = np.random.default_rng(0)
    scores = rng.gamma(2, size=20_000)
    reference = Reference(scores, 5 * scores**2 + 1)  # the second scorer in other units
    values = np.quantile(scores, [0.02, 0.3, 0.5, 0.9, 0.98])
    assert match_quantiles(values, reference) == pytest.approx(5 * values**2 + 1, rel=0.01)
    agree = Reference(scores, scores)
    wide = np.array([-3.0, 0.1, 1.0, 100.0])  # also outside
    assert match_quantiles(wide, agree) == pytest.approx(wide)
    # a scorer with nothing to say has no scale
    assert np.isfinite(match_quantiles(wide, Reference(np.ones(9), scores))).all()


@given(
    arrays(np.float64, 40, elements=st.floats(-5, 5)),
    arrays(np.float64, 40, elements=st.floats(-5, 5)),
)
def test_matching_never_turns_an_order_round(first: np.ndarray, second: np.ndarray) -> None:
    values = np.linspace(-8, 8, 99)
    assert (np.diff(match_quantiles(values, Reference(first, second))) >= -1e-9).all()


# Comparison


def compared(share: float, calibration: tuple[Scores, Scores] | None = None) -> StageComparison:
    """Four normal and four defective objects; V_P confuses one pair, V_O none."""
    anomalous = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    labels = [np.array([0, 0, 0, 0, kind], dtype=np.uint8) for kind in anomalous]
    first = made_scores([1, 2, 3, 6, 5, 7, 8, 9], seconds=0.25)
    second = made_scores([4, 2, 3, 1, 5, 6, 7, 8], seconds=2.0)
    return compare_stages("made", labels, anomalous, first, second, share, calibration)


def test_comparison_by_hand() -> None:
    found = compared(0.25)
    assert (found.accepted, found.misses, found.threshold) == (2, 0, None)
    assert found.first_o_auroc == 15 / 16
    assert found.second_o_auroc == found.o_auroc == 1
    assert found.timing == Timing(objects=8, accepted=2, first=2.0, second=16.0, saved=4.0)
    assert found.timing.both == 14.0
    assert found.timing.speed_up == pytest.approx(16 / 14)
    assert found.timing.pays
    assert found.timing.rate(found.timing.both) == pytest.approx(8 / 14)
    # with six accepted, two defective ones are; they are below both that are left
    found = compared(0.75)
    assert (found.accepted, found.misses) == (6, 2)
    assert found.o_auroc == 15 / 16


def test_point_scores_are_pooled_over_objects_of_both_stages() -> None:
    """Against scikit-learn, with V_P in other units: the scale is found without labels."""
    rng = np.random.default_rng(3)
    labels = [(rng.random(400) < share).astype(np.uint8) for share in (0, 0, 0, 0.1, 0.1, 0.1)]
    truth = [label.any() for label in labels]
    good = [rng.random(400) + label for label in labels]
    seconds, objects = np.ones(6), np.arange(6.0)
    second = Scores(objects, tuple(good), seconds)
    first = Scores(objects, tuple(1000 * g**2 for g in good), seconds)
    found = compare_stages("made", labels, truth, first, second, 1 / 3)
    pooled = np.concatenate(labels)
    expected = roc_auc_score(pooled, np.concatenate(good))
    mixed = roc_auc_score(pooled, np.concatenate([*first.points[:2], *good[2:]]))
    assert found.second_p_auroc == pytest.approx(expected, abs=1e-12)
    assert found.p_auroc_unscaled == pytest.approx(mixed, abs=1e-12)
    assert found.p_auroc == pytest.approx(expected, abs=0.005)
    assert mixed < expected - 0.1


def test_with_a_threshold_no_test_object_decides_about_another() -> None:
    normal = made_scores([0.5, 1.5, 2.5, 3.5]), made_scores([1, 2, 3, 4])
    found = compared(0.5, normal)
    # a fifth product made alike is below three of the four with a chance of 3/5, below two of 2/5
    assert found.threshold == 2.5
    assert (found.accepted, found.misses) == (2, 0)
    assert found.timing.saved == 4.0
    assert compared(1, normal).accepted == 8
    assert compared(0, normal).accepted == 0


def test_the_sentence_says_whether_it_pays() -> None:
    slow = Timing(objects=100, accepted=25, first=5.0, second=20 / 3, saved=5 / 3)
    assert not slow.pays
    assert slow.speed_up < 1
    assert "does not pay" in slow.sentence()
    assert "no less than the 16.7 ms" in slow.sentence()
    fast = replace(slow, first=1.0)
    assert fast.pays
    assert fast.speed_up > 1
    assert "control in two stages pays here" in fast.sentence()
    assert "accepting 25 of 100" in fast.sentence()
    assert (slow + fast).first == 6.0
    assert (slow + fast).objects == 200


@given(*[st.floats(0.01, 10)] * 2, st.floats(0, 1))
def test_it_pays_exactly_when_it_is_faster(first: float, second: float, share: float) -> None:
    timing = Timing(10, round(10 * share), first, second, share * second)
    if abs(timing.first - timing.saved) > 1e-9:
        assert timing.pays == (timing.speed_up > 1)


# Scoring


def test_scores_of_forces_and_of_plain_scores() -> None:
    clouds = [np.full((4, 3), value, dtype=np.float32) for value in (1, 2)]
    found = score_objects(clouds, 2, FunctionScorer(lambda points: points))
    assert found.objects == pytest.approx(np.sqrt(3) * np.array([1, 2]))
    assert (found.seconds > 0).all()
    plain = score_objects(clouds, 2, FunctionScorer(lambda points: points[:, 0]))
    assert plain.objects.tolist() == [1, 2]
    assert len(plain) == 2


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (lambda points: points[:2], "shape"),
        (lambda points: points[:, 0] * np.nan, "not finite"),
    ],
)
def test_a_broken_detector(detector: Callable[..., np.ndarray], message: str) -> None:
    cloud = np.ones((4, 3), dtype=np.float32)
    with pytest.raises(InputError, match=message):
        score_objects([cloud], 1, FunctionScorer(detector))
    with pytest.raises(InputError, match="at least one object"):
        score_objects([], 0, FunctionScorer(detector))


# Data of normal products, and the command


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("quality") / "small.h5")


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny networks, hardly trained."""
    folder = tmp_path_factory.mktemp("runs")
    changes = [
        "training.epochs=1", "training.repeats=1", "training.batch=2", "network.voxel_size=0.2",
        "data.frame=own",
    ]  # fmt: skip
    with open_dataset(data) as dataset:
        for name, own in (("pruned", ["network.arch=pruned"]), ("full", [])):
            config = RunConfig.load("quick", [*changes, *own])
            machine = Machine(workers=0, quiet=True)
            train_runs(dataset, ["ball"], "mc4ad", config, 0, folder / name, machine)
    return {name: folder / name for name in ("pruned", "full")}


def call(data: Path, runs: dict[str, Path], *arguments: object) -> Result:
    line = ["--data", data, "--pruned", runs["pruned"], "--full", runs["full"], *arguments]
    return CliRunner().invoke(quality_control_command, [str(word) for word in line])


def test_the_command_in_words(data: Path, runs: dict[str, Path]) -> None:
    result = call(data, runs, "--share", "0.25", "--share", "0.5", "--quiet")
    assert result.exit_code == 0, result.output
    assert not result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith("ball")] == [
        ["ball", "0.25", "3/12"],
        ["ball", "0.5", "6/12"],
    ]
    assert "Track: meshes" in lines
    assert "pay" in lines[-1] and "accepting 6 of 12" in lines[-1]


@pytest.mark.parametrize("calibrate", [False, True])
def test_the_command_in_json(data: Path, runs: dict[str, Path], calibrate: bool) -> None:
    more = ["--calibrate", "--clouds", 6, "--share", 0] if calibrate else []
    result = call(data, runs, "--share", 0.25, "--json", "--quiet", *more)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["track"] == "meshes"
    assert found["accepted_by"] == ("threshold" if calibrate else "batch")
    row, timing = found["rows"][0], found["timing"][0]
    assert (row["threshold"] is not None) == calibrate
    assert timing["pays"] == (timing["speed_up"] > 1)
    seconds = timing["first"] + timing["second"] - timing["saved"]
    assert timing["both_fps"] == pytest.approx(12 / seconds)
    if calibrate:  # nothing is accepted: V_O alone
        assert found["rows"][1]["accepted"] == 0
        assert found["rows"][1]["o_auroc"] == found["rows"][1]["second_o_auroc"]
        assert found["rows"][1]["p_auroc"] == found["rows"][1]["second_p_auroc"]


def test_runs_that_do_not_fit(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    def error(*arguments: object, **changes: Path) -> str:
        result = call(changes.pop("data", data), runs | changes, *arguments)
        assert isinstance(result.exception, InputError)
        return str(result.exception)

    assert "no run of category brick" in error("--category", "brick")
    assert "has ball, brick" in error("--category", "spoon")
    assert "no training run there" in error(full=tmp_path)
