# SPDX-License-Identifier: Apache-2.0
"""Two stages that share a description."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")


from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.commands.quality_control import quality_control_command
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations.detector import DeviationDetector
from mc4ad_model.quality_control.cascade import Scores
from mc4ad_model.quality_control.gain import Timing, compare_stages
from mc4ad_model.quality_control.shared_stages import (
    Remainder,
    object_score,
    point_scores,
    score_in_stages,
)
from mc4ad_model.runs.jobs import train_runs
from tests.support.deviations import (
    dented,
    deviating,
    normal_cloud,
    small,
    toy_deviations,
    turned,
    untrained_detector,
)
from tests.support.samples import make_dataset


@pytest.fixture(scope="module")
def detector() -> DeviationDetector:
    """Return one whose network was not trained."""
    return untrained_detector()


def test_scores_are_those_of_a_plain_loop():
    cloud = normal_cloud(2)
    dented(cloud)
    found = toy_deviations().describe(turned(cloud))
    own = [np.sqrt((z**2).mean(axis=1)) for z in (found.narrow, found.wide)]
    top = round(0.005 * len(own[0]))
    expected = np.mean([np.sort(scores)[-top:].mean() for scores in own])
    assert object_score(found.narrow, found.wide) == pytest.approx(expected)
    points, places = point_scores(found), found.deviation.anchors.points
    assert points.shape == (len(cloud),) and points.dtype == np.float32
    for i in range(0, len(cloud), 100):
        nearest = np.linalg.norm(places - found.cloud[i], axis=1).argmin()
        assert points[i] == pytest.approx((own[0][nearest] + own[1][nearest]) / 2, rel=1e-6)


def test_a_dented_cloud_is_above_normal_ones_and_highest_at_its_dent():
    describe = toy_deviations().describe
    usual = [describe(turned(normal_cloud(seed), seed)) for seed in range(6)]
    normal = [object_score(one.narrow, one.wide) for one in usual]
    cloud = normal_cloud(8)
    moved = dented(cloud, 0.25)
    found = describe(turned(cloud, 8))
    assert object_score(found.narrow, found.wide) > 1.5 * max(normal)
    scores = point_scores(found)
    assert scores[moved].mean() > 2 * scores[~moved].mean()


def test_both_stages_say_what_each_says_alone(detector):
    clouds = [turned(normal_cloud(seed), seed) for seed in (1, 2, 3)]
    first, second, remainder = score_in_stages(clouds, 3, detector)
    for index, cloud in enumerate(clouds):
        description, alone = detector.deviations.describe(cloud), detector.score(cloud)
        assert first.objects[index] == object_score(description.narrow, description.wide)
        assert np.array_equal(first.points[index], point_scores(description))
        assert second.objects[index] == alone.object
        assert np.array_equal(second.points[index], alone.points)
    for seconds in (first.seconds, second.seconds, remainder.points, remainder.verdicts):
        assert seconds.shape == (3,) and (seconds > 0).all()
    with pytest.raises(InputError, match="at least one object"):
        score_in_stages([], 0, detector)


def test_what_is_saved_by_hand():
    """V_O alone takes 2 s, after V_P 0.5 s; V_P takes 1 s, and 0.25 s for its scores of points."""
    objects, labels = np.arange(4.0), [np.array([0, kind], dtype=np.uint8) for kind in (0, 0, 1, 1)]
    points = tuple(np.array([0.1, 0.2 + i]) for i in range(4))
    first = Scores(objects, points, np.full(4, 1.0))
    second = Scores(objects, points, np.full(4, 2.0))
    remainder = Remainder(np.full(4, 0.25), np.full(4, 0.5))
    found = compare_stages(
        "made", labels, [0, 0, 1, 1], first, second, share=0.25, remainder=remainder
    ).timing
    assert (found.accepted, found.shared) == (1, True)
    assert found.both == pytest.approx(4 * 1.0 + 0.25 + 3 * 0.5)
    assert found.speed_up == pytest.approx(8 / 5.75)
    assert "taking over the pose and the statistics of the others" in found.sentence()
    unshared = replace(found, shared=False)
    assert (unshared + found).shared and not (unshared + unshared).shared
    assert "break-even" in unshared.sentence()
    assert found + found == Timing(8, 2, 8.0, 16.0, 2 * found.saved, True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("shared") / "small.h5")


def trained(data: Path, config: RunConfig, out: Path) -> Path:
    with open_dataset(data) as dataset, small():
        train_runs(dataset, ["ball"], "mc4ad", config, 0, out, Machine(workers=0, quiet=True))
    return out


def call(data: Path, full: Path, *arguments: object) -> str:
    line = ["--data", data, "--pruned", "statistics", "--full", full, "--quiet", *arguments]
    result = CliRunner().invoke(quality_control_command, [str(word) for word in line])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_command_with_statistics_as_first_stage(data: Path, tmp_path: Path) -> None:
    full = trained(data, deviating("training.epochs=1", "training.repeats=1"), tmp_path / "full")
    found = json.loads(call(data, full, "--json", "--calibrate", "--clouds", 4, "--share", 0.5))
    row, timing = found["rows"][0], found["timing"][0]
    assert row["category"] == "ball" and row["threshold"] > 0
    assert timing["shared"] and timing["pays"] == (timing["speed_up"] > 1)
    assert timing["both_fps"] == pytest.approx(
        12 / (timing["first"] + timing["second"] - timing["saved"])
    )


def test_a_run_without_deviations_has_no_statistics(data: Path, tmp_path: Path) -> None:
    changes = [
        "training.epochs=1", "training.repeats=1", "training.batch=2", "network.voxel_size=0.2",
        "data.frame=own",
    ]  # fmt: skip
    full = trained(data, RunConfig.load("quick", changes), tmp_path / "full")
    with pytest.raises(InputError, match=r"--pruned statistics: .*ball has no deviation stat"):
        call(data, full)
