# SPDX-License-Identifier: Apache-2.0
"""The subjects of `benchmarks/sparse_convolution.py`: our convolution, its rivals, and their data.

spconv is not among them: its CPU path is racy (threads add to one row at once), so that it gives
wrong numbers with two threads, and its backward pass raises where torch has no CUDA.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from intravariance import open_dataset
from intravariance.errors import BackendUnavailable
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import (
    Backend,
    CoordinatePyramid,
    Geometry,
    KernelMap,
    get_backend,
    sparse_convolution_reference,
    voxelise,
)

OURS, MINKOWSKI, OPEN3D = "iv", "MinkowskiEngine", "Open3D"
VOXEL_SIZE = 0.03  # paper A.5
STEM, SUBMANIFOLD = Geometry(5, 1, 1), Geometry(3, 1, 1)
DOWN, UP = Geometry(2, 1, 2), Geometry(2, 2, 1)
NAMES = {STEM: "5^3", SUBMANIFOLD: "3^3", DOWN: "2^3 down", UP: "2^3 up"}

Call = Callable[[], object]
# features (V_source, C_in), kernel (K, C_in, C_out) -> (V_target, C_out)
Layer = Callable[[Tensor, Tensor], Tensor]


def available_backends() -> dict[str, Backend]:
    """Return our backend and, if it is installed and runs, MinkowskiEngine's."""
    backends = {OURS: get_backend("torch")}
    try:
        backend = get_backend("minkowski")
        corners = CoordinatePyramid(torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32))
        backend.convolve(torch.ones(2, 4), torch.ones(27, 4, 4), corners, Geometry(3, 1, 1))
    except (BackendUnavailable, RuntimeError) as error:
        _skip(MINKOWSKI, error)
    else:
        backends[MINKOWSKI] = backend
    return backends


def open3d_works() -> bool:
    """Tell whether Open3D's `sparse_conv` is installed and runs."""
    try:
        layer = open3d_layer(torch.zeros(1, 27, dtype=torch.int32), sources=1)
        layer(torch.ones(1, 4), torch.ones(27, 4, 4))
    # Its import raises Exception itself where it was built for another torch.
    except Exception as error:
        _skip(OPEN3D, error)
        return False
    return True


def open3d_layer(by_target: Tensor, sources: int) -> Layer:
    """Make a layer of Open3D's `sparse_conv` on our neighbours, with Open3D's own gradient.

    Parameters
    ----------
    by_target : (V_target, K) int32
        Source row of each target row and offset, `sources` where there is none.
    """
    from open3d.ml.torch.ops import sparse_conv  # noqa: PLC0415 - weight

    present = by_target != sources
    index = by_target[present].int()
    offset = present.nonzero()[:, 1].to(torch.uint8)
    splits = torch.nn.functional.pad(present.sum(1).cumsum(0), (1, 0))
    edge = round(by_target.shape[1] ** (1 / 3))
    none = torch.zeros(0)  # no weights of voxels and neighbours

    def layer(features: Tensor, kernel: Tensor) -> Tensor:
        # Open3D's (z, y, x) rows, x fastest, are MinkowskiEngine's order.
        filters = kernel.view(edge, edge, edge, *kernel.shape[1:])
        output: Tensor = sparse_conv(filters, features, none, index, offset, none, splits)
        return output

    return layer


def layers(
    backends: dict[str, Backend], open3d: bool, pyramid: CoordinatePyramid, geometry: Geometry
) -> dict[str, Layer]:
    """Make each method's convolution of one geometry; maps are kept after the first call."""

    def of_backend(backend: Backend) -> Layer:
        return lambda features, kernel: backend.convolve(features, kernel, pyramid, geometry)

    methods = {name: of_backend(backend) for name, backend in backends.items()}
    if open3d:
        table = pyramid.kernel_map(geometry).forward
        methods[OPEN3D] = open3d_layer(table.by_target, table.sources)
    return methods


def iv_maps(coordinates: Tensor, geometries: Sequence[Geometry]) -> list[KernelMap]:
    """Build our kernel maps of new coordinates."""
    pyramid = CoordinatePyramid(coordinates)
    return [pyramid.kernel_map(geometry) for geometry in geometries]


