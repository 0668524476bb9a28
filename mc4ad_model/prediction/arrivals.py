# SPDX-License-Identifier: Apache-2.0
"""Files that arrive in folders, given out once they are complete.

A file is taken for complete when its size and its time of change have stayed as they are for
`SETTLED` seconds. One that changes later is given out again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from intravariance.errors import InputError
from intravariance.exchange.layouts.folder import is_cloud
from intravariance.files.trees import FolderTree
from intravariance.progress import say
from mc4ad_model.prediction.clouds import shown_name

SETTLED = 2.0


@dataclass(frozen=True)
class State:
    """size : bytes. modified : time of the last change, nanoseconds."""

    size: int
    modified: int


class Arrivals:
    """The clouds in folders, and below them.

    Parameters
    ----------
    folders
        They may be empty, and may be out of reach for a while.
    known
        Names of files that were scored before, and are given out only if they changed after
        `since`, a time in nanoseconds.
    """

    def __init__(
        self, folders: Sequence[Path], known: frozenset[str] = frozenset(), since: int = 0
    ) -> None:
        self.folders, self._known, self._since = tuple(folders), known, since
        self.left_out: list[str] = []
        self._seen: dict[str, tuple[State, float]] = {}  # and since when
        self._given: dict[str, State] = {}
        self._unreadable: set[Path] = set()

    def ready(self, now: float) -> list[str]:
        """Return the files that are complete and new, the oldest first; now : seconds."""
        found: list[tuple[int, str]] = []
        self.left_out = []
        for name in self._names():
            if not is_cloud(name):
                self.left_out.append(shown_name(name))
                continue
            try:
                status = os.stat(name)
            except OSError:  # it went away
                continue
            state = State(status.st_size, status.st_mtime_ns)
            if (
                shown_name(name) in self._known
                and name not in self._seen
                and state.modified <= self._since
            ):
                self._given[name] = state
            if self._seen.get(name, (None, 0.0))[0] != state:
                self._seen[name] = state, now
            elif now - self._seen[name][1] >= SETTLED and self._given.get(name) != state:
                self._given[name] = state
                found.append((state.modified, name))
        return [name for _, name in sorted(found)]

    def _names(self) -> list[str]:
        names = []
        for folder in self.folders:
            try:
                if not folder.is_dir():
                    raise InputError(f"{folder}: the folder is not there")
                names += [str(folder / name) for name in FolderTree(folder).files("")]
                self._unreadable.discard(folder)
            except (InputError, OSError) as error:
                if folder not in self._unreadable:
                    say(f"{error}; waiting for it")
                self._unreadable.add(folder)
        return list(dict.fromkeys(names))
