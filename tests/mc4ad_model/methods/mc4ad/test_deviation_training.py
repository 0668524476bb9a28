# SPDX-License-Identifier: Apache-2.0
"""Networks on deviations, trained alone and together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError, IVError
from intravariance.seeds import generator
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations import detector
from mc4ad_model.methods.mc4ad.method import MC4AD, SHARED
from mc4ad_model.methods.method import IDENTITY
from mc4ad_model.methods.saved_files import load_arrays, save_arrays
from mc4ad_model.methods.templates import Templates
from mc4ad_model.runs.run_folder import Run
from tests.mc4ad_model.methods.mc4ad.test_training import at_step
from tests.support.deviations import NOISE, deviating, small, turned, two_toys
from tests.support.runs import cpu, make_run, results

BRICK, BALL = (replace(two_toys(), templates=(t,)) for t in two_toys().templates)
BRICK, BALL = replace(BRICK, category="brick"), replace(BALL, category="ball")
TOGETHER = deviating('data.learn_from=["ball", "brick"]')


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    with small(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "CALIBRATION_CLOUDS", 4)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def train(out: Path, templates: Templates, config: RunConfig) -> Run:
    """Train a category below `out`; where the configuration names some, on ball and brick."""
    chosen = tuple(t for t in (BALL, BRICK) if t.category in config.learn_from)
    category = templates.category
    run = make_run(out / category, config, category=category)
    if not run.finished:
        run.fit(replace(templates, learn_from=chosen), cpu())
    return run


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two categories with one network."""
    out = tmp_path_factory.mktemp("joint")
    train(out, BALL, TOGETHER)
    with never_trained():
        train(out, BRICK, TOGETHER)
    return out


def never_trained() -> AbstractContextManager[None]:
    """Fail where a network is trained inside."""
    return at_step(1, partial(pytest.fail, "trained again"))


def weights(run: Path) -> bytes:
    return (run / "network.safetensors").read_bytes()


# --- alone


