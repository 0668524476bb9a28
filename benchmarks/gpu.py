# SPDX-License-Identifier: Apache-2.0
"""Everything that is to be measured on a CUDA device, in one command and in order of worth.

    python benchmarks/gpu.py                            8 minutes at most
    python benchmarks/gpu.py --data group2.h5           train and evaluate on a file of `iv build`
    python benchmarks/gpu.py --device cpu --minutes 2   every section at a small size, on the CPU
    python benchmarks/gpu.py --only speed training      some sections

Each section is guarded: when one fails, its error is written down and the next one starts. After
each section the folder of `--out` holds everything so far: gpu.json and gpu.md. A section that no
time is left for is named as left out. Nothing here needs Blender. Without `--data`, a small dataset
of deformed balls and bricks is made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from the source tree

import torch
from gpu_sections.bench import Bench, Finding
from gpu_sections.environment import environment
from gpu_sections.learning import learning_curve, train_and_evaluate
from gpu_sections.parity import parity
from gpu_sections.profiling import profiled_step
from gpu_sections.speed import inference, layers, registration, training

from intravariance.files.atomic import write_file

SECTIONS: dict[str, Callable[[Bench], Iterator[Finding]]] = {
    "environment": environment,
    "parity": parity,
    "speed": inference,
    "training": training,
    "evaluation": train_and_evaluate,
    "layers": layers,
    "profile": profiled_step,
    "registration": registration,
    "released": learning_curve,
}


def main() -> int:
    """Run the sections; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="default: %(default)s")
    parser.add_argument("--data", type=Path, help="a dataset of `iv build`")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=Path("gpu"), help="default: %(default)s/")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device; --device cpu tries the sections")
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(torch.device(options.device), options.minutes, options.out, options.data)
    record: dict[str, Any] = {"command": "python benchmarks/gpu.py " + " ".join(sys.argv[1:])}
    failed = False
    for name in SECTIONS:
        if name not in options.only:
            continue
        record[name] = section = _guarded(name, bench)
        failed |= "error" in section
        write_file(options.out / "gpu.json", json.dumps(record, indent=1).encode(), force=True)
        write_file(options.out / "gpu.md", _markdown(record).encode(), force=True)
    print(_markdown(record))
    return int(failed)


def _guarded(name: str, bench: Bench) -> dict[str, Any]:
    """Run one section; whatever it raises becomes a part of its record."""
    if bench.left <= 0:
        print(f"{name}: no time is left", file=sys.stderr, flush=True)
        return {"left out": "no time was left"}
    print(f"{name}: {bench.left:.0f} s are left", file=sys.stderr, flush=True)
    started, findings = time.monotonic(), list[dict[str, Any]]()
    section: dict[str, Any] = {"findings": findings}
    try:
        for finding in SECTIONS[name](bench):
            findings.append(asdict(finding))
    except Exception as error:
        traceback.print_exc()
        section["error"] = f"{type(error).__name__}: {error}"
    section["seconds"] = round(time.monotonic() - started, 1)
    return section


def _markdown(record: dict[str, Any]) -> str:
    """Write the record as a document."""
    parts = [f"Printed by `{record['command']}`."]
    for name, section in record.items():
        if name == "command":
            continue
        parts.append(f"## {name.capitalize()}")
        if "left out" in section:
            parts.append(f"Left out: {section['left out']}.")
            continue
        for found in section["findings"]:
            finding = Finding(**found)
            parts += [
                part for part in (f"**{finding.title}**", finding.table, finding.note) if part
            ]
        if "error" in section:
            parts.append(f"This section failed: `{section['error']}`")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
