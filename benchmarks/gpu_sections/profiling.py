# SPDX-License-Identifier: Apache-2.0
"""Where the time of an inference and of a training step goes on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from sparse_rivals import training_step

from gpu_sections.bench import Bench, Finding, tabulated
from gpu_sections.speed import clouds_of
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES
from mc4ad_model.methods.mc4ad.network import CFPNet

# The kinds of work, by parts of the names of kernels (CUDA) and of operations (CPU).
KINDS = {
    "matrix products": ("gemm", "mm", "cutlass", "cublas", "xmma"),
    "gathering and sums": ("index", "gather", "embedding", "scatter"),
    "kernel maps": ("sort", "unique", "search", "cumsum", "scan", "radix"),
    "normalisation and activation": ("norm", "relu", "elementwise", "add", "mul"),
}


def profiled_step(bench: Bench) -> Iterator[Finding]:
    """Profile an inference and a training step of the released network."""
    points, batch = (300, 4) if bench.small else (10_000, 32)
    network = CFPNet(ARCHITECTURES["released"]).to(bench.device)
    one = clouds_of(bench, 500 if bench.small else 25_000, 1)
    step = training_step(network, clouds_of(bench, points, batch))
    rows = [
        _row(bench, "inference, 1 cloud", lambda: network.predict(one)),
        _row(bench, f"training step, {batch} clouds", step),
    ]
    heading = ["what", "ms", "device busy", *KINDS, "the rest", "launches", "waits for the device"]
    yield tabulated("Shares of the device's time, `released`, float32", heading, rows)


def _row(bench: Bench, label: str, call: Callable[[], object]) -> list[str]:
    cuda = bench.device.type == "cuda"
    seconds = bench.seconds(call, blocks=3)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        bench.synchronise()
    kinds = dict.fromkeys((*KINDS, "the rest"), 0.0)
    launches = waits = 0
    for event in profiler.key_averages():
        if event.key in ("cudaLaunchKernel", "cuLaunchKernelEx", "cuLaunchKernel"):
            launches += event.count
        if event.key in ("cudaStreamSynchronize", "cudaDeviceSynchronize"):
            waits += event.count
        kernel = event.device_type.name == "CUDA" and not event.is_user_annotation
        if kernel or not cuda:
            own = event.self_device_time_total if cuda else event.self_cpu_time_total
            kinds[_kind(event.key)] += own / 1e6
    total = sum(kinds.values())
    shares = [f"{value / total:.0%}" for value in kinds.values()]
    counts = [str(launches), str(waits)] if cuda else ["-", "-"]
    return [label, f"{1e3 * seconds:.1f}", f"{total / seconds:.0%}", *shares, *counts]


def _kind(name: str) -> str:
    """Return the first kind of work that a kernel's name belongs to."""
    lower = name.lower()
    return next((k for k, parts in KINDS.items() if any(p in lower for p in parts)), "the rest")
