# SPDX-License-Identifier: Apache-2.0
"""Speed of the sparse convolution and of CFP-Net beside MinkowskiEngine and Open3D, in one run.

    python benchmarks/sparse_convolution.py                        everything (20 minutes, 2 cores)
    python benchmarks/sparse_convolution.py --quick                two minutes
    python benchmarks/sparse_convolution.py --only network --threads 2
    python benchmarks/sparse_convolution.py --data group2.h5       real samples

1. layers: one convolution, forward and forward + backward (gradients of features and kernel), its
   kernel map built before; the outputs and gradients of every row are compared first.
2. maps: building the kernel maps, alone and with the first convolution on them.
3. network: inference and training step of CFP-Net; voxels and kernel maps are made in every call.

Methods take turns (see `fair_timing`); a figure is the median of five blocks. Each number of
threads runs in a process of its own (OpenBLAS and OpenMP read it when they are loaded). Rivals that
are not installed are left out: MinkowskiEngine is built as in docs/minkowski.md, Open3D's CPU wheel
is `open3d-cpu`. The tables go to stdout as Markdown, progress to stderr. A CUDA device has a
benchmark of its own, `benchmarks/gpu.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sparse_rivals as subjects
import torch
from fair_timing import Table, medians, milliseconds
from sparse_rivals import DOWN, MINKOWSKI, NAMES, OPEN3D, OURS, STEM, SUBMANIFOLD, UP, Call

from mc4ad_model.machine.precision import bfloat16_is_native
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import Backend, CoordinatePyramid, Geometry, voxelise

SECTIONS = ("layers", "maps", "network")
# Variables that load OpenMP, OpenBLAS (MinkowskiEngine) and MKL (torch) with so many threads.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Largest difference between methods, relative to the largest value.
TOLERANCE = 1e-4
GEMM = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::baddbmm")


@dataclass(frozen=True)
class Run:
    """The conditions under which one process measures."""

    threads: int
    quick: bool
    data: Path | None

    @property
    def samples(self) -> int:
        """Return the number of blocks of each call."""
        return 3 if self.quick else 5

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the numbers of voxels to measure."""
        return (5_000,) if self.quick else (5_000, 15_000, 50_000)

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the numbers of channels to measure."""
        return (32, 128) if self.quick else (32, 64, 128)

    def __str__(self) -> str:
        return "1 thread" if self.threads == 1 else f"{self.threads} threads"


def main() -> None:
    """Measure with each number of threads, in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="default: 1 2")
    parser.add_argument(
        "--data", type=Path, help="a dataset of `iv build`; default: a wavy surface"
    )
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    threads = options.threads
    if len(threads) == 1 and all(os.environ.get(name) == str(threads[0]) for name in THREADS):
        run = Run(threads[0], options.quick, options.data)
        torch.set_num_threads(run.threads)
        measure(run, options.only)
        return
    print(f"{processor()}, {os.cpu_count()} cores, python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}", flush=True)
    for count in threads:
        # The last --threads counts.
        command = [sys.executable, __file__, *sys.argv[1:], "--threads", str(count)]
        subprocess.run(command, check=True, env=os.environ | dict.fromkeys(THREADS, str(count)))


def measure(run: Run, sections: Sequence[str]) -> None:
    """Print the tables of one process; bfloat16 is for the network alone, and no rival knows it."""
    backends = subjects.available_backends()
    if "layers" in sections:
        measure_layers(run, backends, subjects.open3d_works())
    if "maps" in sections:
        measure_maps(run, backends)
    if "network" in sections:
        cpu = torch.device("cpu")
        measured = {"float32": backends, "bfloat16": {OURS: backends[OURS]}}
        if not bfloat16_is_native(cpu):
            del measured["bfloat16"]
        for precision, rivals in measured.items():
            with subjects.computing_in(precision, cpu):
                measure_network(run, precision, rivals)


