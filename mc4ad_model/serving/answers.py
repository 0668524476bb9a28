# SPDX-License-Identifier: Apache-2.0
"""The service's answer to one cloud: bytes go in, a status and bytes come out.

Nothing is opened: a cloud is parsed from the bytes that came, by a suffix of a list of ours.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from intravariance.cloud_files import SUFFIXES, parse_cloud
from intravariance.looking.page import pack_cloud
from mc4ad_model.prediction.clouds import NamedCloud, Points
from mc4ad_model.prediction.detector import Detector, ScanPrediction
from mc4ad_model.prediction.page import POINTS
from mc4ad_model.prediction.results import ply
from mc4ad_model.prediction.worst import thinned

Format = Literal["json", "ply", "view"]
KINDS = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
Body = bytes | bytearray  # of a request
_NAME = "upload"


@dataclass(frozen=True)
class Job:
    """kind : one of KINDS. format : of the answer; "view" is JSON with what the page shows.
    scores : whether JSON has those of the points. most_points : a cloud of more is refused."""

    kind: str
    format: Format = "json"
    scores: bool = False
    most_points: int = 2_000_000

    def packed(self) -> bytes:
        """Return it as bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> Job:
        """Read what `packed` wrote."""
        return cls(**json.loads(data))


@dataclass(frozen=True)
class Answer:
    """status : of HTTP. body : of the media type. headers : more of them. points, anomalous : of
    the cloud, for what is counted."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    points: int = 0
    anomalous: bool = False

    def packed(self) -> tuple[bytes, bytes]:
        """Return it as bytes: all but the body, and the body."""
        about = {name: value for name, value in vars(self).items() if name != "body"}
        return json.dumps(about).encode(), self.body

    @classmethod
    def unpacked(cls, about: bytes, body: bytes) -> Answer:
        """Read what `packed` wrote."""
        return cls(body=body, **json.loads(about))


class _TooManyPoints(Exception):
    """A cloud has more points than are scored."""


def refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that says why there is no other."""
    return Answer(status, _json({"error": reason}), headers=headers or {})


def answer(detector: Detector, job: Job, data: bytes) -> Answer:
    """Score the cloud in the bytes of a file: 200, or 413 or 422 with a reason."""
    if job.kind not in KINDS:
        return refusal(415, f"kind {job.kind!r}: expected one of {' '.join(KINDS)}")
    name = f"{_NAME}.{job.kind}"
    try:
        found = detector.predict(NamedCloud(name, partial(_parsed, data, name, job.most_points)))
    except _TooManyPoints as error:
        return refusal(413, str(error))
    except MemoryError:
        return refusal(413, "the cloud takes more memory than there is; thin it out")
    if found.error:
        return refusal(422, found.error)
    assert found.scores is not None
    points, anomalous = len(found.scores), bool(found.anomalous)
    if job.format == "ply":
        return Answer(200, ply(found), "application/ply", _headers(found), points, anomalous)
    content = _content(detector, found)
    if job.scores:
        content["scores"] = found.scores.tolist()
    if job.format == "view":
        content["view"] = _view(found, float(detector.run.identity.get("noise_sigma", 0.0)))
    return Answer(200, _json(content), points=points, anomalous=anomalous)


def _parsed(data: bytes, name: str, most: int) -> tuple[Points, tuple[str, ...]]:
    cloud = parse_cloud(data, name)
    if len(cloud.points) > most:
        raise _TooManyPoints(
            f"the cloud has {len(cloud.points):,} points; at most {most:,} are scored: thin it out"
        )
    return cloud.points, cloud.notes


def _content(detector: Detector, found: ScanPrediction) -> dict[str, Any]:
    return {
        "category": detector.run.category,
        "object_score": found.object_score,
        "p_value": found.p_value,
        "anomalous": found.anomalous,
        "false_alarms": detector.rate,
        "threshold": detector.threshold(detector.judge()),
        "points": len(cast(Points, found.points)),
        "seconds": found.seconds,
        "notes": list(found.notes),
    }


def _headers(found: ScanPrediction) -> dict[str, str]:
    known = {
        "X-Object-Score": found.object_score,
        "X-P-Value": found.p_value,
        "X-Anomalous": None if found.anomalous is None else str(found.anomalous).lower(),
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def _view(found: ScanPrediction, noise: float) -> dict[str, Any]:
    """Return what `iv.add` of the page takes. noise : as of `ShownCloud.labelled`."""
    cloud = thinned(1, found, POINTS).labelled(noise=noise)
    about, packed = pack_cloud(cloud, np.arange(len(cloud.points)))
    return {"about": about, "data": base64.b64encode(zlib.compress(packed)).decode()}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False).encode()
