# SPDX-License-Identifier: Apache-2.0
"""Rows of a leaderboard: a method with settings, by one name.

    btf                                  a method with its defaults
    btf[features=raw,frame=registered]   with these settings, as `--set` of `iv train` takes them
    mc4ad[preset=quick]                  with this preset; settings may follow

Two spellings of the same settings have one name: `btf[features=fpfh]` is `btf`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intravariance.errors import InputError
from mc4ad_model.methods import METHODS, method_class, method_names
from mc4ad_model.methods.method import is_seeded
from mc4ad_model.methods.settings import Settings

# Every leaderboard has these rows: scores that know nothing of defects, and registration alone.
CONTROLS = (
    "constant",
    "random",
    "point_count",
    "radius",
    "area",
    "registered_distance[neighbours=1]",
    "registered_distance",
)
# Methods and rows that no paper proposes: the best of them is what the others are compared with.
_EXACT = "signed_distance[field=exact,frame=registered]"
BASELINES = (
    "constant", "random", "point_count", "radius", "area", "registered_distance",
    "calibrated_deviation", _EXACT,
)  # fmt: skip
DEFAULT_ROWS = (
    "calibrated_deviation",
    _EXACT,
    "btf[features=raw]",
    "btf[features=raw,frame=registered]",
    "btf",
    "btf[frame=registered]",
    "patchcore",
    "patchcore[frame=registered]",
    "patchcore[features=fpfh_raw,frame=first]",
    "patchcore[features=fpfh_raw,frame=registered]",
    "cpmf",
    "cpmf[frame=registered]",
    "simple3d",
    "simple3d[frame=registered]",
    "signed_distance",
    "signed_distance[frame=registered]",
    "r3d_ad",
    "r3d_ad[frame=registered]",
    "po3ad",
    "af3ad",
    "mc4ad",
)
# Rows with Point-MAE's features, which need an encoder.
ENCODED_ROWS = (
    "patchcore[features=point_mae,encoder={0},frame=first]",
    "patchcore[features=point_mae,encoder={0},frame=registered]",
    "m3dm[encoder={0}]",
    "m3dm[encoder={0},frame=registered]",
    "reg3d_ad[encoder={0}]",
    "reg3d_ad[encoder={0},frame=first]",
    "imrnet[encoder={0}]",
    "imrnet[encoder={0},frame=registered]",
    "ismp[encoder={0}]",
    "ismp[encoder={0},frame=first]",
)
_ROW = re.compile(r"\s*([^\s\[\],]+)\s*(?:\[(.*)\])?\s*", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.=,+-]")
_LONGEST = 100


@dataclass(frozen=True)
class Row:
    """A method with settings. name : as it is shown, in the shortest spelling."""

    name: str
    method: str
    settings: Settings

    @property
    def folder(self) -> str:
        """The name of its folder: the row's, where a shell needs no quotes for it."""
        plain = _UNSAFE.sub("_", self.name.replace("[", ",").removesuffix("]"))
        if plain.count("_") == self.name.count("_") and len(plain) <= _LONGEST:
            return plain
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return f"{plain[:_LONGEST]}-{digest}"

    @property
    def seeded(self) -> bool:
        """Whether its scores may depend on the seed, as far as is known."""
        try:
            return is_seeded(method_class(self.method)(self.settings, None))
        except Exception:  # of a method, which may be anybody's; its job says what it is
            return True

    @property
    def title(self) -> str:
        """The method's name."""
        return method_class(self.method).title

    @property
    def frame(self) -> str:
        """The frame in which clouds are compared, a setting's or the method's own; "" for none."""
        settings = self.settings
        for holder in (settings, getattr(settings, "data", None), method_class(self.method)):
            if isinstance(found := getattr(holder, "frame", None), str):
                return found
        return ""

    @property
    def baseline(self) -> bool:
        """Whether others are compared with it: no paper proposes it."""
        return self.method in BASELINES or self.name in BASELINES


