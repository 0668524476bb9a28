# SPDX-License-Identifier: Apache-2.0
"""Progress on stderr: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click
from tqdm import tqdm

Item = TypeVar("Item")


def say(message: str, quiet: bool = False) -> None:
    """Print one line on stderr."""
    if not quiet:
        click.echo(message, err=True)


def track(
    items: Iterable[Item],
    total: int,
    label: str,
    quiet: bool = False,
    note: Callable[[], str] | None = None,
) -> Iterator[Item]:
    """Pass items through, showing how far it is, how fast, and how long it will still take.

    note : what else to say when progress is shown, a loss for example.
    """
    if quiet or total == 0:
        yield from items
    elif sys.stderr.isatty():
        bar = tqdm(items, total=total, desc=label, unit="", dynamic_ncols=True)
        for item in bar:
            yield item
            if note is not None:
                bar.set_postfix_str(note(), refresh=False)
    else:
        yield from _plain_lines(items, total, label, note)


def _plain_lines(
    items: Iterable[Item], total: int, label: str, note: Callable[[], str] | None
) -> Iterator[Item]:
    start, shown = time.monotonic(), 0
    for done, item in enumerate(items, start=1):
        yield item
        if done * 10 // total > shown or done == total:
            shown = done * 10 // total
            elapsed = time.monotonic() - start
            rate = done / max(elapsed, 1e-9)
            left = (total - done) / rate
            more = f", {note()}" if note is not None else ""
            say(f"{label}: {done}/{total}, {rate:.1f}/s, {left:.0f} s left{more}")
