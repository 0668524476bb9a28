# SPDX-License-Identifier: Apache-2.0
"""PatchCore, M3DM and Reg3D-AD with features of a Point-MAE that was trained on toruses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods import method_class
from mc4ad_model.methods.memory_banks.point_features import PointMAEBank
from mc4ad_model.methods.point_mae.encoders import Encoder, save_encoder
from mc4ad_model.methods.point_mae.pretraining import Pretraining, pretrain
from tests.mc4ad_model.methods.memory_banks.toruses import in_the_dent, scanned, torus
from tests.support.encoders import TINY, untrained
from tests.support.runs import cpu

METHODS = {
    "patchcore": ("features=point_mae",),
    "m3dm": ("bank_share=0.5",),
    "reg3d_ad": ("bank_size=500", "frame=own"),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    run = Pretraining(TINY, steps=60, batch=8, learning_rate=1e-3, seed=0, data_digest="digest")
    save_encoder(folder, pretrain(run, [scanned()], folder, cpu()))
    return folder


def made(name: str, encoder: Path | str, *changes: str) -> PointMAEBank:
    kind = method_class(name)
    own = [f"encoder={encoder}", "centres=400", "group_size=24", *METHODS[name], *changes]
    found = kind(kind.Settings.load(None, own), cpu())
    assert isinstance(found, PointMAEBank)
    return found


def fitted(name: str, encoder: Path, *changes: str) -> PointMAEBank:
    method = made(name, encoder, *changes)
    method.check(scanned())
    method.fit(scanned(), generator(0, "x"))
    return method


@pytest.mark.parametrize("name", METHODS)
def test_a_dent_scores_above_the_rest_of_the_cloud(name: str, encoder: Path) -> None:
    method, dented = fitted(name, encoder), torus(7, dent=0.15)
    normal, found = method.score(torus(6)), method.score(dented)
    inside = in_the_dent(dented)
    assert found.points[inside].mean() > 1.25 * found.points[~inside].mean()
    assert normal.points[inside].mean() < found.points[inside].mean()
    assert normal.object is not None and found.object is not None
    assert normal.object < found.object
    assert method.parameters == sum(p.numel() for p in method.encoder.network.parameters())


def test_scores_of_centres_are_distances_from_the_bank(encoder: Path) -> None:
    cloud = torus(3)
    method = fitted("patchcore", encoder)
    centres, features = method.encoded(np.asarray(cloud - cloud.mean(axis=0), dtype=float))
    bank = method.bank["point_mae"].astype(float)
    squares = ((features[:, None].astype(float) - bank) ** 2).sum(axis=2).min(axis=1)
    found = method.score(cloud)
    assert found.object == pytest.approx(squares.max(), rel=1e-3)
    at = np.linalg.norm(centres[:, None] - (cloud - cloud.mean(axis=0)), axis=2).argmin(axis=1)
    assert found.points[at] == pytest.approx(squares, rel=1e-2, abs=1e-4)
    alike = fitted("m3dm", encoder, "bank_share=1.0")
    assert len(alike.bank["features"]) == 800
    assert alike.score(cloud).points[at] == pytest.approx(np.sqrt(squares), rel=1e-2, abs=1e-3)


def test_a_fitted_method_keeps_its_encoder(encoder: Path, tmp_path: Path) -> None:
    method = fitted("reg3d_ad", encoder)
    method.save(tmp_path)
    again = made("reg3d_ad", "gone", "frame=own")
    again.load(tmp_path)
    expected, found = method.score(torus(5)), again.score(torus(5))
    assert np.array_equal(found.points, expected.points)
    assert found.object == expected.object


def test_labels_say_which_encoder_it_is(encoder: Path, tmp_path: Path) -> None:
    published = Encoder(untrained().network, {"file": "a.pth", "sha256": "0123456789abcdef"})
    save_encoder(tmp_path, published)
    for name in METHODS:
        label = made(name, encoder).settings.label
        assert label.startswith(f"{name}-pointmae=self-trained")
        assert made(name, tmp_path).settings.label == label.replace("self-trained", "file-01234567")
    assert made("m3dm", "/nowhere/mine").settings.label == "m3dm-pointmae=mine"


def test_transductive_scores_only_under_that_name(encoder: Path) -> None:
    method = fitted("reg3d_ad", encoder, "normalisation=test_set")
    assert method.settings.label.endswith("own-test_set")
    with pytest.raises(InputError, match="scores depend on the whole test set"):
        method.score(torus(6))
    assert "test_set" not in made("patchcore", encoder, "normalisation=test_set").settings.label


@pytest.mark.parametrize("name", METHODS)
def test_a_missing_encoder_is_named_with_what_makes_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"iv pretrain.*--set encoder=FOLDER.*m3dm\["):
        made(name, "").check(scanned())
    with pytest.raises(InputError, match=r"encoder\.safetensors does not exist"):
        made(name, tmp_path).check(scanned())
