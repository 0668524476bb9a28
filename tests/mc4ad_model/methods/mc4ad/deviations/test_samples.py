# SPDX-License-Identifier: Apache-2.0
"""Training samples of a network on deviations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from scipy.spatial.transform import Rotation

from annotations.vocabulary import DISPLACEMENT_THRESHOLD
from mc4ad_model.methods.mc4ad.deviations import samples as samples_module
from mc4ad_model.methods.mc4ad.deviations.input import TemplateVoxels
from mc4ad_model.methods.mc4ad.deviations.samples import (
    MISSING_FORCE,
    DeviationBatch,
    DeviationSample,
    DeviationSamples,
    Source,
)
from mc4ad_model.methods.mc4ad.training_samples import load_batches
from mc4ad_model.pseudo_anomalies.mixture import PseudoSample, make_sample
from mc4ad_model.registration.poses import Pose
from tests.support.deviations import deviating, toy_deviations, two_toys

SIZE = deviating().network.voxel_size


def samples_of(*changes: str, seed: int = 0, category: str = "toys") -> DeviationSamples:
    templates = replace(two_toys(), category=category)
    return DeviationSamples([Source(templates, toy_deviations())], deviating(*changes), seed)


@pytest.fixture(scope="module")
def samples() -> DeviationSamples:
    return samples_of("training.repeats=6")


@pytest.fixture(scope="module")
def drawn(samples: DeviationSamples) -> list[DeviationSample]:
    return [samples[number] for number in range(samples.per_epoch)]


def equal(first: DeviationSample, second: DeviationSample) -> bool:
    return all(np.array_equal(getattr(second, name), value) for name, value in vars(first).items())


def test_there_are_as_many_as_the_configuration_says(samples):
    assert samples.per_epoch == 12 and len(samples) == 24


def test_a_sample_is_a_function_of_seed_and_number_whatever_the_order(samples, drawn):
    again = samples_of("training.repeats=6")
    for number in (7, 2, 11, 2):
        assert equal(again[number], drawn[number])
    for other in (samples_of("training.repeats=6", seed=1), samples_of(category="others")):
        assert not equal(other[0], drawn[0])


def test_each_template_has_its_share_of_an_epoch(drawn):
    sizes = [len(sample.coordinates) for sample in drawn]
    assert sorted(np.unique(sizes, return_counts=True)[1]) == [6, 6]
    assert sizes != sorted(sizes)  # and they are mixed


def test_what_samples_hold(drawn):
    for sample in drawn:
        number = len(sample.coordinates)
        assert sample.features.shape == (number, 28) and sample.force.shape == (number, 3)
        for array in (sample.features, sample.force, sample.evidence):
            assert array.dtype == np.float32 and np.isfinite(array).all()
        assert sample.evidence.min() >= 0 and sample.evidence.max() <= 1
        assert sample.defective == bool(sample.evidence.any())
        unlabelled = np.linalg.norm(sample.force[sample.evidence == 0], axis=1)
        assert unlabelled.max() <= DISPLACEMENT_THRESHOLD  # moved, but not so that it counts
    assert 0 < sum(sample.defective for sample in drawn) <= len(drawn)


def test_a_mixture_of_normal_clouds_has_nothing_to_learn():
    kinds = ("swelling", "turn", "bite", "cut", "groove")
    normal = samples_of("mixture.normal=1", *(f"mixture.{kind}=0" for kind in kinds))
    for number in range(2):
        sample = normal[number]
        assert not (sample.defective or sample.evidence.any() or sample.force.any())
        assert np.abs(sample.features[:, :6]).mean() < 1.5  # z-scores


@pytest.mark.parametrize("kind", ["swelling", "turn", "bite", "groove"])
def test_targets_are_those_of_a_plain_loop(monkeypatch, kind):
    """Without noise, so that what was made and what was registered tell the pose exactly."""
    made, registered = list[PseudoSample](), list[np.ndarray]()
    register = toy_deviations().registration.register

    def make(*arguments: Any) -> PseudoSample:
        made.append(make_sample(*arguments, kind=kind))
        return made[-1]

    def remember(points: np.ndarray) -> Pose:
        pose = register(points)
        registered.append(points @ pose.rotation + pose.shift)
        return pose

    monkeypatch.setattr(samples_module, "make_sample", make)
    monkeypatch.setattr(toy_deviations().registration, "register", remember)
    templates = replace(two_toys(), noise_sigma=0.0)
    sample = DeviationSamples([Source(templates, toy_deviations())], deviating(), 0)[1]
    voxels = [TemplateVoxels(one, deviating().network, 0.0) for one in toy_deviations().each]
    own = next(v for v in voxels if len(v) == len(sample.coordinates))
    check_targets(sample, made[0], registered[0], own)


def check_targets(
    sample: DeviationSample, made: PseudoSample, cloud: np.ndarray, voxels: TemplateVoxels
) -> None:
    middle = made.points.mean(axis=0)
    turn, _ = Rotation.align_vectors(cloud - cloud.mean(axis=0), made.points - middle)
    gone = turn.apply(made.removed - middle) + cloud.mean(axis=0) if len(made.removed) else ()
    forces = turn.apply(made.displacement)
    here = np.array([own_voxel(voxels, point) for point in cloud])
    missing = np.array([own_voxel(voxels, point) for point in gone], dtype=int)
    assert made.labels.any()
    for v in range(len(voxels)):
        inward = -MISSING_FORCE * voxels.normals[v]
        own = [*forces[here == v], *[inward] * int((missing == v).sum())]
        labels = [*made.labels[here == v], *[True] * int((missing == v).sum())]
        np.testing.assert_allclose(sample.force[v], np.mean(own, axis=0) if own else 0, atol=1e-5)
        assert sample.evidence[v] == pytest.approx(np.mean(labels) if labels else 0, abs=1e-6)


def own_voxel(voxels: TemplateVoxels, point: np.ndarray) -> int:
    places = voxels.deviation.anchors.points
    place = places[np.square(places - point).sum(axis=1).argmin()]
    cell = np.floor(place / SIZE)
    return int((voxels.coordinates == cell).all(axis=1).argmax())


def test_a_cloud_that_registers_to_another_template_stays_where_it_was_made(monkeypatch):
    """Nothing can be learnt of a product from its deviation from another one."""
    far = Pose(-1, np.eye(3), np.full(3, 9.0), 0.0)
    monkeypatch.setattr(toy_deviations().registration, "register", lambda points: far)
    sample = samples_of("mixture.normal=1e6")[0]
    assert not sample.defective
    assert np.abs(sample.features[:, :6]).mean() < 1.5


def test_a_batch_holds_its_samples_one_after_the_other(drawn):
    batch = DeviationBatch(drawn[:3])
    assert batch.lengths == [len(sample.coordinates) for sample in drawn[:3]]
    numbers = batch.coordinates[:, 0].numpy()
    for b, sample in enumerate(drawn[:3]):
        own = numbers == b
        assert np.array_equal(batch.coordinates.numpy()[own, 1:], sample.coordinates)
        for name in ("features", "force", "evidence"):
            assert np.array_equal(getattr(batch, name).numpy()[own], getattr(sample, name))
    assert batch.defective.tolist() == [float(sample.defective) for sample in drawn[:3]]
    assert batch.to(torch.device("cpu")) is batch


def test_processes_make_the_same_batches(samples, drawn):
    """The loader's processes are handed what can be pickled, and they make what we make."""
    batch = next(load_batches(samples, range(1), 4, 3, workers=1))
    assert torch.equal(batch.features, DeviationBatch(drawn[:3]).features)
