# SPDX-License-Identifier: Apache-2.0
"""Feeds damaged and hostile files to every parser that a user's file reaches, and counts outcomes.

    python -m tools.hostile_campaign --count 2000 --out failures

Each format has small valid files. A mutant is one of them with bits flipped, bytes replaced, cut
off, repeated or joined with another, or with a number in it replaced by a huge, negative or absurd
one. A mutant may be read, or refused with one of our own errors. Anything else is a failure:
another exception, a process that dies, one that takes more than 4 GiB of address space or too
long. Mutants follow from the seed and their number; those that fail are written to --out.

The readers run in a child process, and a new one follows one that died. Checksums beside a file are
made again for each mutant: they would refuse nearly all of them, which would tell nothing about the
parser behind. Needs the extras model, layouts, scans and dev.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from numpy.random import Generator

from intravariance.errors import IVError
from intravariance.seeds import generator
from tools.hostile_formats import FORMATS

MEMORY = 4 * 2**30  # bytes of address space, as the readers of meshes have
PATIENCE = 120.0  # seconds for one mutant
NUMBERS = (
    b"0", b"-1", b"1", b"255", b"2147483647", b"4294967296", b"9223372036854775808", b"1e308",
    b"1e999", b"nan", b"-inf", b"0.5", b"9" * 400, b"",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def mutate(files: Sequence[bytes], rng: Generator) -> bytes:
    """Make a mutant of one of some valid files: one to four changes, one after another."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.integers(1, 5)):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        data = bytearray(change(data, files, rng))
    return bytes(data)


def _place(data: bytes, rng: Generator) -> int:
    """Choose a place: headers are near the start of most formats, and at the end of some."""
    near = min(len(data), 256)
    places = (
        rng.integers(near + 1),
        len(data) - rng.integers(near + 1),
        rng.integers(len(data) + 1),
    )
    return int(places[rng.integers(3)])


def _flip(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    for _ in range(rng.integers(1, 9)):
        if data:
            data[min(_place(data, rng), len(data) - 1)] ^= 1 << int(rng.integers(8))
    return data


def _overwrite(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    place, length = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
    value = (b"\0", b"\xff", b"\x7f", b"\x80", b"\x01")[rng.integers(5)]
    data[place : place + length] = (value * length)[: max(0, len(data) - place)]
    return data


def _cut(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    place = _place(data, rng)
    return data[:place] + data[place + int(rng.integers(1, 64)) :]


def _repeat(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    place, length = _place(data, rng), int(rng.integers(1, 64))
    return data[:place] + data[place : place + length] * int(rng.integers(2, 9)) + data[place:]


def _join(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    other = files[rng.integers(len(files))]
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _number(data: bytearray, files: Sequence[bytes], rng: Generator) -> bytes:
    found = list(_NUMBER.finditer(data[:4096]))
    if not found:
        return _flip(data, files, rng)
    one = found[rng.integers(len(found))]
    return data[: one.start()] + NUMBERS[rng.integers(len(NUMBERS))] + data[one.end() :]


_CHANGES = (_flip, _overwrite, _cut, _remove, _repeat, _join, _number, _number)


Work = Callable[[Connection, str, list[bytes], range, int], None]


@dataclass
class Outcome:
    """Results of the mutants of a format. failures : number of the mutant -> what happened."""

    tried: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0  # bytes, peak of the child process


def campaign(name: str, count: int, seed: int, work: Work | None = None) -> Outcome:
    """Try `count` mutants of a format, in child processes of which a new one follows a dead one.

    work : what a child does, where it is not to try mutants of the format.
    """
    outcome, start = Outcome(), time.perf_counter()
    files, context = FORMATS[name].files(), multiprocessing.get_context("spawn")
    while outcome.tried < count:
        here, there = context.Pipe()
        child = context.Process(
            target=work or _work, args=(there, name, files, range(outcome.tried, count), seed)
        )
        child.start()
        there.close()
        for number, what, memory in _reports(here):
            if what is None:  # the child is gone
                child.kill()
                child.join()
                what = f"the process ended with code {child.exitcode}"
            outcome.memory = max(outcome.memory, memory)
            outcome.tried = number + 1
            kind = what if what in ("read", "refused") else "failed"
            outcome.counts[kind] += 1
            if kind == "failed":
                outcome.failures[number] = what
        child.join()
    outcome.seconds = time.perf_counter() - start
    return outcome


def _reports(connection: Connection) -> Iterator[tuple[int, str | None, int]]:
    """Yield what the child says of each mutant; None of the one at which it died or hung."""
    number = -1
    try:
        while connection.poll(PATIENCE):
            word, number, what, memory = connection.recv()
            if word == "end":
                return
            if word == "done":
                yield number, what, memory
    except (EOFError, OSError):
        pass
    yield number, None, 0


def _work(connection: Connection, name: str, files: list[bytes], numbers: range, seed: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    FORMATS[name].prepare()
    for number in numbers:
        connection.send(("begin", number, "", 0))
        what = tried(name, mutate(files, generator(seed, "hostile", name, str(number))))
        connection.send(("done", number, what, _peak()))
    connection.send(("end", 0, "", 0))


def _peak() -> int:
    """Return the most memory that this process had, in bytes; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def tried(name: str, data: bytes) -> str:
    """Read a mutant: "read", "refused", or what else happened."""
    folder = Path(tempfile.mkdtemp())
    try:
        FORMATS[name].read(data, folder)
    except IVError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return "read"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign, print the table, and return 1 where a mutant failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="mutants of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", help=f"separated by commas; of {', '.join(FORMATS)}")
    parser.add_argument("--out", type=Path, help="folder for mutants that failed")
    given = parser.parse_args(arguments)
    names = given.formats.split(",") if given.formats else list(FORMATS)
    if unknown := [name for name in names if name not in FORMATS]:
        parser.error(f"--formats {', '.join(unknown)}: expected some of {', '.join(FORMATS)}")
    print("| format | tried | read | refused | failed | seconds | peak, MiB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    failed = 0
    for name in names:
        one = campaign(name, given.count, given.seed)
        counts = " | ".join(str(one.counts[kind]) for kind in ("read", "refused", "failed"))
        print(f"| {name} | {one.tried} | {counts} | {one.seconds:.0f} | {one.memory / 2**20:.0f} |")
        for number, what in one.failures.items():
            print(f"{name} {number}: {what[:300]}", file=sys.stderr)
            if given.out:
                given.out.mkdir(parents=True, exist_ok=True)
                files = FORMATS[name].files()
                rng = generator(given.seed, "hostile", name, str(number))
                (given.out / f"{number}.{name.replace(' ', '.')}").write_bytes(mutate(files, rng))
        failed += len(one.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
