# SPDX-License-Identifier: Apache-2.0
"""Small trees of foreign clouds, in the layouts of public data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import write_pcd, write_text

# Real3D-AD's unit is the millimetre, and its scans lie anywhere.
UNIT, PLACE = 40.0, np.array([300.0, -20.0, 5.0])
STRETCH = {"airplane": (1.0, 0.6, 0.4), "duck": (0.5, 0.5, 0.5)}


def ball(
    count: int, rng: np.random.Generator, stretch: tuple[float, ...] = (1, 1, 1), bump: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a stretched unit ball, and labels on a bump of this height (none when it is 0)."""
    points = rng.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    height = np.exp(-(((points - points[0]) ** 2).sum(axis=1) / 0.05))
    labels = ((height > 0.1) & (bump != 0)).astype(np.uint8)
    moved = points * (1 + bump * labels * height)[:, None] * stretch
    return moved.astype(np.float32), labels


def cloud(seed: int, count: int = 60) -> NDArray[np.float32]:
    """Draw the points of a cloud, (count, 3) float32."""
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def labels_of(count: int = 60) -> NDArray[np.uint8]:
    """Label the first seven points of a cloud."""
    return (np.arange(count) < 7).astype(np.uint8)


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def real3d_tree(count: int = 400) -> dict[str, bytes]:
    """Make two classes with templates, good scans, and a bulge and two sinks of each."""
    files = {}
    for name, stretch in STRETCH.items():
        rng = np.random.default_rng(len(name))

        def scan(bump: float = 0.0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
            points, labels = ball(count + int(rng.integers(50)), rng, stretch, bump)  # noqa: B023
            return (points * UNIT + PLACE).astype(np.float32), labels

        for number in (1, 2):
            files[f"{name}/train/{number}_template.pcd"] = write_pcd(scan()[0])
        for number in range(3, 7):
            files[f"{name}/test/{number}_good.pcd"] = write_pcd(scan()[0])
        for number, kind in ((7, "bulge"), (8, "sink"), (9, "sink")):
            points, labels = scan(0.3 if kind == "bulge" else -0.3)
            files[f"{name}/test/{number}_{kind}.pcd"] = write_pcd(points)
            files[f"{name}/gt/{number}_{kind}.txt"] = write_text(points, labels=labels)
    return files


def shapenet_class(
    name: str, defects: dict[str, int], positives: int = 2, count: int = 300, folder: str = "pcd"
) -> dict[str, bytes]:
    """Make one class of Anomaly-ShapeNet with four templates, in our frame. defects : spelled as on
    disk. Clouds of 0 points are files of 0 bytes.
    """
    rng = np.random.default_rng(len(name) + ord(name[-1]))
    files = {}

    def cloud(bump: float = 0.0) -> tuple[bytes, bytes]:
        if not count:
            return b"", b""
        points, labels = ball(count, rng, bump=bump)
        return write_pcd(points), write_text(points, labels=labels, delimiter=",")

    for number in range(4):
        files[f"dataset/{folder}/{name}/train/{name}_template{number}.pcd"] = cloud()[0]
    for number in range(positives):
        files[f"dataset/{folder}/{name}/test/{name}_positive{number}.pcd"] = cloud()[0]
    for kind, amount in defects.items():
        for number in range(amount):
            points, truth = cloud(0.3)
            files[f"dataset/{folder}/{name}/test/{name}_{kind}{number}.pcd"] = points
            files[f"dataset/{folder}/{name}/GT/{name}_{kind}{number}.txt"] = truth
    return files
