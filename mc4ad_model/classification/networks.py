# SPDX-License-Identifier: Apache-2.0
"""The four networks of Table 5a by name, for classes of clouds or parts of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from mc4ad_model.classification.dgcnn import DGCNN, DGCNNHead
from mc4ad_model.classification.layers import Network, head
from mc4ad_model.classification.point_transformer import PointTransformer
from mc4ad_model.classification.pointnet import PointNet
from mc4ad_model.classification.pointnet2 import PointNet2
from mc4ad_model.classification.sizes import Sizes

Head = Callable[..., nn.Module]


@dataclass(frozen=True)
class Kind:
    """A network of Table 5a.

    Parameters
    ----------
    backbone
        Called with sizes, whether there are MC-Skips, and whether points need features.
    head
        Called with the channels of the input, those of hidden layers and of the output, and
        `options`.
    class_widths, part_widths
        Channels of the hidden layers, as published.
    smoothing
        Smoothing of the labels of classes, in training, as published.
    """

    backbone: Callable[[Sizes, bool, bool], Any]
    head: Head
    class_widths: tuple[int, ...]
    part_widths: tuple[int, ...]
    options: dict[str, Any]
    smoothing: float = 0.0


NETWORKS = {
    "PointNet": Kind(PointNet, head, (512, 256), (256, 256, 128), {"dropout": 0.3}),
    "PointNet++": Kind(PointNet2, head, (512, 256), (128,), {"dropout": 0.4}),
    "PointTransformer": Kind(PointTransformer, head, (256, 64), (64, 64), {"norm": False}),
    "DGCNN": Kind(DGCNN, DGCNNHead, (512, 256), (256, 256, 128), {"dropout": 0.5}, 0.2),
}


def make_network(
    name: str, sizes: Sizes, mc_skip: bool, outputs: int, categories: int = 0
) -> Network:
    """Make one of NETWORKS, with weights from torch's generator.

    Parameters
    ----------
    outputs
        Classes, or parts of all categories together.
    categories
        0 for classes of clouds; otherwise each point's part is named, and this is the number of
        categories.
    """
    kind = NETWORKS[name]
    backbone = kind.backbone(sizes, mc_skip, categories > 0)
    inside = backbone.whole + backbone.local + categories
    widths = sizes.channels(kind.part_widths if categories else kind.class_widths)
    return Network(backbone, kind.head(inside, widths, outputs, **kind.options), categories)


def parameters(network: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(one.numel() for one in network.parameters())
