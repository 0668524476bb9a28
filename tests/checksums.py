# SPDX-License-Identifier: Apache-2.0
"""What `sha256sum --check` says of a folder, and what it does not look for."""

from __future__ import annotations

from pathlib import Path

from intravariance.files.checksums import NAME, files_in, read_checksums, sha256_of


def check_checksums(folder: Path) -> list[str]:
    """Tell what is missing, changed or not listed, a line each; nothing when all is as written."""
    listed, present = read_checksums(folder), set(files_in(folder))
    problems = []
    for name in sorted(listed.keys() | present):
        if name not in present:
            problems.append(f"{name}: missing")
        elif name not in listed:
            problems.append(f"{name}: not in {NAME}")
        elif sha256_of(folder / name) != listed[name]:
            problems.append(f"{name}: changed")
    return problems
