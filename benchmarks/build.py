# SPDX-License-Identifier: Apache-2.0
"""Measures what a build costs, side by side in one run.

    python benchmarks/build.py            everything (about 15 minutes on 2 cores)
    python benchmarks/build.py --quick    fewer samples

1. The whole of Group 2 from the embedded designs, with an empty cache: time, processor time of all
   processes, and peak memory.
2. Memory with 1 and 4 times the samples.
3. Cost of a sample with the reused Blender worker, with a Blender process for each sample, and
   with nothing at all kept from sample to sample.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from intravariance.building.blender import BlenderWorker
from intravariance.building.plan import SampleJob, make_plan
from intravariance.building.sample import SampleSettings, make_sample
from intravariance.dataset.specification_reader import load_group
from intravariance.geometry.mesh import Mesh
from intravariance.sources import choose, load_base_mesh, parse_source, prepare

SETTINGS = SampleSettings(
    seed=0, pose="so3", noise_sigma=0.002**0.5, tolerance=0.0, points=(7000, 12000)
)


def main() -> None:
    """Run the three measurements and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{os.cpu_count()} cores, python {sys.version.split()[0]}")
        group2(folder, ["--category", "cone"] if quick else [])
        memory(folder, ["cone"] if quick else ["cone", "keyboard"])
        fresh_processes(folder, count=6 if quick else 40)


def group2(folder: Path, options: list[str]) -> None:
    """Measure time and peak memory of the main job, base meshes not cached."""
    arguments = ["build", "--group", "2", "--out", folder / "group2.h5", *options]
    cost = measure([*arguments, "--cache", folder / "cache"])
    print(f"iv build --group 2 {' '.join(options)}: {cost}")


def memory(folder: Path, categories: list[str]) -> None:
    """Measure peak memory with 1 and 4 times the samples of some categories."""
    peaks = []
    for factor in (1, 4):
        specification = folder / f"times{factor}.toml"
        specification.write_text(_multiplied(categories, factor))
        out = folder / f"times{factor}.h5"
        arguments = ["build", "--spec", specification, "--out", out, "--cache", folder / "cache"]
        cost = measure(arguments)
        peaks.append(cost.peak)
        print(f"{factor} x {', '.join(categories)}: {cost}")
    print(f"memory, 4 x over 1 x the samples: {peaks[1] / peaks[0]:.2f}")


def fresh_processes(folder: Path, count: int) -> None:
    """Measure what a sample costs, in three ways.

    Everything is kept between samples, as `iv build` does; or each sample has a Blender process of
    its own; or nothing else is kept either (the base mesh is made again, as in tools that run one
    script in one process for each sample).
    """
    specification = load_group(2).select()
    jobs = [job for job in make_plan(specification, 0) if job.split == "test"]
    jobs = jobs[:: max(1, len(jobs) // count)][:count]  # normal and defective as they come
    choices = {
        (choice.category, choice.subcategory): choice
        for choice in choose(specification, parse_source("procedural"), 0, False)
    }

    def base_mesh(job: SampleJob, worker: BlenderWorker, cache: Path) -> tuple[Mesh, str]:
        choice = choices[job.category, job.subcategory]
        base, _ = prepare(choice, cache=cache, skip_bad=False, blender=worker)
        return load_base_mesh(base.path), base.origin

    def start_and_sample(job: SampleJob, kept: tuple[Mesh, str] | None) -> None:
        with BlenderWorker() as worker, tempfile.TemporaryDirectory() as empty:
            mesh, origin = kept or base_mesh(job, worker, Path(empty))
            worker.versions()
            make_sample(job, mesh, origin, SETTINGS, worker)

    with BlenderWorker() as blender:
        kept = [base_mesh(job, blender, folder / "cache") for job in jobs]
        reused = timed(
            lambda: [
                make_sample(job, *mesh, SETTINGS, blender)
                for job, mesh in zip(jobs, kept, strict=True)
            ]
        )
    pairs = list(zip(jobs, kept, strict=True))
    fresh = timed(lambda: [start_and_sample(job, mesh) for job, mesh in pairs])
    nothing_kept = timed(lambda: [start_and_sample(job, None) for job in jobs])
    print(f"one sample, mean of {len(jobs)}, one process at a time:")
    print(f"  as in iv build                          {reused / len(jobs):.3f} s")
    for label, seconds in (
        ("a Blender process for each", fresh),
        ("and nothing kept between samples", nothing_kept),
    ):
        print(f"  {label:38}  {seconds / len(jobs):.3f} s, ratio {seconds / reused:.1f}")


def timed(action) -> float:
    """Measure the seconds that a call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock; of all processes, processor seconds and peak MiB of resident memory."""

    seconds: float
    processor: float
    peak: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s, {self.processor:.1f} s of processor time, "
            f"peak {self.peak:.0f} MiB"
        )


def measure(arguments: list[object]) -> Cost:
    """Measure an `iv` command; a process counts until 0.2 s before its end at most."""
    start, peak = time.perf_counter(), 0
    processor: dict[int, float] = {}
    program = [sys.executable, "-c", "from intravariance.cli import main; main()"]
    process = subprocess.Popen([*program, *map(str, arguments), "--quiet"])
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        for item in [parent, *parent.children(recursive=True)]:
            try:
                total += item.memory_info().rss
                processor[item.pid] = sum(item.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return Cost(time.perf_counter() - start, sum(processor.values()), peak / 2**20)


def _multiplied(categories: list[str], factor: int) -> str:
    """Write a specification of Group 2 categories with `factor` times the test samples."""
    lines = ['name = "times"', "points = [7000, 12000]"]
    for category in load_group(2).select(categories).categories:
        larger = replace(
            category,
            positives=category.positives * factor,
            defects={name: n * factor for name, n in category.defects.items()},
        )
        defects = ", ".join(f"{name} = {n}" for name, n in larger.defects.items())
        lines += [
            "[[category]]",
            f'name = "{larger.name}"',
            f"subcategories = {list(larger.subcategories)}".replace("'", '"'),
            f"templates = {larger.templates}",
            f"positives = {larger.positives}",
            f"defects = {{ {defects} }}",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
