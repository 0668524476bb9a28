# SPDX-License-Identifier: Apache-2.0
"""IMRNet and R3D-AD: what they find on a brick, how they go on, and what they refuse."""

from __future__ import annotations

import signal
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.auroc import auroc
from intravariance.errors import InputError, IVError
from intravariance.seeds import generator
from mc4ad_model.methods import method_class
from mc4ad_model.methods.mc4ad.checkpoints import read_tensors, write_tensors
from mc4ad_model.methods.reconstruction.imrnet import IMRNet
from mc4ad_model.methods.reconstruction.method import NormalClouds, ReconstructionMethod
from mc4ad_model.methods.reconstruction.r3d_ad import R3DAD, R3DADSettings
from mc4ad_model.methods.step_training import StepTrainer
from mc4ad_model.methods.templates import Templates, surface_points
from tests.support.deviations import dented, turned
from tests.support.encoders import encoder_settings
from tests.support.runs import cpu, toys

LEARNS = {
    "imrnet": (
        "points=1000", "groups=40", "group_size=40", "clouds=8", "centres=80", "steps=120",
        "batch=6", "learning_rate=5e-3",
    ),
    "r3d_ad": (
        "points=256", "reconstructed_points=800", "width=32", "code=8", "diffusion_steps=30",
        "last_variance=0.3", "steps=300",
    ),
}  # fmt: skip
SHORT = {
    "imrnet": ("points=200", "groups=12", "group_size=16", "clouds=2", "centres=12", "batch=2"),
    "r3d_ad": ("points=200", "width=8", "code=4", "diffusion_steps=5", "batch=4", "parts=8"),
}
METHODS = tuple(LEARNS)


@cache
def brick() -> Templates:
    return toys("tall_brick", noise=0.002, points=(1500, 1500))


def made(name: str, *changes: str) -> ReconstructionMethod:
    kind = method_class(name)
    encoder = encoder_settings()[:1] if name == "imrnet" else []
    found = kind(kind.Settings.load(None, [*encoder, *changes]), cpu())
    assert isinstance(found, ReconstructionMethod)
    return found


@cache
def fitted(name: str) -> ReconstructionMethod:
    """Return a method that has learnt the brick."""
    method = made(name, "frame=registered", *LEARNS[name])
    method.check(brick())
    method.fit(brick(), generator(0, "x"))
    return method


def short(name: str, *changes: str, seed: int = 0, folder: Path | None = None):
    method = made(name, *SHORT[name], "steps=6", *changes)
    method.fit(brick(), generator(seed, "x"), folder)
    return method


