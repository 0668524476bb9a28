# SPDX-License-Identifier: Apache-2.0
"""The `iv train` command that makes runs again, from what their run.json says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from intravariance.errors import InputError
from mc4ad_model.methods import DEFAULT_METHOD
from mc4ad_model.methods.settings import Settings
from mc4ad_model.runs.run_folder import Run

_WORD = re.compile(r"[A-Za-z_][\w.-]*")
_NO_WORDS = ("true", "false", "inf", "nan")  # of TOML


def training_command(runs: Sequence[Run]) -> list[str]:
    """Return the words of the command that trains these runs again.

    runs : of one method, with the same settings, seed and data. The dataset file is called after
    its specification, since a run knows its digest alone; other files and folders have their names
    without the folders that they were in (`portable`).
    """
    run = runs[0]
    words = ["iv", "train", dataset_name(run)]
    words += [] if run.method == DEFAULT_METHOD else ["--method", run.method]
    words += _settings_options(run.settings)
    words += ["--track", run.track, "--seed", str(run.seed)]
    words += [word for one in runs for word in ("--category", one.category)]
    return [*words, "--out", "RUN"]


def dataset_name(run: Run) -> str:
    """Name the dataset file that a run was trained on, after its specification."""
    name = run.identity.get("specification", {}).get("name", "dataset")
    return f"{name}.h5"


def portable(value: Any) -> Any:
    """Return a setting without the folders of a file or folder that it names."""
    return PurePath(value).name if isinstance(value, str) and "/" in value else value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return "section.key" -> value of settings as plain values, in their order."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _settings_options(settings: Settings) -> list[str]:
    """Return --preset and --set: the preset that is named, where there is one that is known, and
    what differs from it."""
    own = flat(settings.to_mapping())
    preset = own.pop("preset", None)
    try:
        base = flat(type(settings).load(preset).to_mapping())
    except InputError:
        preset = None
    if preset is None or Path(preset).is_file():  # a file of somebody's, here or elsewhere
        preset, base = None, flat(type(settings).load(None).to_mapping())
    changes = [f"{name}={_toml(portable(v))}" for name, v in own.items() if v != base.get(name)]
    words = ["--preset", preset] if preset else []
    return [*words, *(word for change in changes for word in ("--set", change))]


def _toml(value: Any) -> str:
    """Write a value as `--set` reads it."""
    if isinstance(value, str):
        plain = _WORD.fullmatch(value) and value not in _NO_WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