def test_interrupted_and_resumed_is_as_never_interrupted(tmp_path):
    whole = train(tmp_path / "whole", BRICK, deviating())
    lines = (whole.folder / "metrics.jsonl").read_text().splitlines()
    assert {"evidence", "object", "distance", "total"} < json.loads(lines[0]).keys()
    interrupt = partial(os.kill, os.getpid(), signal.SIGINT)
    with (
        at_step(1, interrupt),
        pytest.raises(IVError, match=r"brick: interrupted after step 1 of 2"),
    ):
        train(tmp_path / "again", BRICK, deviating())
    again = train(tmp_path / "again", BRICK, deviating())
    assert results(again.folder) == results(whole.folder)
    for name in ("deviations.safetensors", "deviations.json"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


# --- together


def test_a_joint_network_is_trained_once_and_taken_by_the_others(joint):
    assert weights(joint / "ball") == weights(joint / "brick") == weights(joint / SHARED)
    steps = [json.loads(x) for x in (joint / SHARED / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in steps] == [0, 1]
    assert not (joint / "ball" / "metrics.jsonl").exists()
    deviations = [(joint / c / "deviations.safetensors").read_bytes() for c in ("ball", "brick")]
    assert deviations[0] != deviations[1]


def test_what_the_shared_folder_holds_in_the_end(joint):
    names = {path.name for path in (joint / SHARED).iterdir()}
    pairs = ("network", "deviations-ball", "deviations-brick")
    expected = {f"{name}.{ending}" for name in pairs for ending in ("json", "safetensors")}
    assert names == expected | {"identity.json", "metrics.jsonl"}


def test_a_category_that_it_did_not_learn_from_has_a_detector(joint):
    """And what is read scores as what was fitted."""
    run = make_run(joint / "both", TOGETHER, category="both")
    both = replace(two_toys(), category="both", learn_from=(BALL, BRICK))
    with never_trained():
        fitted = run.fit(both, cpu())
    assert weights(run.folder) == weights(joint / SHARED)
    cloud = two_toys().templates[0].points
    found, again = fitted.score(cloud), run.load_method(cpu()).score(cloud)
    assert found.points.shape == (len(cloud),) and found.force.shape == (len(cloud), 3)
    assert found.object == again.object
    assert np.array_equal(found.points, again.points)
    assert np.array_equal(found.force, again.force)


def test_deviations_that_were_kept_without_the_noise_have_that_of_the_file(joint, tmp_path):
    """As version 0.1.0 wrote them into the shared folder."""
    shutil.copytree(joint / SHARED, tmp_path / SHARED)
    kept = tmp_path / SHARED / "deviations-brick"
    arrays, description = load_arrays(kept)
    assert description["noise_sigma"] == NOISE
    save_arrays(kept, arrays, {})
    with never_trained():
        again = train(tmp_path, BRICK, TOGETHER)
    _, description = load_arrays(again.folder / "deviations")
    assert description["noise_sigma"] == NOISE


def test_a_shared_network_of_a_version_with_fewer_settings_is_not_trained_again(joint, tmp_path):
    shutil.copytree(joint / SHARED, tmp_path / SHARED)
    stamp = tmp_path / SHARED / IDENTITY
    identity = json.loads(stamp.read_text())
    del identity["config"]["network"]["given"], identity["track"]
    stamp.write_text(json.dumps(identity))
    with never_trained():
        again = train(tmp_path, BRICK, TOGETHER)
    assert weights(again.folder) == weights(joint / SHARED)


def test_clouds_alone_are_enough_and_simulated_ones_meet_templates_as_uncertain(tmp_path):
    ball = replace(
        BALL, track="clouds", templates=(replace(BALL.templates[0], mesh=None),), category="ball"
    )
    run = make_run(tmp_path / "ball", TOGETHER, category="ball", track="clouds")
    fitted = run.fit(replace(ball, learn_from=(ball,)), cpu())
    kept, _ = load_arrays(tmp_path / SHARED / "deviations-ball")
    own, description = load_arrays(run.folder / "deviations")
    assert description["track"] == "clouds"
    stored = ball.templates[0].points
    surface, drawn = own["long_ball/surface"], kept["long_ball/surface"]
    assert np.array_equal(surface, stored) and len(np.unique(drawn, axis=0)) < 0.75 * len(stored)
    cloud = turned(stored.astype(np.float64))
    assert fitted.score(cloud).object == run.load_method(cpu()).score(cloud).object


def test_interrupted_and_gone_on_with_from_another_category_it_is_the_same(joint, tmp_path):
    stop, message = partial(os.kill, os.getpid(), signal.SIGTERM), "interrupted after step 1 of 4"
    with at_step(1, stop), pytest.raises(IVError, match=rf"{SHARED}: {message}"):
        train(tmp_path, BALL, TOGETHER)
    assert weights(train(tmp_path, BRICK, TOGETHER).folder) == weights(joint / SHARED)


def test_another_configuration_in_the_same_folder_starts_anew(joint, tmp_path):
    shutil.copytree(joint / SHARED, tmp_path / SHARED)
    config = deviating('data.learn_from=["ball", "brick"]', "training.learning_rate=0.002")
    second = train(tmp_path, BRICK, config)
    assert weights(second.folder) == weights(tmp_path / SHARED) != weights(joint / SHARED)


def test_another_way_of_scoring_is_no_other_network(joint):
    """Nothing is trained for it."""
    config = deviating('data.learn_from=["ball", "brick"]', "scoring.object=max")
    with never_trained():
        other = train(joint, replace(BRICK, category="other"), config)
    assert weights(other.folder) == weights(joint / SHARED)


def test_without_a_folder_nothing_is_left(tmp_path, monkeypatch):
    """Files that several categories share are kept beside a run's folder, where there is one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    method = MC4AD(TOGETHER, cpu())
    method.fit(replace(BRICK, learn_from=(BALL, BRICK)), generator(0, "x"))
    assert method.score(BRICK.templates[0].points).object is not None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["thesis.tex", "run.json"])
def test_a_foreign_file_in_the_shared_folder_is_not_removed(tmp_path, name):
    foreign = tmp_path / SHARED / name
    foreign.parent.mkdir()
    foreign.write_text("{}")
    with pytest.raises(InputError, match=rf"{SHARED}: holds {name}.*choose another --out"):
        train(tmp_path, BALL, TOGETHER)
    assert foreign.read_text() == "{}"


@pytest.mark.parametrize("name", ["network", "deviations-ball"])
def test_a_damaged_file_of_the_shared_network_is_the_users_to_mend(tmp_path, joint, name):
    shutil.copytree(joint / SHARED, tmp_path / SHARED)
    damaged = tmp_path / SHARED / f"{name}.safetensors"
    damaged.write_bytes(damaged.read_bytes() + b"?")
    with pytest.raises(InputError, match=rf"{name}\.safetensors: its SHA-256.* train --force"):
        train(tmp_path, BALL, TOGETHER)