def minkowski_maps(coordinates: Tensor, geometries: Sequence[Geometry]) -> None:
    """Build MinkowskiEngine's kernel maps of new coordinates, without our adapter."""
    import MinkowskiEngine as ME  # noqa: PLC0415 - weight

    threads = torch.get_num_threads()  # it sets those of the whole process
    manager = ME.CoordinateManager(
        D=3, num_threads=threads, coordinate_map_type=ME.CoordinateMapType.CPU
    )
    keys = {1: manager.insert_and_map(coordinates, [1, 1, 1])[0]}
    for geometry in geometries:
        source, target = geometry.source_stride, geometry.target_stride
        if target not in keys:
            keys[target] = manager.stride(keys[source], [2, 2, 2])
        manager.kernel_map(
            keys[source],
            keys[target],
            stride=max(source, target) // min(source, target),
            kernel_size=geometry.kernel_size,
            is_transpose=geometry.transposed,
        )


def run_layer(
    layer: Layer, operands: tuple[Tensor, Tensor, Tensor], backward: bool
) -> tuple[Tensor, ...]:
    """Return the output; with `backward` the gradients of features and kernel too."""
    features, kernel, gradient = operands
    if not backward:
        with torch.no_grad():
            return (layer(features, kernel),)
    output = layer(features, kernel)
    gradients = torch.autograd.grad(output, (features, kernel), gradient.to(output.dtype))
    return (output.detach(), *gradients)


def compare_layers(
    methods: dict[str, Layer],
    pyramid: CoordinatePyramid,
    geometry: Geometry,
    operands: tuple[Tensor, Tensor, Tensor],
    tolerance: float,
) -> None:
    """Compare with our obvious twin in float32; end the run where a method is wrong."""
    kernel_map = pyramid.kernel_map(geometry)

    def twin(features: Tensor, kernel: Tensor) -> Tensor:
        return sparse_convolution_reference(features, kernel, kernel_map)

    with computing_in("float32", operands[0].device):
        expected = run_layer(twin, operands, backward=True)
    for name, layer in methods.items():
        found = run_layer(layer, operands, backward=True)
        for what, a, b in zip(("output", "gradient of features", "gradient of kernel"),
                              found, expected, strict=True):  # fmt: skip
            agree(f"{name}, {NAMES[geometry]}, {what}", a, b, tolerance)


