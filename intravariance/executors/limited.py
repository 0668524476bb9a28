# SPDX-License-Identifier: Apache-2.0
"""Limits of memory and time, for foreign files and libraries that may fail.

`run_limited` starts a child process, which is all that a damaged or hostile file can end. The child
is a module of ours whose main part is `in_child`. Exit code 0: the result is on stdout; 2: the
reason is the last line of stderr. `limited_memory` is for parsers of our own, in this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import intravariance
from intravariance.errors import InputError

try:
    import resource
except ImportError:  # Windows: only the parent's patience limits the child there
    resource = None  # type: ignore[assignment]

MEMORY_LIMIT = 4 * 2**30  # bytes of address space; a mesh of a million faces takes about 1 GiB
TIME_LIMIT = 300  # seconds of processor time; the slowest of 62 meshes took 20
# Wall time for each second of processor time. Only a child that waits for ever meets this limit:
# a busy machine must not refuse what a free one takes.
PATIENCE = 20


def run_limited(
    module: str,
    arguments: Sequence[str],
    data: bytes,
    memory: int = MEMORY_LIMIT,
    seconds: int = TIME_LIMIT,
) -> bytes:
    """Run `python -m module *arguments memory seconds` with `data` as stdin; return its stdout.

    memory : bytes; seconds : of processor time. Raises InputError with the reason when the file
    cannot be used, also when the child process was stopped by its limits or died.
    """
    # -P keeps the current folder, which may hold anything, off the child's import path.
    command = [sys.executable, "-P", "-m", module, *arguments, str(memory), str(seconds)]
    package_folder = str(Path(intravariance.__file__).parents[1])
    search_path = [package_folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Threads' stacks count as address space, and there is a child for each job already.
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    try:
        child = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=PATIENCE * seconds,
            env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(search_path)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"it was not read within {PATIENCE * seconds} s") from None
    if child.returncode != 0:
        raise InputError(_reason(child, memory, seconds))
    return child.stdout


_limiting = threading.RLock()  # the limit is that of the whole process


@contextmanager
def limited_memory(what: str = "it", most: int = MEMORY_LIMIT) -> Iterator[None]:
    """Let this process take `most` bytes of address space in the block, beside what it has.

    One block at a time has a limit of its own: other threads wait. There is none where the system
    does not tell how much a process has. Raises InputError, which begins with `what`, where a block
    needs more.
    """
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        taken = None
    if resource is None or taken is None:
        yield
        return
    with _limiting:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([taken + most, *limits]), hard))
        try:
            yield
        except MemoryError as error:
            raise InputError(
                f"{what} needs more than {most / 2**30:g} GiB of memory; thin it out first"
            ) from error
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def in_child(memory: int, seconds: int, work: Callable[[bytes], Callable[[BinaryIO], None]]) -> int:
    """Do the child's part; return its exit code.

    work : is given all of stdin, and returns a function that writes the result.
    """
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not mix with the result
    try:
        write = work(sys.stdin.buffer.read())
    except InputError as problem:
        print(" ".join(str(problem).split()), file=sys.stderr)
        return 2
    except MemoryError:
        print(f"it needs more than {memory / 2**30:.0f} GiB of memory", file=sys.stderr)
        return 2
    with result:
        write(result)
    return 0


def _reason(child: subprocess.CompletedProcess[bytes], memory: int, seconds: int) -> str:
    last_line = (child.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    if child.returncode == 2:
        return last_line
    if child.returncode == -getattr(signal, "SIGXCPU", 0):
        return f"it was not read within {seconds} s of processor time"
    return (
        f"the process reading it (limit {memory / 2**30:g} GiB) ended with code "
        f"{child.returncode}: {last_line}"
    )