def default_rows(encoder: Path | None = None) -> list[str]:
    """Return the rows of a leaderboard where none is named, the controls left out.

    Methods of this package that have no row of their own above, and those that installed packages
    add, have one with their default settings. encoder : folder of `iv pretrain`; without one, there
    are no rows that need it.
    """
    encoded = [row.format(json.dumps(str(encoder))) for row in ENCODED_ROWS] if encoder else []
    named = {name.partition("[")[0] for name in (*CONTROLS, *DEFAULT_ROWS, *ENCODED_ROWS)}
    others = [name for name in method_names() if name not in named]
    own = [name for name in others if name in METHODS]
    added = [name for name in others if name not in METHODS]
    return [*DEFAULT_ROWS, *encoded, *own, *added]


def unencoded_rows(rows: Sequence[Row]) -> list[str]:
    """Return the default rows that a leaderboard of all methods lacks for want of an encoder."""
    there = {row.name for row in rows}
    encoded = any(getattr(row.settings, "encoder", "") for row in rows)
    if encoded or not there.issuperset(DEFAULT_ROWS):
        return []
    return [name.format("FOLDER") for name in ENCODED_ROWS]


def choose_rows(given: Sequence[str], encoder: Path | None = None) -> list[Row]:
    """Read the rows of `--methods`, after the controls, which come always.

    Parameters
    ----------
    given
        Each one row or several, separated by commas; none for `default_rows`.
    encoder
        Of `default_rows`.

    Raises
    ------
    InputError
        A name is no row: there is no such method, preset or setting, or a value is not allowed. Or
        rows and an encoder were given.
    """
    if given and encoder:
        raise InputError(
            "--encoder goes without --methods; a row of your own names it: m3dm[encoder=FOLDER]"
        )
    if encoder and not encoder.is_dir():
        raise InputError(f"--encoder {encoder}: expected a folder that `iv pretrain` wrote")
    names = [name for words in given for name in split_rows(words)]
    names = names or default_rows(encoder)
    rows = [read_row(name) for name in (*CONTROLS, *names)]
    return list({row.name: row for row in rows}.values())


def split_rows(words: str) -> list[str]:
    """Split rows that commas separate; those in brackets do not.

    Raises
    ------
    InputError
        A bracket is open, or closed twice, or there is nothing between two commas.
    """
    parts = [part.strip() for part in _split(words)]
    if words.count("[") != words.count("]") or not all(parts):
        raise InputError(
            f"--methods {words}: expected rows separated by commas, such as "
            "mc4ad,btf[features=raw,frame=registered]"
        )
    return parts


def read_row(text: str) -> Row:
    """Read a row from its name. Errors as of `choose_rows`."""
    match = _ROW.fullmatch(text)
    if match is None:
        raise InputError(f"--methods {text}: expected METHOD or METHOD[KEY=VALUE,...]")
    method, words = match[1], match[2]
    try:
        kind = method_class(method)
        changes = [word.strip() for word in _split(words)] if words else []
        presets = [c.removeprefix("preset=") for c in changes if c.startswith("preset=")]
        changes = [change for change in changes if not change.startswith("preset=")]
        preset = presets[-1] if presets else None
        settings = kind.Settings.load(preset, changes)
        shown = dict(_differences(settings.to_mapping(), kind.Settings.load(preset).to_mapping()))
    except InputError as error:
        raise InputError(f"--methods {text}: {error}") from error
    if preset is not None and settings == kind.Settings.load(None, changes):
        preset = None  # it is the default
    parts = [] if preset is None else [f"preset={preset}"]
    parts += [f"{name}={_plain(value)}" for name, value in shown.items()]
    return Row(f"{method}[{','.join(parts)}]" if parts else method, method, settings)


def _split(text: str) -> Iterator[str]:
    """Yield what commas separate, but for those in brackets or in double quotes."""
    depth, start, quoted = 0, 0, False
    for place, letter in enumerate(text):
        quoted ^= letter == '"'
        if quoted:
            continue
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _differences(
    own: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the settings that are not the usual ones, with the sections before their names."""
    for name, value in own.items():
        if isinstance(value, Mapping):
            yield from _differences(value, usual[name], f"{prefix}{name}.")
        elif value != usual[name]:
            yield prefix + name, value


def _plain(value: Any) -> str:
    """Write a value as `--set` takes it."""
    if isinstance(value, tuple | list):
        return f"[{','.join(map(_plain, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
