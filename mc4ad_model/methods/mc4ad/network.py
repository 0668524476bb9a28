# SPDX-License-Identifier: Apache-2.0
"""CFP-Net: from a point cloud to an internal and an external corrective force for each point.

A sparse U-Net on voxels (MinkUNet) whose skip connections weigh encoder against decoder (MC-Skip),
then a small perceptron on points. `architectures.NetworkConfig` says which parts it has.

`python -m mc4ad_model.methods.mc4ad.network` prints the layers with their parameter counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import click
import torch
from torch import Tensor, nn

from intravariance.errors import InputError, IVError
from mc4ad_model.methods.mc4ad.architectures import (
    ARCHITECTURES,
    INPUT_CHANNELS,
    NetworkConfig,
)
from mc4ad_model.methods.mc4ad.blocks import DecoderLevel, EncoderLevel, NormalisedConvolution
from mc4ad_model.sparse import (
    Backend,
    CoordinatePyramid,
    Geometry,
    SparseConvolution,
    Voxels,
    gather_rows,
    get_backend,
    reduce_rows,
    voxelise,
)

STEM_KERNEL = 5  # released code; the paper names no kernel
LARGEST_COORDINATE = 2.0  # a defect may stick out of the unit ball, but not as far as this


@dataclass(frozen=True)
class Forces:
    """Predictions of CFP-Net for N points, in the frame of the cloud it was given.

    That cloud is normalised to the unit ball, so lengths are in radii.

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


class CFPNet(nn.Module):
    """Corrective Force Prediction Network.

    Parameters
    ----------
    config
        The parts to build, e.g. `ARCHITECTURES["released"]`.
    backend
        What computes the convolutions, one of `sparse.BACKENDS`; parameters are the same.
    generator
        CPU generator that the initial parameters are drawn from; without one they are those of
        seed 0. Torch's global state is neither used nor changed.

    Raises
    ------
    InputError, BackendUnavailable
        The backend is unknown, not installed or cannot be used here.
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
        if not next(self.parameters()).is_meta:  # drawing for those would import much of torch
            initialise(self, generator or torch.Generator().manual_seed(0))

    def _build(self, config: NetworkConfig, engine: Backend) -> None:
        channels, stride = config.scaled(config.stem_channels), 1
        self.stem = nn.ModuleList()
        for i in range(config.stem_convolutions):
            inside, size = (channels, 3) if i else (INPUT_CHANNELS[config.input], STEM_KERNEL)
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
        point = config.scaled(config.point_channels)
        one = Geometry(1, 1, 1)
        self.output = SparseConvolution(channels, point, one, bias=True, backend=engine)
        self._build_head(config, point)

    def _build_head(self, config: NetworkConfig, point: int) -> None:
        hidden = config.scaled(config.head_channels)
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
            From `voxel_features`.
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
        x = self.backbone(features, pyramid)  # [V, C_point]
        if self.training:
            # As released: statistics over points, so a voxel counts as often as it has points.
            x = self.head(gather_rows(x, point_to_voxel))  # [N, 6 or 3]
        else:
            # The same numbers with less work: the points of a voxel share everything.
            x = self.head(x).index_select(0, point_to_voxel)  # [N, 6 or 3]
        internal = x[:, :3]  # [N, 3]
        external = x[:, 3:] if self.config.out_channels == 6 else None  # [N, 3]
        return Forces(internal, external, self.config.forces)

    def backbone(self, features: Tensor, pyramid: CoordinatePyramid) -> Tensor:
        """Return features (V, C_point) of the V voxels of a batch. Raises as `forward`."""
        coarsest = 2 ** len(self.encoder)
        fewest = pyramid.size(coarsest)  # makes all levels at once
        channels = INPUT_CHANNELS[self.config.input]
        if features.shape != (pyramid.size(), channels):
            raise InputError(
                f"features: expected ({pyramid.size()}, {channels}), one row for each voxel, "
                f"found {tuple(features.shape)}"
            )
        if self.training and fewest < 2:
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
        return self.output(x, pyramid)  # type: ignore[no-any-return]

    def predict(self, clouds: Sequence[Tensor]) -> list[Forces]:
        """Predict the forces on the points of some clouds, in evaluation mode, without gradients.

        Parameters
        ----------
        clouds : B tensors (N_b, 3)
            Normalised to the unit ball (centroid at 0, largest distance 1), on any device.

        Returns
        -------
        Forces of each cloud, on the network's device.

        Raises
        ------
        InputError
            There is no cloud, or one is empty, not finite, of another shape or not normalised.
        """
        parameter = next(self.parameters())
        clouds = [torch.as_tensor(cloud, device=parameter.device) for cloud in clouds]
        voxels = voxelise(clouds, self.config.voxel_size)
        reached = torch.stack([cloud.abs().max() for cloud in clouds]).tolist()  # one wait
        for index, largest in enumerate(reached):
            if largest > LARGEST_COORDINATE:
                raise InputError(
                    f"point cloud {index}: found a coordinate of {largest:g}; expected a cloud "
                    "normalised to the unit ball: subtract its centroid, divide by the largest "
                    "distance from it"
                )
        pyramid = CoordinatePyramid(voxels.coordinates, checked=True)
        features = voxel_features(clouds, voxels, self.config).to(parameter.dtype)  # [V, 3]
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                batch = self(features, pyramid, voxels.point_to_voxel)
        finally:
            for module, training in modes.items():  # parts may have had another mode
                module.training = training
        lengths = [len(cloud) for cloud in clouds]
        internal = batch.internal.split(lengths)
        external = [None] * len(clouds) if batch.external is None else batch.external.split(lengths)
        return [Forces(i, e, batch.combination) for i, e in zip(internal, external, strict=True)]


def voxel_features(clouds: Sequence[Tensor], voxels: Voxels, config: NetworkConfig) -> Tensor:
    """(V, 3) what the network is given of each voxel: see `NetworkConfig.voxel_feature`."""
    points = torch.cat(list(clouds))  # [N, 3]
    if config.voxel_feature == "representative":
        return points[voxels.representative]
    return reduce_rows(points, voxels.point_to_voxel, len(voxels.coordinates), "mean")


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
    """Return number of trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def stages(network: CFPNet) -> dict[str, nn.Module]:
    """List the parts of the network in the order of their work; blocks count as in MinkUNet."""
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
@click.option(
    "--arch", type=click.Choice(list(ARCHITECTURES)), default="released", show_default=True
)
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on the channels.")
def main(arch: str, width: float) -> None:
    """Print the layers of CFP-Net with their parameter counts."""
    try:
        with torch.device("meta"):  # shapes without memory
            network = CFPNet(NetworkConfig.named(arch, width=width))
    except IVError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    click.echo("\n".join(layer_table(network)))


if __name__ == "__main__":
    main()