def agree(what: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """End the run where two results differ: wrong but fast is worth nothing."""
    difference = float((found.float() - expected).abs().max() / expected.abs().max())
    if not difference <= tolerance:
        raise SystemExit(f"{what}: wrong by {difference:.1e} of the largest value")


@contextlib.contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in float32, TF32 products of float32 numbers, or autocast to bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "TF32" else "highest")
    enabled = precision == "bfloat16"
    try:
        # Without its cache, which would keep the weights of the first step.
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def layer_operands(
    pyramid: CoordinatePyramid, geometry: Geometry, channels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw features (V_source, C), kernel (K, C, C) and gradient of the output (V_target, C)."""
    generator = torch.Generator().manual_seed(0)
    shapes = (
        (pyramid.size(geometry.source_stride), channels),
        (geometry.offsets, channels, channels),
        (pyramid.size(geometry.target_stride), channels),
    )
    device = pyramid.coordinates().device
    features, kernel, gradient = (
        torch.randn(shape, generator=generator).to(device) for shape in shapes
    )
    return features.requires_grad_(), kernel.requires_grad_(), gradient


def dense(rows: int, channels: int, backward: bool) -> Call:
    """Make a call of an average kernel offset's matrix product, on rows that lie ready.

    [rows, C] @ [C, C]; with `backward` those of the two gradients too.
    """
    generator = torch.Generator().manual_seed(0)
    x, gradient, y, of_x = (torch.randn(rows, channels, generator=generator) for _ in range(4))
    matrix, of_matrix = (torch.randn(channels, channels, generator=generator) for _ in range(2))

    def products() -> None:
        torch.mm(x, matrix, out=y)
        if backward:
            torch.mm(gradient, matrix.t(), out=of_x)
            torch.mm(x.t(), gradient, out=of_matrix)

    return products


def first_convolutions(backend: Backend, voxels: Tensor, geometries: Sequence[Geometry]) -> None:
    """Build maps from new coordinates with a convolution, forward and backward, on each.

    Some of the work on a map waits for the first convolution. 32 channels; the stem has 3 inputs.
    """
    pyramid = CoordinatePyramid(voxels)
    for geometry in geometries:
        inputs = 3 if geometry == STEM else 32
        features = torch.ones(pyramid.size(geometry.source_stride), inputs)
        kernel = torch.ones(geometry.offsets, inputs, 32)
        # The stem's features are points: no gradient goes there.
        leaves = [kernel.requires_grad_()]
        if geometry != STEM:
            leaves.append(features.requires_grad_())
        output = backend.convolve(features, kernel, pyramid, geometry)
        torch.autograd.grad(output, leaves, output.detach())


def training_step(network: CFPNet, clouds: list[Tensor]) -> Call:
    """Make a call of a training step.

    It makes voxels and maps, and runs forward, L1 loss, backward and a step of Adam.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        network.train()
        voxels = voxelise(clouds, network.config.voxel_size)
        points = torch.cat(clouds)
        pyramid = CoordinatePyramid(voxels.coordinates)
        forces = network(points[voxels.representative], pyramid, voxels.point_to_voxel)
        optimiser.zero_grad()
        (forces.combined - points).abs().mean().backward()
        optimiser.step()

    return step


@functools.cache
def wavy_cloud(voxels: int, seed: int) -> Tensor:
    """Make (N, 3) points of a wavy closed surface in about that many voxels, two for each.

    A voxel has about 14 of the 27 neighbours, itself among them.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(60 * voxels, 3, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    x, y, z = directions.unbind(1)
    radius = 1 + 0.08 * torch.sin(7 * x) * torch.cos(6 * y) + 0.05 * torch.sin(9 * z)
    points = directions * radius[:, None]
    points *= VOXEL_SIZE * math.sqrt(voxels / 20)
    for _ in range(4):  # the number of voxels grows with the square of the size
        found = voxelise([points], VOXEL_SIZE)
        points *= math.sqrt(voxels / len(found.coordinates))
    first = voxelise([points], VOXEL_SIZE).representative
    return torch.cat([points[first], points[: len(first)]])


@functools.cache
def real_clouds(path: Path) -> list[Tensor]:
    """Load samples from the whole of a dataset, each (N, 3), normalised to the unit ball."""
    with open_dataset(path) as dataset:
        records = list(dataset)
        chosen = records[:: max(1, len(records) // 64)]
        clouds = [torch.from_numpy(record.points) for record in chosen]
    clouds = [cloud - cloud.mean(dim=0) for cloud in clouds]
    return [cloud / cloud.norm(dim=1).max() for cloud in clouds]


def coordinates(voxels: int, data: Path | None) -> Tensor:
    """Make (V, 4) coordinates of about that many voxels: a wavy cloud, or a batch of real ones."""
    if data is None:
        clouds = [wavy_cloud(voxels, 0)]
    else:
        clouds, total = [], 0
        for cloud in real_clouds(data):
            if total < voxels:
                clouds.append(cloud)
                total += len(voxelise([cloud], VOXEL_SIZE).coordinates)
    return voxelise(clouds, VOXEL_SIZE).coordinates


def network_clouds(data: Path | None, quick: bool) -> Iterator[list[Tensor]]:
    """Yield the batches that CFP-Net is measured on."""
    if data is not None:
        for count in (1, 4):
            yield real_clouds(data)[:count]
        return
    sizes = [(1, 5_000)] if quick else [(1, 5_000), (1, 15_000), (4, 5_000)]
    for count, size in sizes:
        yield [wavy_cloud(size, seed) for seed in range(count)]


def _skip(name: str, error: Exception) -> None:
    """Say that a rival is left out, and why."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    print(f"\n{name} is left out, it does not run here: {reason}", flush=True)
