# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as a request to stop after the current step, not in the middle of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A pending request to stop: the first SIGINT or SIGTERM sets `requested` while it is entered.

    A second signal acts as usual. Signals can be caught in a program's main thread only; in another
    one nothing is caught.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextmanager
def children_unaware() -> Iterator[None]:
    """Keep processes that are started inside from stopping at Ctrl-C or SIGTERM.

    The signals go to their whole group, but they are needed until the current step is done. They
    inherit that a signal is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve_main_process(worker: int) -> None:
    """Make this process, which makes samples, end with the main process and not before.

    Torch has workers stop at SIGTERM, which the main process may send, so what is sent to the whole
    group must not come here. And torch has them end with their parent, which is the fork server,
    which ends with its last child: they would outlive a main process that was killed for ever.
    """
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
        os._exit(1)
