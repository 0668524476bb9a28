# SPDX-License-Identifier: Apache-2.0
"""Counters, gauges and a histogram in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """How often something took how many seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str) -> list[str]:
        """Return its lines; each bucket counts all up to its bound."""
        found, below = [], 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self.counts, strict=True):
            below += count
            found.append(f'{name}_bucket{{le="{bound}"}} {below}')
        return [*found, f"{name}_sum {self.total!r}", f"{name}_count {below}"]


class Metrics:
    """Counts of a service's work, which only its event loop changes."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.points = self.anomalous = 0
        self.seconds = Histogram()

    def text(self, taken: int, places: int, replaced: int) -> str:
        """Return all of it. taken, places : requests that are served now, and the most. replaced :
        worker processes that were given up."""
        parts = [
            ("iv_answers_total", "counter", "Answers to POST /score, by status.", [
                f'iv_answers_total{{status="{status}"}} {count}'
                for status, count in sorted(self.answers.items())
            ]),
            ("iv_points_total", "counter", "Points of scored clouds.",
             [f"iv_points_total {self.points}"]),
            ("iv_anomalous_total", "counter", "Clouds that were found anomalous.",
             [f"iv_anomalous_total {self.anomalous}"]),
            ("iv_worker_restarts_total", "counter", "Worker processes that were given up.",
             [f"iv_worker_restarts_total {replaced}"]),
            ("iv_requests", "gauge", "Requests that have a place now.",
             [f"iv_requests {taken}"]),
            ("iv_places", "gauge", "Requests that may have one.", [f"iv_places {places}"]),
            ("iv_answer_seconds", "histogram", "From the head of a request to its answer.",
             self.seconds.lines("iv_answer_seconds")),
        ]  # fmt: skip
        lines = []
        for name, kind, help_text, samples in parts:
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *samples]
        return "\n".join(lines) + "\n"
