# SPDX-License-Identifier: Apache-2.0
"""The backbone within a method: taken or trained when it is fitted, saved with it, and asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intravariance.progress import say
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.projections.backbones import (
    Backbone,
    describe,
    load_backbone,
    read_published,
    save_backbone,
)
from mc4ad_model.methods.projections.pretext import Draw, Training, train_backbone
from mc4ad_model.methods.projections.rendering import View
from mc4ad_model.methods.projections.resnet import colour_images
from mc4ad_model.methods.saved_files import reading, writing
from mc4ad_model.methods.settings import place_of

_STAGES = 3  # of the four, whose maps points gather from
_FOLD = 8  # images that go through the network at a time: bounds the memory


class FittedBackbone:
    """The 2-D network of one method.

    Parameters
    ----------
    file
        File of torchvision's ResNet18; "" to train one.
    machine
        Where it runs.
    """

    def __init__(self, file: str, machine: Machine | None = None) -> None:
        self._file, self._machine = file, machine or Machine()
        self._backbone: Backbone | None = None

    @property
    def backbone(self) -> Backbone:
        """The network that was taken, trained or loaded."""
        assert self._backbone is not None
        return self._backbone

    @property
    def parameters(self) -> int:
        """Number of learnt parameters."""
        return self.backbone.parameters

    @property
    def point_channels(self) -> int:
        """Channels of what `of_points` returns."""
        return sum(self.backbone.network.config.channels[:_STAGES])

    @property
    def image_channels(self) -> int:
        """Channels of what `of_images` returns."""
        return self.backbone.network.config.channels[-1]

    def check(self) -> None:
        """Read the user's file, if there is one. Errors as of `read_published`."""
        if self._file:
            self._take(read_published(place_of(self._file)))

    def fit(self, draw: Draw, classes: int, training: Training) -> None:
        """Take the user's file, or train a network on images of classes."""
        quiet = self._machine.quiet
        if self._file:
            self.check()
        else:
            device = self._machine.torch_device()
            self._take(train_backbone(draw, classes, training, device, quiet))
        say(describe(self.backbone), quiet)

    def save(self, folder: Path) -> None:
        """Write it into a method's folder."""
        with writing(folder):
            save_backbone(folder, self.backbone)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        with reading():
            self._take(load_backbone(folder))

    @torch.no_grad()
    def of_points(self, views: Sequence[View]) -> NDArray[np.float32]:
        """Describe the points of a cloud: (N, C) float32, the mean over the views that see them.

        In each view a point has the values of three stages' maps at its place, interpolated. Points
        that no view sees have the mean over all views.
        """
        images = torch.from_numpy(np.stack([view.shades for view in views])).to(self._device)
        places = np.stack([view.places for view in views])
        seen = np.stack([view.seen for view in views])
        seen[:, ~seen.any(axis=0)] = True
        found = torch.zeros((seen.shape[1], self.point_channels), device=self._device)
        for start in range(0, len(views), _FOLD):
            folded = slice(start, start + _FOLD)
            maps = self.backbone.network.maps(colour_images(images[folded]), _STAGES)
            for number, (own, rows) in enumerate(zip(places[folded], seen[folded], strict=True)):
                shown = torch.from_numpy(np.flatnonzero(rows)).to(self._device)
                found[shown] += _at([part[number] for part in maps], own[rows])
        counts = torch.from_numpy(seen.sum(axis=0)[:, None]).to(found)
        return (found / counts).cpu().numpy()

    @torch.no_grad()
    def of_images(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Describe images (B, H, W) by the largest values of the last maps: (B, C) float32."""
        given = colour_images(torch.from_numpy(images).to(self._device))
        return self.backbone.network.maps(given)[-1].amax(dim=(2, 3)).cpu().numpy()

    @property
    def _device(self) -> torch.device:
        return self._machine.torch_device()

    def _take(self, backbone: Backbone) -> None:
        backbone.network.to(self._device)
        self._backbone = backbone


def _at(maps: Sequence[Tensor], places: NDArray[np.float64]) -> Tensor:
    """Interpolate maps (C, h, w) at places (n, 2) from -1 to 1, y up: (n, all channels)."""
    grid = torch.from_numpy(places * (1, -1)).to(maps[0])[None, None]  # (1, 1, n, 2)
    parts = [
        functional.grid_sample(part[None], grid, padding_mode="border", align_corners=False)
        for part in maps
    ]
    return torch.cat(parts, dim=1)[0, :, 0].T
