# SPDX-License-Identifier: Apache-2.0
"""Measures `iv serve`: clients that send clouds in parallel for a while, then hostile bodies.

    python benchmarks/serving.py group2.h5 --run runs/mine --category vase
    python benchmarks/serving.py group2.h5 --run runs/mine --category vase --seconds 10 --bodies 50

Each client sends one test cloud of the category after another, as a PLY file. Memory is the sum
over all processes of the service of their proportional set size (PSS; Linux), every half second.
Hostile bodies are mutants of small valid files of all kinds that the service reads, as in
`tools/hostile_campaign.py`; each must get an answer, and afterwards the first cloud must score as
before. Needs the extras model, serve and dev.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from intravariance.cloud_files import write_ply
from intravariance.dataset.store import open_dataset
from intravariance.seeds import generator
from mc4ad_model.serving.answers import KINDS
from tests.support.serving import Server, serving
from tools.hostile_campaign import mutate
from tools.hostile_formats import FORMATS


def main() -> int:
    """Start the service, measure, print the figures; 1 if an answer was not what it has to be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("--run", required=True)
    parser.add_argument("--category", required=True)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--bodies", type=int, default=200)
    given = parser.parse_args()
    records = open_dataset(given.dataset).filter(category=given.category, split="test")
    clouds = [write_ply(record.points) for record in records]
    with serving("--run", given.run, "--category", given.category, "--quiet") as server:
        before = server.ask("/score", clouds[0]).content["object_score"]
        codes, memory = _parallel(server, clouds, given.clients, given.seconds)
        hostile, answered = _hostile(server, given.bodies)
        after = server.ask("/score", clouds[0]).content["object_score"]
        print(f"memory of all processes: {memory:.0f} MiB at most while clients sent")
        print(f"{given.bodies} hostile bodies: {answered} answered, {_counts(hostile)}")
        print(f"first cloud: {before} before, {after} after; health {_health(server)}")
        code = server.stop()
        print(f"stopped with code {code}")
    fine = set(codes) == {200} and answered == given.bodies and before == after and code == 0
    return 0 if fine else 1


def _parallel(
    server: Server, clouds: list[bytes], clients: int, seconds: float
) -> tuple[Counter[int], float]:
    """Send clouds from some clients at once; return the codes of the answers, and MiB at most."""
    end = time.perf_counter() + seconds
    stop = threading.Event()
    peaks = [0.0]

    def watch() -> None:
        while not stop.wait(0.5):
            peaks.append(_memory(server.process.pid))

    def client(first: int) -> list[tuple[int, float]]:
        found = []
        for body in cycle(clouds[first:] + clouds[:first]):
            start = time.perf_counter()
            if start > end:
                return found
            status = server.ask("/score", body).status
            found.append((status, time.perf_counter() - start))
        return found

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(clients) as pool:
        answers = [one for part in pool.map(client, range(clients)) for one in part]
    stop.set()
    watching.join()
    codes = Counter(status for status, _ in answers)
    took = np.array([duration for _, duration in answers])
    low, middle, high = np.percentile(took, [50, 95, 99])
    print(
        f"{clients} clients for {seconds:.0f} s: {len(answers)} clouds, "
        f"{len(answers) / seconds:.1f} a second, {_counts(codes)}"
    )
    print(
        f"seconds for an answer: median {low:.2f}, 95 % within {middle:.2f}, 99 % within "
        f"{high:.2f}, longest {took.max():.2f}"
    )
    return codes, max(peaks)


def _hostile(server: Server, count: int) -> tuple[Counter[int], int]:
    """Send mutants of each kind in turn; return the codes of the answers, and how many came."""
    kinds = [kind for kind in KINDS if _format(kind) in FORMATS]
    files = {kind: FORMATS[_format(kind)].files() for kind in kinds}
    codes: Counter[int] = Counter()
    for number in range(count):
        kind = kinds[number % len(kinds)]
        body = mutate(files[kind], generator(0, "hostile body", str(number)))
        codes[server.ask(f"/score?kind={kind}", body).status] += 1
    return codes, sum(codes.values())


def _format(kind: str) -> str:
    """Return the name that the campaign has for a kind of cloud."""
    return "ply cloud" if kind == "ply" else kind


def _health(server: Server) -> int:
    return server.ask("/health").status


def _counts(codes: Counter[int]) -> str:
    return ", ".join(f"{count} with {code}" for code, count in sorted(codes.items()))


def _memory(process: int) -> float:
    """Sum MiB of proportional set size over a process and its children."""
    parent = psutil.Process(process)
    total = 0
    for one in [parent, *parent.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


if __name__ == "__main__":
    sys.exit(main())
