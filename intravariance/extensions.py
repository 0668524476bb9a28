# SPDX-License-Identifier: Apache-2.0
"""Extensions that installed packages add: methods, sources, layouts, pseudo-anomalies and defects.

Each kind is an entry-point group. Names are read from the metadata of installed packages, and a
package is imported when its extension is used and not before, so that a broken one disturbs nothing
else. Whatever is wrong is an `ExtensionError` that names the package and the entry point.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intravariance.errors import InputError, IVError

GROUPS = {
    "method": "intravariance.methods",
    "source": "intravariance.sources",
    "layout": "intravariance.layouts",
    "pseudo-anomaly": "intravariance.pseudo_anomalies",
    "defect": "intravariance.defects",
}
_VALUE = re.compile(r"\w+(\.\w+)*(:\w+(\.\w+)*)?( *\[.*\])?")  # in brackets: extras


class ExtensionError(InputError):
    """An extension of an installed package cannot be used; the message names it."""


@dataclass(frozen=True)
class Extension:
    """A name that an installed package adds.

    kind : a key of GROUPS. entry : the entry point. package, version : of the distribution that
    has it; "" for an object that the command line names.
    """

    kind: str
    entry: EntryPoint
    package: str
    version: str

    @property
    def name(self) -> str:
        """Return the name that users write."""
        return self.entry.name

    def __str__(self) -> str:
        if not self.package:
            return f"the {self.kind} {self.name}"
        return (
            f"the {self.kind} {self.name!r} of the package {self.package} {self.version} "
            f"(entry point {self.entry.name} = {self.entry.value})"
        )

    @property
    def identity(self) -> dict[str, str]:
        """Return what a file records of the extension, as JSON-able data."""
        return {
            "kind": self.kind,
            "name": self.name,
            "package": self.package,
            "version": self.version,
        }

    def load(self) -> Any:
        """Import what the entry point names.

        Raises
        ------
        ExtensionError
            It cannot be imported.
        """
        if not _VALUE.fullmatch(self.entry.value):
            raise self.refuse("MODULE or MODULE:OBJECT", repr(self.entry.value))
        if self._top_level not in _OURS:
            _USED[self._top_level] = self
        try:
            return self.entry.load()
        except (Exception, SystemExit) as error:
            if not self.package and self._is_missing(error):
                raise ExtensionError(
                    f"{self}: there is no module {self.entry.module}, neither in the folder "
                    f"{Path.cwd()} nor among the installed packages"
                ) from error
            raise ExtensionError(
                f"{self} cannot be imported: {self._described(error)}. "
                f"Mend {'or uninstall it' if self.package else 'it'}"
            ) from error

    def refuse(self, expected: str, found: object) -> ExtensionError:
        """Return the error that says it gave the wrong thing."""
        return ExtensionError(f"{self}: expected {expected}, found {found}")

    @contextmanager
    def used(self) -> Iterator[None]:
        """Turn what its code raises into an ExtensionError; an IVError is passed on."""
        try:
            yield
        except IVError:
            raise
        except Exception as error:
            raise self.raised(error) from error

    def raised(self, error: Exception) -> ExtensionError:
        """Return the error that says that its code raised another one."""
        return ExtensionError(f"{self} raised {self._described(error)}")

    def places(self, error: BaseException) -> list[traceback.FrameSummary]:
        """List the places in its own code that an exception passed, the last one last."""
        spec = find_spec(self._top_level) if self._top_level else None
        own = (spec.origin or "").removesuffix("__init__.py") if spec else ""
        frames = traceback.extract_tb(error.__traceback__) if own else []
        return [frame for frame in frames if frame.filename.startswith(own)]

    def _is_missing(self, error: BaseException) -> bool:
        """Tell whether an import failed because there is no such module, not one that it needs."""
        if not isinstance(error, ModuleNotFoundError) or not error.name:
            return False
        return f"{self.entry.module}.".startswith(f"{error.name}.")

    @property
    def _top_level(self) -> str:
        return self.entry.module.partition(".")[0]

    def _described(self, error: BaseException) -> str:
        """Name an exception and, where it came from its own code, the place there."""
        places = self.places(error)
        where = f" ({places[-1].filename}, line {places[-1].lineno})" if places else ""
        return f"{type(error).__name__}: {error}{where}"


_OURS = ("intravariance", "mc4ad_model", "annotations", "blender_scripts")
# By the top-level module: what this process has loaded, to tell whose code raised an exception.
_USED: dict[str, Extension] = {}


def added(kind: str, own: Collection[str]) -> list[str]:
    """List the names that installed packages add to a kind, without those of this package.

    Nothing is imported. own : this package's names.
    """
    return [name for name in _installed(kind) if name not in own]


def find(kind: str, name: str, own: Collection[str]) -> Extension | None:
    """Return what an installed package adds under a name, None where there is none. Nothing is
    imported.

    Raises
    ------
    ExtensionError
        The name is one of this package's, or two packages add it.
    """
    found = _installed(kind).get(name, ())
    if found and (name in own or len(found) > 1):
        others = " and ".join(sorted(map(str, found)))
        also = "this package has one of that name" if name in own else "only one may have the name"
        raise ExtensionError(f"{others}: {also}; uninstall what you do not need, or rename it")
    return found[0] if found else None


def blamed(error: Exception) -> ExtensionError | None:
    """Return the error that says whose code raised an exception, where it is an extension's."""
    for extension in _USED.values():
        if extension.places(error):
            return extension.raised(error)
    return None


def named_on_command_line(kind: str, text: str) -> Extension:
    """Return MODULE:OBJECT as an extension of no package.

    The current folder is where Python looks for the module last. Raises InputError for a text of
    another form.
    """
    if not (_VALUE.fullmatch(text) and ":" in text and "[" not in text):
        raise InputError(f"{kind} {text}: expected MODULE:CLASS")
    if "" not in sys.path:
        sys.path.append("")
    return Extension(kind, EntryPoint(text, text, GROUPS[kind]), "", "")


def entries(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, also where a package's metadata is damaged."""
    try:
        return list(entry_points(group=group))
    except Exception:  # what damaged metadata raises is nowhere said
        return list(_sound_entries(group))


def _sound_entries(group: str) -> Iterator[EntryPoint]:
    """Yield the entry points of packages whose metadata can be read, one package after another."""
    seen = set()
    for distribution in distributions():
        try:
            found = [entry for entry in distribution.entry_points if entry.group == group]
            name = distribution.name if found else ""
        except Exception:
            continue
        if found and name not in seen:  # the first of two with one name is what Python imports
            seen.add(name)
            yield from found


def _installed(kind: str) -> dict[str, list[Extension]]:
    return _read(kind, tuple(sys.path))


@lru_cache(maxsize=32)
def _read(kind: str, path: tuple[str, ...]) -> dict[str, list[Extension]]:
    """Return the extensions of a kind by name. path : where Python looks for packages."""
    found: dict[str, list[Extension]] = {}
    for entry in entries(GROUPS[kind]):
        package = entry.dist.name if entry.dist else "without a name"
        version = entry.dist.version if entry.dist else ""
        found.setdefault(entry.name, []).append(Extension(kind, entry, package, version))
    return found
