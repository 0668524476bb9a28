# SPDX-License-Identifier: Apache-2.0
"""The part of `dask_cluster` that runs on a worker: it compares versions, and does one task."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intravariance.errors import BackendUnavailable, IVError
from intravariance.executors import BLENDER, Portable

# Names and versions, "" for what is not there; importable.
MadeWith = Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Refused:
    """A worker of other versions, which has not done the task."""

    worker: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Failed:
    """A worker that lacks memory or disk for a task, or does not find a file."""

    worker: str
    name: str
    error: str


def differing(own: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the versions that differ, by name: that of a worker, and ours."""
    both = [name for name in own if name in wanted]
    return {name: (own[name], wanted[name]) for name in both if own[name] != wanted[name]}


def worker_folder() -> Path:
    """Return the folder of the worker that does the task at hand, which ends with the worker."""
    from distributed import get_worker  # noqa: PLC0415 - weight

    return Path(get_worker().local_directory)


def worker_name() -> str:
    """Name the worker that does the task at hand, and its machine."""
    from distributed import get_worker  # noqa: PLC0415 - weight

    return f"the worker {get_worker().address} of {platform.node()}"


def wanted() -> bool:
    """Tell whether somebody waits for the task at hand: the process that gave it may have ended."""
    from distributed import get_worker  # noqa: PLC0415 - weight

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state == "executing"


_one_at_a_time = threading.Lock()  # a process has one Blender, and limits that are of the whole


@lru_cache(maxsize=4)
def versions_here(made_with: MadeWith) -> Mapping[str, str]:
    """Return the names and versions of this process's software."""
    return {**made_with(), **{library: version(library) for library in ("dask", "distributed")}}


def work(
    function: Callable[[Any], Any],
    task: Any,
    files: Mapping[Path, bytes],
    made_with: MadeWith,
    versions: Mapping[str, str],
) -> Any:
    """Do a task; return its result or IVError, or `Refused` where the software is other."""
    from distributed import get_worker  # noqa: PLC0415 - weight

    own, here = versions_here(made_with), get_worker().address
    if differing(own, versions):
        return Refused(here, own)
    try:
        with _one_at_a_time:
            return function(task.with_shared(files) if isinstance(task, Portable) else task)
    except BackendUnavailable as error:
        return BackendUnavailable(
            f"the worker {here}: {error}\nWhere some workers have Blender, start these with "
            f"--resources {BLENDER}=1, and the others get no task that needs it"
        )
    except IVError as error:
        return error
    except (OSError, MemoryError) as error:
        return Failed(here, worker_name(), repr(error))
