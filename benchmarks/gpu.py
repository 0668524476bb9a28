# SPDX-License-Identifier: Apache-2.0
"""Everything that is to be measured on a CUDA device, in one command and in order of worth.

    python benchmarks/gpu.py                            8 minutes at most
    python benchmarks/gpu.py --data group2.h5           train and evaluate on a file of `iv build`
    python benchmarks/gpu.py --device cpu --minutes 2   every section at a small size, on the CPU
    python benchmarks/gpu.py --only goals parity        some sections

After each row the folder of `--out` holds everything so far: gpu.json and gpu.md. A row that fails
holds its error, and the next one is measured. A section takes no more than its share of the time,
and says how many rows it left out. All of it happens in a process of its own: where that ends (a
device that no longer answers, a call that never returns), another one starts with the next section.
Nothing here needs Blender. Without `--data`, a small dataset of deformed balls and bricks is made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from the source tree

from intravariance.files.atomic import write_file

# Where each section is, in gpu_sections, and its share of the time; the last one has what is left.
SECTIONS = {
    "environment": ("environment.environment", 0.05),
    "kernels": ("compiling.compiling", 0.15),
    "goals": ("speed.goals", 0.25),
    "evaluation": ("learning.train_and_evaluate", 0.3),
    "parity": ("parity.parity", 0.25),
    "speed": ("speed.inference", 0.2),
    "training": ("speed.training", 0.15),
    "layers": ("layers.layers", 0.15),
    "profile": ("profiling.profiled_steps", 0.1),
    "choices": ("choices.choices", 0.15),
    "registration": ("speed.registration", 0.1),
    "released": ("learning.learning_curve", 1.0),
}
USAGE, GRACE = 2, 60.0  # argparse's exit status; seconds that a process may be late

Record = dict[str, Any]


def main() -> int:
    """Run the sections; return 1 if one of them failed or a row of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="default: %(default)s")
    parser.add_argument("--data", type=Path, help="a dataset of `iv build`")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="default: %(default)s/")
    # when the time is up, and where files go that are no results: for the process that measures
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.until is not None:
        return _measure(parser, options)
    if (options.out / "gpu.json").exists() and len(read(options.out)) > 1:
        parser.error(f"--out {options.out}: holds the results of an earlier call; name another one")
    options.out.mkdir(parents=True, exist_ok=True)
    command = "python benchmarks/gpu.py " + " ".join(sys.argv[1:])
    write(options.out, {"command": command})
    until = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="iv-gpu-", ignore_cleanup_errors=True) as scratch:
        status = _supervise(options, until, scratch)
    if status == USAGE:
        return USAGE
    record = read(options.out)
    for name in _remaining(options, record):
        record[name] = {"left out": "no time was left"}
        if status and time.monotonic() < until:
            record[name] = {"error": f"the process ended with status {status} before it began"}
    write(options.out, record)
    print(markdown(record))
    return int(any("error" in part or "failed rows" in part for part in record.values()))


def _supervise(options: argparse.Namespace, until: float, scratch: str) -> int:
    """Start processes until all sections were begun or the time is up; return the last status."""
    status, last = 0, len(options.only) + 1
    while time.monotonic() < until:
        remaining = len(_remaining(options, read(options.out)))
        if status == USAGE or not 0 < remaining < last:  # nothing is left, or nothing was begun
            break
        last = remaining
        own = ["--until", str(until), "--scratch", scratch]
        process = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], *own])
        try:
            status = process.wait(until - time.monotonic() + GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    return status


def _measure(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the sections that are not begun, in this process."""
    import torch  # noqa: PLC0415 - workers that make samples import this file
    from gpu_sections.bench import Bench  # noqa: PLC0415 - as torch
    from gpu_sections.running import run_sections  # noqa: PLC0415 - as torch

    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device; --device cpu tries the sections")
    record = read(options.out)
    sections = {name: SECTIONS[name] for name in _remaining(options, record)}
    bench = Bench(
        torch.device(options.device), options.until, 60 * options.minutes, options.scratch,
        options.data,
    )  # fmt: skip
    run_sections(bench, sections, record, lambda: write(options.out, record))
    return 0


def _remaining(options: argparse.Namespace, record: Record) -> list[str]:
    """Return the sections that are wanted and not begun."""
    return [name for name in SECTIONS if name in options.only and name not in record]


def read(folder: Path) -> Record:
    """Read what is known so far."""
    record: Record = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    return record


def write(folder: Path, record: Record) -> None:
    """Write what is known so far: gpu.json and gpu.md."""
    write_file(folder / "gpu.json", json.dumps(record, indent=1).encode(), force=True)
    write_file(folder / "gpu.md", markdown(record).encode(), force=True)


def markdown(record: Record) -> str:
    """Write the record as a document."""
    parts = [f"Printed by `{record['command']}`."]
    for name, section in record.items():
        if name == "command":
            continue
        parts.append(f"## {name.capitalize()}")
        for found in section.get("findings", ()):
            parts += [part for part in (f"**{found['title']}**", found["table"], found["note"])
                      if part]  # fmt: skip
        if "left out" in section:
            parts.append(f"Left out: {section['left out']}.")
        if "error" in section:
            parts.append(f"This section failed: `{section['error']}`")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
