# SPDX-License-Identifier: Apache-2.0
"""Training samples of a network on deviations: pseudo-anomalies, registered as test clouds are.

A sample is a function of the run's seed, the categories that it learns from, and its number. Its
cloud has the file's noise, a random pose, and then the pose that the registration finds, with the
errors that this makes and the pull of the defect on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from intravariance.seeds import generator
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations.input import TemplateVoxels
from mc4ad_model.methods.template_deviations import TemplateDeviations, noise_of, product_of
from mc4ad_model.methods.templates import Templates
from mc4ad_model.pseudo_anomalies.mixture import PseudoSample, make_sample
from mc4ad_model.pseudo_anomalies.product import Product

Floats = NDArray[np.float64]

# The force where material is missing: inwards, in radii. How deep it is gone nobody sees there.
MISSING_FORCE = 0.1


@dataclass(frozen=True)
class Source:
    """A category that is learnt from: what samples are made of, and what they are compared with."""

    templates: Templates
    deviations: TemplateDeviations


@dataclass(frozen=True, eq=False)
class _Place:
    """One template of a source: its id and index there, its surface, its voxels."""

    source: Source
    name: str
    index: int
    product: Product
    voxels: TemplateVoxels


@dataclass(frozen=True)
class DeviationSample:
    """A cloud on the V voxels of a template, and what is to be learnt.

    coordinates : (V, 3) int32; features : (V, C) float32; force : (V, 3) float32, mean force on the
    points of a voxel, those that are missing among them; evidence : (V,) float32, share of these
    that belong to a defect; defective : whether any does.
    """

    coordinates: NDArray[np.int32]
    features: NDArray[np.float32]
    force: NDArray[np.float32]
    evidence: NDArray[np.float32]
    defective: bool


class DeviationBatch:
    """A batch of B samples with V voxels together, as tensors."""

    def __init__(self, samples: Sequence[DeviationSample]) -> None:
        self.lengths = [len(sample.coordinates) for sample in samples]
        numbered = [
            np.column_stack([np.full(len(s.coordinates), b, np.int32), s.coordinates])
            for b, s in enumerate(samples)
        ]
        self.coordinates = torch.from_numpy(np.concatenate(numbered))  # [V, 4]
        self.features = _joined([s.features for s in samples])  # [V, C]
        self.force = _joined([s.force for s in samples])  # [V, 3]
        self.evidence = _joined([s.evidence for s in samples])  # [V]
        self.defective = torch.tensor([float(s.defective) for s in samples])  # [B]

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def pin_memory(self) -> DeviationBatch:
        """Pin the memory, for faster copies to the GPU; the loader calls this."""
        for name, value in self._tensors().items():
            setattr(self, name, value.pin_memory())
        return self

    def to(self, device: torch.device) -> DeviationBatch:
        for name, value in self._tensors().items():
            setattr(self, name, value.to(device, non_blocking=True))
        return self


class DeviationSamples(torch.utils.data.Dataset[DeviationSample]):
    """The samples of a run, numbered through from its first epoch to its last."""

    batch = DeviationBatch

    def __init__(self, sources: Sequence[Source], config: RunConfig, seed: int) -> None:
        self._config, self._seed = config, seed
        self._names = [source.templates.category for source in sources]
        self._places = [
            _Place(source, name, index, product_of(source.templates, name, seed), TemplateVoxels(
                own, config.network, source.templates.noise_sigma))
            for source in sources
            for index, (name, own) in enumerate(
                zip(source.deviations.ids, source.deviations.each, strict=True)
            )
        ]  # fmt: skip
        self.per_epoch = len(self._places) * config.training.repeats

    def __len__(self) -> int:
        return self.per_epoch * self._config.training.epochs

    def __getitem__(self, number: int) -> DeviationSample:
        epoch, position = divmod(number, self.per_epoch)
        order = np.repeat(np.arange(len(self._places)), self._config.training.repeats)
        order = self._generator("order", str(epoch)).permutation(order)
        rng = self._generator("sample", str(number))
        return self._make(self._places[order[position]], rng)

    def _generator(self, *purpose: str) -> np.random.Generator:
        return generator(self._seed, "training", "deviations", *self._names, *purpose)

    def _make(self, place: _Place, rng: np.random.Generator) -> DeviationSample:
        templates = place.source.templates
        count = int(rng.integers(*templates.points, endpoint=True))
        made = make_sample(place.product, count, self._config.mixture, rng)
        pristine = made.points - made.displacement
        cloud = made.points + noise_of(templates, place.name, pristine, rng)
        turn = Rotation.from_quat(rng.normal(size=4)).as_matrix()
        pose = place.source.deviations.registration.register(cloud @ turn)
        if pose.template == place.index:
            turn, shift = turn @ pose.rotation, pose.shift
        else:  # to another template that looks alike: nothing can be learnt from that
            turn, shift = np.eye(3), np.zeros(3)
        return _sample(place.voxels, cloud @ turn + shift, made, turn, shift)


def _sample(
    voxels: TemplateVoxels, cloud: Floats, made: PseudoSample, turn: Floats, shift: Floats
) -> DeviationSample:
    """Describe a registered cloud, and bring what is to be learnt to the voxels.

    turn, shift : what brought the cloud from the pose that it was made in to the one found.
    """
    size = len(voxels)
    here, gone = voxels.nearest(cloud), voxels.nearest(made.removed @ turn + shift)
    missing = np.bincount(gone, minlength=size)
    number = np.maximum(np.bincount(here, minlength=size) + missing, 1)
    labelled = np.bincount(here, made.labels, size) + missing
    displacement = made.displacement @ turn
    force = np.column_stack([np.bincount(here, column, size) for column in displacement.T])
    force = force - MISSING_FORCE * missing[:, None] * voxels.normals
    return DeviationSample(
        coordinates=voxels.coordinates,
        features=voxels.features(voxels.deviation.narrow_scores(cloud)),
        force=(force / number[:, None]).astype(np.float32),
        evidence=(labelled / number).astype(np.float32),
        defective=bool(made.labels.any() or len(made.removed)),
    )


def _joined(arrays: Sequence[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))
