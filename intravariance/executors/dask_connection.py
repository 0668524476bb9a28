# SPDX-License-Identifier: Apache-2.0
"""The connection to a Dask cluster: to the scheduler that the user names, or to one of our own."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from intravariance.errors import InputError

CONNECT_WITHIN = 6.0  # seconds, for a scheduler to answer
_EXPECTED = (
    "expected an address, as tcp://HOST:PORT, or the file of `dask scheduler --scheduler-file FILE`"
)
# Messages say in words of ours what is wrong; Dask's own remarks would stand between them.
_SETTINGS = {
    "logging": dict.fromkeys(("distributed", "distributed.client"), "critical"),
    "distributed.admin.large-graph-warning-threshold": "2 GiB",
}


@contextmanager
def connected(scheduler: str | None, jobs: int) -> Iterator[Any]:
    """Give a client of the scheduler, or of a cluster of our own with so many workers, which ends.

    Raises
    ------
    InputError
        There is no scheduler.
    """
    import dask  # noqa: PLC0415 - weight

    dask.config.set(_SETTINGS)
    import distributed  # noqa: PLC0415 - weight

    if scheduler is not None:
        with _client(distributed, scheduler) as client:
            yield client
        return
    import cryptography  # noqa: F401, PLC0415 - what `security` takes, so that it is named here

    with (
        distributed.LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            memory_limit=None,  # as other worker processes have none
            host="127.0.0.1",
            security=True,  # whoever else works on this machine could give it tasks
            dashboard_address="127.0.0.1:0",
            preload=[__name__],
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _client(distributed: Any, scheduler: str) -> Any:
    if not scheduler.strip():
        raise InputError(f"--scheduler: is empty; {_EXPECTED}")
    address = scheduler if "://" in scheduler else _address_in(Path(scheduler))
    try:
        distributed.comm.get_address_host_port(address)
        # a client of what is no scheduler ends in vain, or waits for ever
        security = _security(distributed, address)
        distributed.utils.LoopRunner().run_sync(_check_scheduler, distributed, address, security)
        with warnings.catch_warnings():
            # of versions: those that matter are refused, with words of ours
            warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
            return distributed.Client(
                address, timeout=CONNECT_WITHIN, security=security, set_as_default=False
            )
    except Exception as error:  # of sockets, names, protocols, whatever a transport raises
        raise InputError(
            f"--scheduler {scheduler}: no scheduler answers"
            + ("" if address == scheduler else f" at {address}")
            + f" ({error}). Start one with `dask scheduler`, and say its address"
        ) from error


async def _check_scheduler(distributed: Any, address: str, security: Any) -> None:
    """Raise what a transport raises, or OSError, where no scheduler answers in time."""
    arguments = security.get_connection_args("client")
    limit = CONNECT_WITHIN + 1  # after a refused connection, which says more
    connection = None
    try:
        async with asyncio.timeout(limit):  # what takes a connection may be silent for ever
            connection = await distributed.comm.connect(address, CONNECT_WITHIN, **arguments)
            found = await distributed.core.send_recv(connection, op="identity")
    except TimeoutError as error:
        raise OSError(
            f"what listens there has said nothing for {limit:.0f} s; it may be another program, "
            "as the scheduler's dashboard has a port of its own, or a scheduler that is stopped"
        ) from error
    finally:
        if connection is not None:
            connection.abort()
    if (kind := found.get("type")) != "Scheduler":
        raise OSError(f"it is the address of a {kind}")


def _security(distributed: Any, address: str) -> Any:
    """Return the certificates of Dask's configuration, as its client finds them."""
    import dask  # noqa: PLC0415 - weight

    loader = dask.config.get("distributed.client.security-loader", None)
    if loader:
        return distributed.utils.import_term(loader)({"address": address})
    return distributed.Security()


def _address_in(file: Path) -> str:
    """Read the address in a scheduler's file. Raises InputError."""
    try:
        address = json.loads(file.read_bytes())["address"]
    except OSError as error:
        raise InputError(
            f"--scheduler {file}: cannot be read ({error.strerror}); {_EXPECTED}"
        ) from error
    except (ValueError, RecursionError, LookupError, TypeError):
        address = None
    if not isinstance(address, str):
        raise InputError(
            f"--scheduler {file}: expected the file of `dask scheduler --scheduler-file FILE`, "
            "JSON with an address; found something else"
        )
    return address


def dask_setup(_: Any) -> None:
    """Leave Ctrl-C to the process that started the cluster; Dask calls this in each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
