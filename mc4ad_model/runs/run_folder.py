# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run, one for each category.

    OUT/
      vase/
        run.json                     configuration, seed, data, environment; written first
        templates.safetensors|json   points that test clouds are registered to (if they are)
        checkpoint-00000480.*        network, and ...-optimiser.* : to resume from; only the last
        metrics.jsonl                a line an epoch: losses and learning rate
        network.safetensors|json     the network after the last epoch; written last
        timing.json                  seconds, steps and memory of the process that finished

The network is always the one after the last epoch; nothing is chosen by looking at test data.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from intravariance.dataset.provenance import software
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import write_file
from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint, read_tensors
from mc4ad_model.methods.mc4ad.configuration import RunConfig

if TYPE_CHECKING:
    from mc4ad_model.methods.mc4ad.network import CFPNet
    from mc4ad_model.methods.mc4ad.training_samples import ForcePredictor

FORMAT = "intravariance-run"
VERSION = 1
RUN, NETWORK, TEMPLATES, METRICS, TIMING = (
    "run.json",
    "network",
    "templates",
    "metrics.jsonl",
    "timing.json",
)
CHECKPOINT = "checkpoint"
OTHERS = (f"{TEMPLATES}.*", f"{CHECKPOINT}-*", METRICS, TIMING)  # but for RUN and NETWORK


@dataclass(frozen=True)
class Run:
    """A category's folder.

    folder : the category's own; identity : that of the dataset file, see `Dataset.metadata`;
    data_digest : its content digest; environment : versions and processor.
    """

    folder: Path
    category: str
    seed: int
    config: RunConfig
    data_digest: str
    identity: dict[str, Any]
    environment: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether training ran to its end."""
        return (self.folder / f"{NETWORK}.json").is_file()

    @cached_property
    def described(self) -> dict[str, Any]:
        """What run.json holds, but for the environment, which may change on resuming."""
        return {
            "category": self.category,
            "seed": self.seed,
            "config": json.loads(json.dumps(self.config.to_mapping())),
            "data_digest": self.data_digest,
            "identity": self.identity,
        }

    def check(self, force: bool) -> None:
        """InputError when the folder holds another run and `force` is not given, or files that are
        no run's, or no folder can be there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {self.folder}: no folder can be made: {error}") from error
        if not (self.folder / RUN).is_file():
            # what was being written when a run was killed is no obstacle
            if any(path.suffix != ".partial" for path in self.folder.iterdir()):
                raise InputError(
                    f"--out {self.folder}: holds files, but no training run; choose another folder"
                )
            return
        if force:
            return
        found, own = read_run(self.folder).described, self.described
        if different := list(_differences(found, own)):
            raise InputError(
                f"--out {self.folder}: holds another run ({'; '.join(different[:5])}). Choose "
                "another folder, or start anew with --force."
            )

    def prepare(self, force: bool) -> None:
        """Remove the files of an earlier run if `force` is given; write run.json if there is none.

        An evaluation of the earlier run goes too: it would not be this network's. What is no run's
        stays.
        """
        for path in filter(Path.is_file, self.folder.glob("*.partial")):  # not evaluation.partial/
            path.unlink()
        if force:
            shutil.rmtree(self.folder / "evaluation", ignore_errors=True)
            # Killed in between, it is an unfinished run first, and a run's folder to the end.
            for pattern in (f"{NETWORK}.json", f"{NETWORK}.*", *OTHERS, RUN):
                for path in self.folder.glob(pattern):
                    path.unlink()
        if (self.folder / RUN).is_file():
            return
        content = {
            "format": FORMAT,
            "version": VERSION,
            **self.described,
            "environment": self.environment,
        }
        text = json.dumps(content, indent=2) + "\n"
        with writing(self.folder / RUN):
            write_file(self.folder / RUN, text.encode(), force=True)

    def load_network(self, backend: str = "torch") -> CFPNet:
        """The trained network, on the CPU, in evaluation mode.

        Raises
        ------
        InputError
            Training is unfinished, or the checkpoint is damaged or another network's.
        """
        if not self.finished:
            raise InputError(
                f"{self.folder}: training is unfinished; the same `iv train` command carries on"
            )
        with reading():
            network, metadata = load_checkpoint(
                self.folder / NETWORK, backend, expected=self.config.network
            )
        own = {"category": self.category, "seed": self.seed, "data_digest": self.data_digest}
        if foreign := [name for name, value in own.items() if metadata.get(name) != value]:
            raise InputError(
                f"{self.folder / NETWORK}.json: another run's network: "
                + "; ".join(f"{n} = {metadata.get(n)!r}, expected {own[n]!r}" for n in foreign)
            )
        return network.eval()

    def load_detector(self, backend: str = "torch", device: str = "cpu") -> ForcePredictor:
        """The trained network as a detector, with its registration if it has one.

        Raises
        ------
        InputError
            As `load_network`.
        """
        from mc4ad_model.methods.mc4ad.training_samples import ForcePredictor
        from mc4ad_model.registration.poses import Registration

        network, registration = self.load_network(backend).to(device), None
        if self.config.data.frame == "registered":
            with reading():
                templates, _ = read_tensors(self.folder / TEMPLATES)
            registration = Registration([templates[name].numpy() for name in sorted(templates)])
        return ForcePredictor(network, self.config, registration)


