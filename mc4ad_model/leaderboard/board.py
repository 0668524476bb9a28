# SPDX-License-Identifier: Apache-2.0
"""A leaderboard: what was compared on which file, and its folder.

OUT/
  leaderboard.json     which data; rows, figures and comparisons once it is done
  leaderboard.lock     held while one is made
  leaderboard.md, .csv, .tex, .html
  runs/ROW/seed-SEED/CATEGORY/             as `iv train` writes it
  runs/ROW/seed-SEED/CATEGORY/evaluation/  as `iv evaluate` writes it: every score
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.files.locks import held as lock_held
from mc4ad_model.evaluation.results import describe
from mc4ad_model.leaderboard.comparing import Comparison
from mc4ad_model.leaderboard.published import Published
from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.leaderboard.standings import MEASURES, Standing
from mc4ad_model.methods.saved_files import read_json, reading, write_json, writing
from mc4ad_model.methods.templates import Track

LEADERBOARD_FORMAT = "intravariance-leaderboard"
RECORD, LOCK = "leaderboard.json", "leaderboard.lock"


@dataclass(frozen=True)
class Board:
    """The content of a leaderboard.

    dataset : see `describe`. noise_sigma : of the file. at_once : jobs that ran side by side.
    published : of the paper, on another file.
    """

    dataset: Mapping[str, str]
    noise_sigma: float
    track: Track
    seeds: tuple[int, ...]
    categories: tuple[str, ...]
    standings: tuple[Standing, ...]
    comparisons: tuple[Comparison, ...]
    published: tuple[Published, ...]
    at_once: int
    folder: Path

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [one.row for one in self.standings]

    @property
    def working(self) -> list[Standing]:
        """The rows that work."""
        return [one for one in self.standings if not one.fault]

    @property
    def failed(self) -> list[Standing]:
        """The rows that do not."""
        return [one for one in self.standings if one.fault]

    @property
    def machines(self) -> list[str]:
        """The machines that times were measured on, as far as they are known."""
        return sorted({name for one in self.standings for name in one.machines})

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            **_identity(self.dataset, self.track),
            "noise_sigma": self.noise_sigma,
            "seeds": list(self.seeds),
            "categories": list(self.categories),
            "at_once": self.at_once,
            "rows": {one.row.name: _row(one) for one in self.standings},
            "comparisons": [asdict(one) for one in self.comparisons],
            "published": [asdict(one) for one in self.published],
        }


def outcome_of(
    row: Row, seeds: Sequence[int], done: Mapping[tuple[str, int], Mapping[str, Any]],
    faults: Mapping[tuple[str, int], str],
) -> Standing:  # fmt: skip
    """Put together what the jobs of a row gave; one that failed makes the row one that fails."""
    own = [seed for seed in seeds if (row.name, seed) in done]
    if failed := [seed for seed in own if (row.name, seed) in faults]:
        reason = faults[row.name, failed[0]]
        some = f"seed {', '.join(map(str, failed))}: " if len(own) > 1 else ""
        return Standing(row, {}, f"{some}{reason}")
    measured = {(seed, name): m for seed in own for name, m in done[row.name, seed].items()}
    return Standing(row, measured)


@contextmanager
def held(out: Path, dataset: Dataset, track: Track) -> Iterator[None]:
    """Hold the folder of a leaderboard, which is made if it is not there.

    Raises
    ------
    InputError
        It holds other files or a leaderboard of other data, another process makes one there, or it
        cannot be written.
    """
    record = out / RECORD
    with writing(record):
        out.mkdir(parents=True, exist_ok=True)
    _check_record(out, dataset, track)  # nothing is put into somebody's folder
    busy = (
        f"--out {out}: another process makes a leaderboard there; wait for it, or choose another "
        "folder"
    )
    with lock_held(out / LOCK, busy):
        _check_record(out, dataset, track)
        if not record.exists():
            write_json(record, _identity(describe(dataset), track))
        yield


def _check_record(out: Path, dataset: Dataset, track: Track) -> None:
    record = out / RECORD
    if not record.is_file():
        others = [p.name for p in out.iterdir() if p.name != LOCK and p.suffix != ".partial"]
        if others:
            raise InputError(
                f"--out {out}: holds other files ({', '.join(sorted(others)[:3])}), and no "
                "leaderboard; choose another folder"
            )
        return
    with reading():
        found = read_json(record, LEADERBOARD_FORMAT)
    theirs, own = found.get("dataset"), describe(dataset)
    digest = theirs.get("digest") if isinstance(theirs, dict) else None
    if digest != own["digest"]:
        raise InputError(
            f"--out {out}: holds a leaderboard of other data (content digest {digest}; "
            f"{dataset.path} has {own['digest']}); choose another folder"
        )
    if found.get("track") != track:
        raise InputError(
            f"--out {out}: holds a leaderboard of the track {found.get('track')}, not {track}; "
            "choose another folder"
        )


def _identity(dataset: Mapping[str, str], track: Track) -> dict[str, Any]:
    return {
        "format": LEADERBOARD_FORMAT,
        "version": 1,
        "dataset": dict(dataset),
        "track": track,
    }


def _row(standing: Standing) -> dict[str, Any]:
    row = standing.row
    content: dict[str, Any] = {
        "method": row.method,
        "settings": row.settings.to_mapping(),
        "baseline": row.baseline,
        "seeds": standing.seeds,
        "seeded": row.seeded,
        "frame": row.frame or None,
    }
    if standing.fault:
        return {**content, "not_working": standing.fault}
    spreads = {name: standing.spread(value) for name, value in MEASURES.items()}
    return {
        **content,
        "means": {name: asdict(s) if s is not None else None for name, s in spreads.items()},
        "fit_seconds": standing.fit_seconds,
        "parameters": standing.parameters,
        "memory_bytes": standing.memory,
        "machines": standing.machines,
        "label": standing.label or None,
        "in_doubt": standing.in_doubt,
    }
