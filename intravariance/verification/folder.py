# SPDX-License-Identifier: Apache-2.0
"""Checks that a folder of files is as `iv` wrote it, by its SHA256SUMS and provenance.json."""

from __future__ import annotations

from pathlib import Path

from intravariance.errors import InputError, IntegrityError, first_of
from intravariance.files.checksums import NAME, files_in, read_checksums, sha256_of
from intravariance.files.provenance import PROVENANCE, read_subjects
from intravariance.verification.verify import Check, Report

_SHOWN = 5


def verify_folder(folder: Path) -> Report:
    """Check each file of a folder: that it is listed, there, and has the digest listed.

    Raises InputError where the folder has no SHA256SUMS, or one that is not ours.
    """
    if not (folder / NAME).is_file():
        raise InputError(
            f"{folder}: has no {NAME}; give a dataset file, or a folder that `iv` wrote, such as "
            "that of `iv export`"
        )
    listed = read_checksums(folder)
    problems = folder_problems(folder)
    whole = Check("checksums", not problems, _said(problems, f"{len(listed)} files as listed"))
    return Report(str(folder), "", (whole, _provenance(folder, listed)), ())


def folder_problems(folder: Path) -> list[str]:
    """Tell what is missing, changed or not listed, a line each; nothing when all is as written."""
    listed, present = read_checksums(folder), set(files_in(folder))
    problems = []
    for name in sorted(listed.keys() | present):
        if name not in present:
            problems.append(f"{name}: missing")
        elif name not in listed:
            problems.append(f"{name}: not in {NAME}")
        elif sha256_of(folder / name) != listed[name]:
            problems.append(f"{name}: changed")
    return problems


def _provenance(folder: Path, listed: dict[str, str]) -> Check:
    """Check that the statement is about these files."""
    if PROVENANCE not in listed:
        return Check("provenance", True, f"there is no {PROVENANCE}", applies=False)
    try:
        subjects = read_subjects(folder)
    except IntegrityError as error:
        return Check("provenance", False, str(error))
    about = {name: digest for name, digest in listed.items() if name != PROVENANCE}
    names = subjects.keys() | about.keys()
    wrong = sorted(name for name in names if subjects.get(name) != about.get(name))
    said = _said([f"{name}: another digest than in {NAME}" for name in wrong], "of these files")
    return Check("provenance", not wrong, said)


def _said(problems: list[str], otherwise: str) -> str:
    return first_of(problems, _SHOWN, "; ") or otherwise