@contextmanager
def reading() -> Iterator[None]:
    """InputError when what is read inside is damaged: files of a run are the user's to mend."""
    try:
        yield
    except IntegrityError as error:
        raise InputError(
            f"{error} Put back a copy of the run's folder, or train anew with `iv train --force`."
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """InputError when what is done inside cannot write a file of the run: the disk is full, say."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error}. The last checkpoint, if there is one, is as it "
            "was: make room, and the same command carries on from it."
        ) from error


def read_run(folder: Path) -> Run:
    """The run in a category's folder.

    Raises
    ------
    InputError
        There is none, or it is damaged or of another format or version.
    """
    path = folder / RUN
    if not path.is_file():
        raise InputError(f"{folder}: no training run; make one with `iv train`")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON, it is damaged: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f'{path}: expected "format": "{FORMAT}"; this is another file')
    if content.get("version") != VERSION:
        raise InputError(
            f"{path}: format version {content.get('version')!r}, but this program reads {VERSION}; "
            "use the version of intravariance that wrote it"
        )
    kinds = {
        "category": str, "seed": int, "config": dict, "data_digest": str, "identity": dict,
        "environment": dict,
    }  # fmt: skip
    if wrong := [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]:
        raise InputError(f"{path}: {', '.join(wrong)}: missing or of another type")
    values = {name: content[name] for name in kinds}
    values["config"] = RunConfig.from_mapping(content["config"], f"{path}: config")
    return Run(folder=folder, **values)


def find_runs(folder: Path) -> list[Run]:
    """The runs below a folder that `iv train` was given as --out, or that of one category.

    Raises
    ------
    InputError
        There is none, or one cannot be read.
    """
    if (folder / RUN).is_file():
        return [read_run(folder)]
    found = sorted(path.parent for path in folder.glob(f"*/{RUN}"))
    if not found:
        deeper = sorted({str(path.parents[1]) for path in folder.glob(f"**/{RUN}")})
        hint = (
            f"there are runs in {', '.join(deeper[:5])}" if deeper else "make one with `iv train`"
        )
        raise InputError(f"--run {folder}: no training run there; {hint}")
    return [read_run(path) for path in found]


def _differences(found: Any, own: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(own, dict):
        for key in sorted(found.keys() | own.keys()):
            yield from _differences(found.get(key), own.get(key), f"{name}.{key}".lstrip("."))
    elif found != own:
        yield f"{name} = {found!r}, now {own!r}"


def environment(device: str) -> dict[str, Any]:
    """Return versions and the machine's kind: what may change the last bits of a result."""
    return {
        **software("torch", "numpy", "scipy"),
        "device": device,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if device.startswith("cuda") else None,
        "threads": torch.get_num_threads(),
    }
