# SPDX-License-Identifier: Apache-2.0
"""A trained network on deviations with the templates of one category: from a cloud to its scores.

Three things say that an object has a defect: the network's evidence in the whole object, which
weighs all places; the most evidence in any voxel, which a small defect has too; and the statistic
that the network's input is made of, without the network (`calibrated_deviation`). Simulated normal
clouds, others than those that the deviations were calibrated with, say how high each is where there
is no defect. An object's score is their mean, in units of their spread, above their mean on the
template that the object was registered to. A point's score is the evidence there alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.calibrated_deviation import object_score
from mc4ad_model.methods.mc4ad.deviations.input import TemplateVoxels
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.template_deviations import Description, TemplateDeviations
from mc4ad_model.methods.templates import Templates
from mc4ad_model.sparse import CoordinatePyramid

Floats = NDArray[np.float64]

CALIBRATION_CLOUDS = 16
# A network may say the same of every normal cloud, where there is hardly any noise.
_SMALLEST_SPREAD = 0.01
_NORMAL_SCORES = "normal_scores"


@dataclass
class DeviationDetector:
    """Scores clouds of one category.

    network : a `DeviationNetwork`, in evaluation mode.
    normal_evidence : (T, K, 3) evidence in the whole object, the most in a voxel, and the
    statistic, of K normal clouds of each of the T templates, as `evidence_of_normal_clouds` finds
    it. Runs of version 0.1.0 have no statistic in it, and leave it out of objects' scores.
    """

    network: CFPNet
    deviations: TemplateDeviations
    normal_evidence: Floats | None = None
    _voxels: dict[int, tuple[TemplateVoxels, CoordinatePyramid]] = field(default_factory=dict)

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Score a cloud (N, 3) of the stored frame; `force` is in that frame too."""
        return self.judge(self.deviations.describe(points))

    def judge(self, description: Description) -> Prediction:
        """Score a cloud that was described."""
        assert self.normal_evidence is not None
        pose, nearest = description.pose, description.nearest
        forces, evidence, whole = self._found(pose.template, description.narrow)
        voxels, _ = self._on(pose.template)
        usual = self.normal_evidence
        spread = np.sqrt(usual.var(axis=1, ddof=1).mean(axis=0))  # (3,)
        spread = np.maximum(spread, _SMALLEST_SPREAD)
        narrow, wide = description.narrow, description.wide
        found = np.array([whole, evidence.max(), object_score(narrow, wide)])[: len(spread)]
        above = found - usual[pose.template].mean(axis=0)
        return Prediction(
            points=voxels.at_points(evidence, nearest).astype(np.float32),
            object=float((above / spread).mean()),
            force=(voxels.at_points(forces, nearest) @ pose.rotation.T).astype(np.float32),
            note=description.note,
        )

    def evidence_of_normal_clouds(self, templates: Templates, seed: int) -> Floats:
        """Simulate K normal clouds of each of T templates: evidence (T, K, 3), see the class."""
        found = []
        for index, name in enumerate(self.deviations.ids):
            rng = generator(seed, "calibration", name)
            clouds = self.deviations.normal_clouds(index, templates, CALIBRATION_CLOUDS, rng)
            found.append([self._normal(index, cloud) for cloud in clouds])
        return np.array(found)

    def _normal(self, template: int, cloud: Floats) -> tuple[float, float, float]:
        """Return what `normal_evidence` has of a cloud (N, 3) in the template's frame."""
        deviation = self.deviations.each[template]
        narrow = deviation.narrow_scores(cloud)
        _, evidence, whole = self._found(template, narrow)
        return whole, evidence.max(), object_score(narrow, deviation.wide_scores(narrow))

    def _on(self, template: int) -> tuple[TemplateVoxels, CoordinatePyramid]:
        """Return the voxels of a template, the same for every cloud."""
        if template not in self._voxels:
            voxels = TemplateVoxels(
                self.deviations.each[template], self.network.config, self.deviations.noise_sigma
            )
            rows = np.column_stack([np.zeros(len(voxels), np.int32), voxels.coordinates])
            device = next(self.network.parameters()).device
            pyramid = CoordinatePyramid(torch.from_numpy(rows).to(device))
            self._voxels[template] = voxels, pyramid
        return self._voxels[template]

    def _found(self, template: int, narrow: Floats) -> tuple[Floats, Floats, float]:
        """Return forces (V, 3) and evidence (V,) in the voxels, and the evidence in the object.

        narrow : (A, 6) z-scores of the cloud.
        """
        voxels, pyramid = self._on(template)
        features = torch.from_numpy(voxels.features(narrow)).to(next(self.network.parameters()))
        with torch.no_grad():
            found = self.network(features, pyramid, [len(voxels)])
        forces, evidence = (
            tensor.double().cpu().numpy() for tensor in (found.forces.combined, found.evidence)
        )
        return forces, evidence, float(found.objects[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` needs besides the network and `deviations.description`."""
        assert self.normal_evidence is not None
        return {**self.deviations.arrays(), _NORMAL_SCORES: self.normal_evidence}

    @classmethod
    def from_arrays(
        cls,
        network: CFPNet,
        arrays: Mapping[str, NDArray[Any]],
        description: Mapping[str, Any],
        where: Path,
    ) -> DeviationDetector:
        """Take up what `arrays` gave; InputError, which names the file, if it is something else."""
        rest = dict(arrays)
        usual = rest.pop(_NORMAL_SCORES, None)
        deviations = TemplateDeviations.from_arrays(rest, description, where)
        shapes = [(len(deviations.ids), CALIBRATION_CLOUDS, kinds) for kinds in (2, 3)]
        if usual is None or usual.shape not in shapes:
            raise InputError(
                f"{where}.json: expected the evidence in normal clouds of each template"
            )
        return cls(network, deviations, usual)
