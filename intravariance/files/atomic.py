# SPDX-License-Identifier: Apache-2.0
"""Writing result files: whole or not at all, and never over another file unasked."""

from __future__ import annotations

import os
from pathlib import Path

from intravariance.errors import InputError


def check_target(out: Path, force: bool) -> None:
    """InputError when `out` cannot be written, or exists and `force` is not given."""
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out {out}: expected a file name in an existing folder")
    if out.exists() and not force:
        raise InputError(f"--out {out} exists. Choose another name, or replace it with --force.")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"--out {out}: the folder {out.parent} is not writable")


def write_file(out: Path, content: bytes, force: bool = False) -> None:
    """Write `content` to a temporary file beside `out`, then move it into place."""
    check_target(out, force)
    temporary = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
