# SPDX-License-Identifier: Apache-2.0
"""Settings of methods: frozen dataclasses that pydantic checks, read from TOML, JSON or options.

An unknown key, a value of another type or out of range is an InputError that names where it is.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from intravariance.errors import InputError
from intravariance.extensions import Extension
from mc4ad_model.checked_types import STRICT, Count, Positive, Share, Weight

__all__ = [
    "STRICT",
    "Count",
    "Positive",
    "Settings",
    "Share",
    "Weight",
    "files_at",
    "parse_change",
    "place_of",
    "read_section",
]

Section = TypeVar("Section")
_PLACES: dict[str, Path] = {}  # where files that settings name are, if elsewhere


class Settings:
    """The base of a method's settings.

    A subclass is a frozen pydantic dataclass of plain values:

    @validated(frozen=True, config=STRICT)
    class MySettings(Settings):
        neighbours: Count = 40
    """

    @classmethod
    def load(cls, preset: str | None = None, changes: Sequence[str] = ()) -> Self:
        """Give the defaults with some values changed.

        Parameters
        ----------
        preset
            Must be None: plain settings have no presets.
        changes
            "key=value", the value in TOML's notation, quotes of a word may be left out.

        Raises
        ------
        InputError
            There is a preset, no such key, or a value is not allowed.
        """
        if preset is not None:
            raise InputError(f"--preset {preset}: this method has no presets; leave it out")
        values = dict(parse_change(change, "KEY=VALUE") for change in changes)
        return cls.from_mapping(values, f"--set {', '.join(changes)}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Read plain values; what is left out has its default.

        Raises
        ------
        InputError
            There is no such key, or a value is not allowed; `where` is named.
        """
        return read_section(cls, values, where)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, for JSON; `from_mapping` reads them back."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    @property
    def learn_from(self) -> tuple[str, ...]:
        """Categories that are learnt from instead of the run's own; ("all",): every one."""
        return ()

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """Extensions from installed packages, besides the method, that these settings use."""
        return ()

    @property
    def given_files(self) -> Mapping[str, list[Path]]:
        """The files that are read of each file or folder that a setting names, by what it says.

        They go along to another machine, where `place_of` tells the place. The settings `encoder`,
        a folder, and `backbone`, a file, are such ones; a method that has others overrides this.
        """
        encoder, backbone = (str(getattr(self, name, "")) for name in ("encoder", "backbone"))
        found = {encoder: sorted(Path(encoder).glob("encoder.*")), backbone: [Path(backbone)]}
        return {
            named: [path for path in paths if path.is_file()]
            for named, paths in found.items()
            if named
        }

    @property
    def label(self) -> str:
        """The name of these settings in folders and tables; "" where they need none."""
        return ""


def place_of(named: str) -> Path:
    """Return where a file or folder is that a setting names: there, unless in `files_at`."""
    return _PLACES.get(named, Path(named))


@contextmanager
def files_at(places: Mapping[str, Path]) -> Iterator[None]:
    """Let `place_of` find files elsewhere in this process, by what the settings say."""
    _PLACES.update(places)
    try:
        yield
    finally:
        for named in places:
            del _PLACES[named]


def read_section(kind: type[Section], values: Any, where: str, separator: str = ": ") -> Section:
    """Read a pydantic dataclass from plain values, as TOML or JSON has them.

    Parameters
    ----------
    separator
        Between `where` and a key: ": ", or "." where `where` ends with the name of a table.

    Raises
    ------
    InputError
        It is no table, a key is unknown, or a value is not allowed; `where` and key are named.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected a table, found {values!r}")
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - set(names)):
        known = f"expected some of {', '.join(names)}" if names else "there is nothing to set"
        raise InputError(f"{where}: unknown {', '.join(unknown)}; {known}")
    try:
        # by way of JSON, where a list may stand for a tuple although types are strict; a date,
        # which TOML has and JSON has not, becomes a string, which is not allowed where it stands
        return TypeAdapter(kind).validate_json(json.dumps(dict(values), default=str))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # from __post_init__, which names the values
            raise InputError(f"{where}{separator}{first['ctx']['error']}") from None
        place = f"{where}{separator}{'.'.join(map(str, first['loc']))}"
        raise InputError(f"{place} = {first['input']!r}: {_expected(first)}") from None


def parse_change(change: str, form: str) -> tuple[str, Any]:
    """Read a change as `--set` takes it.

    Parameters
    ----------
    change
        NAME=VALUE, the value in TOML's notation; a word without quotes is taken as it is.
    form
        For the message: what a change looks like.

    Raises
    ------
    InputError
        There is no "=", or no name before it.
    """
    name, equals, text = change.partition("=")
    if not (equals and name.strip()):
        raise InputError(f"--set {change}: expected {form}")
    try:
        found = tomllib.loads(f"value = {text.strip()}")
    except ValueError:  # an integer of thousands of digits is one too
        found = {}
    # of several lines, none is taken silently
    return name.strip(), found["value"] if found.keys() == {"value"} else text.strip()


def _expected(error: Any) -> str:
    """Say what is allowed, where pydantic says it in its own terms."""
    if error["type"] in ("missing", "too_long"):
        return "expected two numbers, [low, high]"
    if error["type"] == "tuple_type":
        return "expected numbers in a list, such as [1, 2]"
    allowed = str(error["msg"]).removeprefix("Input should be ")
    return f"expected {'a value ' if allowed.startswith(('greater', 'less')) else ''}{allowed}"
