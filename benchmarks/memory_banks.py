# SPDX-License-Identifier: Apache-2.0
"""How long methods with a memory bank take, and ways to find the nearest entry, in one run.

    OMP_NUM_THREADS=1 python benchmarks/memory_banks.py group2.h5              some minutes
    OMP_NUM_THREADS=1 python benchmarks/memory_banks.py group2.h5 --category vase --clouds 5

Methods: each variant is fitted to a category in a process of its own, then scores some of its test
clouds, spread evenly. "category" is fitting and scoring of all its test clouds at that rate, and
"peak" the largest resident set of the process.

Nearest entry: all points of a test cloud against FPFH of all points of the templates, ours beside
scikit-learn and SciPy, taking turns. Coreset: the 10,000 entries that PatchCore keeps of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fair_timing import Table, medians, milliseconds
from scipy.spatial import cKDTree
from sklearn.neighbors import NearestNeighbors

from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import IVError
from intravariance.seeds import generator
from mc4ad_model.methods import method_class
from mc4ad_model.methods.memory_banks.coreset import greedy_coreset
from mc4ad_model.methods.memory_banks.fpfh import Neighbourhood, fpfh
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.templates import read_templates

VARIANTS = (
    ("btf", "features=raw"),
    ("btf", "features=fpfh"),
    ("patchcore", "features=fpfh"),
    ("patchcore", "features=fpfh_raw"),
    ("simple3d", "centres=4096"),
)
FRAMES = ("own", "registered")
_NORMALS, _FEATURES = Neighbourhood(30, 0.056), Neighbourhood(100, 0.141)


def main() -> None:
    """Measure the methods and the searches, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="dataset file")
    parser.add_argument("--category", help="the one with the most test clouds by default")
    parser.add_argument("--clouds", type=int, default=10, help="test clouds that are scored")
    parser.add_argument("--task", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        with open_dataset(options.file) as dataset:
            tests = {c: test_clouds(dataset, c) for c in dataset.categories}
            category = options.category or max(tests, key=lambda name: len(tests[name]))
            if category not in tests:
                parser.error(f"--category {category}: expected one of {', '.join(tests)}")
            if options.task:
                print(json.dumps(measure(dataset, category, options.clouds, *options.task)))
                return
            print(f"{options.file}, {category}, {len(tests[category])} test clouds\n")
            print(methods(options.file, category, options.clouds, len(tests[category])))
            print(f"\n{searches(dataset, category)}")
    except IVError as error:
        parser.exit(error.exit_code, f"memory_banks.py: error: {error}\n")


def test_clouds(dataset: Dataset, category: str) -> list[Record]:
    """List the test clouds of a category."""
    return list(dataset.filter(category=category, split="test"))


def methods(file: Path, category: str, clouds: int, number: int) -> Table:
    """Fit each variant and score clouds, each in a process of its own."""
    table = Table(["method", "frame", "fit, s", "score, s an object", "category, s", "peak, MiB"])
    for name, change in VARIANTS:
        for frame in FRAMES:
            command = [
                sys.executable, __file__, str(file), "--category", category,
                "--clouds", str(clouds), "--task", name, change, frame,
            ]  # fmt: skip
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            fit, score = found["fit"], found["score"]
            table.add([
                f"{name}, {change}", frame, f"{fit:.2f}", f"{score:.3f}",
                f"{fit + number * score:.0f}", str(found["peak"]),
            ])  # fmt: skip
    return table


def measure(
    dataset: Dataset, category: str, clouds: int, name: str, change: str, frame: str
) -> dict[str, float]:
    """Fit one variant and score clouds; the first is scored once before."""
    kind = method_class(name)
    method = kind(kind.Settings.load(None, [change, f"frame={frame}"]))
    templates = read_templates(dataset, category)
    method.check(templates)
    start = time.perf_counter()
    method.fit(templates, generator(0, "benchmark"))
    fitted = time.perf_counter()
    records = test_clouds(dataset, category)
    chosen = np.linspace(0, len(records) - 1, min(clouds, len(records))).round().astype(int)
    points = [records[i].points for i in chosen]
    method.score(points[0])
    begun = time.perf_counter()
    for cloud in points:
        method.score(cloud)
    seconds = (time.perf_counter() - begun) / len(points)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"fit": fitted - start, "score": seconds, "peak": peak}


def searches(dataset: Dataset, category: str) -> Table:
    """Compare ways to find the nearest entry, and time the coreset."""
    bank = described([t.points for t in read_templates(dataset, category).templates])
    queries = described([test_clouds(dataset, category)[0].points])
    tree = cKDTree(bank)
    brute, kd = (NearestNeighbors(n_neighbors=1, algorithm=a) for a in ("brute", "kd_tree"))
    brute.fit(bank), kd.fit(bank)
    assert np.allclose(nearest(queries, bank)[0], brute.kneighbors(queries)[0][:, 0], rtol=1e-4)
    seconds, mark = medians(
        {
            "nearest, ours": lambda: nearest(queries, bank),
            "nearest, scikit-learn brute": lambda: brute.kneighbors(queries),
            "nearest, scikit-learn kd_tree": lambda: kd.kneighbors(queries),
            "nearest, SciPy cKDTree": lambda: tree.query(queries),
            "coreset of 10,000": lambda: greedy_coreset(bank, 10_000),
        },
        samples=3,
    )
    size = f"{len(queries):,} in {len(bank):,}"
    table = Table(["what", "size", "ms"])
    for name, value in seconds.items():
        table.add([name, size, milliseconds(value) + mark])
    return table


def described(clouds: Sequence[np.ndarray]) -> np.ndarray:
    """Return FPFH of the points of some clouds."""
    return np.concatenate([fpfh(cloud, _NORMALS, [_FEATURES])[0] for cloud in clouds])


if __name__ == "__main__":
    main()
