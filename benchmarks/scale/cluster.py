# SPDX-License-Identifier: Apache-2.0
"""Measures how many results one command takes from a Dask cluster, and simulates a job array.

    python benchmarks/scale/cluster.py dask                       a minute
    python benchmarks/scale/cluster.py shards --cores 1000 --samples 10000000

"dask" runs a real scheduler, the executor of `iv build --executor dask`, and workers that sleep for
as long as a sample would take and return as many bytes; results are written as a build writes them.
"shards" simulates the jobs of `iv build --shard I/N`, with the costs that its options give:
docs/scaling.md says where each is from. A simulated core lives for an exponentially distributed
time, as on machines that may be taken away. Needs the extras scale and dev.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

# So many workers in one process: they only sleep, and each counts as one for the scheduler. The
# lock by which a worker process does one task at a time has to go.
WORKERS = """
import asyncio, sys
from contextlib import nullcontext
from distributed import Worker
from intravariance.executors import dask_worker
dask_worker._one_at_a_time = nullcontext()

async def main():
    workers = [Worker(sys.argv[1], nthreads=1, memory_limit=0, dashboard=False)
               for _ in range(int(sys.argv[2]))]
    for worker in workers:
        await worker
    await asyncio.gather(*(worker.finished() for worker in workers))

asyncio.run(main())
"""


def main() -> None:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("dask")
    shards = kinds.add_parser("shards")
    shards.add_argument("--samples", type=int, default=10_000_000)
    shards.add_argument("--cores", type=int, default=1000)
    shards.add_argument("--seconds", type=float, default=0.15, help="of a core for a sample")
    shards.add_argument("--start", type=float, default=10.0, help="seconds until the first sample")
    shards.add_argument("--finish", type=float, default=0.0015, help="seconds a sample, at the end")
    shards.add_argument(
        "--found", type=float, default=0.0045, help="seconds a sample, after a kill"
    )
    shards.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    (measure_dask if given.kind == "dask" else simulate_shards)(given)


def measure_dask(_: argparse.Namespace) -> None:
    """Print results a second that arrive and are written, for workers and sizes."""
    print("| workers | seconds of a sample | kB of a result | offered, results/s "
          "| written, results/s | MB/s |\n|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    for workers, seconds, size in ((64, 0.25, 17), (64, 0.25, 210), (200, 0.25, 210)):
        count = int(6 * workers / seconds)
        rate = written(workers, seconds, size * 1000, count)
        print(f"| {workers} | {seconds} | {size} | {workers / seconds:.0f} | {rate:.1f} "
              f"| {rate * size / 1000:.1f} |", flush=True)  # fmt: skip


def written(workers: int, seconds: float, size: int, count: int) -> float:
    """Return the results a second of so many sleeping workers, from the first to the last."""
    from intravariance.executors.dask_cluster import DaskExecutor  # noqa: PLC0415 - weight
    from intravariance.files.atomic import write_whole  # noqa: PLC0415 - weight

    times = []
    with (
        tempfile.TemporaryDirectory() as name,
        cluster(workers) as address,
        DaskExecutor(dict, address, quiet=True) as executor,
    ):
        while executor.workers() < workers:
            time.sleep(0.5)
        for task, result in executor.run(partial(slept, seconds, size), range(count)):
            assert isinstance(result, bytes)
            write_whole(Path(name, f"{task}.h5"), result, flush=False)
            times.append(time.perf_counter())
    # the first and the last round of the workers are not the steady state
    middle = times[len(times) // 5 : -len(times) // 5]
    return (len(middle) - 1) / (middle[-1] - middle[0])


def slept(seconds: float, size: int, number: int) -> bytes:
    """Take the time of a sample, and return as many bytes, which cannot be compressed."""
    rng = np.random.default_rng(number)
    time.sleep(seconds * rng.gamma(4, 1 / 4))
    return rng.bytes(size)


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Give the address of a scheduler with so many workers, in two other processes."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0",
               "--no-dashboard", "--host", "127.0.0.1"]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "scheduler.json")
        scheduler = subprocess.Popen(
            [*command, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL
        )
        node = None
        try:
            while not file.exists():
                time.sleep(0.1)
            address = "tcp://" + file.read_text().split('"address": "tcp://')[1].split('"')[0]
            node = subprocess.Popen([sys.executable, "-c", WORKERS, address, str(workers)],
                                    stderr=subprocess.DEVNULL)  # fmt: skip
            yield address
        finally:
            for process in filter(None, (node, scheduler)):
                process.kill()
                process.wait()


def simulate_shards(given: argparse.Namespace) -> None:
    """Print time and core-hours of a job array, for numbers of shards and lives of a machine."""
    useful = given.samples * given.seconds / 3600
    print(f"{useful:,.0f} core-hours for the samples alone\n")
    print(
        "| shards | a core lives for | ends after, h | core-hours | more than the samples | kills |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for shards, life in itertools.product((1_000, 4_000, 16_000), (None, 4.0, 1.0)):
        end, used, kills = job_array(given, shards, life)
        lives = "for ever" if life is None else f"{life:g} h"
        more = 100 * (used / 3600 / useful - 1)
        print(f"| {shards:,} | {lives} | {end / 3600:.2f} | {used / 3600:,.0f} | {more:.1f} % "
              f"| {kills:,} |")  # fmt: skip


def job_array(
    given: argparse.Namespace, shards: int, life: float | None
) -> tuple[float, float, int]:
    """Simulate: each core takes the next shard; a killed one is given again, and carries on.

    Returns the second of the end, core-seconds used, and kills. A kill costs the start and the look
    at what is there once more, and the sample that was under way.
    """
    rng = np.random.default_rng(given.seed)
    samples = given.samples / shards
    work = samples * given.seconds * rng.normal(1, 0.5 / np.sqrt(samples), shards)
    queue = [(0.0, shard) for shard in range(shards)]  # how much of it is done, and which it is
    queue.reverse()
    cores = [0.0] * given.cores
    used, kills, end = 0.0, 0, 0.0
    while queue:
        done, shard = queue.pop()
        begin = heapq.heappop(cores)
        found = done / given.seconds * given.found
        need = given.start + found + work[shard] - done + samples * given.finish
        lives = np.inf if life is None else rng.exponential(3600 * life)
        if need <= lives:
            used, end = used + need, max(end, begin + need)
            heapq.heappush(cores, begin + need)
            continue
        kills, used = kills + 1, used + lives
        new = max(0.0, min(lives - given.start - found, work[shard] - done))
        queue.append((done + new - new % given.seconds, shard))
        heapq.heappush(cores, begin + lives)
    return end, used, kills


if __name__ == "__main__":
    main()
