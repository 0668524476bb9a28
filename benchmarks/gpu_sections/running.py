# SPDX-License-Identifier: Apache-2.0
"""Running the sections of `benchmarks/gpu.py` so that nothing that was measured is lost."""

from __future__ import annotations

import faulthandler
import importlib
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gpu_sections.bench import Bench

PATIENCE = 25.0  # seconds that a section may be late before its process ends


def run_sections(
    bench: Bench,
    sections: Mapping[str, tuple[str, float]],
    record: dict[str, Any],
    write: Callable[[], None],
) -> None:
    """Run sections until the time is up or this process can no longer run them.

    Parameters
    ----------
    sections : module.function in this package, and share of the time, by name
    record : gets each section's findings
    write : called after each change of the record
    """
    for name, (place, share) in sections.items():
        if time.monotonic() >= bench.until:
            return
        bench.begin(share, last=name == list(sections)[-1])
        if bench.left <= 0:
            record[name] = {"left out": "what was left is kept for the last section"}
            write()
            continue
        print(f"{name}: {bench.left:.0f} s at most", file=sys.stderr, flush=True)
        # It is the record of a section whose process ends, as it does where a call never returns.
        record[name] = section = {"findings": [], "error": "the process ended within it"}
        write()
        faulthandler.dump_traceback_later(bench.left + PATIENCE, exit=True)
        goes_on = _run(bench, place, section, write)
        faulthandler.cancel_dump_traceback_later()
        write()
        if bench.renew or not goes_on:
            return


def _run(bench: Bench, place: str, section: dict[str, Any], write: Callable[[], None]) -> bool:
    """Run one section; say whether the device can go on."""
    started, answers, findings = time.monotonic(), True, dict[str, dict[str, Any]]()
    module, _, function = place.rpartition(".")
    try:
        found = getattr(importlib.import_module(f"gpu_sections.{module}"), function)
        for finding in found(bench):
            findings[finding.title] = asdict(finding)
            section["findings"] = list(findings.values())
            write()
            if bench.failures and not (answers := bench.answers()):
                section["error"] = "the device no longer answers; a new process went on"
                break
        else:
            del section["error"]
    except Exception as error:
        traceback.print_exc()
        section["error"] = f"{type(error).__name__}: {error}"
        answers = bench.answers()
    section["seconds"] = round(time.monotonic() - started, 1)
    if bench.failures:
        section["failed rows"] = bench.failures
    if bench.left_out:
        section["left out"] = f"{bench.left_out} rows, no time was left"
    return answers
