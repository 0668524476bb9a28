# SPDX-License-Identifier: Apache-2.0
"""CFP-Net: from a point cloud to an internal and an external corrective force for each point.

A sparse U-Net on voxels (MinkUNet) whose skip connections weigh encoder against decoder (MC-Skip),
then a small perceptron on points. What is built is said by `architectures.NetworkConfig`.

`python -m mc4ad_model.network` prints the layers with their parameter counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from intravariance.errors import InputError
from mc4ad_model.architectures import ARCHITECTURES, NetworkConfig
from mc4ad_model.sparse import (
    Backend,
    CoordinatePyramid,
    Geometry,
    SparseConvolution,
    get_backend,
    voxelise,
)

IN_CHANNELS = 3  # a voxel's feature: x, y, z of one of its points (released code)
STEM_KERNEL = 5  # released code; the paper names no kernel


@dataclass(frozen=True)
class Forces:
    """What CFP-Net predicts for N points, in the units and frame of the cloud it was given.

    Parameters
    ----------
    internal : (N, 3)
    external : (N, 3), or None for a network with three output channels
    combination
        How the two make one force.
    """

    internal: Tensor
    external: Tensor | None
    combination: Literal["mean", "sum"]

    @property
    def combined(self) -> Tensor:
        """(N, 3): the displacement that made the defect; subtract it to correct the cloud."""
        if self.external is None:
            return self.internal
        total = self.internal + self.external
        return total if self.combination == "sum" else 0.5 * total


class NormalisedConvolution(nn.Module):
    """Convolution without bias, batch normalisation over all voxels of the batch, ReLU if asked."""

    def __init__(
        self, inside: int, outside: int, geometry: Geometry, backend: Backend, relu: bool = True
    ) -> None:
        super().__init__()
        self.convolution = SparseConvolution(inside, outside, geometry, backend=backend)
        self.norm = nn.BatchNorm1d(outside)
        self.relu = relu

    def forward(self, x: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        x = self.convolution(x, pyramid)  # [V_source, C_in] -> [V_target, C_out]
        x = self.norm(x)
        return functional.relu(x, inplace=True) if self.relu else x


class ResidualBlock(nn.Module):
    """ResNet's basic block: two 3^3 convolutions and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int, backend: Backend) -> None:
        super().__init__()
        one, three = Geometry(1, stride, stride), Geometry(3, stride, stride)
        self.first = NormalisedConvolution(inside, outside, three, backend)
        self.second = NormalisedConvolution(outside, outside, three, backend, relu=False)
        self.shortcut = (
            NormalisedConvolution(inside, outside, one, backend, relu=False)
            if inside != outside
            else None
        )

    def forward(self, x: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        y = self.second(self.first(x, pyramid), pyramid)  # [V, C_in] -> [V, C_out]
        y = y + (x if self.shortcut is None else self.shortcut(x, pyramid))
        return functional.relu(y, inplace=True)


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
        self.blocks = _blocks(inside, outside, blocks, stride, backend)

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
        self.blocks = _blocks(fused, outside, blocks, stride, backend)

    def forward(self, x: Tensor, skipped: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        x = self.up(x, pyramid)  # [V_2s, C_in] -> [V_s, C_out]
        if self.mc_skip is not None:
            x = self.mc_skip(skipped, x, pyramid)  # [V_s, C_out]
        if self.concatenate:
            x = torch.cat([x, skipped], dim=1)  # [V_s, C_out + C_skipped]
        for block in self.blocks:
            x = block(x, pyramid)  # [V_s, C_out]
        return x


def _blocks(inside: int, outside: int, count: int, stride: int, backend: Backend) -> nn.ModuleList:
    """Residual blocks in a row; the first one changes the number of channels."""
    return nn.ModuleList(
        ResidualBlock(outside if i else inside, outside, stride, backend) for i in range(count)
    )


class CFPNet(nn.Module):
    """Corrective Force Prediction Network.

    Parameters
    ----------
    config
        What to build, e.g. `ARCHITECTURES["released"]`.
    backend
        What computes the convolutions: "torch" or "minkowski"; parameters are the same.
    generator
        CPU generator that the initial parameters are drawn from; without one they are those of
        seed 0. Torch's global state is neither used nor changed.

    Raises
    ------
    InputError, BackendUnavailable
        The backend is unknown or not installed.
    """

    def __init__(
        self,
        config: NetworkConfig,
        backend: str = "torch",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        engine = get_backend(backend)
        # Modules draw from the global state when they are made: put it back after.
        with torch.random.fork_rng(devices=[]):
            self._build(config, engine)
        initialise(self, generator or torch.Generator().manual_seed(0))

    def _build(self, config: NetworkConfig, engine: Backend) -> None:
        channels, stride = config.scaled(config.stem_channels), 1
        self.stem = nn.ModuleList()
        for i in range(config.stem_convolutions):
            inside, size = (channels, 3) if i else (IN_CHANNELS, STEM_KERNEL)
            self.stem.append(NormalisedConvolution(inside, channels, Geometry(size, 1, 1), engine))
        self.encoder, skipped = nn.ModuleList(), []
        for outside, blocks in config.encoder:
            skipped.append(channels)
            stride *= 2
            self.encoder.append(EncoderLevel(channels, outside, blocks, stride, engine))
            channels = outside
        self.decoder = nn.ModuleList()
        for outside, blocks in config.decoder:
            stride //= 2
            self.decoder.append(
                DecoderLevel(config, channels, skipped.pop(), outside, blocks, stride, engine)
            )
            channels = outside
        point, hidden = config.scaled(config.point_channels), config.scaled(config.head_channels)
        one = Geometry(1, 1, 1)
        self.output = SparseConvolution(channels, point, one, bias=True, backend=engine)
        self.head = nn.Sequential(
            nn.Linear(point, point, bias=False),
            nn.BatchNorm1d(point),
            nn.PReLU(),
            nn.Linear(point, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.PReLU(),
            nn.Linear(hidden, config.out_channels),
        )

    def forward(
        self, features: Tensor, pyramid: CoordinatePyramid, point_to_voxel: Tensor
    ) -> Forces:
        """Predict the forces on the N points of a batch.

        Parameters
        ----------
        features : (V, 3)
            Coordinates of one point of each voxel.
        pyramid
            The V voxels of the batch.
        point_to_voxel : (N,) int64
            The voxel that each point lies in.

        Raises
        ------
        InputError
            Features and voxels differ in number, or the coarsest level of a training batch has
            one voxel only, of which there is no variance.
        """
        coarsest = 2 ** len(self.encoder)
        if features.shape != (pyramid.size(), IN_CHANNELS):
            raise InputError(
                f"features: expected ({pyramid.size()}, {IN_CHANNELS}), one row for each voxel, "
                f"found {tuple(features.shape)}"
            )
        if self.training and pyramid.size(coarsest) < 2:
            raise InputError(
                f"training batch: all points lie in one voxel of stride {coarsest}, and batch "
                "normalisation needs two. Batch more clouds, normalise them to the unit ball, "
                "or take a smaller voxel size."
            )
        x = features  # [V, 3]
        for convolution in self.stem:
            x = convolution(x, pyramid)  # [V, C]
        skipped = []
        for down in self.encoder:
            skipped.append(x)
            x = down(x, pyramid)  # [V_s/2, C] -> [V_s, C']
        for up in self.decoder:
            x = up(x, skipped.pop(), pyramid)  # [V_2s, C] -> [V_s, C']
        x = self.output(x, pyramid)  # [V, C_point]
        if self.training:
            # As released: statistics over points, so a voxel counts as often as it has points.
            x = self.head(x.index_select(0, point_to_voxel))  # [N, 6 or 3]
        else:
            # The same numbers with less work: the points of a voxel share everything.
            x = self.head(x).index_select(0, point_to_voxel)  # [N, 6 or 3]
        internal = x[:, :3]  # [N, 3]
        external = x[:, 3:] if self.config.out_channels == 6 else None  # [N, 3]
        return Forces(internal, external, self.config.forces)

    def predict(self, clouds: Sequence[Tensor]) -> list[Forces]:
        """Predict the forces on the points of some clouds, in evaluation mode, without gradients.

        Parameters
        ----------
        clouds : B tensors (N_b, 3)
            Normalised to the unit ball, on any device.

        Returns
        -------
        Forces of each cloud, on the network's device.

        Raises
        ------
        InputError
            There is no cloud, or one is empty, not finite, of another shape or too large.
        """
        parameter = next(self.parameters())
        clouds = [cloud.to(parameter.device) for cloud in clouds]
        voxels = voxelise(clouds, self.config.voxel_size)
        pyramid = CoordinatePyramid(voxels.coordinates)
        features = torch.cat(clouds)[voxels.representative].to(parameter.dtype)  # [V, 3]
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                batch = self(features, pyramid, voxels.point_to_voxel)
        finally:
            self.train(training)
        lengths = [len(cloud) for cloud in clouds]
        internal = batch.internal.split(lengths)
        external = [None] * len(clouds) if batch.external is None else batch.external.split(lengths)
        return [Forces(i, e, batch.combination) for i, e in zip(internal, external, strict=True)]


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all parameters from the distributions of the released code.

    Convolutions: normal with MinkowskiEngine's `kaiming_normal_` for fan-out, that is variance
    2 / (K C_out), or 2 / C_in for kernels of size 1, whose fan-out it takes from the other axis.
    Up convolutions and biases keep MinkowskiEngine's uniform distribution; the head has torch's.
    """
    for module in network.modules():
        if isinstance(module, SparseConvolution):
            inside, outside = module.kernel.shape[-2:]
            offsets = module.geometry.offsets
            if module.geometry.transposed:
                bound = 1 / math.sqrt(offsets * outside)
                nn.init.uniform_(module.kernel, -bound, bound, generator)
            else:
                fan_out = inside if offsets == 1 else offsets * outside
                nn.init.normal_(module.kernel, 0, math.sqrt(2 / fan_out), generator)
            if module.bias is not None:
                bound = 1 / math.sqrt(offsets * inside)
                nn.init.uniform_(module.bias, -bound, bound, generator)
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def stages(network: CFPNet) -> dict[str, nn.Module]:
    """The parts of the network in the order of their work; blocks are counted as in MinkUNet."""
    names = {"stem": "stem"}
    levels = len(network.encoder)
    for i in range(levels):
        names |= {f"down{i + 1}": f"encoder.{i}.down", f"block{i + 1}": f"encoder.{i}.blocks"}
    for i in range(levels):
        names[f"up{i + 1}"] = f"decoder.{i}.up"
        if network.config.mc_skip:
            names[f"mc_skip{i + 1}"] = f"decoder.{i}.mc_skip"
        names[f"block{levels + i + 1}"] = f"decoder.{i}.blocks"
    names |= {"final": "output", "head": "head"}
    return {stage: network.get_submodule(name) for stage, name in names.items()}


def layer_table(network: CFPNet) -> Iterator[str]:
    """Lines of a table: stages with their parameter counts, and the layers that make them up."""
    yield f"{'stage, layer':<26}{'operation':<22}{'stride':<10}{'channels':<12}{'parameters':>11}"
    for stage, part in stages(network).items():
        yield f"{stage:<70}{count_parameters(part):>11,}"
        for name, layer in part.named_modules():
            stride = ""
            if isinstance(layer, SparseConvolution):
                geometry, (inside, outside) = layer.geometry, layer.kernel.shape[-2:]
                direction = "up convolution" if geometry.transposed else "convolution"
                operation = f"{direction} {geometry.kernel_size}^3"
                stride = f"{geometry.source_stride} -> {geometry.target_stride}"
            elif isinstance(layer, nn.Linear):
                operation, inside, outside = "linear", layer.in_features, layer.out_features
            elif isinstance(layer, nn.BatchNorm1d):
                operation, inside, outside = "batch norm", layer.num_features, layer.num_features
            elif isinstance(layer, nn.PReLU):
                operation, inside, outside = "PReLU", layer.num_parameters, layer.num_parameters
            else:
                continue
            yield (
                f"  {name:<24}{operation:<22}{stride:<10}{f'{inside} -> {outside}':<12}"
                f"{count_parameters(layer):>11,}"
            )
    yield f"{'total':<70}{count_parameters(network):>11,}"


@click.command()
@click.option("--arch", type=click.Choice(list(ARCHITECTURES)), default="released")
@click.option("--width", type=float, default=1.0, help="Factor on the channels.")
def main(arch: str, width: float) -> None:
    """Print the layers of CFP-Net with their parameter counts."""
    network = CFPNet(NetworkConfig.named(arch, width=width))
    click.echo("\n".join(layer_table(network)))


if __name__ == "__main__":
    main()
