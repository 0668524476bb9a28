# SPDX-License-Identifier: Apache-2.0
"""CFP-Net that is given how a registered cloud deviates from its template, and says how sure it is.

The U-Net, MC-Skip and the two forces are CFP-Net's. Its voxels are those of the template, so that
it sees where points are missing. A point-wise path beside the U-Net takes each voxel's own
deviation, which needs no neighbours, to the head. The head predicts, beside the forces, the
evidence for a defect: its log-odds in each voxel, and from all of them in the object. A force
cannot say that: its size is that of the defect, not how likely there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mc4ad_model.methods.mc4ad.architectures import INPUT_CHANNELS, NetworkConfig
from mc4ad_model.methods.mc4ad.network import CFPNet, Forces
from mc4ad_model.sparse import CoordinatePyramid

_HIDDEN = (64, 32)  # of the point-wise path; 32 in the heads
_TOP_SHARES = (0.02, 0.005)  # of an object's voxels, those with the most evidence
_FORCE_UNIT = 0.1  # what the head calls 1, in radii: forces are small


@dataclass(frozen=True)
class Findings:
    """Answers of the network for B clouds with V voxels together.

    forces : (V, 3) each, template's frame. evidence : (V,), objects : (B,), log-odds of a defect.
    """

    forces: Forces
    evidence: Tensor
    objects: Tensor


class DeviationNetwork(CFPNet):
    """CFP-Net on the deviations of `deviations.input`. Parameters as `CFPNet`."""

    def _build_head(self, config: NetworkConfig, point: int) -> None:
        first, second = _HIDDEN
        self.pointwise = nn.Sequential(
            nn.Linear(INPUT_CHANNELS[config.input], first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
        )
        channels = point + second
        self.head = nn.Sequential(
            nn.Linear(channels, second), nn.ReLU(), nn.Linear(second, config.out_channels + 1)
        )
        self.object_head = nn.Sequential(
            nn.Linear(2 * channels + len(_TOP_SHARES), second), nn.ReLU(), nn.Linear(second, 1)
        )

    def forward(  # type: ignore[override]
        self, features: Tensor, pyramid: CoordinatePyramid, lengths: Sequence[int]
    ) -> Findings:
        """Predict forces and evidence.

        Parameters
        ----------
        features : (V, C)
            From `input.TemplateVoxels.features`.
        pyramid
            The V voxels of the batch.
        lengths
            Number of voxels of each of the B clouds, which follow each other.
        """
        x = torch.relu(self.backbone(features, pyramid))
        x = torch.cat([x, self.pointwise(features)], dim=1)  # [V, C]
        found = self.head(x)  # [V, 7]
        internal, external = _FORCE_UNIT * found[:, :3], _FORCE_UNIT * found[:, 3:6]
        evidence = found[:, 6]
        parts = [torch.split(tensor, list(lengths)) for tensor in (x, evidence)]
        pooled = torch.stack([_pooled(*pair) for pair in zip(*parts, strict=True)])  # [B, 2 C + 2]
        return Findings(
            Forces(internal, external, self.config.forces),
            evidence,
            self.object_head(pooled)[:, 0],
        )


def _pooled(features: Tensor, evidence: Tensor) -> Tensor:
    """Return what an object's head is given, (2 C + 2,): means over all voxels and over those with
    the most evidence, and the means of that evidence."""
    counts = [max(1, round(share * len(evidence))) for share in _TOP_SHARES]
    most = evidence.topk(counts[0])
    tops = torch.stack([most.values[:count].mean() for count in counts])
    return torch.cat([features.mean(dim=0), features[most.indices].mean(dim=0), tops])


def new_network(
    config: NetworkConfig, backend: str = "torch", generator: torch.Generator | None = None
) -> CFPNet:
    """Build the network that a configuration describes. Parameters and errors as of `CFPNet`."""
    kind = DeviationNetwork if config.input == "deviation" else CFPNet
    return kind(config, backend, generator)
