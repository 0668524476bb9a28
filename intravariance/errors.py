# SPDX-License-Identifier: Apache-2.0
"""The error family. `iv` prints the message alone and exits with the class's `exit_code`."""


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
