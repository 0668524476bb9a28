# SPDX-License-Identifier: Apache-2.0
"""A detector folder: trained runs as `iv predict` and `iv serve` take them on any machine.

    FOLDER/
      README.md          what it is, how to use it and how to make it again
      detector.json      the same for machines
      vase/              as in the training's folder: run.json, what the method saved (with encoder
                         and backbone), calibration.json
      provenance.json    see `intravariance.files.provenance`
      SHA256SUMS         of all these; each file is checked before it is read

It is a run's folder, so that whatever takes --run takes it. It lacks the files that only training
needs: checkpoints, the shared network's folder (each category has the network), evaluations. It
holds no pickles: nothing in it is run as code.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intravariance.cards.dataset_card import rebuild_command
from intravariance.dataset.provenance import software
from intravariance.dataset.specification_reader import specification_from_dict
from intravariance.errors import InputError
from intravariance.files.checksums import sha256_of
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.files.provenance import Making, Material, write_provenance
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.saved_files import read_json
from mc4ad_model.prediction.detector_readme import README, readme
from mc4ad_model.runs.calibration import CALIBRATION_FORMAT
from mc4ad_model.runs.detector_files import DETECTOR
from mc4ad_model.runs.run_folder import CALIBRATION, RUN, Run, read_run
from mc4ad_model.runs.training_command import dataset_name, portable, training_command

DETECTOR_FORMAT = "intravariance-detector"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt")
_PLAIN = (".json", ".jsonl", ".safetensors")  # whose readers run nothing, whatever is in them
_HEAD = 4096  # bytes: a zip archive of torch names its pickle first


@dataclass(frozen=True)
class WrittenDetector:
    """files, bytes : of the folder, with SHA256SUMS among the files."""

    categories: tuple[str, ...]
    files: int
    bytes: int


def write_detector(
    runs: Sequence[Run], out: Path, machine: Machine, force: bool = False
) -> WrittenDetector:
    """Write trained runs as a detector folder, which appears whole or not at all.

    runs : of one method, with the same settings, seed and data. machine : each is loaded once from
    the new folder there. force : replace an earlier one in which nothing was changed.

    Raises
    ------
    InputError
        The runs are unfinished, damaged or not of one training, a file of theirs is a pickle, or
        the folder exists, or cannot be written.
    """
    check_folder(out, DETECTOR, force)
    _check(runs)
    files = {run.category: list(_files(run)) for run in runs}
    record = _record(runs)
    with new_folder(out, DETECTOR, force) as folder:
        write_member(folder, DETECTOR, _json(record))
        for run in runs:
            for path in files[run.category]:
                write_member(folder, f"{run.category}/{path.name}", path.read_bytes())
            write_member(folder, f"{run.category}/{RUN}", _json(_portable(run)))
        write_member(folder, README, readme(runs, record).encode())
        names = write_provenance(folder, _making(runs, record))
        for run in runs:
            read_run(folder / run.category).load_method(machine)
        size = sum((folder / name).stat().st_size for name in names)
    return WrittenDetector(tuple(files), len(names) + 1, size)


def _check(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs:
        if not run.finished:
            raise InputError(
                f"{run.folder}: training is unfinished; the same `iv train` command carries on"
            )
        for name in ("method", "settings", "seed", "data_digest", "track"):
            if getattr(run, name) != getattr(first, name):
                raise InputError(
                    f"{run.folder}: has another {name.replace('_', ' ')} than {first.folder}, and "
                    "a detector folder is of one training; choose with --category"
                )


def _files(run: Run) -> Iterator[Path]:
    """Yield the files besides run.json that a run is loaded and judged from."""
    patterns = (*method_class(run.method).files, CALIBRATION)
    found = {path for pattern in patterns for path in run.folder.glob(pattern)}
    for path in sorted(found):
        if path.is_dir():
            raise InputError(
                f"{path}: is a folder, and a method saves files; {run.method} cannot be exported"
            )
        if _is_pickle(path):
            raise InputError(
                f"{path}: is a pickle, which runs code when it is loaded, and a detector folder "
                f"holds none; {run.method} has to save arrays (safetensors) and JSON"
            )
        yield path


def _is_pickle(path: Path) -> bool:
    """Tell by name and first bytes; pickles in a zip archive, as torch writes them, too."""
    if path.suffix in _PLAIN:
        return False
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    plain = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return path.suffix.lower() in _PICKLES or plain or (head[:2] == b"PK" and b".pkl" in head)


def _portable(run: Run) -> dict[str, Any]:
    """Return run.json with the names alone of files and folders that only training reads."""
    content: dict[str, Any] = json.loads((run.folder / RUN).read_bytes())
    content["config"] = {key: portable(value) for key, value in content["config"].items()}
    return content


def _record(runs: Sequence[Run]) -> dict[str, Any]:
    run = runs[0]
    return {
        "format": DETECTOR_FORMAT,
        "version": 1,
        "categories": [one.category for one in runs],
        "method": run.method,
        "label": run.settings.label,
        "seed": run.seed,
        "track": run.track,
        "data_digest": run.data_digest,
        "requires": {"intravariance": software()["iv"], **_packages(run)},
        "commands": _commands(runs),
    }


def _packages(run: Run) -> dict[str, str]:
    """Return the versions of packages that add something which the run needs, by name."""
    used = run.environment.get("extensions", ())
    return {extension["package"]: extension["version"] for extension in used}


def _commands(runs: Sequence[Run]) -> list[str]:
    """Return the commands that make the detector again, one after the other."""
    built = _built_by(runs[0])
    commands = [f"{built} --out {dataset_name(runs[0])}"] if built else []
    commands += [shlex.join(training_command(runs))]
    for run in runs:
        if (run.folder / CALIBRATION).is_file():
            found = read_json(run.folder / CALIBRATION, CALIBRATION_FORMAT)
            numbers = f"--clouds {found['clouds']} --seed {found['seed']}"
            name = shlex.quote(run.category)
            commands.append(
                f"iv calibrate {dataset_name(run)} --run RUN --category {name} {numbers}"
            )
    return commands


def _built_by(run: Run) -> str:
    """Return the command that builds the dataset, "" of imported data."""
    identity = run.identity
    if "imported" in identity or not {"source", "seed", "pose"} <= identity.keys():
        return ""
    where = f"{run.folder / RUN}: identity"
    return rebuild_command(identity, specification_from_dict(identity["specification"], where))


def _making(runs: Sequence[Run], record: dict[str, Any]) -> Making:
    run = runs[0]
    commands = record["commands"]
    data = Material(dataset_name(run), None, run.data_digest, _built_by(run))
    chosen = [word for one in runs for word in ("--category", one.category)]
    materials = [data, *(_trained(one) for one in runs)]
    made = {name: v for name, v in run.environment.items() if name in ("torch", "numpy", "scipy")}
    return Making(
        kind="detector",
        command=["iv", "export-detector", "--run", "RUN", *chosen, "--out", "FOLDER"],
        options={"categories": record["categories"], "before": commands},
        materials=materials,
        software=software() | made | _packages(run),
    )


def _trained(run: Run) -> Material:
    """Return the run itself: its run.json, which names all that it depends on."""
    return Material(f"RUN/{run.category}/{RUN}", sha256_of(run.folder / RUN))


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
