# SPDX-License-Identifier: Apache-2.0
"""Predictions as a folder of files.

    predictions.json   the run, its calibration, what was left out, and one entry for each cloud
    predictions.csv    the same entries, one line each; empty where there is nothing to say
    clouds/<number>_<name>.ply   x y z as the cloud's file has them, score, and fx fy fz where the
                       method predicts a force; <number> is the cloud's in the tables
    worst.png          the clouds with the highest object scores, coloured by point score
    predictions.html   all of the table, with a view of these clouds
    SHA256SUMS         of all of these

The folder appears whole or not at all. Numbers keep all their digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from intravariance.cloud_files import write_ply_fields
from intravariance.dataset.provenance import software
from intravariance.dataset.sample_names import split_target
from intravariance.dataset.sharding.whole import is_dataset
from intravariance.errors import BackendUnavailable
from intravariance.files.atomic import write_whole
from intravariance.files.checksums import sha256_of
from intravariance.files.folders import new_folder, write_member
from intravariance.names import as_name
from intravariance.progress import say
from intravariance.tables import csv_table
from mc4ad_model.prediction.detector import Detector, ScanPrediction
from mc4ad_model.prediction.page import predictions_page
from mc4ad_model.prediction.sheet import worst_sheet
from mc4ad_model.prediction.worst import WorstClouds
from mc4ad_model.runs.run_folder import CALIBRATION

PREDICTIONS_FORMAT = "intravariance-predictions"
JSON_FILE, CSV_FILE, CLOUDS = "predictions.json", "predictions.csv", "clouds"
SHEET_FILE, PAGE_FILE = "worst.png", "predictions.html"
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

    def entry(self) -> dict[str, Any]:
        """Return it as in JSON_FILE."""
        return asdict(self) | {"notes": list(self.notes)}

    def cells(self) -> list[object]:
        """Return it as in CSV_FILE."""
        decision = None if self.anomalous is None else "yes" if self.anomalous else "no"
        changed = {"anomalous": decision, "notes": _SEPARATOR.join(self.notes)}
        return list((vars(self) | changed).values())


ROW_NAMES = [column.name for column in fields(PredictedRow)]


def write_predictions(
    out: Path,
    detector: Detector,
    predictions: Iterable[ScanPrediction],
    left_out: list[str],
    worst: WorstClouds,
    size: int,
    force: bool = False,
) -> dict[str, Any]:
    """Write predictions into a new folder as they come; return the content of JSON_FILE.

    Parameters
    ----------
    left_out
        Files that were named and are no clouds.
    worst
        Keeps the clouds that are drawn.
    size
        Pixels of each picture in the sheet.

    Raises
    ------
    InputError
        The folder cannot be written, or holds what may not be replaced.
    """
    rows: list[PredictedRow] = []
    content = header(detector, left_out)
    with new_folder(out, JSON_FILE, force) as folder:
        write_member(folder, JSON_FILE, as_json(content))  # tells whose folder this is
        for number, prediction in enumerate(predictions, start=1):
            rows.append(predicted_row(number, prediction))
            if prediction.scores is not None:
                write_member(folder, rows[-1].cloud, ply(prediction))
                worst.add(number, prediction)
        content["scans"] = [row.entry() for row in rows]
        for name, drawn in pictures(detector, content, worst, size):
            write_member(folder, name, drawn)
        write_member(folder, CSV_FILE, csv_table(ROW_NAMES, [row.cells() for row in rows]).encode())
        write_whole(folder / JSON_FILE, as_json(content))
    return content


def pictures(
    detector: Detector, content: dict[str, Any], worst: WorstClouds, size: int
) -> Iterator[tuple[str, bytes]]:
    """Draw the worst clouds: names of files and what is in them; nothing where there is no cloud.

    Without the viewer library there is no page, which is said.
    """
    name = detector.run.category
    noise = float(detector.run.identity.get("noise_sigma", 0.0))
    sheet = worst_sheet(worst.clouds, size, 3 * noise, f"{name}: highest scores")
    if sheet is None:
        return
    yield SHEET_FILE, sheet
    try:
        yield PAGE_FILE, predictions_page(f"{name}: predictions", content, worst.clouds, noise)
    except BackendUnavailable as error:
        say(f"no {PAGE_FILE}: {error}")


def cloud_file(number: int, name: str) -> str:
    """Name the PLY of a cloud: by its number, so that no two collide, and what is left of its name
    where no file system and no reader can misunderstand it."""
    path, sample = split_target(name)
    stem = sample if sample and is_dataset(path) else Path(name).stem
    return f"{CLOUDS}/{number:04d}_{as_name(stem) or 'cloud'}.ply"


def header(detector: Detector, left_out: list[str]) -> dict[str, Any]:
    """Return the content of JSON_FILE before a scan is scored."""
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
        "thinning": detector.thinning.to_dict(),
        "calibration": calibration,
        "false_alarms": detector.rate,
        "threshold": detector.threshold(judge),
        "left_out": left_out,
        "software": software("numpy", "scipy"),
        "scans": [],
    }


def predicted_row(number: int, prediction: ScanPrediction) -> PredictedRow:
    """Return the row of a prediction in the tables."""
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


def read_row(cells: Sequence[str]) -> PredictedRow:
    """Return the row that `PredictedRow.cells` wrote as text. Raises ValueError for others."""
    given = dict(zip(ROW_NAMES, cells, strict=True))
    decisions = {"": None, "yes": True, "no": False}
    if given["anomalous"] not in decisions:
        raise ValueError(f"anomalous is {given['anomalous']!r}")

    def number(name: str) -> float | None:
        return float(given[name]) if given[name] else None

    return PredictedRow(
        number=int(given["number"]),
        file=given["file"],
        points=int(given["points"]) if given["points"] else None,
        object_score=number("object_score"),
        p_value=number("p_value"),
        anomalous=decisions[given["anomalous"]],
        seconds=float(given["seconds"]),
        cloud=given["cloud"],
        notes=tuple(filter(None, given["notes"].split(_SEPARATOR))),
        error=given["error"],
    )


def ply(prediction: ScanPrediction) -> bytes:
    """Write a scored cloud with what is known of its points, as a PLY file."""
    assert prediction.points is not None and prediction.scores is not None
    values = {"score": prediction.scores}
    if prediction.force is not None:
        values |= dict(zip(("fx", "fy", "fz"), prediction.force.T, strict=True))
    return write_ply_fields(prediction.points, values)


def as_json(content: dict[str, Any]) -> bytes:
    """Write JSON that a person can read."""
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
