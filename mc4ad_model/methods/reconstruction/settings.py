# SPDX-License-Identifier: Apache-2.0
"""Settings with presets: a small one, the default, and the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from intravariance.errors import InputError
from mc4ad_model.methods.settings import Settings, parse_change

SMALL, PAPER = "small", "paper"


class PresetSettings(Settings):
    """The base of settings whose defaults are a small preset.

    A subclass gives what the paper's preset has instead.
    """

    paper: ClassVar[Mapping[str, Any]]

    @classmethod
    def load(cls, preset: str | None = None, changes: Sequence[str] = ()) -> Self:
        """Give a preset with some values changed.

        Parameters
        ----------
        preset
            "small" or "paper"; None for small.
        changes
            "key=value", as of `Settings.load`.

        Raises
        ------
        InputError
            There is no such preset or key, or a value is not allowed.
        """
        if preset not in (None, SMALL, PAPER):
            raise InputError(f"--preset {preset}: expected {SMALL} or {PAPER}")
        values = dict(cls.paper) if preset == PAPER else {}
        values |= dict(parse_change(change, "KEY=VALUE") for change in changes)
        return cls.from_mapping(values, f"--set {', '.join(changes)}")

    @property
    def size(self) -> str:
        """ "-paper" where all values of that preset are set, else ""."""
        own = self.to_mapping()
        return f"-{PAPER}" if all(own[k] == v for k, v in self.paper.items()) else ""
