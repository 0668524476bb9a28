# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from intravariance.errors import IntegrityError
from intravariance.files.checksums import read_checksums, sha256_of
from intravariance.files.provenance import (
    PROVENANCE,
    Making,
    Material,
    read_subjects,
    write_provenance,
)
from intravariance.verification.folder import folder_problems

MAKING = Making(
    kind="export",
    command=["iv", "export", "my data.h5", "--out", "FOLDER"],
    options={"layout": "hf-parquet"},
    materials=[
        Material("my data.h5", "a" * 64, "b" * 64, "iv build --group 2"),
        Material("gone.h5", None, "c" * 64),
    ],
    software={"iv": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu"},
)
DIGEST = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    return tmp_path


def check_against_the_specifications(statement: dict[str, Any]) -> None:
    """Check the required fields, and that no other is there: in-toto Statement v1 and
    ResourceDescriptor, SLSA v1 provenance.cue."""
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert set(statement["predicate"]) == {"buildDefinition", "runDetails"}
    build, run = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert set(build) <= {
        "buildType", "externalParameters", "internalParameters", "resolvedDependencies"
    }  # fmt: skip
    assert ":" in build["buildType"] and isinstance(build["externalParameters"], dict)
    assert set(run) <= {"builder", "metadata", "byproducts"}
    assert set(run["builder"]) <= {"id", "version", "builderDependencies"}
    assert ":" in run["builder"]["id"]
    assert all(isinstance(v, str) for v in run["builder"]["version"].values())
    for subject in statement["subject"]:
        assert subject["name"] and DIGEST.fullmatch(subject["digest"]["sha256"])
    for resource in [*statement["subject"], *build["resolvedDependencies"]]:
        assert set(resource) <= {
            "uri", "digest", "name", "downloadLocation", "mediaType", "content", "annotations"
        }  # fmt: skip
        assert {"uri", "digest", "content"} & set(resource)


def test_the_statement_is_of_the_specified_form_and_about_every_file(folder: Path) -> None:
    digests = write_provenance(folder, MAKING)
    statement = json.loads((folder / PROVENANCE).read_bytes())
    check_against_the_specifications(statement)
    subjects = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]}
    assert subjects == {name: sha256_of(folder / name) for name in ("b.txt", "data/a.txt")}
    assert read_subjects(folder) == subjects
    assert digests == read_checksums(folder) and set(digests) == {*subjects, PROVENANCE}
    assert folder_problems(folder) == []
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {
        "command": "iv export 'my data.h5' --out FOLDER",
        "layout": "hf-parquet",
    }
    made_from, gone, torch = build["resolvedDependencies"]
    assert made_from["digest"] == {"sha256": "a" * 64}
    assert made_from["annotations"] == {"contentDigest": "b" * 64, "madeBy": "iv build --group 2"}
    assert gone["uri"].endswith("c" * 64)
    assert torch == {"uri": "pkg:pypi/torch@2.13.0%2Bcpu"}
    assert statement["predicate"]["runDetails"]["builder"]["version"] == {
        "iv": "0.1.0",
        "python": "3.11.7",
    }


def test_the_same_making_gives_the_same_bytes(folder: Path) -> None:
    write_provenance(folder, MAKING)
    first = (folder / PROVENANCE).read_bytes()
    (folder / PROVENANCE).unlink()
    write_provenance(folder, MAKING)
    assert (folder / PROVENANCE).read_bytes() == first


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"_type": 1}', "[" * 100_000])
def test_what_is_no_statement_is_said(text: str, folder: Path) -> None:
    (folder / PROVENANCE).write_text(text)
    with pytest.raises(IntegrityError, match=r"provenance\.json: expected an in-toto statement"):
        read_subjects(folder)
