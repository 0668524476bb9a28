# SPDX-License-Identifier: Apache-2.0
"""Predictions as a folder that grows while scans arrive, and is continued when it is there.

The files are those of `results`, and `predictions.json` names the folders that are watched. The PLY
of a scan is written first, then its row is appended to the CSV and flushed to the disk: what a
killed process leaves is cut back to whole rows. The JSON, the picture and the page follow
(`refresh`), each whole at any time; SHA256SUMS is there between two watches.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from intravariance.cloud_files.ply_format import PLY_ERRORS, PlyBody, read_header
from intravariance.errors import InputError
from intravariance.files.atomic import write_whole
from intravariance.files.checksums import NAME, write_checksums
from intravariance.files.locks import held
from intravariance.tables import csv_table
from mc4ad_model.methods.saved_files import read_json
from mc4ad_model.prediction.detector import Detector, ScanPrediction
from mc4ad_model.prediction.results import (
    CLOUDS,
    CSV_FILE,
    JSON_FILE,
    PREDICTIONS_FORMAT,
    ROW_NAMES,
    PredictedRow,
    as_json,
    header,
    pictures,
    ply,
    predicted_row,
    read_row,
)
from mc4ad_model.prediction.worst import WorstClouds

_SAME = ("run", "length", "calibration", "false_alarms")


class GrowingResults:
    """See the module. rows : of all scans so far. stale : whether `refresh` has something to do."""

    def __init__(
        self, out: Path, detector: Detector, folders: Sequence[Path], worst: WorstClouds, size: int
    ) -> None:
        self.out, self.detector, self.worst, self.size = out, detector, worst, size
        self.content = header(detector, []) | {"watched": [str(folder) for folder in folders]}
        self.rows: list[PredictedRow] = []
        self.since = 0  # when the last row was written, nanoseconds
        self.stale = True
        if (out / JSON_FILE).is_file():
            self._continue()
        elif out.exists() and any(out.iterdir()):
            raise InputError(f"--out {out}: the folder holds other files; choose another name")
        else:
            (out / CLOUDS).mkdir(parents=True, exist_ok=True)
            write_whole(out / JSON_FILE, as_json(self.content))  # tells whose folder this is
            self._write_table()
        (out / NAME).unlink(missing_ok=True)

    def add(self, prediction: ScanPrediction) -> PredictedRow:
        """Write a scan's PLY and its row; return that."""
        row = predicted_row(len(self.rows) + 1, prediction)
        if prediction.scores is not None:
            write_whole(self.out / row.cloud, ply(prediction))
            self.worst.add(row.number, prediction)
        _, _, line = csv_table(ROW_NAMES, [row.cells()]).partition("\n")
        with open(self.out / CSV_FILE, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)
        self.stale = True
        return row

    def refresh(self, left_out: list[str]) -> None:
        """Write the JSON, the picture and the page again."""
        self.content |= {"left_out": left_out, "scans": [row.entry() for row in self.rows]}
        for name, drawn in pictures(self.detector, self.content, self.worst, self.size):
            write_whole(self.out / name, drawn)
        write_whole(self.out / JSON_FILE, as_json(self.content))
        self.stale = False

    def _write_table(self) -> None:
        table = csv_table(ROW_NAMES, [row.cells() for row in self.rows])
        write_whole(self.out / CSV_FILE, table.encode())

    def _continue(self) -> None:
        """Take up what an earlier watch left."""
        before = read_json(self.out / JSON_FILE, PREDICTIONS_FORMAT)
        now = json.loads(as_json(self.content))
        if "watched" not in before:
            raise InputError(f"--out {self.out} exists, and is of no watch. Choose another name.")
        if different := [name for name in _SAME if before.get(name) != now[name]]:
            raise InputError(
                f"--out {self.out}: is of another run, or of other options "
                f"({', '.join(different)}). Choose another name."
            )
        if not (self.out / CSV_FILE).exists():  # killed as it began
            self._write_table()
        self.since = (self.out / CSV_FILE).stat().st_mtime_ns
        self.rows, whole = _read_table(self.out / CSV_FILE)
        if not whole:
            self._write_table()
        scored = sorted((r for r in self.rows if r.cloud), key=lambda r: -(r.object_score or 0))
        for row in scored[: self.worst.count]:
            if (prediction := _read_cloud(self.out, row)) is not None:
                self.worst.add(row.number, prediction)


@contextmanager
def growing_results(
    out: Path, detector: Detector, folders: Sequence[Path], worst: WorstClouds, size: int
) -> Iterator[GrowingResults]:
    """Open or continue a folder; it gets SHA256SUMS when the block ends without an error.

    Raises
    ------
    InputError
        It holds other files, results of another run, or what cannot be read; another process
        writes there; or the disk refuses.
    """
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.parent} does not exist")
    with held(out.with_name(f"{out.name}.lock"), f"another process is writing {out}"):
        try:
            results = GrowingResults(out, detector, folders, worst, size)
            yield results
            write_checksums(out)
        except OSError as error:
            raise InputError(f"--out {out} cannot be written ({error})") from error


def _read_table(path: Path) -> tuple[list[PredictedRow], bool]:
    """Return the rows, and whether the last one was written to its end; it is left out if not."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = list(csv.reader(io.StringIO(text, newline="")))
    if not lines or lines[0] != ROW_NAMES:
        raise InputError(f"{path}: expected a heading {','.join(ROW_NAMES)}")
    whole = text.endswith("\n") and len(lines[-1]) == len(ROW_NAMES)
    rows = lines[1:] if whole else lines[1:-1]
    try:
        return [read_row(cells) for cells in rows], whole
    except ValueError as error:
        raise InputError(f"{path}: a row cannot be read ({error}); move the folder away") from error


def _read_cloud(out: Path, row: PredictedRow) -> ScanPrediction | None:
    """Return a scan's prediction from its PLY; None where that is gone or damaged."""
    try:
        data = (out / row.cloud).read_bytes()
        found = read_header(data)
        (vertex,) = found.elements
        columns: dict[str, Any] = PlyBody(data[found.end :], found.order).table(
            vertex.count, vertex.properties
        )
        points = np.stack([columns[axis] for axis in "xyz"], axis=1)
        force = None
        if "fx" in columns:
            force = np.stack([columns[f"f{axis}"] for axis in "xyz"], axis=1).astype(np.float32)
        scores = columns["score"].astype(np.float32)
    except (OSError, InputError, *PLY_ERRORS):
        return None
    about = ("file", "seconds", "object_score", "p_value", "anomalous", "notes")
    values = {name: getattr(row, name) for name in about}
    return ScanPrediction(points=points, scores=scores, force=force, **values)
