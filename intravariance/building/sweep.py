# SPDX-License-Identifier: Apache-2.0
"""Sweeps: dataset files whose samples share geometry, and differ in the settings that are swept.

OUT/
  NAME-KEY=VALUE.h5   a dataset file for each setting: what `iv build` makes of that setting alone
  sweep.json          which they are; written once all are there

A sample has the same base mesh, defect and pose in every file, because each of its random numbers
is drawn from the seed, its id and a purpose (`intravariance.seeds`), and because nothing that may
be swept is asked before the geometry is made. So Blender is asked for it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from intravariance.building.run import BuildResult, build_together
from intravariance.building.settings import BuildSettings
from intravariance.building.sweep_index import INDEX, Member, Sweep, Values, read_sweep, setting
from intravariance.dataset.specification_reader import specification_from_dict
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, did_you_mean
from intravariance.executors import Executor
from intravariance.files.urls import Url
from intravariance.progress import say

# Keys of a specification that change what is made of a defective mesh, and not the mesh.
SWEPT = (
    "noise_sigma", "points", "scan.incidence_noise", "scan.density_variation", "scan.outliers",
)  # fmt: skip


@dataclass(frozen=True)
class PlannedMember:
    """A file of a sweep that is to be made. values : of the swept keys."""

    file: Path
    values: Values
    settings: BuildSettings


def parse_sweeps(texts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Read "KEY=VALUE,VALUE,..." for each key; InputError says what is wrong with which."""
    swept: dict[str, tuple[float, ...]] = {}
    for text in texts:
        key, _, words = text.partition("=")
        if key not in SWEPT:
            raise InputError(
                f"--sweep {text}: {key!r} cannot be swept.{did_you_mean(key, SWEPT)} Expected "
                f"KEY=VALUE,VALUE,... with one of {', '.join(SWEPT)}: what changes the points of a "
                "sample, and not its geometry"
            )
        if key in swept:
            raise InputError(f"--sweep {text}: {key} is swept already; give all values at once")
        values = tuple(_number(word, text) for word in words.split(","))
        if len(set(values)) < len(values):
            raise InputError(f"--sweep {text}: a value is there twice")
        swept[key] = values
    return swept


def _number(word: str, text: str) -> float:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    raise InputError(f"--sweep {text}: {word!r} is no number; expected KEY=VALUE,VALUE,...")


def plan_sweep(
    settings: BuildSettings, swept: dict[str, tuple[float, ...]], out: Path
) -> list[PlannedMember]:
    """List the files of a sweep: the product of all values, the last key's changing fastest.

    settings : of all that is not swept. Raises InputError where a value is not allowed.
    """
    members = []
    for values in product(*swept.values()):
        own = dict(zip(swept, values, strict=True))
        file = out / f"{settings.specification.name}-{setting(own)}.h5"
        members.append(PlannedMember(file, own, _with(settings, own)))
    return members


def _with(settings: BuildSettings, values: Values) -> BuildSettings:
    """Return the settings of a build with these values of a specification's keys."""
    content = settings.specification.to_dict()
    for key, value in values.items():
        table, _, name = key.rpartition(".")
        (content[table] if table else content)[name] = [value] * 2 if key == "points" else value
    if "noise_sigma" in values:
        content["given"] = {k: v for k, v in content.get("given", {}).items() if k != "noise_sigma"}
    origin = " ".join(f"--sweep {key}={value:.10g}" for key, value in values.items())
    specification = specification_from_dict(content, origin)
    samples = replace(settings.samples, points=specification.points, scan=specification.scan)
    settings = replace(settings, specification=specification, samples=samples)
    if specification.noise_sigma is None or "noise_sigma" not in values:
        return settings
    samples = replace(samples, noise_sigma=specification.noise_sigma)
    return replace(settings, samples=samples, noise=None)


def build_sweep(
    settings: BuildSettings,
    swept: dict[str, tuple[float, ...]],
    out: Path,
    executor: Executor,
    force: bool = False,
) -> tuple[Sweep, list[BuildResult]]:
    """Build a sweep into the folder `out`, or carry on with an interrupted one.

    Files that are there and are of these settings are kept without `force`; so values may be added
    to a sweep. Raises as `build`, and InputError where the folder has another sweep, or where a
    sample's geometry is not the same in all files.
    """
    members = plan_sweep(settings, swept, out)
    _check_folder(out, [member.file.name for member in members], force)
    settings_and_files = [(one.settings, one.file) for one in members]
    results = build_together(settings_and_files, executor, force, keep=not force)
    sweep = Sweep(
        out,
        swept,
        tuple(
            Member(member.file.name, member.values, result.digest)
            for member, result in zip(members, results, strict=True)
        ),
    )
    say("comparing the geometry of all files", settings.quiet)
    check_shared(sweep)
    sweep.write()
    return sweep, results


def _check_folder(out: Path, files: Sequence[str], force: bool) -> None:
    """Make the folder of a sweep; InputError where it cannot be, or has another sweep."""
    if isinstance(out, Url):
        raise InputError(
            f"--out {out}: a sweep is built on this machine; name a folder here, and copy it"
        )
    if out.suffix == ".h5" or (out.exists() and not out.is_dir()):
        raise InputError(f"--out {out}: expected the name of a folder, as a sweep is several files")
    if (out / INDEX).is_file() and not force:
        others = [m.file for m in read_sweep(out).members if m.file not in files]
        if others:
            raise InputError(
                f"--out {out}: holds another sweep, with {others[0]}; choose another folder, name "
                "the values of that one too, or replace its index with --force"
            )
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made ({error.strerror})") from error


def check_shared(sweep: Sweep) -> None:
    """Check that each sample has the same geometry in all files of a sweep.

    Compared are pose, base mesh and all that is recorded of the defect. Raises InputError that
    names two files and a sample: a scan that hides a defect has another one drawn, and an earlier
    member may be of other base meshes.
    """
    first, *others = sweep.members
    with sweep.open(first) as one:
        for other in others:
            with sweep.open(other) as two:
                if found := _difference(one, two):
                    raise InputError(
                        f"{one.path} and {two.path.name} do not share geometry: {found}. Where a "
                        "scan does not show a defect, another one is drawn: leave out such values. "
                        "Where base meshes were changed, build all files anew with --force."
                    )


def _difference(one: Dataset, two: Dataset) -> str:
    """Say which sample differs, and in what; "" where none does."""
    for record in one:
        try:
            other = two[record.id]
        except KeyError:
            return f"{record.id} is not in both"
        own, its = record.parameters, other.parameters
        wrong = [k for k in {**own, **its} if k != "snr" and own.get(k) != its.get(k)]
        if not np.array_equal(record.pose, other.pose):
            wrong.append("pose")
        if wrong:
            return f"{record.id} has another {', '.join(wrong)}"
    return "" if len(one) == len(two) else "there are more samples in one"
