# SPDX-License-Identifier: Apache-2.0
"""ResNet18, a network of images (He et al., Deep Residual Learning, CVPR 2016).

Its tensors have the names and the order of torchvision's (BSD-3-Clause), whose weights it can take;
none of its code is used. At the published width it has 11,689,512 parameters.
"""

from __future__ import annotations

import torch
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn

from mc4ad_model.methods.settings import STRICT, Count

# Mean and spread of ImageNet's colours (0 to 1 each), as published weights expect them.
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@validated(frozen=True, config=STRICT)
class ResNetConfig:
    """Sizes of the network. width : channels of the first stage, doubled in each of the other
    three; classes : what the last layer tells apart."""

    width: Count = 64
    classes: Count = 1000

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the maps of the four stages."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width


PUBLISHED = ResNetConfig()


class _Block(nn.Module):
    """Two convolutions, added to what comes in."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample: nn.Module | None = None
        if stride != 1:
            shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outside))

    def forward(self, values: Tensor) -> Tensor:
        kept = values if self.downsample is None else self.downsample(values)
        changed = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(values)))))
        return torch.relu(changed + kept)


class ResNet18(nn.Module):
    """Maps of features of images at 1/4, 1/8, 1/16 and 1/32 of their size, and classes."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third, fourth = config.channels
        self.conv1 = nn.Conv2d(3, first, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = nn.Sequential(_Block(first, first, 1), _Block(first, first, 1))
        self.layer2 = nn.Sequential(_Block(first, second, 2), _Block(second, second, 1))
        self.layer3 = nn.Sequential(_Block(second, third, 2), _Block(third, third, 1))
        self.layer4 = nn.Sequential(_Block(third, fourth, 2), _Block(fourth, fourth, 1))
        self.fc = nn.Linear(fourth, config.classes)

    def maps(self, images: Tensor, stages: int = 4) -> list[Tensor]:
        """Return the maps (B, C, h, w) of the first stages, of images (B, 3, H, W)."""
        values = self.maxpool(torch.relu(self.bn1(self.conv1(images))))  # (B, width, H/4, W/4)
        found = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4)[:stages]:
            values = stage(values)
            found.append(values)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, classes) logits of images (B, 3, H, W)."""
        logits: Tensor = self.fc(self.maps(images)[-1].mean(dim=(2, 3)))
        return logits


def colour_images(grey: Tensor) -> Tensor:
    """Return (B, 3, H, W) images as the network takes them, of grey ones (B, H, W) from 0 to 1."""
    mean, spread = (grey.new_tensor(v)[:, None, None] for v in (_MEAN, _SPREAD))
    return (grey[:, None] - mean) / spread
