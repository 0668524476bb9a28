# SPDX-License-Identifier: Apache-2.0
"""2-D networks of random weights, for tests.

A test module that imports this one calls `pytest.importorskip("torch")` first.
"""

from __future__ import annotations

import torch

from mc4ad_model.methods.projections.backbones import Backbone
from mc4ad_model.methods.projections.resnet import ResNet18, ResNetConfig


def drawn(config: ResNetConfig, seed: int = 0) -> Backbone:
    """Return a network of random weights, whose statistics are not those of a new network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ResNet18(config)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
    return Backbone(network.eval(), {"seed": seed})
