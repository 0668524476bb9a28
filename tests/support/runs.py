# SPDX-License-Identifier: Apache-2.0
"""Tiny training runs for the tests of `mc4ad_model`: seconds on one thread.

A test module that imports this one calls `pytest.importorskip("torch")` first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from intravariance.geometry.sampling import sample_surface
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.training_state import TrainingRun
from mc4ad_model.methods.method import FittedOn
from mc4ad_model.methods.templates import Template, Templates
from mc4ad_model.runs.run_folder import Run
from tests.support.samples import product

# Four steps in two epochs, of clouds of 300 points.
TINY = (
    "network.width=0.25", "network.voxel_size=0.2", "network.layers=4",
    "anomalies.generator=da_gen_radial", "anomalies.frozen=false",
    "anomalies.patches=8", "anomalies.candidates=4", "anomalies.deformed=2",
    "data.points=mesh", "data.rotation=so3",
    "loss.distance_norm=squared", "loss.distance=100", "loss.direction=0.2",
    "loss.symmetry=0.01", "loss.balanced=true",
    "training.epochs=2", "training.repeats=4", "training.batch=4", "training.constant_epochs=0",
    "training.learning_rate=0.004", "training.checkpoint_epochs=1", "training.output_scale=0.02",
)  # fmt: skip


def tiny(*changes: str) -> RunConfig:
    """Return the released preset, of which all is changed that makes a run long."""
    return RunConfig.load("released", [*TINY, *changes])


def toys(*products: str, noise: float = 0.0447, points: tuple[int, int] = (300, 300)) -> Templates:
    """Templates as a file has them: stored points with noise, and the mesh."""
    rng, templates = np.random.default_rng(5), []
    for name in products or ("long_ball", "flat_brick"):
        mesh = product(name)
        where = sample_surface(mesh, points[1], rng)
        stored = where.points + rng.normal(scale=noise, size=where.points.shape)
        templates.append(
            Template(name, stored.astype(np.float32), where.normals.astype(np.float32), mesh)
        )
    return Templates("toys", tuple(templates), points, noise, "digest")


def make_run(folder: Path, config: RunConfig, seed: int = 0, **changes: Any) -> Run:
    """Return a run of the category "toys"; write its folder and run.json unless they are there."""
    values = {
        "folder": folder,
        "category": "toys",
        "seed": seed,
        "method": "mc4ad",
        "settings": config,
        "data_digest": "digest",
        "identity": {"noise_sigma": 0.0447},
        "environment": {},
    }
    run = Run(**(values | changes))
    run.check(force=False)
    run.prepare(force=False)
    return run


def training_run(folder: Path, config: RunConfig, seed: int = 0) -> TrainingRun:
    """Return what trains in a folder, without a run around it."""
    return TrainingRun(folder, config, FittedOn("toys", seed, "digest"))


def cpu(workers: int = 0) -> Machine:
    """Return a machine without a GPU that shows no progress."""
    return Machine("cpu", workers=workers, quiet=True)


def train_tiny(
    folder: Path, config: RunConfig | None = None, seed: int = 0, workers: int = 0
) -> Run:
    """Train on two toys to the end, or from where an earlier call was stopped."""
    run = make_run(folder, config or tiny(), seed)
    if not run.finished:
        run.fit(toys(), cpu(workers))
    return run


def results(folder: Path) -> dict[str, bytes]:
    """Return what two runs with one seed must have in common, bit for bit."""
    names = ("network.safetensors", "network.json", "metrics.jsonl", "run.json")
    return {name: (folder / name).read_bytes() for name in names}
