# SPDX-License-Identifier: Apache-2.0
"""Small networks and clouds for the tests of `mc4ad_model`.

A test module that imports this one calls `pytest.importorskip("torch")` first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.network import CFPNet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sphere(points: int = 300, seed: int = 0) -> Tensor:
    """(points, 3) float64 on the unit sphere."""
    cloud = torch.randn(points, 3, dtype=torch.float64, generator=generator(seed))
    return cloud / cloud.norm(dim=1, keepdim=True)


def scrambled(config: NetworkConfig, seed: int = 0) -> CFPNet:
    """Return a float64 network in evaluation mode, its biases and statistics random too."""
    random = generator(seed)
    network = CFPNet(config, generator=random).double()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=random)
        elif tensor.ndim == 1:
            tensor.normal_(0.2, 0.3, generator=random)
    return network.eval()
