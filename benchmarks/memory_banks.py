# SPDX-License-Identifier: Apache-2.0
"""How long methods with a memory bank take, and ways to find the nearest entry, in one run.

    OMP_NUM_THREADS=1 python benchmarks/memory_banks.py group2.h5              some minutes
    OMP_NUM_THREADS=1 python benchmarks/memory_banks.py group2.h5 --category vase --encoder enc

`--encoder` is a folder that `iv pretrain` wrote; without it methods that need one are left out.

Methods: each variant is fitted to a category in a process of its own, then scores some of its test
clouds, spread evenly. Times are seconds, and processor seconds of all threads in brackets, which
other work on the machine changes less. "category" is fitting and scoring of all its test clouds at
that rate, and "peak" the largest resident set of the process.

Nearest entry: 1,000 points of a test cloud against FPFH of all points of the templates, ours beside
scikit-learn and SciPy, and Faiss where it is installed, taking turns. Coreset: the 10,000 entries
that PatchCore keeps of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from fair_timing import Call, Table, medians, milliseconds
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
    ("btf", ("features=raw",)),
    ("btf", ("features=fpfh",)),
    ("patchcore", ("features=fpfh",)),
    ("patchcore", ("features=fpfh_raw",)),
    ("simple3d", ()),
    ("cpmf", ()),
)
WITH_ENCODER = (
    ("patchcore", ("features=point_mae",)),
    ("m3dm", ()),
    ("reg3d_ad", ()),
    ("ismp", ()),
)
FRAMES = ("own", "registered")
_NORMALS, _FEATURES = Neighbourhood(30, 0.056), Neighbourhood(100, 0.141)


def main() -> None:
    """Measure the methods and the searches, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="dataset file")
    parser.add_argument("--category", help="the one with the most test clouds by default")
    parser.add_argument("--clouds", type=int, default=10, help="test clouds that are scored")
    parser.add_argument("--encoder", type=Path, help="folder that `iv pretrain` wrote")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        with open_dataset(options.file) as dataset:
            tests = {c: test_clouds(dataset, c) for c in dataset.categories}
            category = options.category or max(tests, key=lambda name: len(tests[name]))
            if category not in tests:
                parser.error(f"--category {category}: expected one of {', '.join(tests)}")
            if options.task:
                name, *changes = options.task
                print(json.dumps(measure(dataset, category, options.clouds, name, changes)))
                return
            print(f"{options.file}, {category}, {len(tests[category])} test clouds\n")
            variants = [*VARIANTS]
            if options.encoder is not None:
                variants += [(n, (*c, f"encoder={options.encoder}")) for n, c in WITH_ENCODER]
            number = len(tests[category])
            print(methods(options.file, category, options.clouds, number, variants))
            print(f"\n{searches(dataset, category)}")
    except IVError as error:
        parser.exit(error.exit_code, f"memory_banks.py: error: {error}\n")


def test_clouds(dataset: Dataset, category: str) -> list[Record]:
    """List the test clouds of a category."""
    return list(dataset.filter(category=category, split="test"))


def methods(
    file: Path,
    category: str,
    clouds: int,
    number: int,
    variants: Sequence[tuple[str, tuple[str, ...]]],
) -> Table:
    """Fit each variant and score clouds, each in a process of its own."""
    table = Table(["method", "frame", "fit", "score of an object", "category", "peak, MiB"])
    for name, changes in variants:
        for frame in FRAMES:
            command = [
                sys.executable, __file__, str(file), "--category", category,
                "--clouds", str(clouds), "--task", name, *changes, f"frame={frame}",
            ]  # fmt: skip
            found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            whole = [f + number * s for f, s in zip(found["fit"], found["score"], strict=True)]
            times = [shown(found["fit"]), shown(found["score"]), shown(whole, 0)]
            said = [one for one in changes if not one.startswith("encoder=")]
            table.add([", ".join([name, *said]), frame, *times, str(found["peak"])])
    return table


def shown(times: Sequence[float], digits: int = 2) -> str:
    """Write seconds, and processor seconds in brackets."""
    return "{:.{d}f} ({:.{d}f})".format(*times, d=digits)


def measure(
    dataset: Dataset, category: str, clouds: int, name: str, changes: Sequence[str]
) -> dict[str, Any]:
    """Fit one variant and score clouds; the first is scored once before."""
    kind = method_class(name)
    method = kind(kind.Settings.load(None, changes))
    templates = read_templates(dataset, category)
    method.check(templates)
    fit = timed(lambda: method.fit(templates, generator(0, "benchmark")))
    records = test_clouds(dataset, category)
    chosen = np.linspace(0, len(records) - 1, min(clouds, len(records))).round().astype(int)
    points = [records[i].points for i in chosen]
    method.score(points[0])
    score = [t / len(points) for t in timed(lambda: [method.score(cloud) for cloud in points])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"fit": fit, "score": score, "peak": peak}


def timed(call: Call) -> tuple[float, float]:
    """Return the seconds of a call, and the processor's of all threads."""
    start, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - busy


def searches(dataset: Dataset, category: str) -> Table:
    """Compare ways to find the nearest entry, and time the coreset."""
    bank = described([t.points for t in read_templates(dataset, category).templates])
    queries = described([test_clouds(dataset, category)[0].points])[:1000]
    tree = cKDTree(bank)
    brute, kd = (NearestNeighbors(n_neighbors=1, algorithm=a) for a in ("brute", "kd_tree"))
    brute.fit(bank)
    kd.fit(bank)
    assert np.allclose(nearest(queries, bank)[0], brute.kneighbors(queries)[0][:, 0], rtol=1e-4)
    calls: dict[str, Call] = {
        "nearest, ours": lambda: nearest(queries, bank),
        "nearest, scikit-learn brute": lambda: brute.kneighbors(queries),
        "nearest, scikit-learn kd_tree": lambda: kd.kneighbors(queries),
        "nearest, SciPy cKDTree": lambda: tree.query(queries),
    }
    if find_spec("faiss"):
        index = import_module("faiss").IndexFlatL2(bank.shape[1])
        index.add(bank.astype(np.float32))
        calls["nearest, Faiss flat"] = lambda: index.search(queries.astype(np.float32), 1)
    seconds, mark = medians(calls, samples=3)
    size = f"{len(queries):,} in {len(bank):,}"
    table = Table(["what", "size", "ms"])
    for name, value in seconds.items():
        table.add([name, size, milliseconds(value) + mark])
    chosen = timed(lambda: greedy_coreset(bank, 10_000))[1]  # seconds are many: once will do
    table.add(["coreset, processor's", f"10,000 of {len(bank):,}", milliseconds(chosen)])
    return table


def described(clouds: Sequence[np.ndarray]) -> np.ndarray:
    """Return FPFH of the points of some clouds."""
    return np.concatenate([fpfh(cloud, _NORMALS, [_FEATURES])[0] for cloud in clouds])


if __name__ == "__main__":
    main()
