# SPDX-License-Identifier: Apache-2.0
"""Point-MAE's network, made ready to learn one category in a few hundred steps.

As it is, it learns in so few steps what a patch of points looks like on the average of all places,
and nothing of where it is: a step of the optimiser moves the points by half of a patch. Here its
output is in tenths of a radius, so steps are ten times finer, and the first weights of what the
decoder sees of places are larger, so that it tells near ones apart from the start.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mc4ad_model.methods.point_mae.encoders import Encoder
from mc4ad_model.methods.point_mae.network import Masked, PointMAE
from mc4ad_model.methods.point_mae.pretraining import initialise

_UNIT, _WIDER = 0.1, 6.0


class MaskedNetwork(PointMAE):
    """The encoder, and what reconstructs hidden patches from what it says of the others."""

    def start(self, encoder: Encoder, rng: torch.Generator) -> None:
        """Take the weights of an encoder, and draw those of the decoder."""
        initialise(self, rng)
        with torch.no_grad():
            cast("nn.Linear", self.position[0]).weight.mul_(_WIDER)
        self.encoder.load_state_dict(encoder.network.state_dict())

    def reconstructed(self, groups: Tensor, centres: Tensor, masked: Masked) -> Tensor:
        """Return the hidden groups (B, H, K, 3), as `PointMAE` does."""
        return _UNIT * super().reconstructed(groups, centres, masked)
