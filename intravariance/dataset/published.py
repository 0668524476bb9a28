# SPDX-License-Identifier: Apache-2.0
"""The digests of the published builds, and how a file compares with them.

`specifications/published_digests.toml` has one table [[build]] for each: Groups 1 and 2, seed 0, at
both readings of the paper's noise. `python tools/publish_digests.py` writes it. The digests hold on
every x86-64 processor, so another digest from the same settings means other software, or a fault.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from intravariance.dataset.schema import canonical_json

# Software that a build's bytes can depend on besides our own, by its name in a file's metadata.
DECISIVE = ("blender", "numpy", "scipy", "point-cloud-utils")


@dataclass(frozen=True)
class PublishedBuild:
    """A published build.

    title : what it is, e.g. "Group 2, seed 0, noise variance 0.002". command : that makes it.
    identity : SHA-256 of what decides its content, see `identity_digest`. digest : its content
    digest. software : versions that made it, by name.
    """

    title: str
    command: str
    identity: str
    digest: str
    software: Mapping[str, str]


@dataclass(frozen=True)
class Comparison:
    """How a file compares with the published builds.

    build : the one with its settings, None where there is none. same : whether the file has its
    digest. message : both in words, with what else differs.
    """

    build: PublishedBuild | None
    same: bool
    message: str


def identity_digest(identity: Mapping[str, Any]) -> str:
    """Compute the SHA-256 hex digest of what decides a dataset's content (`metadata["identity"]`).

    Title and aliases of a specification count too: they are in the content digest.
    """
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()


@lru_cache
def published_builds() -> tuple[PublishedBuild, ...]:
    """Read the published builds."""
    resource = files("intravariance.dataset") / "specifications" / "published_digests.toml"
    content = tomllib.loads(resource.read_text(encoding="utf-8"))
    return tuple(PublishedBuild(**build) for build in content["build"])


def compare(
    metadata: Mapping[str, Any], digest: str, builds: Sequence[PublishedBuild] | None = None
) -> Comparison:
    """Compare a dataset with the published builds.

    metadata, digest : of the dataset (`Dataset.metadata`, `Dataset.digest`). builds : other ones
    than the published.
    """
    builds = published_builds() if builds is None else builds
    identity = identity_digest(metadata["identity"])
    build = next((build for build in builds if build.identity == identity), None)
    if build is None:
        known = "; ".join(build.title for build in builds) or "none"
        return Comparison(None, False, f"no published build has its settings; published: {known}")
    if build.digest == digest:
        return Comparison(build, True, f"the published build: {build.title}")
    found = metadata.get("software", {})
    other = [
        f"{name} {found.get(name, 'unknown')} (published: {build.software[name]})"
        for name in DECISIVE
        if name in build.software and found.get(name) != build.software[name]
    ]
    reason = (
        "it was made with " + ", ".join(other)
        if other
        else "with the same software, so one of the two was made by other code, or is at fault"
    )
    message = f"not the published build ({build.title}, {build.digest[:16]}...): {reason}"
    return Comparison(build, False, message)
