# SPDX-License-Identifier: Apache-2.0
"""Memory banks of Point-MAE's features: which encoder, and a cloud's centres with their features.

The encoder comes from a folder that `iv pretrain` wrote. A fitted method has its own copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intravariance.errors import InputError
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.memory import give_back_memory
from mc4ad_model.methods.memory_banks.bank_method import BankMethod
from mc4ad_model.methods.memory_banks.fpfh import Features
from mc4ad_model.methods.memory_banks.frames import Floats
from mc4ad_model.methods.saved_files import reading, writing
from mc4ad_model.methods.settings import place_of
from mc4ad_model.methods.templates import Templates

if TYPE_CHECKING:
    from mc4ad_model.methods.point_mae.encoders import Encoder

# Where a fitted method keeps its copy, in the folder of its run.
_FILES = ("encoder.*",)
CENTRES, GROUP_SIZE = 1024, 128


class PointMAEBank(BankMethod):
    """The base of the methods that may compare Point-MAE's features.

    Their settings have `encoder` (a folder), `centres` and `group_size`.
    """

    files = (*BankMethod.files, *_FILES)

    def __init__(self, settings: object, machine: Machine | None = None) -> None:
        super().__init__(settings, machine)
        self._machine = machine or Machine()
        self._encoder: Encoder | None = None

    @property
    def encodes(self) -> bool:
        """Whether these settings need an encoder."""
        return True

    @property
    def channels(self) -> int:
        """Channels of a feature of the encoder."""
        return self.encoder.network.config.channels

    @property
    def encoder(self) -> Encoder:
        """The encoder, on the device of the machine."""
        if self._encoder is None:
            self._take(given_encoder(self.settings.encoder))
        assert self._encoder is not None
        return self._encoder

    def check(self, templates: Templates) -> None:
        """Check the templates, and that the encoder can be read."""
        super().check(templates)
        if self.encodes:
            self._take(given_encoder(self.settings.encoder))

    def save(self, folder: Path) -> None:
        """Write the encoder, then the bank."""
        from mc4ad_model.methods.point_mae.encoders import save_encoder  # noqa: PLC0415 - weight

        if self.encodes:
            with writing(folder):
                save_encoder(folder, self.encoder)
        super().save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        if self.encodes:
            self._take(given_encoder(str(folder)))
        super().load(folder)

    def encoded(self, cloud: Floats) -> tuple[Floats, Features]:
        """Return centres (G, 3) of a cloud (N, 3) that lie far apart, and their features (G, C)."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.point_mae.groups import group_points  # noqa: PLC0415 - weight

        groups, centres = group_points(cloud, self.settings.centres, self.settings.group_size)
        device = self._machine.torch_device()
        found = self.encoder.network.features(
            torch.from_numpy(groups).to(device), torch.from_numpy(centres).to(device)
        )
        features = found.cpu().numpy()
        give_back_memory()
        return centres.astype(np.float64), features

    def _take(self, encoder: Encoder) -> None:
        encoder.network.to(self._machine.torch_device())
        self._encoder, self.parameters = encoder, encoder.parameters


def given_encoder(folder: str) -> Encoder:
    """Read the encoder of a setting.

    Raises
    ------
    InputError
        The setting names no folder, or what is in it cannot be read.
    """
    from mc4ad_model.methods.point_mae.encoders import load_encoder  # noqa: PLC0415 - weight

    if not folder:
        raise InputError(
            "encoder: Point-MAE's features need an encoder. Make one with `iv pretrain FILE "
            "--out FOLDER` (or with --checkpoint, from the published weights), and give it with "
            "--set encoder=FOLDER, or in a row of a leaderboard: m3dm[encoder=FOLDER]"
        )
    with reading():
        return load_encoder(place_of(folder))


def encoder_label(encoder: str) -> str:
    """Say for folders and tables which encoder it is; its folder's name where it cannot be read."""
    from mc4ad_model.methods.point_mae.encoders import (  # noqa: PLC0415 - weight
        origin_label,
        read_origin,
    )

    origin = read_origin(place_of(encoder)) if encoder else {}
    return origin_label(origin) if origin else f"pointmae={Path(encoder).name or 'none'}"
