# SPDX-License-Identifier: Apache-2.0
"""Clouds that an import cannot use: what the user is told, and what the file says of them.

Clouds are a dictionary, from the scan's id or the file's name to the reason.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from intravariance.errors import InputError
from intravariance.exchange.layouts.scan import shown_problems

# The file's metadata holds no more than 65,000 bytes in all.
_RECORDED, _LONGEST_REASON = 100, 200


def refusal(bad: dict[str, str], count: int, kept_samples: str) -> InputError:
    """Return the error of an import, of so many clouds. kept_samples : how it ends."""
    return InputError(
        f"{len(bad)} of {count} clouds cannot be used; --skip-bad leaves them out:\n"
        f"  {shown_problems(bad.values())}{kept_samples}"
    )


def record_of(skipped: dict[str, str]) -> dict[str, Any]:
    """Return what the file says of scans left out: how many, and a hundred reasons."""
    items = sorted(skipped.items())[:_RECORDED]
    return {
        "count": len(skipped),
        "scans": {name: reason[:_LONGEST_REASON] for name, reason in items},
    }


def file_and_reason(problem: str, root: Path) -> tuple[str, str]:
    """Return a problem of a listing as an entry of `ImportPlan.skipped`."""
    plain = without_root(problem, root)
    return plain.partition(": ")[0], plain


def without_root(text: str, root: Path) -> str:
    """Return a message without the place of the tree on this machine."""
    return re.sub(rf"(?<!\S){re.escape(str(root))}[/\\:]\s?", "", text)
