# SPDX-License-Identifier: Apache-2.0
"""CPMF on a scanned torus, with a network of images that was trained on its renderings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

import torch

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.memory_banks.cpmf import CPMF, CPMFSettings
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.projections.resnet import PUBLISHED
from tests.mc4ad_model.methods.memory_banks.toruses import in_the_dent, scanned, torus
from tests.support.backbones import drawn
from tests.support.runs import cpu

SMALL = (
    "views=8", "image_size=64", "centres=500", "centre_neighbours=8", "bank_share=1.0",
    "normal_neighbours=20", "feature_neighbours=40", "width=4", "steps=20",
)  # fmt: skip

POINTS = 5000  # an image of fewer points is more noise than shape


def made(*changes: str) -> CPMF:
    return CPMF(CPMFSettings.load(None, [*SMALL, *changes]), cpu())


def fitted(*changes: str, seed: int = 0) -> CPMF:
    method = made(*changes)
    templates = scanned(points=POINTS)
    method.check(templates)
    method.fit(templates, generator(seed, "x"))
    return method


@pytest.fixture(scope="module")
def trained() -> CPMF:
    return fitted()


def test_a_dent_scores_above_the_rest_of_the_cloud(trained: CPMF) -> None:
    dented = torus(7, 0.15, POINTS)
    normal, found = trained.score(torus(6, count=POINTS)), trained.score(dented)
    inside = in_the_dent(dented)
    assert found.points[inside].mean() > 1.25 * found.points[~inside].mean()
    assert normal.points[inside].mean() < found.points[inside].mean()
    assert normal.object is not None and found.object is not None
    assert normal.object < found.object


def test_a_feature_is_what_images_say_beside_fpfh_both_of_length_one(trained: CPMF) -> None:
    bank, channels = trained.bank["features"], trained.backbone.point_channels
    assert bank.shape == (1000, 4 + 8 + 16 + 33) and channels == 28
    for part in (bank[:, :channels], bank[:, channels:]):
        lengths = np.linalg.norm(part, axis=1)  # of means over 8 points
        assert (lengths <= 1 + 1e-5).all() and lengths.mean() > 0.9
    assert trained.parameters == trained.backbone.backbone.parameters > 0
    assert trained.backbone.backbone.origin["classes"] == 16  # two templates from 8 directions


def test_the_images_find_a_dent_without_the_histograms(trained: CPMF) -> None:
    channels = trained.backbone.point_channels
    dented = np.asarray(torus(7, 0.15, POINTS), dtype=float)
    centres, features = trained.described(dented - dented.mean(axis=0))
    scores, _ = nearest(features[:, :channels], trained.bank["features"][:, :channels])
    inside = in_the_dent(centres + dented.mean(axis=0))
    assert inside.sum() > 5
    assert scores[inside].mean() > 1.1 * scores[~inside].mean()


def test_what_is_saved_scores_alike_and_the_same_seed_gives_the_same_bytes(
    trained: CPMF, tmp_path: Path
) -> None:
    for name, method in (("a", trained), ("b", fitted())):
        (tmp_path / name).mkdir()
        method.save(tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    again = made()
    again.load(tmp_path / "a")
    expected, found = trained.score(torus(5)), again.score(torus(5))
    assert np.array_equal(found.points, expected.points) and found.object == expected.object
    (tmp_path / "a" / "backbone.json").unlink()
    with pytest.raises(InputError, match=r"backbone\.json does not exist"):
        made().load(tmp_path / "a")


def test_a_run_keeps_the_network_of_a_file_and_its_label_names_it(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(drawn(PUBLISHED).network.state_dict(), path)
    method = fitted(f"backbone={path}", "views=2", "image_size=32", "centres=50")
    origin = method.backbone.backbone.origin
    label = method.settings.label
    assert label == f"cpmf-backbone=file-{origin['sha256'][:8]}"
    assert method.parameters == 11_689_512
    assert method.bank["features"].shape[1] == 64 + 128 + 256 + 33
    method.save(tmp_path)
    path.unlink()
    again = made(f"backbone={path}", "views=2", "image_size=32", "centres=50")
    again.load(tmp_path)
    assert np.array_equal(again.score(torus(5)).points, method.score(torus(5)).points)
    with pytest.raises(InputError, match=r"resnet18\.pth does not exist"):
        again.check(scanned())


def test_labels_say_which_network_and_frame() -> None:
    assert made().settings.label == "cpmf-backbone=self-trained"
    assert made("frame=registered").settings.label == "cpmf-backbone=self-trained-registered"


def test_clouds_smaller_than_a_neighbourhood_are_refused(trained: CPMF) -> None:
    with pytest.raises(InputError, match=r"at least 40 points.*found 39"):
        trained.score(torus(0)[:39])


def test_one_image_leaves_a_network_nothing_to_learn() -> None:
    with pytest.raises(InputError, match=r"views = 1: .*nothing to tell"):
        made("views=1").check(scanned(1))
    made("views=1").check(scanned(2))
