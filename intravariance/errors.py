# SPDX-License-Identifier: Apache-2.0
"""The error family. `iv` prints the message alone and exits with the class's `exit_code`."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches


class IVError(Exception):
    """Something went wrong on our side, or a check failed (exit code 1)."""

    exit_code = 1


class InputError(IVError):
    """The user's input cannot be used; the message names it, what was expected and what to do."""

    exit_code = 2


class IntegrityError(IVError):
    """A file is damaged, incomplete or contradicts itself (exit code 1)."""


class BackendUnavailable(IVError):
    """Something that must be installed first (Blender, a system library) is missing (exit 2)."""

    exit_code = 2


def shortened(text: str, most: int = 300) -> str:
    """Leave out the middle of a text that is longer than a person reads, and say how long it is."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}... ({len(text):,} characters) ...{text[-most // 4 :]}"


def printable(message: str) -> str:
    """Write a message for a terminal: what came from a file cannot move the cursor or fill pages.

    Control characters become escapes, but for line feeds and tabs; lines of over 4,000 characters
    are shortened.
    """
    lines = (
        "".join(c if c == "\t" or unicodedata.category(c) != "Cc" else repr(c)[1:-1] for c in line)
        for line in message.split("\n")
    )
    return "\n".join(shortened(line, 4000) for line in lines)


def first_of(items: Iterable[str], most: int, separator: str = ", ") -> str:
    """Join the first `most` items for a message, and say how many more there are."""
    every = list(items)
    rest = [f"and {len(every) - most} more"] if len(every) > most else []
    return separator.join([*every[:most], *rest])


def did_you_mean(given: str, words: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the words that resemble what was given; "" where none does.

    Case does not matter, and a word resembles its beginning.
    """
    small = {word.lower(): word for word in words}
    begun = [word for word in small if given and word.startswith(given.lower())]
    near = get_close_matches(given.lower(), small, n=3) or begun[:3]
    return f" Did you mean {' or '.join(repr(small[word]) for word in near)}?" if near else ""
