# SPDX-License-Identifier: Apache-2.0
"""The error family. `iv` prints the message alone and exits with the class's `exit_code`."""

from collections.abc import Iterable


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


def first_of(items: Iterable[str], most: int, separator: str = ", ") -> str:
    """Join the first `most` items for a message, and say how many more there are."""
    every = list(items)
    rest = [f"and {len(every) - most} more"] if len(every) > most else []
    return separator.join([*every[:most], *rest])
