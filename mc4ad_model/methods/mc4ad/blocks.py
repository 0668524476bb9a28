# SPDX-License-Identifier: Apache-2.0
"""The parts that CFP-Net is made of. All take features (V, C) and the pyramid of their voxels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.sparse import (
    Backend,
    CoordinatePyramid,
    Epilogue,
    Geometry,
    SparseConvolution,
)


class NormalisedConvolution(nn.Module):
    """Convolution without bias, batch normalisation over all voxels of the batch, ReLU if asked.

    Another branch (V_target, C_out) may be added before ReLU.
    """

    def __init__(
        self, inside: int, outside: int, geometry: Geometry, backend: Backend, relu: bool = True
    ) -> None:
        super().__init__()
        self.convolution = SparseConvolution(inside, outside, geometry, backend=backend)
        self.norm = nn.BatchNorm1d(outside)
        self.relu = relu

    def forward(self, x: Tensor, pyramid: CoordinatePyramid, added: Tensor | None = None) -> Tensor:
        # [V_source, C_in] -> [V_target, C_out]
        found: Tensor = self.convolution(x, pyramid, Epilogue(self.norm, self.relu, added))
        return found


class ResidualBlock(nn.Module):
    """ResNet's basic block: two 3^3 convolutions and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int, backend: Backend) -> None:
        super().__init__()
        one, three = Geometry(1, stride, stride), Geometry(3, stride, stride)
        self.first = NormalisedConvolution(inside, outside, three, backend)
        self.second = NormalisedConvolution(outside, outside, three, backend)
        self.shortcut = (
            NormalisedConvolution(inside, outside, one, backend, relu=False)
            if inside != outside
            else None
        )

    def forward(self, x: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        y = self.first(x, pyramid)  # [V, C_in] -> [V, C_out]
        x = x if self.shortcut is None else self.shortcut(x, pyramid)  # [V, C_out]
        found: Tensor = self.second(y, pyramid, x)  # their sum, then ReLU
        return found


class MCSkip(nn.Module):
    """Mechanical complementary skip connection (Eq. 8): encoder and decoder, weighed per voxel.

    The encoder's feature goes through 1^3, the decoder's through 3^3 (released code), both to the
    decoder's channels, without bias, normalisation or activation.
    """

    def __init__(
        self, config: NetworkConfig, encoder: int, decoder: int, stride: int, backend: Backend
    ) -> None:
        super().__init__()
        one, three = Geometry(1, stride, stride), Geometry(3, stride, stride)
        self.encoder_projection = SparseConvolution(encoder, decoder, one, backend=backend)
        self.decoder_projection = SparseConvolution(decoder, decoder, three, backend=backend)
        self.weight = SparseConvolution(decoder, 1, one, backend=backend)
        self.config = config

    def forward(self, encoder: Tensor, decoder: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        encoder = self.encoder_projection(encoder, pyramid)  # [V, C_encoder] -> [V, C]
        decoder = self.decoder_projection(decoder, pyramid)  # [V, C]
        source = encoder if self.config.mc_skip_weight_from == "encoder" else decoder
        alpha: Tensor = self.weight(source, pyramid)  # [V, 1]
        if self.config.mc_skip_sigmoid:
            alpha = alpha.sigmoid()
        if self.config.mc_skip_weight_on == "encoder":
            return alpha * encoder + (1 - alpha) * decoder  # [V, C]
        return alpha * decoder + (1 - alpha) * encoder  # [V, C]


class EncoderLevel(nn.Module):
    """Convolution to half the resolution, then residual blocks."""

    def __init__(
        self, inside: int, outside: int, blocks: int, stride: int, backend: Backend
    ) -> None:
        super().__init__()
        down = Geometry(2, stride // 2, stride)
        self.down = NormalisedConvolution(inside, inside, down, backend)
        self.blocks = residual_blocks(inside, outside, blocks, stride, backend)

    def forward(self, x: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        x = self.down(x, pyramid)  # [V_s/2, C_in] -> [V_s, C_in]
        for block in self.blocks:
            x = block(x, pyramid)  # [V_s, C_out]
        return x


class DecoderLevel(nn.Module):
    """Convolution to twice the resolution, fusion with the encoder, then residual blocks."""

    def __init__(
        self,
        config: NetworkConfig,
        inside: int,
        skipped: int,
        outside: int,
        blocks: int,
        stride: int,
        backend: Backend,
    ) -> None:
        super().__init__()
        up = Geometry(2, 2 * stride, stride)
        self.up = NormalisedConvolution(inside, outside, up, backend)
        self.mc_skip = MCSkip(config, skipped, outside, stride, backend) if config.mc_skip else None
        self.concatenate = config.concatenate
        fused = outside + skipped if config.concatenate else outside
        self.blocks = residual_blocks(fused, outside, blocks, stride, backend)

    def forward(self, x: Tensor, skipped: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        x = self.up(x, pyramid)  # [V_2s, C_in] -> [V_s, C_out]
        if self.mc_skip is not None:
            x = self.mc_skip(skipped, x, pyramid)  # [V_s, C_out]
        if self.concatenate:
            x = torch.cat([x, skipped], dim=1)  # [V_s, C_out + C_skipped]
        for block in self.blocks:
            x = block(x, pyramid)  # [V_s, C_out]
        return x


def residual_blocks(
    inside: int, outside: int, count: int, stride: int, backend: Backend
) -> nn.ModuleList:
    """Residual blocks in a row; the first one changes the number of channels."""
    return nn.ModuleList(
        ResidualBlock(outside if i else inside, outside, stride, backend) for i in range(count)
    )
