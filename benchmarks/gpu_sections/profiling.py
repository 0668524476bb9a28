# SPDX-License-Identifier: Apache-2.0
"""Where the time of an inference and of a training step goes on the device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from sparse_rivals import training_step

from gpu_sections.bench import Bench, Case, Finding
from gpu_sections.speed import backends, clouds_of, new_network
from intravariance.tables import Cell

# The kinds of work, by parts of the names of kernels (CUDA) and of operations (CPU); the first that
# fits. Ours are the functions of `mc4ad_model.sparse.triton_kernels`.
KINDS = {
    "our Triton kernels": (),
    "matrix products": ("gemm", "mm", "cutlass", "cublas", "xmma", "nvjet", "linear"),
    "gathering and sums": ("index", "gather", "embedding", "scatter"),
    "kernel maps": ("sort", "unique", "search", "cumsum", "scan", "radix"),
    "copies": ("memcpy", "memset", "copy"),
    "optimiser": ("adam", "multi_tensor"),
    "normalisation and activation": ("norm", "relu", "elementwise", "add", "mul"),
}
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
# Not cudaDeviceSynchronize: that is ours, after the call.
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")


def profiled_steps(bench: Bench) -> Iterator[Finding]:
    """Profile an inference and a training step of the released network."""
    points, batch = (300, 4) if bench.small else (10_000, 32)
    size = 500 if bench.small else 25_000

    def inference(backend: str) -> Callable[[], object]:
        network = new_network(bench, "released", backend).eval()
        return functools.partial(network.predict, clouds_of(bench, size, 1))

    def training(backend: str) -> Callable[[], object]:
        network = new_network(bench, "released", backend)
        return training_step(network, clouds_of(bench, points, batch))

    made = {"inference, 1 cloud": inference, f"training step, {batch} clouds": training}
    cases = [
        Case([what, backend], functools.partial(_cells, bench, make, backend))
        for backend in backends(bench)
        for what, make in made.items()
    ]
    heading = ["what", "backend", "ms", "device busy", *KINDS, "the rest"]
    heading += ["launches", "waits for the device", "host waits"]
    yield from bench.table("Shares of the device's time, `released`, float32", heading, cases)


def _cells(bench: Bench, make: Callable[[str], Callable[[], object]], backend: str) -> list[Cell]:
    cuda = bench.device.type == "cuda"
    call = make(backend)
    seconds = bench.seconds(call)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if cuda:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        bench.synchronise()
    parts = KINDS | {"our Triton kernels": triton_kernels()}
    kinds = dict.fromkeys((*parts, "the rest"), 0.0)
    launches, waits, waited = 0, 0, 0.0
    for event in profiler.key_averages():
        launches += event.count * (event.key in LAUNCHES)
        if event.key in WAITS:
            waits, waited = waits + event.count, waited + event.self_cpu_time_total / 1e6
        kernel = event.device_type.name == "CUDA" and not event.is_user_annotation
        if kernel or not cuda:
            own = event.self_device_time_total if cuda else event.self_cpu_time_total
            kinds[kind(event.key, parts)] += own / 1e6
    if not (total := sum(kinds.values())):
        return [f"{1e3 * seconds:.2f}", "the profiler saw no kernel", *[None] * (len(kinds) + 3)]
    shares = [f"{value / total:.0%}" for value in kinds.values()]
    counts = [launches, waits, f"{waited / seconds:.0%}"] if cuda else [None] * 3
    return [f"{1e3 * seconds:.2f}", f"{total / seconds:.0%}", *shares, *counts]


def triton_kernels() -> tuple[str, ...]:
    """Return the names of our Triton kernels in lower case; none where Triton is not installed."""
    try:
        from mc4ad_model.sparse import triton_kernels as ours  # noqa: PLC0415 - optional
    except ImportError:
        return ()
    own = [
        value for value in vars(ours).values() if getattr(value, "__module__", "") == ours.__name__
    ]
    return tuple(value.__name__.lower() for value in own if callable(value))


def kind(name: str, parts: dict[str, tuple[str, ...]]) -> str:
    """Return the first kind of work that a kernel's name belongs to."""
    lower = name.lower()
    return next((k for k, found in parts.items() if any(p in lower for p in found)), "the rest")
