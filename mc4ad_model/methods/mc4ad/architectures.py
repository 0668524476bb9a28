# SPDX-License-Identifier: Apache-2.0
"""The configuration of CFP-Net, and the architectures that have a name.

The paper describes CFP-Net in Section 4.2; its released code differs in several places. Each
difference is a field, so both readings, the ablations of Table 3, the pruned V_P and PO3AD's
network are one class with other values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Literal, Self, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from intravariance.errors import InputError
from mc4ad_model.methods.settings import STRICT, Positive, read_section

# A file that somebody else made may ask for any number of modules.
Channels = Annotated[int, Field(ge=1, le=4096)]
LevelChannels = Annotated[tuple[Channels, ...], Field(max_length=8)]
LevelBlocks = Annotated[tuple[Annotated[int, Field(ge=1, le=32)], ...], Field(max_length=8)]

DeviationGroup = Literal["counts", "heights", "offsets", "product"]

# Channels of a voxel's input. coordinates: x, y, z. deviation: see `deviations.input`.
INPUT_CHANNELS = {"coordinates": 3, "deviation": 28}


@validated(frozen=True, config=STRICT)
class NetworkConfig:
    """The parts of CFP-Net; the defaults are the released code's MinkUNet14C with MC-Skip.

    Level 0 is the stem at stride 1; the encoder's entry i works at stride 2^(i+1), the decoder's
    entries come back from the coarsest level to stride 1.

    Parameters
    ----------
    input
        "coordinates": the voxels of the cloud, each with its place (paper). "deviation": the voxels
        of the template that the cloud was registered to, each with how the cloud deviates there
        (ours, module `deviations.network`).
    given
        With input = "deviation": the groups of channels that the network is given; the others are
        0 (module `deviations.input`). For ablations.
    voxel_size
        Edge of a voxel, in units of the normalised cloud (paper A.5 and released code: 0.03).
    voxel_feature
        "representative": the coordinates of one of the voxel's points (released code); "mean":
        of all of them, which takes noise out.
    stem_channels
        Channels of the stem, C_1 of Eq. 6 (released code: 32).
    stem_convolutions
        1 (released code) or 2 ("two convolutional layers" below Eq. 6); the second is 3^3.
    encoder_channels, encoder_blocks
        Channels and number of residual blocks of each level, finest first. Released code: growing
        channels; Eq. 7: C_1 everywhere.
    decoder_channels, decoder_blocks
        The same for the way back, coarsest first.
    layers
        2, 4, 6 or 8: blocks of encoder and decoder that are in use ("Layer_8" of Table 3 is the
        whole network). Fewer leave out the coarsest levels; which the paper cut is not known.
    mc_skip
        Whether skip connections are fused by MC-Skip (Eq. 8); false is "w/o MC-Skip" of Table 3.
    mc_skip_weight_from
        The feature that alpha is computed from. Eq. 8: "encoder"; released code: "decoder".
    mc_skip_weight_on
        The feature that alpha multiplies, the other gets 1 - alpha. Eq. 8: "decoder"; released
        code: "encoder".
    mc_skip_sigmoid
        Whether alpha goes through a sigmoid: yes in appendix B.3 and the released code, not in
        Eq. 8.
    concatenate
        Whether the encoder's feature is also concatenated, as in any U-Net: yes in the released
        code, not in Eq. 8.
    point_channels, head_channels
        Output of the backbone and hidden layer of the head (released code: 32 and 16).
    out_channels
        6: internal and external force; 3: one force ("Out = 3" of Table 3, PO3AD).
    forces
        How the two forces are combined: "mean" (released code) or "sum" (paper Def. A3).
    width
        Factor on all channels but input and output; they are rounded to multiples of 8. With 1
        they stay as they are given.

    Raises
    ------
    pydantic.ValidationError
        A value is of another type or out of range. `named` and `from_mapping` make an InputError of
        it that says what is allowed.
    """

    input: Literal["coordinates", "deviation"] = "coordinates"
    given: tuple[DeviationGroup, ...] = get_args(DeviationGroup)
    voxel_size: Positive = 0.03
    voxel_feature: Literal["representative", "mean"] = "representative"
    stem_channels: Channels = 32
    stem_convolutions: Annotated[int, Field(ge=1, le=2)] = 1
    encoder_channels: LevelChannels = (32, 64, 128, 256)
    encoder_blocks: LevelBlocks = (1, 1, 1, 1)
    decoder_channels: LevelChannels = (192, 192, 128, 128)
    decoder_blocks: LevelBlocks = (1, 1, 1, 1)
    layers: Literal[2, 4, 6, 8] = 8
    mc_skip: bool = True
    mc_skip_weight_from: Literal["encoder", "decoder"] = "decoder"
    mc_skip_weight_on: Literal["encoder", "decoder"] = "encoder"
    mc_skip_sigmoid: bool = True
    concatenate: bool = True
    point_channels: Channels = 32
    head_channels: Channels = 16
    out_channels: Literal[3, 6] = 6
    forces: Literal["mean", "sum"] = "mean"
    width: Annotated[float, Field(gt=0, le=16)] = 1.0

    def __post_init__(self) -> None:
        levels = len(self.encoder_channels)
        for name in ("encoder_blocks", "decoder_channels", "decoder_blocks"):
            if len(getattr(self, name)) != levels:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r}: expected {levels} numbers, as many as "
                    "encoder_channels"
                )
        if self.layers > 2 * levels:
            raise ValueError(
                f"layers = {self.layers}: expected at most {2 * levels}, twice the {levels} levels "
                "of encoder_channels"
            )
        if self.input == "deviation" and self.out_channels != 6:
            raise ValueError(
                f"out_channels = {self.out_channels}: expected 6 with input = deviation"
            )
        if not (self.concatenate or self.mc_skip):
            raise ValueError(
                "concatenate = False: expected true when mc_skip is false: the decoder would see "
                "nothing of the encoder"
            )

    @classmethod
    def named(cls, name: str, **changes: object) -> Self:
        """Return the architecture of that name, with some fields changed.

        Raises
        ------
        InputError
            The name or a field is unknown, or a value is not allowed.
        """
        return cls.from_mapping({"arch": name, **changes})

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], where: str = "network") -> Self:
        """Build a configuration from plain values, as read from TOML or JSON.

        Parameters
        ----------
        values
            Fields by name, lists for tuples; `arch` names the architecture that gives the rest
            ("released" unless told).
        where
            What error messages name: the file, the table.

        Raises
        ------
        InputError
            The architecture or a field is unknown, or a value is not allowed.
        """
        changes = {name: value for name, value in values.items() if name != "arch"}
        arch = values.get("arch", "released")
        if not isinstance(arch, str) or arch not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise InputError(f"{where}: architecture {arch!r}: expected one of {known}")
        return read_section(cls, {**asdict(ARCHITECTURES[arch]), **changes}, where)

    def scaled(self, channels: int) -> int:
        """Return that many channels times `width`, in multiples of 8."""
        if self.width == 1:
            return channels
        return max(8, round(channels * self.width / 8) * 8)

    @property
    def encoder(self) -> list[tuple[int, int]]:
        """Channels and blocks of the levels in use, finest first."""
        pairs = zip(self.encoder_channels, self.encoder_blocks, strict=True)
        return [(self.scaled(channels), blocks) for channels, blocks in pairs][: self.layers // 2]

    @property
    def decoder(self) -> list[tuple[int, int]]:
        """Channels and blocks of the levels in use, coarsest first."""
        pairs = zip(self.decoder_channels, self.decoder_blocks, strict=True)
        return [(self.scaled(channels), blocks) for channels, blocks in pairs][-self.layers // 2 :]


ARCHITECTURES: dict[str, NetworkConfig] = {
    "released": NetworkConfig(),
    # Eq. 6-9 where they say something. C_1 is not given; 128 brings the total to the paper's
    # "14 M" (14.1 M; with the released stem's 32 it would be 9.6 M). Where it says nothing, the
    # released code: kernels, strides, residual blocks, the decoder's channels. The second stem
    # convolution is 3^3 at stride 1 by our choice.
    "paper": NetworkConfig(
        stem_channels=128,
        stem_convolutions=2,
        encoder_channels=(128, 128, 128, 128),
        mc_skip_weight_from="encoder",
        mc_skip_weight_on="decoder",
        mc_skip_sigmoid=False,
        concatenate=False,
        forces="sum",
    ),
    # V_P: "one, two, and two" convolutions (A.5). The planes are ours, the paper gives none.
    "pruned": NetworkConfig(
        encoder_channels=(32, 64),
        encoder_blocks=(1, 1),
        decoder_channels=(192, 128),
        decoder_blocks=(1, 1),
        layers=4,
    ),
    # PO3AD's released code: MinkUNet34C and one force.
    "po3ad": NetworkConfig(
        encoder_blocks=(2, 3, 4, 6),
        decoder_channels=(256, 128, 96, 96),
        decoder_blocks=(2, 2, 2, 2),
        mc_skip=False,
        out_channels=3,
    ),
}
