# SPDX-License-Identifier: Apache-2.0
"""Choices that are each measured or dropped: torch.compile, pinned memory, nccl, CUDA graphs.

bfloat16 by autocast is a row of the other sections.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from sparse_rivals import training_step
from torch import Tensor, nn

from gpu_sections.bench import Bench, Case, Finding
from gpu_sections.speed import backends, clouds_of, new_network
from intravariance.tables import Cell
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad.network import CFPNet, voxel_features
from mc4ad_model.methods.mc4ad.training_samples import CollatedBatch
from mc4ad_model.sparse import CoordinatePyramid, voxelise

NO_DEVICE = [None, None, "not tried: it needs a CUDA device"]
Call = Callable[[], object]


def choices(bench: Bench) -> Iterator[Finding]:
    """Measure each choice beside doing without it; float32, the released network."""
    cases = [
        Case(["pinned memory: a training batch to the device"], lambda: pinned_memory(bench)),
        Case([f"{group(bench)} on one process: a training step"], lambda: one_process(bench)),
        Case(["torch.compile: the head, one inference"], lambda: compiled_head(bench)),
        Case(["torch.compile: batch norm and ReLU of a layer"], lambda: compiled_norm(bench)),
    ]
    # last: a capture that fails may leave the device in a state of its own
    cases += [
        Case([f"CUDA graph: the network on maps that are built, {backend}"],
             functools.partial(cuda_graph, bench, backend))
        for backend in backends(bench)
    ]  # fmt: skip
    heading = ["choice", "ms without", "ms with", "gain"]
    yield from bench.table("Measured or dropped", heading, cases)


def _beside(bench: Bench, without: Call, chosen: Call) -> Sequence[Cell]:
    before, after = bench.seconds(without), bench.seconds(chosen)
    return [f"{1e3 * before:.3f}", f"{1e3 * after:.3f}", f"{before / after:.2f} times as fast"]


def pinned_memory(bench: Bench) -> Sequence[Cell]:
    """Measure the copy of a batch to the device, from pinned memory and from other."""
    if bench.small:
        return NO_DEVICE
    clouds = [cloud.cpu() for cloud in clouds_of(bench, 10_000, 32)]

    def copies(pinned: bool) -> Call:
        batch = CollatedBatch([(cloud, cloud) for cloud in clouds])
        if pinned:
            batch.pin_memory()
        tensors = [*batch.clouds, batch.displacement]
        return lambda: [tensor.to(bench.device, non_blocking=True) for tensor in tensors]

    return _beside(bench, copies(pinned=False), copies(pinned=True))


def group(bench: Bench) -> str:
    """Return the kind of a process group on the device."""
    return "gloo" if bench.small else "nccl"


def one_process(bench: Bench) -> Sequence[Cell]:
    """Measure what a group costs a training step; `Ranks` leaves it out for one process."""
    clouds = clouds_of(bench, *((300, 4) if bench.small else (10_000, 32)))
    plain = training_step(new_network(bench, "released", "torch"), clouds)
    torch.distributed.init_process_group(
        group(bench), store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        network = new_network(bench, "released", "torch")
        wrapped = Ranks(count=2).wrap(network)  # as if there were another
        wrapped.config = network.config  # type: ignore[assignment]
        return _beside(bench, plain, training_step(wrapped, clouds))  # type: ignore[arg-type]
    finally:
        torch.distributed.destroy_process_group()


def compiled_head(bench: Bench) -> Sequence[Cell]:
    """Measure an inference with the head compiled."""
    clouds = clouds_of(bench, 500 if bench.small else 25_000, 1)
    networks = [new_network(bench, "released", "torch").eval() for _ in range(2)]
    networks[1].head.compile(backend=compiler(bench), dynamic=True)
    calls = [functools.partial(network.predict, clouds) for network in networks]
    return _beside(bench, *calls)


def compiled_norm(bench: Bench) -> Sequence[Cell]:
    """Measure what follows a convolution with 128 channels: two passes, or one compiled kernel."""
    norm = nn.BatchNorm1d(128).to(bench.device).eval()
    x = torch.ones(500 if bench.small else 12_500, 128, device=bench.device)

    def follows(x: Tensor) -> Tensor:
        return torch.nn.functional.relu(norm(x))

    chosen = torch.compile(follows, backend=compiler(bench), dynamic=True)
    with torch.no_grad():
        return _beside(bench, lambda: follows(x), lambda: chosen(x))


def compiler(bench: Bench) -> str:
    """Return torch.compile's backend: on the CPU one that needs no C++ compiler."""
    return "eager" if bench.small else "inductor"


def cuda_graph(bench: Bench, backend: str) -> Sequence[Cell]:
    """Measure the network on fixed voxels and maps, launch by launch and replayed.

    Raises
    ------
    RuntimeError
        The capture fails, or the replay gives other forces; or a capture before it failed.
    """
    if bench.renew:
        raise RuntimeError("left out, for the capture before it failed")
    network = new_network(bench, "released", backend).eval()
    call = fixed(network, clouds_of(bench, 500 if bench.small else 25_000, 1))
    if bench.small:
        call()
        return NO_DEVICE
    try:
        graph = _captured(call)
    except Exception:
        bench.renew = True  # the allocator may think that the capture goes on
        raise
    return _beside(bench, call, graph.replay)


def _captured(call: Callable[[], Tensor]) -> torch.cuda.CUDAGraph:
    """Capture a call, replay it and compare."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # builds the maps and compiles the kernels
        for _ in range(3):
            expected = call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call()
    graph.replay()
    difference = float((found - expected).abs().max() / expected.abs().max())
    if not difference <= 1e-4:
        raise RuntimeError(f"the replay differs by {difference:.1e} of the largest force")
    return graph


def fixed(network: CFPNet, clouds: list[Tensor]) -> Callable[[], Tensor]:
    """Make a call of the network on voxels and maps that are built once -> (N, 3)."""
    voxels = voxelise(clouds, network.config.voxel_size)
    features = voxel_features(clouds, voxels, network.config)
    pyramid = CoordinatePyramid(voxels.coordinates)

    def call() -> Tensor:
        with torch.no_grad():
            return network(features, pyramid, voxels.point_to_voxel).combined

    return call
