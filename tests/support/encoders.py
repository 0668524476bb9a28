# SPDX-License-Identifier: Apache-2.0
"""A Point-MAE small enough to be trained in a test, and one that is not trained at all.

A test module that imports this one calls `pytest.importorskip("torch")` first.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from mc4ad_model.methods.point_mae.encoders import Encoder, save_encoder
from mc4ad_model.methods.point_mae.network import NetworkConfig, PointEncoder

TINY = NetworkConfig(
    width=24, depth=3, heads=3, embedding=(16, 32, 32), taps=(1, 2, 3), decoder_depth=1,
    points=256, groups=24, group_size=16, dropped=0.0,
)  # fmt: skip


def untrained(config: NetworkConfig = TINY, seed: int = 0) -> Encoder:
    """Return an encoder of random weights, whose statistics are not those of a new network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PointEncoder(config)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return Encoder(network.eval(), {"seed": seed})


@cache
def _folder() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    save_encoder(Path(folder.name), untrained())
    return folder


def encoder_settings(centres: int = 100, group_size: int = 32) -> list[str]:
    """Return changes of settings for a method that needs an encoder: an untrained one."""
    return [
        f"encoder={_folder().name}",
        f"centres={centres}",
        f"group_size={group_size}",
    ]
