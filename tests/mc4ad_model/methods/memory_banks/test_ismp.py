# SPDX-License-Identifier: Apache-2.0
"""ISMP on a scanned torus: its two branches, and what describes the whole cloud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.memory_banks.ismp import ISMP, ISMPSettings
from mc4ad_model.methods.projections.rendering import slices
from tests.mc4ad_model.methods.memory_banks.toruses import in_the_dent, scanned, torus
from tests.support.encoders import encoder_settings
from tests.support.runs import cpu

SMALL = (
    "bank_size=500", "normal_radius=0.15", "feature_radius=0.3", "feature_neighbours=40",
    "image_size=32", "width=4", "steps=10", "frame=own",
)  # fmt: skip


def made(*changes: str) -> ISMP:
    own = [*encoder_settings(centres=300, group_size=24), *SMALL, *changes]
    return ISMP(ISMPSettings.load(None, own), cpu())


def fitted(*changes: str) -> ISMP:
    method = made(*changes)
    method.check(scanned())
    method.fit(scanned(), generator(0, "x"))
    return method


@pytest.fixture(scope="module")
def trained() -> ISMP:
    return fitted()


def test_a_dent_scores_above_the_rest_of_the_cloud(trained: ISMP) -> None:
    dented = torus(7, dent=0.15)
    normal, found = trained.score(torus(6)), trained.score(dented)
    inside = in_the_dent(dented)
    assert found.points[inside].mean() > 1.25 * found.points[~inside].mean()
    assert normal.points[inside].mean() < found.points[inside].mean()
    assert normal.object is not None and found.object is not None
    assert normal.object < found.object


def test_a_centre_has_the_whole_clouds_description_its_histogram_and_its_groups(
    trained: ISMP,
) -> None:
    cloud = np.asarray(torus(3), dtype=float)
    branches = trained.described(cloud)
    assert list(branches) == ["inside", "raw"]
    assert np.array_equal(branches["raw"].features, cloud.astype(np.float32))
    found, centres = branches["inside"].features, branches["inside"].centres
    assert centres is not None and found.shape == (300, 32 + 33 + 72)
    whole = trained.backbone.of_images(slices(cloud, 32)).mean(axis=0)
    assert np.allclose(found[:, :32], whole) and whole.any()
    at = np.linalg.norm(centres[:, None] - cloud, axis=2).argmin(axis=1)
    assert np.array_equal(found[:, 32:65], trained.histograms(cloud)[at])
    assert np.array_equal(found[:, 65:], trained.encoded(cloud)[1])


def test_scores_are_the_mean_of_squared_distances_brought_to_their_ranges(trained: ISMP) -> None:
    cloud = torus(4)
    placed, objects = trained.placed(cloud)[0], []
    for name, branch in trained.described(placed).items():
        bank = trained.bank[name].astype(float)
        squares = ((branch.features[:, None].astype(float) - bank) ** 2).sum(axis=2).min(axis=1)
        low, high = trained.bank[f"{name}/range"][0]
        objects.append((squares.max() - low) / (high - low))
    assert trained.score(cloud).object == pytest.approx(np.mean(objects), rel=1e-3)


def test_what_is_saved_scores_alike(trained: ISMP, tmp_path: Path) -> None:
    trained.save(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"bank", "encoder", "backbone"}
    again = made("encoder=gone")
    again.load(tmp_path)
    assert again.parameters == trained.parameters
    expected, found = trained.score(torus(5)), again.score(torus(5))
    assert np.array_equal(found.points, expected.points) and found.object == expected.object
    other = fitted()
    assert all(np.array_equal(other.bank[name], trained.bank[name]) for name in trained.bank)


def test_labels_say_which_networks_frame_and_normalisation(tmp_path: Path) -> None:
    own = made().settings.label
    assert own == "ismp-pointmae=self-trained-backbone=self-trained-own"
    assert made("frame=registered").settings.label == own.removesuffix("-own")
    assert made("normalisation=test_set").settings.label == f"{own}-test_set"


def test_what_is_missing_or_too_small_is_named(trained: ISMP, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"iv pretrain.*--set encoder=FOLDER"):
        made("encoder=").check(scanned())
    with pytest.raises(InputError, match=r"gone\.pth does not exist"):
        made(f"backbone={tmp_path}/gone.pth").check(scanned())
    with pytest.raises(InputError, match=r"at least 40 points.*found 39"):
        trained.score(torus(0)[:39])