def measure_layers(run: Run, backends: dict[str, Backend], open3d: bool) -> None:
    """Measure forward and forward + backward of one convolution."""
    names = [*backends, *([OPEN3D] if open3d else [])]
    rivals = names[1:]
    table = Table(
        ["kernel", "voxels", "pairs/voxel", "C", "pass"]
        + [f"{name} ms" for name in names]
        + [f"{name} / iv" for name in rivals]
        + ["iv GFLOP/s", "dense GFLOP/s", "iv / dense"]
    )
    cases = [(SUBMANIFOLD, size) for size in run.sizes]
    cases += [(geometry, run.sizes[:2][-1]) for geometry in (DOWN, UP)]
    smallest: dict[str, tuple[float, str]] = {}
    for geometry, size in cases:
        pyramid = CoordinatePyramid(subjects.coordinates(size, run.data))
        methods = subjects.layers(backends, open3d, pyramid, geometry)
        pairs = pyramid.kernel_map(geometry).forward.pairs
        voxels = pyramid.size(geometry.target_stride)
        for channels in run.channels:
            operands = subjects.layer_operands(pyramid, geometry, channels)
            subjects.compare_layers(methods, pyramid, geometry, operands, TOLERANCE)
            rows = max(1, pairs // geometry.offsets)
            for backward in (False, True):
                calls: dict[str, Call] = {
                    name: functools.partial(subjects.run_layer, layer, operands, backward)
                    for name, layer in methods.items()
                }
                calls["dense"] = subjects.dense(rows, channels, backward)
                seconds, mark = medians(calls, run.samples)
                work = 2 * channels**2 * (3 if backward else 1) / 1e9
                rate = work * pairs / seconds[OURS]
                dense_rate = work * rows / seconds["dense"]
                label = "forward + backward" if backward else "forward"
                row = [NAMES[geometry], f"{voxels:,}", f"{pairs / voxels:.1f}", f"{channels}"]
                row += [label + mark]
                row += [milliseconds(seconds[name]) for name in names]
                for name in rivals:
                    ratio = seconds[name] / seconds[OURS]
                    row.append(f"{ratio:.2f}")
                    here = (ratio, f"{row[0]}, {row[1]} voxels, C = {channels}, {label}")
                    smallest[name] = min(smallest.get(name, here), here)
                row += [f"{rate:.1f}", f"{dense_rate:.1f}", f"{rate / dense_rate:.0%}"]
                table.add(row)
    print(f"\n### Layers, {run}, float32\n\n{table}")
    for name, (ratio, where) in smallest.items():
        print(f"\nSmallest {name} / iv: {ratio:.2f} ({where}).")
    sys.stdout.flush()


def measure_maps(run: Run, backends: dict[str, Backend]) -> None:
    """Measure the building of kernel maps, alone and with a first convolution."""
    names = list(backends)
    table = Table(
        ["maps", "voxels"]
        + [f"{name} ms" for name in names]
        + [f"{name}, first convolution ms" for name in names]
        + ["MinkowskiEngine / iv", "with convolution"] * (len(names) > 1)
    )
    of_network = [STEM]
    for fine in (1, 2, 4, 8):
        of_network += [Geometry(2, fine, 2 * fine), Geometry(3, 2 * fine, 2 * fine)]
    of_network += [Geometry(2, 2 * fine, fine) for fine in (8, 4, 2, 1)] + [SUBMANIFOLD]
    cases = {NAMES[g]: [g] for g in (SUBMANIFOLD, STEM, DOWN)}
    cases["all of CFP-Net"] = of_network
    builders = {OURS: subjects.iv_maps, MINKOWSKI: subjects.minkowski_maps}
    for size in run.sizes:
        voxels = subjects.coordinates(size, run.data)
        for label, geometries in cases.items():
            calls: dict[str, Call] = {}
            for name in names:
                calls[name] = functools.partial(builders[name], voxels, geometries)
                calls[f"{name} first"] = functools.partial(
                    subjects.first_convolutions, backends[name], voxels, geometries
                )
            seconds, mark = medians(calls, run.samples)
            row = [label + mark, f"{len(voxels):,}"]
            row += [milliseconds(seconds[name]) for name in names]
            row += [milliseconds(seconds[f"{name} first"]) for name in names]
            if len(names) > 1:
                row.append(f"{seconds[MINKOWSKI] / seconds[OURS]:.2f}")
                row.append(f"{seconds[f'{MINKOWSKI} first'] / seconds[f'{OURS} first']:.2f}")
            table.add(row)
    print(f"\n### Kernel maps, {run}\n\n{table}", flush=True)


def measure_network(run: Run, precision: str, backends: dict[str, Backend]) -> None:
    """Measure inference and training step of CFP-Net, from points to forces."""
    names = list(backends)
    table = Table(
        ["clouds", "points", "voxels", "pass"]
        + [f"{name} ms" for name in names]
        + ["MinkowskiEngine / iv"] * (len(names) > 1)
        + ["iv clouds/s", "iv outside GEMM"]
    )
    for clouds in subjects.network_clouds(run.data, run.quick):
        networks = {
            name: CFPNet(NetworkConfig.named("released"), backend=backend.name)
            for name, backend in backends.items()
        }
        forces = {name: torch.cat([f.combined for f in network.predict(clouds)])
                  for name, network in networks.items()}  # fmt: skip
        for name in names:
            # Rounding grows through 24 layers.
            subjects.agree(f"CFP-Net, {name}", forces[name], forces[OURS].float(), 1e-3)
        size = len(voxelise(clouds, subjects.VOXEL_SIZE).coordinates)
        passes: dict[str, dict[str, Call]] = {
            "inference": {
                name: functools.partial(network.predict, clouds)
                for name, network in networks.items()
            },
            "training step": {
                name: subjects.training_step(network, clouds) for name, network in networks.items()
            },
        }
        for label, calls in passes.items():
            seconds, mark = medians(calls, run.samples)
            row = [f"{len(clouds)}", f"{sum(map(len, clouds)):,}", f"{size:,}", label + mark]
            row += [milliseconds(seconds[name]) for name in names]
            if len(names) > 1:
                row.append(f"{seconds[MINKOWSKI] / seconds[OURS]:.2f}")
            row += [f"{len(clouds) / seconds[OURS]:.1f}", f"{outside_products(calls[OURS]):.0%}"]
            table.add(row)
    print(f"\n### CFP-Net, {run}, {precision}\n\n{table}", flush=True)


def outside_products(call: Call) -> float:
    """Return the share of a call's time that is not spent in matrix products."""
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        call()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    return 1 - sum(times.get(key, 0.0) for key in GEMM) / sum(times.values())


def processor() -> str:
    """Return the processor's name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
