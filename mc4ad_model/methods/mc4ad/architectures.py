# SPDX-License-Identifier: Apache-2.0
"""The configuration of CFP-Net, and the architectures that have a name.

The paper describes CFP-Net in Section 4.2; its released code differs in several places. Each
difference is a field, so both readings, the ablations of Table 3, the pruned V_P and PO3AD's
network are one class with other values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal, Self

from intravariance.errors import InputError


@dataclass(frozen=True)
class NetworkConfig:
    """What CFP-Net is built from; the defaults are the released code's MinkUNet14C with MC-Skip.

    Level 0 is the stem at stride 1; the encoder's entry i works at stride 2^(i+1), the decoder's
    entries come back from the coarsest level to stride 1.

    Parameters
    ----------
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
    InputError
        A value is of another type or out of range; the message says what is allowed.
    """

    voxel_size: float = 0.03
    voxel_feature: Literal["representative", "mean"] = "representative"
    stem_channels: int = 32
    stem_convolutions: int = 1
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256)
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 1)
    decoder_channels: tuple[int, ...] = (192, 192, 128, 128)
    decoder_blocks: tuple[int, ...] = (1, 1, 1, 1)
    layers: int = 8
    mc_skip: bool = True
    mc_skip_weight_from: Literal["encoder", "decoder"] = "decoder"
    mc_skip_weight_on: Literal["encoder", "decoder"] = "encoder"
    mc_skip_sigmoid: bool = True
    concatenate: bool = True
    point_channels: int = 32
    head_channels: int = 16
    out_channels: int = 6
    forces: Literal["mean", "sum"] = "mean"
    width: float = 1.0

    def __post_init__(self) -> None:
        for name in ("voxel_size", "width"):
            value = getattr(self, name)
            good = type(value) in (int, float) and 0 < value < math.inf
            self._check(name, good, "a positive number")
        for name in ("stem_channels", "point_channels", "head_channels"):
            self._check(name, _is_count(getattr(self, name)), "a positive whole number")
        for name in ("mc_skip", "mc_skip_sigmoid", "concatenate"):
            self._check(name, type(getattr(self, name)) is bool, "true or false")
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            good = any(value == one and type(value) is type(one) for one in allowed)
            self._check(name, good, "one of " + ", ".join(map(repr, allowed)))
        for name in ("encoder_channels", "encoder_blocks", "decoder_channels", "decoder_blocks"):
            value = getattr(self, name)
            good = isinstance(value, tuple) and all(map(_is_count, value))
            self._check(name, good, "positive whole numbers")
            levels = len(self.encoder_channels)
            self._check(
                name, len(value) == levels, f"{levels} numbers, as many as encoder_channels"
            )
        self._check(
            "layers",
            self.layers <= 2 * levels,
            f"at most {2 * levels}, twice the {levels} levels of encoder_channels",
        )
        self._check(
            "concatenate",
            self.concatenate or self.mc_skip,
            "true when mc_skip is false: the decoder would see nothing of the encoder",
        )

    def _check(self, name: str, good: bool, allowed: str) -> None:
        if not good:
            raise InputError(f"{name} = {getattr(self, name)!r}: expected {allowed}")

    @classmethod
    def named(cls, name: str, **changes: object) -> Self:
        """The architecture of that name, with some fields changed.

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
        changes = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name != "arch"
        }
        arch = values.get("arch", "released")
        if not isinstance(arch, str) or arch not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise InputError(f"{where}: architecture {arch!r}: expected one of {known}")
        if unknown := sorted(changes.keys() - {field.name for field in fields(cls)}):
            known = ", ".join(field.name for field in fields(cls))
            raise InputError(f"{where}: unknown {', '.join(unknown)}; expected some of: {known}")
        try:
            return cls(**{**asdict(ARCHITECTURES[arch]), **changes})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def scaled(self, channels: int) -> int:
        """That many channels times `width`, in multiples of 8."""
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


_ALLOWED: dict[str, tuple[int | str, ...]] = {
    "voxel_feature": ("representative", "mean"),
    "stem_convolutions": (1, 2),
    "layers": (2, 4, 6, 8),
    "mc_skip_weight_from": ("encoder", "decoder"),
    "mc_skip_weight_on": ("encoder", "decoder"),
    "out_channels": (3, 6),
    "forces": ("mean", "sum"),
}


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


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
