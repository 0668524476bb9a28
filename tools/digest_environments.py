# SPDX-License-Identifier: Apache-2.0
"""Build one small dataset in many arithmetic environments and compare the digests of its samples.

    python tools/digest_environments.py [--only NAME ...] [--python PATH ...] [--keep FOLDER]

The dataset has every defect type, on embedded designs and on two rings from a folder of files
(round products, whose main axes are not a function of the mesh). Base meshes are prepared in each
environment anew. The environments are those that a user's machine may be: NumPy without the newer
instructions of this processor, OpenBLAS for other processors, the C library without fused
multiply-add, one core or all, one worker process or several, another Python (--python, once for
each: an interpreter of an environment with the same versions). "noise" is harsher than any of them:
there every result of NumPy's and Python's elementary functions, of its scalar products and of its
linear algebra is shifted by a unit in the last place at random.

Prints one line for each environment, and where it differs from the first, the first samples that
do and in what. Ends with exit code 1 when any differs.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.core._multiarray_umath import (  # NumPy 1, as Blender's wheel needs
    __cpu_dispatch__,
    __cpu_features__,
)

from intravariance import open_dataset

ROOT = Path(__file__).resolve().parents[1]

SPECIFICATION = """
name = "environments"
title = "Every defect type, in few samples"
points = [2000, 3000]
[[category]]
name = "vase"
subcategories = ["handled_vase", "square_vase"]
templates = 2
positives = 1
defects = { bulge = 1, concavity = 1, hole = 1, missing = 1, crack = 1 }
[[category]]
name = "ring"
subcategories = ["thin_ring", "thick_ring"]
templates = 2
positives = 1
defects = { twist = 2, bending = 1, scratch = 1, broken = 1 }
"""

# Every result of what is not fixed by IEEE 754 is moved to a neighbouring number, or left.
NOISE = """
import math, os
import numpy as np
rng = np.random.default_rng(int.from_bytes(os.urandom(8), "little"))
def shaken(result):
    result = np.asarray(result)
    if result.dtype.kind != "f":
        return result[()]
    step = rng.integers(-1, 2, result.shape) * np.spacing(np.abs(result))
    return (result + np.where(np.isfinite(step), step, 0)).astype(result.dtype)[()]
class Shaken:
    def __init__(self, function):
        self.function = function
    def __call__(self, *arguments, **named):
        results = self.function(*arguments, **named)
        if isinstance(results, tuple):
            return type(results)(*map(shaken, results)) if hasattr(results, "_fields") else tuple(
                map(shaken, results))
        return shaken(results)
    def __getattr__(self, name):
        return getattr(self.function, name)
for name in ("sin cos tan exp exp2 expm1 log log1p log2 log10 power float_power arctan arctan2 "
             "arcsin arccos arctanh sinh cosh tanh hypot cbrt dot vdot inner einsum").split():
    setattr(np, name, Shaken(getattr(np, name)))
for name in ("eigh", "eig", "eigvalsh", "qr", "svd", "det", "inv", "pinv", "solve", "lstsq"):
    setattr(np.linalg, name, Shaken(getattr(np.linalg, name)))
exact = np.linalg.norm
def norm(x, ord=None, axis=None, keepdims=False):
    result = exact(x, ord, axis, keepdims)
    return shaken(result) if axis is None else result
np.linalg.norm = norm
for name in "sin cos tan exp log log1p log2 log10 pow atan atan2 asin acos hypot dist".split():
    def wrapped(*arguments, function=getattr(math, name)):
        result = function(*arguments)
        return math.nextafter(result, float(rng.choice([-math.inf, math.inf])))
    setattr(math, name, wrapped)
"""


@dataclass(frozen=True)
class Environment:
    """Where a build runs: environment variables, worker processes, cores (0: all), interpreter."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    jobs: int = 1
    cores: int = 0
    python: str = sys.executable


