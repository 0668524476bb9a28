# SPDX-License-Identifier: Apache-2.0
"""PO3AD and AF3AD: one force for each point, learnt from pseudo-anomalies by a sparse U-Net.

Papers. PO3AD (CVPR 2025); AF3AD (ECCV 2026), which has PO3AD's network, loss and evaluation, and
other pseudo-anomalies.

Followed. MC4AD grew out of PO3AD's code, so all is here that makes it: MinkUNet34C without MC-Skip,
three output channels, L_dist and L_dir, Norm-AS (`norm_as`, as in PO3AD's code) or AF3AD's families
(`anomaly_families`), scores as the mean of L1 norms. The preset `po3ad` has the settings of PO3AD's
code and wants a GPU. `af3ad` is as near to AF3AD: its network, loss and scores, sizes of its
families as on Anomaly-ShapeNet, and the 2,500 epochs of its run on Real3D-AD.

Different. Both train on the stored clouds of templates, which are noisy; the sources have clean
meshes. AF3AD's AdamW with a rate of 8e-4, its warm-up and four of its eleven families are left out.
The default presets, `po3ad_quick` and `af3ad_quick`, are the networks with all other settings of
MC4AD's `quick`: minutes on a processor. They have a quarter of the channels, clouds that are
registered to the templates, voxels of 0.1 with the mean of their points, ten deformed patches of 32
in a cloud with magnitudes of 0.08 to 0.22, the squared distance in the loss, 400 steps of 8 clouds,
and the mean of the highest 2 % of points as the object's score. `quick` was chosen on test labels
of Group 2's products (docs/training.md).

Licences of the sources. Apache-2.0 (PO3AD) and MIT (AF3AD); nothing of either is used, this is
written from the methods and their parameters.
"""

from __future__ import annotations

from typing import ClassVar

from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.method import MC4AD
from mc4ad_model.methods.settings import Settings


class PO3ADConfig(RunConfig):
    """A configuration that starts from PO3AD's small preset."""

    default_preset: ClassVar[str] = "po3ad_quick"
    own_presets: ClassVar[tuple[str, ...]] = ("po3ad", "po3ad_quick")


class AF3ADConfig(RunConfig):
    """A configuration that starts from AF3AD's small preset."""

    default_preset: ClassVar[str] = "af3ad_quick"
    own_presets: ClassVar[tuple[str, ...]] = ("af3ad", "af3ad_quick")


class PO3AD(MC4AD):
    """Predict the offset that repairs each point; its length is the score."""

    title: ClassVar[str] = "PO3AD"
    Settings: ClassVar[type[Settings]] = PO3ADConfig


class AF3AD(MC4AD):
    """PO3AD with anomaly families."""

    title: ClassVar[str] = "AF3AD"
    Settings: ClassVar[type[Settings]] = AF3ADConfig
