# SPDX-License-Identifier: Apache-2.0
"""`manifest.json` of a folder of clouds given out for labelling.

    {"format": "iv-labels", "version": 1,
     "dataset": content digest of the dataset file,
     "frame": "upright" (pose undone) or "stored",
     "blind": true when all labels were given out as 0,
     "clouds": {sample id: {"file", "sha256" of it as given out, "sample": digest, "points"}}}

A cloud is `<sample id>.<ply|txt|...>` beside it: x y z, normals, and the scalar field `label`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from intravariance.dataset.schema import canonical_json
from intravariance.errors import InputError

MANIFEST = "manifest.json"
MANIFEST_FORMAT, MANIFEST_VERSION = "iv-labels", 1
CloudFrame = Literal["upright", "stored"]
CLOUD_FRAMES: tuple[CloudFrame, ...] = ("upright", "stored")


@dataclass(frozen=True)
class GivenCloud:
    """One cloud. file : its name; sha256 : of the file as it was given out; sample : digest of the
    sample in the dataset; points : how many."""

    file: str
    sha256: str
    sample: str
    points: int


@dataclass(frozen=True)
class Manifest:
    """The content of a folder that is given out. clouds : by sample id, in the dataset's order."""

    dataset: str
    frame: CloudFrame
    blind: bool
    clouds: dict[str, GivenCloud]

    def to_bytes(self) -> bytes:
        """Return the bytes of the file."""
        content = {"format": MANIFEST_FORMAT, "version": MANIFEST_VERSION, **asdict(self)}
        canonical_json(content)  # refuses what JSON has not
        return (json.dumps(content, indent=1) + "\n").encode()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder. Raises InputError when there is none, or it is not ours."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; expected a folder made by `iv labels export`, which has one"
        )
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != MANIFEST_FORMAT or content["version"] != MANIFEST_VERSION:
            raise InputError(
                f"{path}: has format {content['format']!r} version {content['version']!r}, "
                f"expected {MANIFEST_FORMAT!r} version {MANIFEST_VERSION}"
            )
        return _checked(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: damaged ({type(error).__name__}: {error}); take the one that "
            "`iv labels export` wrote"
        ) from error


def _checked(content: dict[str, Any]) -> Manifest:
    clouds = {}
    for id, entry in content["clouds"].items():
        cloud = GivenCloud(**entry)
        texts = (cloud.file, cloud.sha256, cloud.sample)
        if not all(isinstance(text, str) for text in texts) or type(cloud.points) is not int:
            raise ValueError(f"clouds.{id}")
        clouds[id] = cloud
    if content["frame"] not in CLOUD_FRAMES or type(content["blind"]) is not bool:
        raise ValueError("frame or blind")
    return Manifest(str(content["dataset"]), content["frame"], content["blind"], clouds)
