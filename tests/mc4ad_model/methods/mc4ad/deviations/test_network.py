# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.architectures import INPUT_CHANNELS, NetworkConfig
from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint, save_checkpoint
from mc4ad_model.methods.mc4ad.deviations.network import DeviationNetwork, Findings, new_network
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import CoordinatePyramid
from tests.support.networks import generator

CONFIG = NetworkConfig.named("released", input="deviation", width=0.25, layers=4)
CHANNELS = INPUT_CHANNELS["deviation"]


def network(seed: int = 0) -> DeviationNetwork:
    """Return a float64 network whose statistics are not those of a new one."""
    made = new_network(CONFIG, generator=generator(seed)).double()
    assert isinstance(made, DeviationNetwork)
    random = generator(seed + 1)
    for name, tensor in made.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=random)
    return made.eval()


def cloud(seed: int, voxels: int = 150) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (V, C) and coordinates (V, 3) of a cloud."""
    random = np.random.default_rng(seed)
    cells = np.unique(random.integers(-6, 6, size=(voxels, 3)), axis=0).astype(np.int32)
    features = torch.from_numpy(random.normal(size=(len(cells), CHANNELS)))
    return features, torch.from_numpy(cells)


def run(model: DeviationNetwork, *clouds: tuple[torch.Tensor, torch.Tensor]) -> Findings:
    numbered = [
        torch.cat([torch.full((len(cells), 1), b, dtype=torch.int32), cells], dim=1)
        for b, (_, cells) in enumerate(clouds)
    ]
    features = torch.cat([features for features, _ in clouds])
    lengths = [len(cells) for _, cells in clouds]
    found = model(features, CoordinatePyramid(torch.cat(numbered)), lengths)
    assert isinstance(found, Findings)
    return found


def test_shapes():
    first, second = cloud(0), cloud(1, 90)
    found = run(network(), first, second)
    total = len(first[0]) + len(second[0])
    assert found.forces.internal.shape == found.forces.combined.shape == (total, 3)
    assert found.evidence.shape == (total,) and found.objects.shape == (2,)


def test_the_others_of_a_batch_and_their_order_do_not_matter():
    model, clouds = network(), [cloud(seed, 100 + 40 * seed) for seed in range(3)]
    together = run(model, *clouds)
    lengths = [len(cells) for _, cells in clouds]
    evidence, forces = together.evidence.split(lengths), together.forces.combined.split(lengths)
    backwards = run(model, *clouds[::-1])
    assert torch.allclose(backwards.objects, together.objects.flip(0), atol=1e-10)
    for b, one in enumerate(clouds):
        alone = run(model, one)
        assert torch.allclose(alone.evidence, evidence[b], atol=1e-10)
        assert torch.allclose(alone.forces.combined, forces[b], atol=1e-10)
        assert torch.allclose(alone.objects[0], together.objects[b], atol=1e-10)


def test_gradients_reach_every_parameter():
    model = network().train()
    found = run(model, cloud(0, 400), cloud(1, 400))
    forces = found.forces
    assert forces.external is not None
    parts = (forces.internal, forces.external, found.evidence, found.objects)
    sum(part.square().sum() for part in parts).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_single_voxel_is_a_cloud_too():
    found = run(network(), (torch.zeros(1, CHANNELS).double(), torch.zeros(1, 3).int()))
    assert torch.isfinite(found.objects).all() and torch.isfinite(found.evidence).all()


def test_features_of_another_network_are_refused():
    features, cells = cloud(0)
    with pytest.raises(InputError, match=rf"features: expected \(\d+, {CHANNELS}\)"):
        run(network(), (features[:, :3], cells))


def test_it_is_saved_and_loaded(tmp_path):
    model, one = network(), cloud(0)
    save_checkpoint(tmp_path / "network", model, {"step": 3})
    again, metadata = load_checkpoint(tmp_path / "network", expected=CONFIG)
    assert isinstance(again, DeviationNetwork) and metadata == {"step": 3}
    first, second = run(model, one), run(again.eval(), one)
    assert torch.equal(first.evidence, second.evidence)
    assert torch.equal(first.objects, second.objects)
    plain = NetworkConfig.named("released", width=0.25, layers=4)
    with pytest.raises(InputError, match=r"another architecture: input = 'deviation'"):
        load_checkpoint(tmp_path / "network", expected=plain)


def test_the_configuration_says_which_network_is_built():
    plain = new_network(NetworkConfig.named("released", width=0.25, layers=4))
    assert type(plain) is CFPNet
    with pytest.raises(InputError, match="out_channels = 3: expected 6 with input = deviation"):
        NetworkConfig.named("po3ad", input="deviation")
