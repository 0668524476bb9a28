# SPDX-License-Identifier: Apache-2.0
"""Single convolutions by each of our ways and by spconv, where it is installed."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, get_args

import torch
from sparse_rivals import (
    DOWN,
    NAMES,
    SUBMANIFOLD,
    UP,
    Layer,
    computing_in,
    coordinates,
    layer_operands,
    run_layer,
)
from torch import Tensor

from gpu_sections.bench import Bench, Case, Finding
from gpu_sections.speed import backends, precisions, working
from intravariance.tables import Cell
from mc4ad_model.sparse import CoordinatePyramid, Geometry, sparse_convolution
from mc4ad_model.sparse.convolution import Strategy


def layers(bench: Bench) -> Iterator[Finding]:
    """Measure single convolutions by each strategy, backend and rival; maps are built before."""
    pyramid = CoordinatePyramid(coordinates(500 if bench.small else 25_000, None).to(bench.device))
    methods = _methods(bench)
    wide = (8,) if bench.small else (128, 64, 256, 32)
    cases = []
    for channels, geometry, precision, backward in itertools.product(
        wide, (SUBMANIFOLD, DOWN, UP), precisions(bench), (False, True)
    ):
        labels = [NAMES[geometry], channels, precision]
        labels.append("forward + backward" if backward else "forward")
        call = functools.partial(
            _cells, bench, methods, pyramid, geometry, channels, precision, backward
        )
        cases.append(Case(labels, call))
    heading = ["kernel", "C", "precision", "pass", *(f"{name} ms" for name in methods)]
    title = f"Convolutions on {pyramid.size():,} voxels, maps built before"
    note = "spconv builds the maps of 2^3 down in each call."
    if "spconv" not in methods:
        note = "spconv is not installed, or this is a CPU."
    yield from bench.table(title, heading, cases, note)


def _cells(
    bench: Bench, methods: dict[str, Callable[..., Layer]], pyramid: CoordinatePyramid,
    geometry: Geometry, channels: int, precision: str, backward: bool,
) -> list[Cell]:  # fmt: skip
    """Return the ms of each method; a method that fails has its error there."""
    operands = layer_operands(pyramid, geometry, channels)

    def measure(name: str) -> list[Cell]:
        layer = methods[name](pyramid, geometry)
        with computing_in(precision, bench.device):
            seconds = bench.seconds(functools.partial(run_layer, layer, operands, backward))
        return [f"{1e3 * seconds:.3f}"]

    labels = [NAMES[geometry], channels, precision]
    return [
        bench.attempt(Case([*labels, name], functools.partial(measure, name)), 1)[0]
        for name in methods
    ]


def _methods(bench: Bench) -> dict[str, Callable[[CoordinatePyramid, Geometry], Layer]]:
    """Return what makes a layer in each way: ours in plain torch, spconv, and Triton last."""
    methods: dict[str, Any] = {"torch": functools.partial(_torch_layer, None)}
    methods |= {name: functools.partial(_torch_layer, name) for name in get_args(Strategy)}
    # On a CPU spconv's threads add to one row at once, and it has no backward pass.
    if find_spec("spconv") is not None and not bench.small:
        methods["spconv"] = spconv_layer
    if "triton" in backends(bench):
        methods["triton"] = _triton_layer
    return methods


def _torch_layer(
    strategy: Strategy | None, pyramid: CoordinatePyramid, geometry: Geometry
) -> Layer:
    kernel_map = pyramid.kernel_map(geometry)
    return functools.partial(sparse_convolution, kernel_map=kernel_map, strategy=strategy)


def _triton_layer(pyramid: CoordinatePyramid, geometry: Geometry) -> Layer:
    return functools.partial(working("triton").convolve, pyramid=pyramid, geometry=geometry)


def spconv_layer(pyramid: CoordinatePyramid, geometry: Geometry) -> Layer:
    """Make a layer of spconv on our voxels, with our kernel.

    Rows of coarse voxels are in spconv's own order. It keeps the maps of submanifold convolutions
    after one call, and those of 2^3 up are made here.
    """
    import spconv.pytorch as spconv  # noqa: PLC0415 - weight

    fine = min(geometry.source_stride, geometry.target_stride)
    found = pyramid.coordinates(fine)
    coarse = max(geometry.source_stride, geometry.target_stride)
    places = found[:, 1:] - found[:, 1:].amin(0).div(coarse, rounding_mode="floor") * coarse
    # its axes are z, y, x; x fastest in the kernel, as in ours
    indices = torch.cat([found[:, :1], (places // fine).flip(1)], dim=1).int().contiguous()
    shape = (indices[:, 1:].amax(0) + 1).tolist()
    zeros = torch.zeros(len(indices), 1, device=indices.device)
    base = spconv.SparseConvTensor(zeros, indices, shape, int(indices[-1, 0]) + 1)
    size, options = geometry.kernel_size, {"bias": False, "indice_key": "maps"}
    if geometry.transposed:  # on the maps of the down convolution
        down = spconv.SparseConv3d(1, 1, 2, 2, **options).to(indices.device)
        with torch.no_grad():
            base = down(base)
    kinds = {
        SUBMANIFOLD: functools.partial(spconv.SubMConv3d, padding=1),
        DOWN: functools.partial(spconv.SparseConv3d, stride=2),
        UP: spconv.SparseInverseConv3d,
    }

    @functools.cache
    def module(inside: int, outside: int) -> Any:
        return kinds[geometry](inside, outside, size, **options).to(indices.device)

    def layer(features: Tensor, kernel: Tensor) -> Tensor:
        weight = kernel.view(size, size, size, *kernel.shape[1:]).permute(4, 0, 1, 2, 3)
        source = base.replace_feature(features)
        made = torch.func.functional_call(
            module(*kernel.shape[1:]), {"weight": weight.contiguous()}, (source,)
        )
        if geometry == SUBMANIFOLD:
            base.indice_dict.update(made.indice_dict)
        output: Tensor = made.features
        return output

    return layer
