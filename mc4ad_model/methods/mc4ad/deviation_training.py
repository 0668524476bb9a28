# SPDX-License-Identifier: Apache-2.0
"""Training on deviations: one network for each category, or one for many.

One network for many categories is trained once, in the folder `joint` beside those of the
categories, by whichever comes first; the others take it from there. So a category that it does not
learn from has a detector too: the network is given what a product looks like.

    joint/network.*              the network after the last epoch; written last
    joint/deviations-bowl.*      what normal clouds of a category do
    joint/checkpoint-* ...       as in the folder of a category
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from typing import Any

from intravariance.errors import InputError
from intravariance.progress import say
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.machine.shared_arrays import share_arrays
from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint, save_checkpoint
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations.samples import DeviationSamples, Source
from mc4ad_model.methods.mc4ad.training import train
from mc4ad_model.methods.mc4ad.training_samples import Samples
from mc4ad_model.methods.mc4ad.training_state import Trained, TrainingRun
from mc4ad_model.methods.method import IDENTITY, FittedOn
from mc4ad_model.methods.saved_files import (
    METHOD_FORMAT,
    load_arrays,
    read_json,
    reading,
    save_arrays,
    save_json,
    writing,
)
from mc4ad_model.methods.template_deviations import TemplateDeviations
from mc4ad_model.methods.templates import Templates

_NETWORK = "network"
_FILES = (
    IDENTITY, f"{_NETWORK}.*", "deviations-*", "checkpoint-*", "metrics.jsonl", "tracking.json",
    "*.partial",
)  # fmt: skip


def train_on_deviations(
    run: TrainingRun, templates: Templates, machine: Machine, ranks: Ranks, folder: str
) -> tuple[Trained, TemplateDeviations, TemplateDeviations]:
    """Train the network of a category, or the one that it shares with others.

    folder : name of the shared network's folder, beside those of the categories.

    Returns
    -------
    The network; the category's deviations, which test clouds are to be compared with; and those
    that simulated clouds are to be compared with, which are the same where the templates' meshes
    are known. Where they are not, simulated clouds are drawn from the stored ones, and compared
    with others that are drawn from them.

    Raises
    ------
    InputError, IVError
        As `training.train`; the folder of the shared network cannot be written.
    """
    if not templates.learn_from:
        practised = _fitted(templates, run.seed)
        own = _samples(run, [Source(templates, practised)], machine)
        return train(run, own, machine, ranks), *_both(templates, practised, run.seed)
    shared = _shared_run(run, folder)
    if ranks.first:
        _make_room(shared, templates)
    ranks.wait()
    practised = _deviations(shared, templates, ranks.first)
    if not (trained := _trained(shared, machine.backend)):
        sources = (Source(t, _deviations(shared, t, ranks.first)) for t in templates.learn_from)
        trained = train(shared, _samples(run, sources, machine), machine, ranks)
        if ranks.first:
            metadata = {**_identity(shared, templates), "step": trained.step}
            with writing(shared.folder / _NETWORK):
                save_checkpoint(shared.folder / _NETWORK, trained.network, metadata, force=True)
            for path in shared.folder.glob("checkpoint-*"):
                path.unlink()
        ranks.wait()
    else:
        say(f"{run.category}: takes the network in {shared.folder}", machine.quiet)
    return trained, *_both(templates, practised, shared.seed)


def _samples(run: TrainingRun, sources: Iterable[Source], machine: Machine) -> Samples:
    """Return what is trained on; several processes that make samples share the sources' arrays."""
    samples = DeviationSamples(list(sources), run.config, run.seed)
    return share_arrays(samples) if machine.loaders else samples


def _fitted(templates: Templates, seed: int) -> TemplateDeviations:
    """Measure what simulated clouds of a category are to be compared with."""
    known = templates.track == "meshes"
    return TemplateDeviations.fit(templates if known else templates.resampled(seed), seed)


def _both(
    templates: Templates, practised: TemplateDeviations, seed: int
) -> tuple[TemplateDeviations, TemplateDeviations]:
    """Return what test clouds are to be compared with, and what simulated ones are."""
    known = templates.track == "meshes"
    return practised if known else TemplateDeviations.fit(templates, seed), practised


def _shared_run(run: TrainingRun, shared: str) -> TrainingRun:
    on = FittedOn(shared, run.on.seed, run.on.data_digest)
    return TrainingRun(run.folder.parent / shared, run.config, on)


def _identity(shared: TrainingRun, templates: Templates) -> dict[str, Any]:
    """Say what the shared network depends on: all but how forces become scores."""
    learn_from = [t.category for t in templates.learn_from]
    identity = {
        **vars(shared.on),
        "learn_from": learn_from,
        "track": templates.track,
        "config": _learnt_by(shared.config),
    }
    return dict(json.loads(json.dumps(identity)))  # as it is read: a list for a tuple


def _learnt_by(config: RunConfig) -> dict[str, Any]:
    mapping = config.to_mapping()
    del mapping["scoring"], mapping["preset"]
    return mapping


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    """Add the defaults of fields that an earlier version did not write to what was read."""
    try:
        config = _learnt_by(RunConfig.from_mapping(found["config"], ""))
    except (InputError, KeyError, TypeError):
        return {}
    return {"track": "meshes", **found, "config": json.loads(json.dumps(config))}


def _make_room(shared: TrainingRun, templates: Templates) -> None:
    """Make the folder of the shared network; empty it where it holds another one."""
    folder, stamp = shared.folder, shared.folder / IDENTITY
    identity = _identity(shared, templates)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if stamp.is_file():
            with reading():
                found = read_json(stamp, METHOD_FORMAT)
            if {name: _completed(found).get(name) for name in identity} == identity:
                return
        for path in folder.iterdir():
            if path.is_dir() or not any(path.match(pattern) for pattern in _FILES):
                raise InputError(
                    f"{folder}: holds {path.name}, which is no file of a network for several "
                    "categories; choose another --out"
                )
        shutil.rmtree(folder)
        folder.mkdir()
        save_json(stamp, identity)


def _trained(shared: TrainingRun, backend: str) -> Trained | None:
    """Return the shared network if it is trained."""
    path = shared.folder / _NETWORK
    if not path.with_suffix(".json").is_file():
        return None
    with reading():
        network, metadata = load_checkpoint(path, backend, shared.config.network)
    return Trained(network, int(metadata["step"]), {}, stopped=False)


def _deviations(shared: TrainingRun, templates: Templates, write: bool) -> TemplateDeviations:
    """Return the deviations of a category, which the folder keeps."""
    path = shared.folder / f"deviations-{templates.category}"
    if path.with_suffix(".json").is_file():
        with reading():
            arrays, description = load_arrays(path)
        known = {"noise_sigma": templates.noise_sigma}  # version 0.1.0 did not write it here
        return TemplateDeviations.from_arrays(arrays, {**known, **description}, path)
    found = _fitted(templates, shared.seed)
    if write:
        with writing(path):
            save_arrays(path, found.arrays(), found.description)
    return found
