# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies: their time beside a plain rendering of the released code, and their looks.

    python benchmarks/anomalies.py            half a minute
    python benchmarks/anomalies.py --quick    a few seconds

1. Time of one sample. The plain rendering does what the released code does in its order: all 64
   patches, each by sorting the distances of all points that are still free, then one patch is
   deformed (or several). Both take turns on the same cloud, points on a sphere; neither uses
   threads. A figure is the median of all rounds.
2. Each generator on random patches of spheres of 20,000 points: what share of gamma points are
   displaced by (the rim is the outermost tenth of a patch), the mean |cosine| between displacement
   and normal where there is one, the share of the cloud's points that are moved, and of those moved
   outwards.

Tables go to stdout as Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mc4ad_model.methods.mc4ad.anomalies import GENERATORS, deform, draw, partition
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig


class Looks(NamedTuple):
    """Means over samples: displacements over gamma, |cosine| with the normal, shares of points."""

    centre: float
    rim: float
    mean: float
    cosine: float
    moved: float
    outwards: float


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(f"python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores\n")
    print("| points | deformed | plain, ms | iv, ms | ratio |")
    print("|--:|--:|--:|--:|--:|")
    for points, deformed in ((10_000, 1), (25_000, 1), (25_000, 8)):
        plain, ours = times(points, deformed, rounds=5 if quick else 60)
        print(f"| {points:,} | {deformed} | {plain:.1f} | {ours:.2f} | {plain / ours:.0f} |")
    print("\n| generator | centre | rim | mean | \\|cos\\| | moved, % | outwards, % |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for generator in GENERATORS:
        found = looks(generator, samples=20 if quick else 300)
        print(
            f"| {generator} | {found.centre:.3f} | {found.rim:.3f} | {found.mean:.3f} "
            f"| {found.cosine:.3f} | {100 * found.moved:.2f} | {100 * found.outwards:.1f} |"
        )


def sphere(points: int, rng: np.random.Generator) -> np.ndarray:
    """Draw (points, 3) float64 uniform on the unit sphere: their own normals."""
    vectors = rng.standard_normal((points, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain_released(
    points: np.ndarray, normals: np.ndarray, config: AnomalyConfig, rng: np.random.Generator
) -> np.ndarray:
    """Run the released pipeline in plain numpy: 64 sorts, then dipoles in patches.

    Uses nothing of `mc4ad_model.methods.mc4ad.anomalies`: tests compare its statistics with ours.
    """
    size = len(points) // config.patches
    labels = np.full(len(points), -1)
    centres = []
    for patch in range(config.patches):
        free = np.flatnonzero(labels < 0)
        centre = rng.choice(free)
        distances = np.linalg.norm(points[free] - points[centre], axis=1)
        labels[free[np.argsort(distances)[:size]]] = patch
        centres.append(centre)
    labels[labels < 0] = config.patches - 1
    displacement = np.zeros_like(points)
    for patch in rng.permutation(config.candidates)[: config.deformed]:
        inside = labels == patch
        eta = rng.standard_normal(3)
        eta /= np.linalg.norm(eta)
        gamma, beta = rng.uniform(*config.magnitude), rng.choice([-1, 1])
        share, sigma = rng.uniform(*config.normal_share), rng.uniform(*config.attenuation)
        pi = (points[inside] - points[centres[patch]]) @ eta
        pi /= np.abs(pi).max()
        direction = share * normals[inside] + (1 - share) * eta
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        displacement[inside] = beta * gamma * (pi * (1 - sigma * np.abs(pi)))[:, None] * direction
    return displacement


def times(points: int, deformed: int, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds of a sample: (plain, ours)."""
    rng = np.random.default_rng(0)
    cloud = sphere(points, rng)
    config = AnomalyConfig(generator="da_gen_released", deformed=deformed)
    plain, ours = [], []
    for _ in range(rounds):
        plain.append(milliseconds(lambda: plain_released(cloud, cloud, config, rng)))
        # ours is done in a fraction of the time: more of them for the same certainty
        ours += [milliseconds(lambda: deform(cloud, cloud, config, rng)) for _ in range(10)]
    return float(np.median(plain)), float(np.median(ours))


def milliseconds(action: Callable[[], object]) -> float:
    """Measure the time of a call."""
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def looks(generator: str, samples: int, points: int = 20_000) -> Looks:
    """Measure what a generator does to random patches of spheres."""
    rng = np.random.default_rng(0)
    config = replace(AnomalyConfig(), generator=generator)
    rows = []
    for _ in range(samples):
        cloud = sphere(points, rng)
        patch = partition(cloud, config.patches, rng, int(rng.integers(config.candidates)) + 1)[-1]
        one = draw(config, rng)
        normals = cloud[patch.members]  # and positions
        centre = cloud[patch.centre]
        displacement = GENERATORS[config.generator](normals, normals, centre, one)
        lengths = np.linalg.norm(displacement, axis=1)
        share = lengths[np.argsort(np.linalg.norm(normals - centre, axis=1))] / one.magnitude
        moved = lengths > 0
        along = (displacement * normals).sum(axis=1)[moved]
        rows.append(
            Looks(
                centre=share[0],
                rim=share[-len(share) // 10 :].mean(),
                mean=share.mean(),
                cosine=np.abs(along / lengths[moved]).mean(),
                moved=moved.sum() / points,
                outwards=(along > 0).mean(),
            )
        )
    return Looks(*map(float, np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
