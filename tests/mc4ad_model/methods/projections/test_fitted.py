# SPDX-License-Identifier: Apache-2.0
"""A network's features of points and images: gathered where a point is seen, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from torch.nn import functional

from mc4ad_model.methods.projections.backbones import save_backbone
from mc4ad_model.methods.projections.fitted import FittedBackbone
from mc4ad_model.methods.projections.rendering import View
from mc4ad_model.methods.projections.resnet import ResNetConfig, colour_images
from tests.support.backbones import drawn
from tests.support.runs import cpu

SIZE, VIEWS = 48, 10  # more views than go through the network at a time


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> FittedBackbone:
    folder: Path = tmp_path_factory.mktemp("backbone")
    save_backbone(folder, drawn(ResNetConfig(width=3, classes=2)))
    found = FittedBackbone("", cpu())
    found.load(folder)
    return found


def views(seed: int = 0) -> tuple[list[View], np.ndarray]:
    """Return views of 20 points in the middles of pixels, and the rows and columns of those."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(SIZE, size=(VIEWS, 20, 2))
    seen = rng.random((VIEWS, 20)) < 0.4
    seen[:, 0], seen[:, 1] = False, np.arange(VIEWS) == 3
    made = []
    for (rows, columns), shown in zip(pixels.transpose(0, 2, 1), seen, strict=True):
        places = np.stack([(columns + 0.5) / SIZE * 2 - 1, 1 - (rows + 0.5) / SIZE * 2], axis=1)
        image = rng.random((SIZE, SIZE)).astype(np.float32)
        made.append(View(image, np.zeros((SIZE, SIZE)), places, shown))
    return made, pixels


@torch.no_grad()
def test_a_point_has_the_mean_of_the_maps_where_it_is_seen(backbone: FittedBackbone) -> None:
    made, pixels = views()
    images = colour_images(torch.from_numpy(np.stack([view.shades for view in made])))
    maps = backbone.backbone.network.maps(images, 3)
    large = [functional.interpolate(one, (SIZE, SIZE), mode="bilinear") for one in maps]
    everywhere = torch.cat(large, dim=1).numpy()  # (V, C, H, W)
    found = backbone.of_points(made)
    assert found.shape == (20, backbone.point_channels) == (20, 3 + 6 + 12)
    for point in range(20):
        numbers = [v for v in range(VIEWS) if made[v].seen[point]] or range(VIEWS)
        own = [everywhere[v][:, pixels[v, point, 0], pixels[v, point, 1]] for v in numbers]
        assert np.allclose(found[point], np.mean(own, axis=0), atol=1e-5)


def test_an_image_that_hides_a_point_says_nothing_of_it(backbone: FittedBackbone) -> None:
    made, _ = views()
    before = backbone.of_points(made)
    changed = [
        view if number == 3 else View(1 - view.shades, view.height, view.places, view.seen)
        for number, view in enumerate(made)
    ]
    after = backbone.of_points(changed)
    assert np.allclose(after[1], before[1], atol=1e-6)  # seen in view 3 alone
    assert not np.allclose(after[0], before[0], atol=1e-3)  # seen nowhere: the mean of all


@torch.no_grad()
def test_an_image_has_the_largest_values_of_the_last_maps(backbone: FittedBackbone) -> None:
    images = np.random.default_rng(1).random((4, SIZE, SIZE)).astype(np.float32)
    maps = backbone.backbone.network.maps(colour_images(torch.from_numpy(images)))[-1]
    found = backbone.of_images(images)
    assert found.shape == (4, backbone.image_channels) == (4, 24)
    assert np.array_equal(found, maps.flatten(2).max(dim=2).values.numpy())
