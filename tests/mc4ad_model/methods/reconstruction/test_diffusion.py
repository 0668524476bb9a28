# SPDX-License-Identifier: Apache-2.0
"""The diffusion: its way there and back, and the code of a cloud."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from mc4ad_model.methods.reconstruction.diffusion import Diffusion

BETAS = torch.linspace(0.001, 0.2, 30)


def diffusion(kind: type[Diffusion] = Diffusion) -> Diffusion:
    torch.manual_seed(0)
    return kind(8, 4, BETAS).eval()


class Knowing(Diffusion):
    """A network that knows the one place (3,) where all points come from."""

    place = torch.tensor([0.3, -0.2, 0.5])

    def noise_in(self, points, steps, codes):
        share = self.shares[steps][:, None, None]
        return (points - share.sqrt() * self.place) / (1 - share).sqrt()


def test_shares_are_the_products_of_what_each_step_leaves() -> None:
    network = diffusion()
    assert network.steps == 30
    assert network.shares[0] == 1 and network.shares[1] == pytest.approx(0.999)
    assert network.shares[30] == pytest.approx(float((1 - BETAS.double()).prod()), rel=1e-5)


def test_who_knows_the_noise_has_no_loss_and_comes_back_to_the_cloud() -> None:
    network = diffusion(Knowing)
    clouds = network.place.expand(3, 50, 3)
    noise, steps = torch.randn(3, 50, 3), torch.tensor([[1], [15], [30]])
    assert network.loss(clouds, clouds, steps, noise) < 1e-6
    found = network.reconstruct(clouds[0], 20, np.random.default_rng(0))
    assert found.shape == (20, 3)
    assert torch.allclose(found, network.place.expand(20, 3), atol=1e-4)


def test_who_says_nothing_has_the_loss_of_the_noise_itself() -> None:
    network = diffusion()
    network.noise_in = lambda points, steps, codes: torch.zeros_like(points)  # type: ignore[method-assign]
    noise = torch.randn(2, 40, 3)
    loss = network.loss(
        torch.rand(2, 40, 3), torch.rand(2, 40, 3), torch.tensor([[3, 9], [7, 1]]), noise
    )
    assert float(loss) == pytest.approx(float(noise.square().mean()))


@pytest.mark.parametrize("places", [False, True])
def test_a_network_that_adds_nothing_takes_a_point_for_noise_or_for_the_place_it_comes_from(
    places: bool,
) -> None:
    network = Diffusion(8, 4, BETAS, frequencies=2, places=places)
    last = network.layers[-1]
    for parameter in (*last.layer.parameters(), *last.shift.parameters()):
        torch.nn.init.zeros_(parameter)
    points, steps = torch.randn(2, 30, 3), torch.tensor([2, 20])
    found = network.noise_in(points, steps, torch.rand(2, 4))
    left = (1 - network.shares[steps])[:, None, None]
    expected = points * left.sqrt() if places else points
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_code_depends_on_the_points_and_not_on_their_order() -> None:
    network, clouds = diffusion(), torch.rand(2, 60, 3)
    codes = network.encoder(clouds)
    assert codes.shape == (2, 4)
    assert torch.allclose(network.encoder(clouds[:, torch.randperm(60)]), codes, atol=1e-6)
    assert not torch.allclose(codes[0], codes[1], atol=1e-4)


def test_the_noise_of_a_point_depends_on_the_code_and_on_the_step() -> None:
    network, points = diffusion(), torch.rand(1, 10, 3)
    one, other = torch.zeros(1, 4), torch.ones(1, 4)
    first = network.noise_in(points, torch.tensor([5]), one)
    assert not torch.allclose(network.noise_in(points, torch.tensor([5]), other), first)
    assert not torch.allclose(network.noise_in(points, torch.tensor([25]), one), first)
    again = network.noise_in(points[:, :3], torch.tensor([5]), one)
    assert torch.allclose(again, first[:, :3], atol=1e-6)  # each point goes alone


def test_what_is_drawn_depends_on_the_generator_alone() -> None:
    network, cloud = diffusion(), torch.rand(30, 3)
    found = [network.reconstruct(cloud, 10, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
