# SPDX-License-Identifier: Apache-2.0
"""Clouds to show on a page, and what a page carries, decoded a second time."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from intravariance.looking.cloud import LabelledCloud
from intravariance.seeds import generator
from tests.support.samples import sphere_points

HOSTILE = (
    "</script><script>window.broken=1</script><img src=x onerror='window.broken=2'>\"&{{code}}"
)


def ball(
    name: str, defect: str = "bulge", source: str = "dataset", count: int = 1500, **others: Any
) -> LabelledCloud:
    """Return a ball whose front is labelled and moved outwards, but for its exposed tip."""
    rng = generator(0, name)
    normals = sphere_points(count, rng)
    depth = -normals[:, 1] if defect != "normal" else np.full(count, -1.0)
    moved = np.where(depth > 0.8, depth - 0.8, 0.0)
    displacement = moved[:, None] * normals
    displacement[depth > 0.98] = np.nan
    labels = (depth > 0.8).astype(np.uint8)
    cloud = LabelledCloud(
        name=name,
        category="ball",
        subcategory="round_ball",
        defect=defect,
        source=source,  # type: ignore[arg-type]
        points=(normals + np.nan_to_num(displacement)).astype(np.float32),
        normals=normals.astype(np.float32),
        labels=labels,
        displacement=displacement.astype(np.float32),
        scores=(rng.normal(size=count) + labels).astype(np.float32),
    )
    return replace(cloud, **others)


CLOUDS = (
    ball("first"),
    ball("second", count=1200),
    ball("sphere", "normal"),
    ball("pseudo", "radial", "generator", count=1300),
    ball("big scan", "dent", "scan", points=40 * ball("big scan").points + 7, displacement=None),
    ball("other", category="disc", scores=None),
    ball("rare", category="cup", count=15_000, labels=(np.arange(15_000) < 150).astype(np.uint8)),
)


def unpack(entry: dict[str, Any], data: bytes) -> dict[str, np.ndarray]:
    """Return what `pack` wrote, read as its docstring says."""
    count, stream = entry["shown"], io.BytesIO(data)

    def take(dtype: str, rows: int = 1) -> np.ndarray:
        size = np.dtype(dtype).itemsize  # lower bytes of all numbers come first
        planes = np.frombuffer(stream.read(rows * count * size), np.uint8).reshape(size, -1)
        words = np.ascontiguousarray(planes.T).view(dtype)
        return words.reshape(rows, count).astype(float)

    found = {"points": np.array(entry["origin"]) + np.array(entry["step"]) * take("<u2", 3).T}
    if entry["displacement_step"] is not None:
        levels = take("<u2")[0]
        found["moved"] = np.where(levels == 65535, np.nan, levels * entry["displacement_step"])
    if entry["score_step"] is not None:
        found["scores"] = entry["score_low"] + entry["score_step"] * take("<u2")[0]
    if entry["force_step"] is not None:
        found["force"] = entry["force_step"] * take("<i2", 3).T
    found |= {"normals": take("i1", 3).T / 127, "labels": take("u1")[0]}
    assert stream.read() == b""
    return found


def carried(document: bytes) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Return the clouds in a page: entries of its index, and the data."""
    text = document.decode()
    index = json.loads(re.search(r'id="index">(.*?)</script>', text, re.S)[1])  # type: ignore[index]
    blocks = re.findall(r'id="cloud-\d+">(.*?)</script>', text, re.S)
    data = [zlib.decompress(base64.b64decode(block)) for block in blocks]
    return [(entry, unpack(entry, part)) for entry, part in zip(index["clouds"], data, strict=True)]
