# SPDX-License-Identifier: Apache-2.0
"""Export to and reading of folder layouts, beside what one writes by hand, in one run.

    python benchmarks/layouts.py                    32 clouds of 50,000 points: a minute
    python benchmarks/layouts.py --clouds 1000 --layout real3d-ad     1.2 GB, a quarter of an hour
    python benchmarks/layouts.py --normals FILE     how true the normals of exported templates are

A dataset of balls with bulges is made once, as tests make theirs; an eighth of them are templates,
but at most four, and half of the others have a defect. Each figure comes from a process
of its own, which is warm: imports are not counted, opening the file is. "plain" reads the same file
and writes the same clouds and labels, without checks, checksums or meshes with faces, with Open3D's
writers and `numpy.savetxt` or `numpy.save`, and reads them with Open3D's readers and
`numpy.loadtxt` or `numpy.load`. "peak" is the largest resident set of the process and, with
workers, of the largest of them. MB are of the files written or read.

--normals compares the normals that PO3AD computes from the exported templates of a dataset file
with the stored ones: the middle angle, beside that of the pristine mesh, its vertices moved by the
same noise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from the source tree

from annotations.vocabulary import NORMAL
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.exchange.exporting.tree import write_tree
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.layouts import WRITERS, ExportOptions, detect_layout, find_scans
from intravariance.exchange.layouts.template_meshes import normal_faces, vertex_normals
from intravariance.executors.processes import local_executor
from tests.support.samples import make_dataset

SIGMA = 0.002


def main() -> None:
    """Make the file and print the tables, or do one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clouds", type=int, default=32)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--layout", choices=WRITERS, action="append")
    parser.add_argument("--normals", type=Path)
    parser.add_argument("--task", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        task, layout, file, folder = given.task
        print(json.dumps(TASKS[task](layout, Path(file), Path(folder), given.jobs)))
    elif given.normals:
        normals(given.normals)
    else:
        with tempfile.TemporaryDirectory(prefix="iv_") as name:
            tables(Path(name), given.clouds, given.points, given.jobs, given.layout or WRITERS)


def tables(folder: Path, clouds: int, points: int, jobs: int, layouts: Iterable[str]) -> None:
    """Export, reading and import of each layout."""
    file = make_file(folder / "data.h5", clouds, points)
    size = file.stat().st_size / 1e6
    print(
        f"python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores; "
        f"{clouds} clouds of {points:,} points, {size:.0f} MB\n"
    )
    print("| layout | what | jobs | clouds/s | MB/s | peak, MiB | plain, clouds/s | ratio |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for layout in layouts:
        tree, plain_tree = folder / f"iv_{layout}", folder / f"plain_{layout}"
        plain = run_task("plain_write", layout, file, plain_tree, 1)
        for count in sorted({1, jobs}):
            row(layout, "export", count, run_task("write", layout, file, tree, count), plain)
            if count != jobs:
                subprocess.run(["rm", "-r", str(tree)], check=True)
        listing = run_task("list", layout, file, tree, 1)
        print(f"| {layout} | list | 1 | {clouds / listing['seconds']:,.0f} | | | | |")
        plain = run_task("plain_read", layout, file, plain_tree, 1)
        row(layout, "read", 1, run_task("read", layout, file, tree, 1), plain)
        found = run_task("import", layout, file, tree, jobs)
        rate = found["clouds"] / found["seconds"]
        print(f"| {layout} | import | {jobs} | {rate:.1f} | | {found['peak']} | | |", flush=True)
        subprocess.run(["rm", "-r", str(tree), str(plain_tree)], check=True)


def row(layout: str, what: str, jobs: int, ours: dict, plain: dict) -> None:
    """Print one."""
    rate, plain_rate = (found["clouds"] / found["seconds"] for found in (ours, plain))
    print(
        f"| {layout} | {what} | {jobs} | {rate:.1f} | {ours['bytes'] / 1e6 / ours['seconds']:.0f} "
        f"| {ours['peak']} | {plain_rate:.1f} | {rate / plain_rate:.2f} |",
        flush=True,
    )


def make_file(path: Path, clouds: int, points: int) -> Path:
    """Make a dataset of noisy balls, some with a bulge."""
    templates = max(1, min(4, clouds // 8))
    defective = (clouds - templates) // 2
    positives = clouds - templates - defective
    category = Category("ball", ("round_ball",), templates, positives, {"bulge": defective})
    specification = Specification("balls", "Balls", (points, points), (category,))
    return make_dataset(path, specification, sigma=SIGMA)


def run_task(task: str, layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Measure a task, from a process of its own."""
    command = [sys.executable, __file__, "--jobs", str(jobs), "--task"]
    command += [task, layout, str(file), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(found.stdout.splitlines()[-1]))


def figures(start: float, clouds: int, size: int, jobs: int = 1) -> dict:
    """Return the figures of what was done since `start`."""
    seconds = time.perf_counter() - start
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)[: 1 + (jobs > 1)]
    kib = [resource.getrusage(who).ru_maxrss for who in whose]
    peak = " + ".join(f"{one / 1024:.0f}" for one in kib)
    return {"seconds": seconds, "clouds": clouds, "bytes": size, "peak": peak}


def write(layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Time our export."""
    rules = WRITERS[layout].RULES
    start = time.perf_counter()
    with open_dataset(file) as dataset:
        options = ExportOptions(rules.spellings[0], rules.delimiters[0], SIGMA)
        with local_executor(jobs) as executor:
            written = write_tree(WRITERS[layout], dataset, folder, options, executor, quiet=True)
    return figures(start, written.samples, written.bytes, jobs)


def list_tree(layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Time our listing, with all its checks of names."""
    start = time.perf_counter()
    return figures(start, len(find_scans(str(detect_layout(folder)), folder)), 0)


def read(layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Time our reading, one cloud after the other."""
    scans = find_scans(str(detect_layout(folder)), folder)
    start = time.perf_counter()
    for scan in scans:
        scan.load()
    paths = [path for scan in scans for path in scan.paths]
    return figures(start, len(scans), sum(path.stat().st_size for path in paths))


def import_tree(layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Time `iv import` as a whole: read, normals estimated, stored, verified."""
    out = file.with_name("imported.h5")
    start = time.perf_counter()
    with local_executor(jobs) as executor:
        result = import_dataset(ImportSettings("auto", folder, quiet=True), out, executor)
    found = figures(start, result.specification.total, out.stat().st_size, jobs)
    out.unlink()
    return found


def plain_write(layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Write the same clouds and labels as a script would write them."""
    import open3d as o3d  # noqa: PLC0415 - weight

    write_cloud = o3d.io.write_point_cloud  # noqa: TID251 - what ours is compared with
    mark = WRITERS[layout].RULES.delimiters[0]
    folder.mkdir()
    start = time.perf_counter()
    with open_dataset(file) as dataset:
        for record in dataset:
            cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(record.points))
            if layout == "mvtec-like-folder":
                cloud.normals = o3d.utility.Vector3dVector(record.normals)
                write_cloud(str(folder / f"{record.id}.ply"), cloud)
                np.save(folder / f"{record.id}_labels.npy", record.labels)
                np.save(folder / f"{record.id}_displacement.npy", record.displacement)
                continue
            write_cloud(str(folder / f"{record.id}.pcd"), cloud)
            if record.defect != NORMAL:
                rows = np.column_stack([record.points, record.labels])
                np.savetxt(folder / f"{record.id}.txt", rows, "%.9g", mark)
            if record.mesh is not None:
                # vertices alone: there is nothing plain that gives them faces
                np.savetxt(folder / f"{record.id}.obj", record.points, "v %.9g %.9g %.9g")
    return figures(start, len(dataset), sum(path.stat().st_size for path in folder.iterdir()))


def plain_read(layout: str, file: Path, folder: Path, jobs: int) -> dict:
    """Read the same clouds and labels as a script would read them."""
    import open3d as o3d  # noqa: PLC0415 - weight

    read_cloud = o3d.io.read_point_cloud  # noqa: TID251 - what ours is compared with
    mark = WRITERS[layout].RULES.delimiters[0]
    paths = sorted([*folder.glob("*.pcd"), *folder.glob("*.ply")])
    start = time.perf_counter()
    size = 0
    for path in paths:
        truth = path.with_suffix(".txt")
        size += path.stat().st_size
        if truth.exists():
            size += truth.stat().st_size
            np.loadtxt(truth, delimiter=mark)
        cloud = read_cloud(str(path))
        np.asarray(cloud.points)
        if layout == "mvtec-like-folder":
            np.load(folder / f"{path.stem}_labels.npy")
            np.load(folder / f"{path.stem}_displacement.npy")
    return figures(start, len(paths), size)


def normals(file: Path) -> None:
    """Print middle angles of the normals of exported templates, and of noisy pristine meshes."""
    with open_dataset(file) as dataset:
        sigma = float(dataset.metadata["identity"]["noise_sigma"])
        print(f"{file.name}: noise sigma {sigma:.3g}\n")
        print("| category | exported, degrees | pristine mesh with noise, degrees |")
        print("|---|--:|--:|")
        for category in dataset.categories:
            exported, noisy = _angles(dataset.filter(category=category, split="train"), sigma)
            print(f"| {category} | {exported:.1f} | {noisy:.1f} |")


def _angles(templates: Dataset, sigma: float) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    exported, noisy = [], []
    for record in templates:
        points, stored, mesh = record.points, record.normals, record.mesh
        found = vertex_normals(points, normal_faces(points, stored, sigma))
        exported.append((found * stored).sum(axis=1))
        if mesh is not None:
            moved = mesh.vertices + rng.normal(scale=sigma, size=mesh.vertices.shape)
            pristine = vertex_normals(mesh.vertices, mesh.faces)
            noisy.append((vertex_normals(moved, mesh.faces) * pristine).sum(axis=1))
    cosines = [float(np.median(np.concatenate(found))) for found in (exported, noisy)]
    return tuple(np.degrees(np.arccos(np.clip(cosines, -1, 1))))  # type: ignore[return-value]


TASKS = {
    "write": write,
    "list": list_tree,
    "read": read,
    "import": import_tree,
    "plain_write": plain_write,
    "plain_read": plain_read,
}


if __name__ == "__main__":
    main()
