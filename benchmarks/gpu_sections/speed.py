# SPDX-License-Identifier: Apache-2.0
"""Speed of CFP-Net, of the training step and of registration.

Plain torch comes before Triton: a Triton kernel that fails may end the process.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from sparse_rivals import computing_in, training_step, wavy_cloud

from gpu_sections.bench import Bench, Case, Finding
from intravariance.errors import BackendUnavailable
from intravariance.seeds import generator
from intravariance.tables import Cell
from mc4ad_model.machine.precision import bfloat16_is_native
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.methods.templates import read_templates, registration_points
from mc4ad_model.registration.poses import Registration
from mc4ad_model.sparse import Backend, get_backend

PAPER = (
    "The paper prints 25.0 FPS on Anomaly-ShapeNet (Table 10) and 14.8 FPS on Real3D-AD (Table 3)."
)
CLOUDS = (
    "A batch is one cloud in random rotations. First: making the network, with the test of its "
    "backend, and the first call, which compile kernels that the section of kernels did not."
)
GOALS = (
    "Goals: 250 clouds/s (TF32 or bfloat16) and 120 (float32) in inference, and a training step "
    "in a third of plain torch's time."
)
MEASURED = ["ms", "clouds/s", "peak MiB", "first s"]


def precisions(bench: Bench) -> tuple[str, ...]:
    """Return the precisions to measure."""
    if bench.device.type == "cpu":
        return ("float32",)
    return ("float32", "TF32", *(["bfloat16"] if bfloat16_is_native(bench.device) else []))


def backends(bench: Bench) -> tuple[str, ...]:
    """Return the backends to measure; Triton's interpreter on the CPU is no backend to time."""
    return ("torch",) if bench.device.type == "cpu" else ("torch", "triton")


def working(name: str) -> Backend:
    """Make a backend.

    Raises
    ------
    BackendUnavailable
        It does not run here, or plain torch would compute in its place.
    """
    backend = get_backend(name)
    if not getattr(backend, "works", True):
        raise BackendUnavailable(f"backend {name}: its kernels failed its own test on this device")
    return backend


def new_network(bench: Bench, arch: str, backend: str) -> CFPNet:
    """Make a network on the device, narrow where all is small. Raises as `working`."""
    working(backend)
    config = ARCHITECTURES[arch]
    if bench.small:
        config = replace(config, width=0.05)
    return CFPNet(config, backend).to(bench.device)


def clouds_of(bench: Bench, points: int, batch: int) -> list[torch.Tensor]:
    """Make clouds of about so many points, in half as many voxels: one, in random rotations."""
    first = wavy_cloud(points // 2, 0)
    rng = generator(0, "benchmark", "turns")
    turns = Rotation.from_quat(rng.normal(size=(batch, 4))).as_matrix()
    return [(first @ torch.from_numpy(turn).float()).to(bench.device) for turn in turns]


def inference_cells(
    bench: Bench, arch: str, backend: str, precision: str, points: int, batch: int
) -> list[Cell]:
    """Measure CFP-Net from points to forces; cells as MEASURED."""
    clouds = clouds_of(bench, points, batch)

    def made() -> Callable[[], object]:
        return functools.partial(new_network(bench, arch, backend).eval().predict, clouds)

    return _cells(bench, made, precision, batch)


def training_cells(
    bench: Bench, arch: str, backend: str, precision: str, points: int, batch: int
) -> list[Cell]:
    """Measure a step: voxels, maps, forward, loss, backward, Adam; cells as MEASURED."""
    clouds = clouds_of(bench, points, batch)

    def made() -> Callable[[], object]:
        return training_step(new_network(bench, arch, backend), clouds)

    return _cells(bench, made, precision, batch)


def _cells(
    bench: Bench, made: Callable[[], Callable[[], object]], precision: str, batch: int
) -> list[Cell]:
    """Make a call with its network, which counts as part of the first one, and measure it."""
    with computing_in(precision, bench.device):
        start = time.perf_counter()
        call = made()
        before = time.perf_counter() - start
        timing = bench.timed(call, blocks=3)
        memory = bench.peak_mebibytes(call)
    rate = f"{batch / timing.seconds:.1f}"
    return [f"{1e3 * timing.seconds:.2f}", rate, memory, f"{before + timing.first:.1f}"]


def goals(bench: Bench) -> Iterator[Finding]:
    """Measure what the goals are about, before anything else."""
    points, batch = (300, 4) if bench.small else (10_000, 32)
    cloud = 500 if bench.small else 25_000
    kinds = {
        f"inference, 1 cloud of {cloud:,} points": (inference_cells, cloud, 1),
        f"training step, {batch} clouds of {points:,} points": (training_cells, points, batch),
    }
    cases = [
        Case([what, backend, precision],
             functools.partial(measure, bench, "released", backend, precision, size, count))
        for backend in backends(bench)
        for what, (measure, size, count) in kinds.items()
        for precision in precisions(bench)
    ]  # fmt: skip
    heading = ["what", "backend", "precision", *MEASURED]
    yield from bench.table("CFP-Net `released`", heading, cases, f"{GOALS} {CLOUDS}")


def inference(bench: Bench) -> Iterator[Finding]:
    """Measure CFP-Net from points to forces: architectures, sizes, batches, precisions."""
    sizes = (500,) if bench.small else (8_000, 25_000, 100_000)
    batches = (1, 2) if bench.small else (1, 8)
    heading = ["points", "batch", "precision", "backend", *MEASURED]
    for name in ARCHITECTURES:
        choices = itertools.product(backends(bench), sizes, batches, precisions(bench))
        cases = [
            Case([f"{points:,}", batch, precision, backend],
                 functools.partial(inference_cells, bench, name, backend, precision, points, batch))
            for backend, points, batch, precision in choices
        ]  # fmt: skip
        yield from bench.table(f"CFP-Net `{name}`, inference", heading, cases, f"{PAPER} {CLOUDS}")


def training(bench: Bench) -> Iterator[Finding]:
    """Measure the training step of all architectures."""
    points, batch = (300, 4) if bench.small else (10_000, 32)
    cases = [
        Case([name, precision, backend],
             functools.partial(training_cells, bench, name, backend, precision, points, batch))
        for name, backend, precision in itertools.product(
            ARCHITECTURES, backends(bench), precisions(bench))
    ]  # fmt: skip
    title = f"Training step, {batch} clouds of {points:,} points"
    heading = ["architecture", "precision", "backend", *MEASURED]
    yield from bench.table(title, heading, cases, CLOUDS)


def registration(bench: Bench) -> Iterator[Finding]:
    """Measure the registration of test clouds, which NumPy does on the CPU."""
    with bench.dataset() as dataset:
        category = dataset.specification.categories[0].name
        templates = read_templates(dataset, category)
        surfaces = registration_points(templates, seed=0)
        clouds = [r.points for r in dataset.filter(category=category) if r.split == "test"][:8]
    poses = Registration(list(surfaces.values()))

    def measure() -> list[Cell]:
        times = [bench.seconds(functools.partial(poses.register, c), blocks=1) for c in clouds]
        return [f"{1e3 * float(np.median(times)):.0f}"]

    heading = ["category", "clouds", "ms a cloud"]
    cases = [Case([category, len(clouds)], measure)]
    note = "On the CPU, one cloud at a time, with as many threads as NumPy's libraries take."
    yield from bench.table("Registration", heading, cases, note)
