# SPDX-License-Identifier: Apache-2.0
"""Speed of CFP-Net, of single layers, of the training step and of registration."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import torch
from sparse_rivals import (
    DOWN,
    NAMES,
    SUBMANIFOLD,
    UP,
    computing_in,
    coordinates,
    layer_operands,
    run_layer,
    training_step,
    wavy_cloud,
)

from gpu_sections.bench import Bench, Finding, tabulated
from intravariance.errors import BackendUnavailable
from mc4ad_model.machine.precision import bfloat16_is_native
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.methods.templates import read_templates, registration_points
from mc4ad_model.registration.poses import Registration
from mc4ad_model.sparse import CoordinatePyramid, Geometry, get_backend, sparse_convolution
from mc4ad_model.sparse.convolution import Strategy

PAPER = (
    "The paper prints 25.0 FPS on Anomaly-ShapeNet (Table 10) and 14.8 FPS on Real3D-AD (Table 3)."
)


def precisions(bench: Bench) -> tuple[str, ...]:
    """Return the precisions to measure."""
    if bench.device.type == "cpu":
        return ("float32",)
    return ("float32", "TF32", *(["bfloat16"] if bfloat16_is_native(bench.device) else []))


def backends(bench: Bench) -> tuple[str, ...]:
    """Return the backends to measure; Triton's interpreter on the CPU is no backend to time."""
    if bench.device.type == "cpu":
        return ("torch",)
    try:
        get_backend("triton")
    except BackendUnavailable as error:
        print(error, file=sys.stderr)
        return ("torch",)
    return ("torch", "triton")


def clouds_of(bench: Bench, points: int, batch: int) -> list[torch.Tensor]:
    """Make a batch of clouds of about so many points, in half as many voxels."""
    return [wavy_cloud(points // 2, seed).to(bench.device) for seed in range(batch)]


def inference(bench: Bench) -> Iterator[Finding]:
    """Measure CFP-Net from points to forces: architectures, sizes, batches, precisions."""
    sizes = (500,) if bench.small else (8_000, 25_000, 100_000)
    batches = (1, 2) if bench.small else (1, 8)
    for name, config in ARCHITECTURES.items():
        networks = {b: CFPNet(config, b).to(bench.device).eval() for b in backends(bench)}
        rows = []
        for points, batch, precision in itertools.product(sizes, batches, precisions(bench)):
            clouds = clouds_of(bench, points, batch)
            for backend, network in networks.items():
                with computing_in(precision, bench.device):
                    call = functools.partial(network.predict, clouds)
                    seconds, memory = bench.seconds(call), peak_mebibytes(bench, call)
                rows.append(
                    [f"{points:,}", batch, precision, backend, f"{1e3 * seconds:.2f}",
                     f"{batch / seconds:.1f}", memory]
                )  # fmt: skip
        heading = ["points", "batch", "precision", "backend", "ms", "clouds/s", "peak MiB"]
        yield tabulated(f"CFP-Net `{name}`, inference", heading, rows, PAPER)


def peak_mebibytes(bench: Bench, call: functools.partial[object]) -> str:
    """Return the peak MiB of tensors on the device during a call, "-" on the CPU."""
    if bench.device.type != "cuda":
        return "-"
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return f"{torch.cuda.max_memory_allocated() / 2**20:.0f}"


def layers(bench: Bench) -> Iterator[Finding]:
    """Measure single convolutions by each strategy and backend."""
    size = 500 if bench.small else 25_000
    rows = []
    pyramid = CoordinatePyramid(coordinates(size, None).to(bench.device))
    for geometry in (SUBMANIFOLD, DOWN, UP):
        methods = _methods(bench, pyramid, geometry)
        for channels in (8,) if bench.small else (32, 64, 128, 256):
            operands = layer_operands(pyramid, geometry, channels)
            for precision in precisions(bench):
                for backward in (False, True):
                    row = [NAMES[geometry], channels, precision]
                    row.append("forward + backward" if backward else "forward")
                    for layer in methods.values():
                        with computing_in(precision, bench.device):
                            call = functools.partial(run_layer, layer, operands, backward)
                            row.append(f"{1e3 * bench.seconds(call, blocks=3):.3f}")
                    rows.append(row)
    voxels = pyramid.size()
    heading = ["kernel", "C", "precision", "pass", *(f"{name} ms" for name in methods)]
    yield tabulated(f"Convolutions on {voxels:,} voxels, maps built before", heading, rows)


def _methods(
    bench: Bench, pyramid: CoordinatePyramid, geometry: Geometry
) -> dict[str, Callable[..., torch.Tensor]]:
    """Return the ways to compute a convolution, by name."""
    kernel_map = pyramid.kernel_map(geometry)
    strategies = {"torch": None, **{name: name for name in get_args(Strategy)}}
    methods: dict[str, Callable[..., torch.Tensor]] = {
        name: functools.partial(sparse_convolution, kernel_map=kernel_map, strategy=strategy)
        for name, strategy in strategies.items()
    }
    if "triton" in backends(bench):
        convolve = get_backend("triton").convolve
        methods["triton"] = functools.partial(convolve, pyramid=pyramid, geometry=geometry)
    return methods


def training(bench: Bench) -> Iterator[Finding]:
    """Measure the training step: voxels, maps, forward, loss, backward, Adam."""
    points, batch = (300, 4) if bench.small else (10_000, 32)
    clouds = clouds_of(bench, points, batch)
    rows = []
    for name, config in ARCHITECTURES.items():
        for precision, backend in itertools.product(precisions(bench), backends(bench)):
            network = CFPNet(config, backend).to(bench.device)
            with computing_in(precision, bench.device):
                step = functools.partial(training_step(network, clouds))
                seconds, memory = bench.seconds(step, blocks=3), peak_mebibytes(bench, step)
            rows.append(
                [name, precision, backend, f"{1e3 * seconds:.1f}", f"{batch / seconds:.1f}", memory]
            )
    heading = ["architecture", "precision", "backend", "ms a step", "clouds/s", "peak MiB"]
    yield tabulated(f"Training step, {batch} clouds of {points:,} points", heading, rows)


def registration(bench: Bench) -> Iterator[Finding]:
    """Measure the registration of test clouds, which runs on the CPU."""
    with bench.dataset() as dataset:
        category = dataset.specification.categories[0].name
        templates = read_templates(dataset, category)
        surfaces = registration_points(templates, seed=0)
        clouds = [r.points for r in dataset.filter(category=category) if r.split == "test"][:8]
    poses = Registration(list(surfaces.values()))
    times = [bench.seconds(functools.partial(poses.register, c), blocks=1) for c in clouds]
    rows = [[category, len(clouds), f"{1e3 * float(np.median(times)):.0f}"]]
    yield tabulated("Registration on one core", ["category", "clouds", "ms a cloud"], rows)
