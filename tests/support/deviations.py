# SPDX-License-Identifier: Apache-2.0
"""Deviations of two toys, with few places and few simulated clouds, shared by the test modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mc4ad_model.methods import template_deviations
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations.detector import DeviationDetector
from mc4ad_model.methods.mc4ad.deviations.network import new_network
from mc4ad_model.methods.template_deviations import TemplateDeviations
from mc4ad_model.methods.templates import Templates, Track, simulated_cloud
from tests.support.runs import toys

ANCHORS, CLOUDS = 300, 8
NOISE, POINTS = 0.03, 2500
SHORT = (
    "network.voxel_size=0.25", "network.layers=2", "data.learn_from=[]", "training.epochs=2",
    "training.repeats=2", "training.batch=2", "training.checkpoint_epochs=1",
)  # fmt: skip


@contextmanager
def small() -> Iterator[None]:
    """Give what is fitted inside ANCHORS places and CLOUDS simulated clouds on each template."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template_deviations, "ANCHORS", ANCHORS)
        patch.setattr(template_deviations, "SIMULATED_CLOUDS", CLOUDS)
        yield


@cache
def two_toys() -> Templates:
    """Return a brick and a longish ball of POINTS points."""
    return toys("tall_brick", "long_ball", noise=NOISE, points=(POINTS, POINTS))


@cache
def toy_clouds() -> Templates:
    """Return both as a file without meshes has them."""
    bare = tuple(replace(template, mesh=None) for template in two_toys().templates)
    return replace(two_toys(), templates=bare, track="clouds")


@cache
def toy_deviations(track: Track = "meshes") -> TemplateDeviations:
    """Return the deviations of both, in the order of their ids: long_ball, tall_brick."""
    with small():
        return TemplateDeviations.fit(two_toys() if track == "meshes" else toy_clouds(), 0)


def normal_cloud(seed: int, name: str = "tall_brick") -> NDArray[np.float64]:
    """Draw a noisy cloud (N, 3) of a toy without a defect, in its template's frame."""
    template = next(t for t in two_toys().templates if t.id == name)
    return simulated_cloud(two_toys(), template, np.random.default_rng(seed))


def dented(cloud: NDArray[np.float64], depth: float = 0.2) -> NDArray[np.bool_]:
    """Push the middle of the top of a brick (N, 3) in, in place; say which points that moves."""
    moved = (cloud[:, 2] > cloud[:, 2].max() - 0.25) & (np.abs(cloud[:, :2]) < 0.2).all(axis=1)
    cloud[moved, 2] -= depth
    return moved


def turned(cloud: NDArray[np.float64], seed: int = 3) -> NDArray[np.float32]:
    """Bring a cloud to a random pose."""
    turn = Rotation.from_quat(np.random.default_rng(seed).normal(size=4)).as_matrix()
    return (cloud @ turn + (0.1, -0.05, 0.02)).astype(np.float32)


def deviating(*changes: str) -> RunConfig:
    """Return the preset `deviation`, of which all is changed that makes a run long: four steps."""
    return RunConfig.load("deviation", [*SHORT, *changes])


@cache
def untrained_detector() -> DeviationDetector:
    """Return a detector of both: what it says depends on the cloud all the same."""
    network = new_network(deviating().network, generator=torch.Generator().manual_seed(4)).eval()
    made = DeviationDetector(network, toy_deviations())
    made.normal_evidence = made.evidence_of_normal_clouds(two_toys(), 0)
    return made
