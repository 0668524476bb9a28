# SPDX-License-Identifier: Apache-2.0
"""Predictions as a folder of files.

    predictions.json   the run, its calibration, what was left out, and one entry for each cloud
    predictions.csv    the same entries, one line each; empty where there is nothing to say
    clouds/<number>_<name>.ply   x y z as the cloud's file has them, score, and fx fy fz where the
                       method predicts a force; <number> is the cloud's in the tables
    worst.png          the clouds with the highest object scores, coloured by point score
    SHA256SUMS         of all of these

The folder appears whole or not at all. Numbers keep all their digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intravariance.cloud_files import write_ply_fields
from intravariance.dataset.provenance import software
from intravariance.files.atomic import write_whole
from intravariance.files.checksums import sha256_of
from intravariance.files.folders import new_folder, write_member
from intravariance.names import as_name
from intravariance.tables import csv_table
from mc4ad_model.prediction.detector import Detector, ScanPrediction
from mc4ad_model.prediction.sheet import WorstClouds
from mc4ad_model.runs.run_folder import CALIBRATION

PREDICTIONS_FORMAT = "intravariance-predictions"
JSON_FILE, CSV_FILE, SHEET_FILE, CLOUDS = (
    "predictions.json",
    "predictions.csv",
    "worst.png",
    "clouds",
)
_SEPARATOR = "; "  # of notes in a cell of the CSV


@dataclass(frozen=True)
class PredictedRow:
    """One cloud in the tables: see `ScanPrediction`.

    number : from 1, in the order of naming. points : number of them, None where there is an error.
    cloud : name of its PLY in the folder, "" where there is an error.
    """

    number: int
    file: str
    points: int | None
    object_score: float | None
    p_value: float | None
    anomalous: bool | None
    seconds: float
    cloud: str
    notes: tuple[str, ...]
    error: str


def write_predictions(
    out: Path,
    detector: Detector,
    predictions: Iterable[ScanPrediction],
    left_out: list[str],
    worst: WorstClouds,
    force: bool = False,
) -> dict[str, Any]:
    """Write predictions into a new folder as they come; return the content of JSON_FILE.

    Parameters
    ----------
    left_out
        Files that were named and are no clouds.
    worst
        What draws the sheet.

    Raises
    ------
    InputError
        The folder cannot be written, or holds what may not be replaced.
    """
    rows: list[PredictedRow] = []
    content = _header(detector, left_out)
    with new_folder(out, JSON_FILE, force) as folder:
        write_member(folder, JSON_FILE, _json(content))  # tells whose folder this is
        for number, prediction in enumerate(predictions, start=1):
            rows.append(_row(number, prediction))
            if prediction.scores is not None:
                write_member(folder, rows[-1].cloud, _ply(prediction))
                worst.add(number, prediction)
        if (sheet := worst.sheet()) is not None:
            write_member(folder, SHEET_FILE, sheet)
        content["scans"] = [asdict(row) | {"notes": list(row.notes)} for row in rows]
        cells = [_cells(row) for row in rows]
        write_member(folder, CSV_FILE, csv_table(list(vars(rows[0])), cells).encode())
        write_whole(folder / JSON_FILE, _json(content))
    return content


def cloud_file(number: int, name: str) -> str:
    """Name the PLY of a cloud: by its number, so that no two collide, and what is left of its name
    where no file system and no reader can misunderstand it."""
    stem = Path(name).stem if ".h5:" not in name.lower() else name.rpartition(":")[2]
    return f"{CLOUDS}/{number:04d}_{as_name(stem) or 'cloud'}.ply"


def _header(detector: Detector, left_out: list[str]) -> dict[str, Any]:
    run, judge = detector.run, detector.judge()
    calibration = None
    if judge.normal is not None:
        calibration = {
            "products": len(judge.normal),
            "sha256": sha256_of(run.folder / CALIBRATION),
            "conditions": judge.conditions,
        }
    return {
        "format": PREDICTIONS_FORMAT,
        "version": 1,
        "run": {
            "category": run.category,
            "method": run.method,
            "preset": run.settings.label,
            "seed": run.seed,
            "track": run.track,
            "data_digest": run.data_digest,
        },
        "length": detector.length,
        "calibration": calibration,
        "false_alarms": detector.rate,
        "threshold": detector.threshold(judge),
        "left_out": left_out,
        "software": software("numpy", "scipy"),
        "scans": [],
    }


def _row(number: int, prediction: ScanPrediction) -> PredictedRow:
    scores = prediction.scores
    return PredictedRow(
        number=number,
        file=prediction.file,
        points=None if scores is None else len(scores),
        object_score=prediction.object_score,
        p_value=prediction.p_value,
        anomalous=prediction.anomalous,
        seconds=prediction.seconds,
        cloud="" if scores is None else cloud_file(number, prediction.file),
        notes=prediction.notes,
        error=prediction.error,
    )


def _cells(row: PredictedRow) -> list[object]:
    decision = None if row.anomalous is None else "yes" if row.anomalous else "no"
    changed = {"anomalous": decision, "notes": _SEPARATOR.join(row.notes)}
    return list((vars(row) | changed).values())


def _ply(prediction: ScanPrediction) -> bytes:
    assert prediction.points is not None and prediction.scores is not None
    fields = {"score": prediction.scores}
    if prediction.force is not None:
        fields |= dict(zip(("fx", "fy", "fz"), prediction.force.T, strict=True))
    return write_ply_fields(prediction.points, fields)


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