def cloud(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = surface_points(brick().templates[0], (1500, 1500), rng)[0]
    return points + rng.normal(scale=0.002, size=points.shape)


@pytest.mark.parametrize("name", METHODS)
def test_a_dent_is_found_in_any_pose(name: str) -> None:
    method, found = fitted(name), []
    for seed in (3, 4, 5):
        points = cloud(seed)
        before = method.score(turned(points)).points
        labels = dented(points, 0.3)
        after = method.score(turned(points)).points
        found.append((auroc(labels, after), auroc(labels, before)))
        assert after[labels].mean() > before[labels].mean()
    dent, same_place = np.mean(found, axis=0)
    assert dent > 0.75 and dent > same_place + 0.1


def test_a_diffusion_comes_nearer_to_the_product_than_noise_and_than_one_place() -> None:
    method = fitted("r3d_ad")
    assert isinstance(method, R3DAD)
    points, surface = cloud(1), cKDTree(cloud(2))
    again = method.reconstructed(points)
    assert again.shape == (800, 3)
    off = np.median(surface.query(again)[0])
    assert off < 0.3 * surface.query(np.zeros((1, 3)))[0][0]  # of the middle, the constant answer
    assert off < 0.1 * np.median(surface.query(generator(0, "n").normal(size=(800, 3)))[0])
    assert np.median(cKDTree(again).query(points)[0]) < 0.12  # and all of it is there


def test_hidden_patches_come_back_better_than_a_constant_patch() -> None:
    method = fitted("imrnet")
    assert isinstance(method, IMRNet)
    sampled = method.sampled(cloud(1))
    again = method.reconstructed(sampled, np.random.default_rng(0))
    own = cKDTree(cloud(2)).query(sampled)[0].mean()  # of another cloud of the same product
    assert cKDTree(cloud(2)).query(again)[0].mean() < 2 * own
    tenths = list(method.losses.values())
    # after the first tenth all patches are the same: the mean patch
    assert len(tenths) == 10 and tenths[9] < 0.6 * tenths[1]
    kept = (cKDTree(sampled).query(again)[0] < 1e-9).mean()
    assert kept < 0.1  # three rounds of 40 % hide nearly everything once


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("frame", ["own", "registered"])
def test_a_saved_method_scores_alike_and_the_seed_decides(name, frame, tmp_path) -> None:
    points = turned(cloud(1))
    first = short(name, f"frame={frame}")
    first.save(tmp_path)
    again = made(name, *SHORT[name], "steps=6", f"frame={frame}")
    again.load(tmp_path)
    expected = first.score(points).points
    assert np.isfinite(expected).all() and expected.std() > 0
    assert np.array_equal(again.score(points).points, expected)
    assert np.array_equal(short(name, f"frame={frame}").score(points).points, expected)
    other = short(name, f"frame={frame}", seed=1).score(points).points
    assert not np.array_equal(other, expected)
    assert again.parameters == first.parameters


@pytest.mark.parametrize("name", METHODS)
def test_a_training_that_was_interrupted_ends_alike(name, tmp_path, monkeypatch) -> None:
    def interrupted(trainer: StepTrainer, number: int) -> None:
        step(trainer, number)
        if number == 2:
            signal.raise_signal(signal.SIGINT)

    step = StepTrainer.step
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    whole.mkdir(), rest.mkdir()
    short(name, folder=whole).save(whole)
    monkeypatch.setattr(StepTrainer, "step", interrupted)
    with pytest.raises(IVError, match="train toys: interrupted after step 3 of 6"):
        short(name, folder=rest)
    monkeypatch.setattr(StepTrainer, "step", step)
    assert [path.name for path in rest.iterdir()]
    with pytest.raises(InputError, match="another training's checkpoint"):
        short(name, seed=1, folder=rest)
    short(name, folder=rest).save(rest)
    names = ["network.json", "network.safetensors"]
    assert sorted(path.name for path in rest.iterdir()) == names
    assert all((rest / n).read_bytes() == (whole / n).read_bytes() for n in names)


@pytest.mark.parametrize("name", METHODS)
def test_a_signal_in_the_last_step_loses_nothing(name, tmp_path, monkeypatch) -> None:
    def last(trainer: StepTrainer, number: int) -> None:
        step(trainer, number)
        if number == 5:
            signal.raise_signal(signal.SIGINT)

    step = StepTrainer.step
    monkeypatch.setattr(StepTrainer, "step", last)
    with pytest.raises(IVError, match="interrupted, but trained to its end"):
        short(name, folder=tmp_path)
    made(name, *SHORT[name], "steps=6").load(tmp_path)


@pytest.mark.parametrize("name", METHODS)
def test_clouds_and_templates_that_are_too_small_are_named(name: str) -> None:
    with pytest.raises(InputError, match=r"toys: expected clouds of at least 2000 .*--set points"):
        made(name, "points=2000").check(brick())
    with pytest.raises(InputError, match="expected at least 200 points"):
        short(name).score(cloud(0)[:150].astype(np.float32))
    small = replace(brick().templates[0], points=brick().templates[0].points[:100])
    with pytest.raises(InputError, match="template tall_brick: expected at least 200"):
        made(name, *SHORT[name]).check(replace(brick(), templates=(small,)))
    with pytest.raises(InputError, match="finite"):
        short(name).score(np.full((300, 3), np.nan, np.float32))
    with pytest.raises(InputError, match="times"):
        short(name).score((20 * cloud(0)).astype(np.float32))


def test_a_missing_encoder_is_named_with_what_makes_one(tmp_path: Path) -> None:
    kind = method_class("imrnet")
    for encoder, message in (
        ("", r"iv pretrain.*--set encoder=FOLDER"),
        (tmp_path, r"encoder\.safetensors does not exist"),
    ):
        changes = [*SHORT["imrnet"], f"encoder={encoder}"]
        with pytest.raises(InputError, match=message):
            kind(kind.Settings.load(None, changes), cpu()).check(brick())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_saved_with_other_settings_or_without_templates_is_refused(name, tmp_path) -> None:
    short(name).save(tmp_path)
    with pytest.raises(InputError, match="saved with other settings"):
        made(name, *SHORT[name]).load(tmp_path)
    tensors, description = read_tensors(tmp_path / "network")
    for points in (None, np.full((5, 3), np.nan), np.zeros((0, 3))):
        kept = {n: t for n, t in tensors.items() if not n.startswith("template/")}
        if points is not None:
            example = next(t for n, t in tensors.items() if n.startswith("template/"))
            kept["template/a"] = example.new_tensor(points)
        write_tensors(tmp_path / "network", kept, description, force=True)
        with pytest.raises(InputError, match=r"expected the points \(S, 3\)"):
            made(name, *SHORT[name], "steps=6").load(tmp_path)
    write_tensors(tmp_path / "network", tensors, {**description, "measured": 3}, force=True)
    with pytest.raises(InputError, match="expected a table measured"):
        made(name, *SHORT[name], "steps=6").load(tmp_path)


def test_presets_and_labels_say_what_ran() -> None:
    kind = method_class("r3d_ad").Settings
    assert kind.load().label == kind.load("small").label == "r3d_ad"
    paper = kind.load("paper", ["frame=registered"])
    assert isinstance(paper, R3DADSettings) and paper.label == "r3d_ad-paper-registered"
    assert (paper.points, paper.diffusion_steps, paper.steps, paper.batch) == (
        2048,
        200,
        40000,
        128,
    )
    assert kind.load(None, ["patches=false"]).label == "r3d_ad-no_patches"
    with pytest.raises(InputError, match="--preset large: expected small or paper"):
        kind.load("large")
    kind = method_class("imrnet").Settings
    encoder = encoder_settings()[:1]
    assert kind.load(None, encoder).label == "imrnet-pointmae=self-trained"
    paper = kind.load("paper", [*encoder, "frame=registered"])
    assert paper.label == "imrnet-paper-pointmae=self-trained-registered"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (("hidden_share=0.01",), "hidden_share = 0.01 of groups = 64: expected some patches"),
        (("hidden_share=1.0",), "and not all"),
        (("points=50",), "group_size = 64: expected at most points = 50"),
    ],
)
def test_patches_that_cannot_be_are_refused(changes: tuple[str, ...], named: str) -> None:
    with pytest.raises(InputError, match=named):
        method_class("imrnet").Settings.load(None, changes)


def test_simulated_anomalies_are_in_what_is_encoded_alone() -> None:
    clouds = NormalClouds(brick(), "registered")
    for changes, moved in (((), 12), (("patches=false",), 0)):
        method = made("r3d_ad", *SHORT["r3d_ad"], *changes)
        assert isinstance(method, R3DAD)
        normal, shown = method.pair(clouds, np.random.default_rng(0))
        assert normal.shape == shown.shape == (200, 3)
        assert (normal != shown).any(axis=1).sum() == moved


@pytest.mark.parametrize(("points", "parts", "found"), [(200, 8, 8), (200, 32, 8), (200, 1, 1)])
def test_steps_of_the_diffusion_are_drawn_evenly(points: int, parts: int, found: int) -> None:
    own = R3DADSettings(points=points, parts=parts, batch=25, diffusion_steps=10)
    steps = own.drawn_steps(np.random.default_rng(0))
    assert steps.shape == (25, found)
    counts = np.bincount(steps.ravel(), minlength=11)
    assert counts[0] == 0 and np.ptp(counts[1:]) <= 1
