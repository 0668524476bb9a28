# SPDX-License-Identifier: Apache-2.0
"""Scores scans as they arrive in folders, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from intravariance.cloud_files import AS_WRITTEN, ReadingChoices
from mc4ad_model.machine.interruption import Interruption
from mc4ad_model.prediction.arrivals import Arrivals
from mc4ad_model.prediction.clouds import file_cloud
from mc4ad_model.prediction.detector import Detector
from mc4ad_model.prediction.growing import growing_results
from mc4ad_model.prediction.results import PredictedRow
from mc4ad_model.prediction.worst import WorstClouds

_PAUSE = 0.5  # seconds between two looks at the folders
# While scans wait: seconds after which the folders are looked at, and the page is made anyway.
_BUSY, _REFRESH = 5.0, 30.0


def watch(
    folders: Sequence[Path],
    out: Path,
    detector: Detector,
    worst: WorstClouds,
    size: int,
    report: Callable[[PredictedRow], None],
    choices: ReadingChoices = AS_WRITTEN,
) -> dict[str, Any]:
    """Score what is in the folders and what arrives; return the content of predictions.json.

    report : called with each row once it is in the table. choices : which rows of files are points.
    A scan that is being scored when the
    signal comes is still written; those that wait then are scored by the next watch.

    Raises
    ------
    InputError
        As of `growing_results`.
    """
    with growing_results(out, detector, folders, worst, size) as results, Interruption() as stop:
        known = frozenset(row.file for row in results.rows)
        arrivals = Arrivals(folders, known, results.since)
        waiting = deque[str]()
        looked = refreshed = -_REFRESH
        while not stop.requested:
            now = time.monotonic()
            if not waiting or now - looked > _BUSY:
                waiting += [name for name in arrivals.ready(now) if name not in waiting]
                looked = now
            if waiting:
                report(results.add(detector.predict(file_cloud(waiting.popleft(), choices))))
            if results.stale and (not waiting or now - refreshed > _REFRESH):
                results.refresh(arrivals.left_out)
                refreshed = time.monotonic()
            if not waiting:
                time.sleep(_PAUSE)
        results.refresh(arrivals.left_out)
    return results.content