def environments(noise: Path, pythons: list[str]) -> list[Environment]:
    """List the environments that this machine can be; the first is as it comes."""
    dispatched = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    wide = [name for name in dispatched if name.startswith("AVX512")]
    found = [Environment("as it comes"), Environment("two workers", jobs=2)]
    found.append(Environment("one core", cores=1))
    for count in ("1", "2", "8"):
        threads = {f"{name}_NUM_THREADS": count for name in ("OMP", "OPENBLAS", "TBB")}
        found.append(Environment(f"{count} threads", threads))
    if wide:
        found.append(Environment("NumPy: AVX2", {"NPY_DISABLE_CPU_FEATURES": " ".join(wide)}))
    found.append(Environment("NumPy: SSE3", {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)}))
    for core in ("Prescott", "Sandybridge", "Haswell", "Zen", "SkylakeX"):
        if core != "SkylakeX" or wide:
            found.append(Environment(f"OpenBLAS: {core}", {"OPENBLAS_CORETYPE": core}))
    found.append(Environment("glibc: no FMA", {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"}))
    everything = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(dispatched),
        "OPENBLAS_CORETYPE": "Prescott",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX",
    }
    found.append(Environment("oldest of all", everything))
    path = os.pathsep.join([str(noise), os.environ.get("PYTHONPATH", "")])
    found.append(Environment("noise", {"PYTHONPATH": path}))
    found.append(Environment("noise again", {"PYTHONPATH": path}))
    return found + [Environment(python, python=python) for python in pythons]


def write_ring(path: Path, thickness: float) -> None:
    """Write a ring about z as OBJ text: 64 by 24 quadrilaterals, split in two."""
    around, across = 64, 24
    lines = []
    for i in range(around):
        for j in range(across):
            a, b = 2 * math.pi * i / around, 2 * math.pi * j / across
            radius = 1 + thickness * math.cos(b)
            x, y, z = radius * math.cos(a), radius * math.sin(a), thickness * math.sin(b)
            lines.append(f"v {x:.8f} {y:.8f} {z:.8f}")
    for i in range(around):
        for j in range(across):
            a, b = i * across + j + 1, i * across + (j + 1) % across + 1
            c, d = ((i + 1) % around * across + k % across + 1 for k in (j + 1, j))
            lines += [f"f {a} {d} {c}", f"f {a} {c} {b}"]
    path.write_text("\n".join(lines) + "\n")


def build(environment: Environment, folder: Path) -> tuple[Path | None, str]:
    """Build the dataset; return its file and "", or None and the last line of the error."""
    out = folder / f"{environment.name.replace('/', '_').replace(' ', '_')}.h5"
    command = [environment.python, "-c", "from intravariance.cli import main; main()", "build"]
    command += ["--spec", str(folder / "specification.toml"), "--quiet"]
    command += ["--source", f"folder:{folder / 'meshes'}", "--fill", "procedural"]
    command += ["--jobs", str(environment.jobs), "--out", str(out)]
    command += ["--cache", str(out.with_suffix(".cache"))]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    for name, value in environment.variables.items():
        variables[name] = f"{value}{os.pathsep}{ROOT}" if name == "PYTHONPATH" else value
    cores = sorted(os.sched_getaffinity(0))[: environment.cores or None]
    result = subprocess.run(
        command,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if result.returncode:
        return None, (result.stderr.strip().splitlines() or ["no message"])[-1]
    return out, ""


def differences(first: Path, other: Path) -> list[str]:
    """Say for each sample that differs in what: parameters, mesh or arrays, and by how much."""
    found = []
    with open_dataset(first) as a, open_dataset(other) as b:
        for record, theirs in zip(a, b, strict=True):
            if record.digest == theirs.digest:
                continue
            mine, other_sample = record.load(), theirs.load()
            parts = []
            if mine.parameters != other_sample.parameters:
                parts.append("parameters")
            for name in ("pose", "points", "normals", "labels", "displacement"):
                x, y = getattr(mine, name), getattr(other_sample, name)
                if x.shape != y.shape or not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                    size = float(np.nanmax(np.abs(x - y))) if x.shape == y.shape else math.inf
                    parts.append(f"{name} by {size:.1e}")
            found.append(f"{record.id} ({record.defect}): {', '.join(parts) or 'mesh'}")
    return found


def main() -> None:
    """Build in every environment and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="*", help="Names of environments to compare with the first")
    parser.add_argument("--python", action="append", default=[], help="Another interpreter")
    parser.add_argument("--keep", type=Path, help="Folder to work in, which is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        (folder / "noise").mkdir(parents=True, exist_ok=True)
        (folder / "noise" / "sitecustomize.py").write_text(NOISE)
        (folder / "specification.toml").write_text(SPECIFICATION)
        for name, thickness in (("thin_ring", 0.2), ("thick_ring", 0.4)):
            path = folder / "meshes" / "ring" / name / "ring.obj"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_ring(path, thickness)
        sys.exit(compare(environments(folder / "noise", options.python), options.only, folder))


def compare(listed: list[Environment], only: list[str] | None, folder: Path) -> int:
    """Print a line for each environment; return how many differ from the first."""
    first, wrong = None, 0
    for environment in listed:
        if first and only and environment.name not in only:
            continue
        path, problem = build(environment, folder)
        if path is None:
            print(f"{environment.name:20} FAILED  {problem}", flush=True)
            wrong += 1
            continue
        with open_dataset(path) as dataset:
            digest, count = dataset.digest, len(dataset)
        first = first or path
        found = differences(first, path)
        verdict = f"{len(found)} differ" if found else "equal"
        print(f"{environment.name:20} {digest[:16]}  {count} samples  {verdict}", flush=True)
        for line in found[:10]:
            print(f"    {line}", flush=True)
        wrong += bool(found)
    return min(wrong, 1)


if __name__ == "__main__":
    main()
