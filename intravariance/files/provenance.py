# SPDX-License-Identifier: Apache-2.0
"""provenance.json: of what, by which command and with which software a folder was made.

An in-toto statement, version 1 (https://in-toto.io/Statement/v1), with the SLSA provenance
predicate, version 1 (https://slsa.dev/provenance/v1):

    subject               each file of the folder, with its SHA-256
    buildDefinition       buildType: the kind of folder; externalParameters: the command that makes
                          it again, and its options; resolvedDependencies: what it was made from,
                          and the packages that took part, as package URLs
    runDetails            builder: iv, with the versions of iv and Python

Times and names of machines are left out, which the predicate allows: the same command gives the
same bytes. Nobody signs it: it says how to make a folder again, and proves nothing about who did.
SHA256SUMS lists it with the other files.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from intravariance.errors import IntegrityError
from intravariance.files.checksums import digests_of, sha256_of, write_list
from intravariance.files.folders import write_member

PROVENANCE = "provenance.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
_OURS = "urn:intravariance"


@dataclass(frozen=True)
class Material:
    """A file that a folder was made from.

    name : of the file, without its folder. sha256 : of its bytes, None where it is not at hand.
    content_digest : of a dataset file's content, "" of other files. made_by : the command that
    makes it, "" where that is not known.
    """

    name: str
    sha256: str | None
    content_digest: str = ""
    made_by: str = ""

    def described(self) -> dict[str, Any]:
        """Return its resource descriptor, which has a digest or a URI."""
        told = {"contentDigest": self.content_digest, "madeBy": self.made_by}
        notes = {key: value for key, value in told.items() if value}
        known: dict[str, Any] = (
            {"digest": {"sha256": self.sha256}}
            if self.sha256
            else {"uri": f"{_OURS}:content:{self.content_digest}"}
        )
        return {"name": self.name, **known, **({"annotations": notes} if notes else {})}


@dataclass(frozen=True)
class Making:
    """How a folder was made.

    kind : of folder, such as "export". command : words of the command that makes it again.
    options : its parameters as plain values. materials : what it was made from. software : versions
    of the packages that took part, by name, "iv" and "python" among them.
    """

    kind: str
    command: Sequence[str]
    options: Mapping[str, Any]
    materials: Sequence[Material]
    software: Mapping[str, str]

    def statement(self, digests: Mapping[str, str]) -> dict[str, Any]:
        """Return the statement about files. digests : SHA-256 by name."""
        builder = {name: self.software[name] for name in ("iv", "python")}
        others = {name: v for name, v in self.software.items() if name not in builder}
        packages = [{"uri": f"pkg:pypi/{name}@{quote(v)}"} for name, v in others.items()]
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": n, "digest": {"sha256": d}} for n, d in digests.items()],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": f"{_OURS}:{self.kind}:v1",
                    "externalParameters": {"command": shlex.join(self.command), **self.options},
                    "resolvedDependencies": [
                        *(material.described() for material in self.materials),
                        *packages,
                    ],
                },
                "runDetails": {"builder": {"id": f"{_OURS}:iv", "version": builder}},
            },
        }


def write_provenance(folder: Path, making: Making) -> dict[str, str]:
    """Write provenance.json about all files of a folder, then SHA256SUMS; return name -> digest.

    Raises InputError for a name that a line of SHA256SUMS cannot hold.
    """
    digests = digests_of(folder)
    text = json.dumps(making.statement(digests), indent=1, allow_nan=False) + "\n"
    write_member(folder, PROVENANCE, text.encode())
    digests[PROVENANCE] = sha256_of(folder / PROVENANCE)
    write_list(folder, digests)
    return digests


def read_subjects(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the files that a folder's provenance.json is about.

    Raises IntegrityError where it is damaged, or no statement of this kind.
    """
    path = folder / PROVENANCE
    try:
        content = json.loads(path.read_bytes())
        if (content["_type"], content["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise ValueError("its types are others")
        return {str(one["name"]): str(one["digest"]["sha256"]) for one in content["subject"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise IntegrityError(
            f"{path}: expected an in-toto statement with SLSA provenance: {error!r}"
        ) from error
