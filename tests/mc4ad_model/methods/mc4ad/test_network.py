# SPDX-License-Identifier: Apache-2.0
import importlib.util
import math
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from torch import Tensor
from torch.nn import functional

from intravariance.errors import BackendUnavailable, InputError
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES, NetworkConfig
from mc4ad_model.methods.mc4ad.blocks import MCSkip
from mc4ad_model.methods.mc4ad.network import (
    CFPNet,
    Forces,
    voxel_features,
)
from mc4ad_model.sparse import (
    CoordinatePyramid,
    Geometry,
    get_backend,
    sparse_convolution_reference,
    voxelise,
)
from tests.support.networks import generator, scrambled, sphere

SMALL = NetworkConfig.named("released", width=0.25)

VARIANTS = {
    **{arch: NetworkConfig.named(arch, width=0.25) for arch in ARCHITECTURES},
    "no_mc_skip": replace(SMALL, mc_skip=False),
    "out_3": replace(SMALL, out_channels=3),
    "sum": replace(SMALL, forces="sum"),
    "layers_2": replace(SMALL, layers=2),
    "layers_4": replace(SMALL, layers=4),
    "layers_6": replace(SMALL, layers=6),
}
each_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def batch(clouds: list[Tensor], config: NetworkConfig) -> tuple[Tensor, CoordinatePyramid, Tensor]:
    voxels = voxelise(clouds, config.voxel_size)
    pyramid = CoordinatePyramid(voxels.coordinates)
    return torch.cat(clouds)[voxels.representative], pyramid, voxels.point_to_voxel


def stacked(forces: Forces) -> Tensor:
    """(N, 6), or (N, 3) for one force."""
    return torch.cat([f for f in (forces.internal, forces.external) if f is not None], dim=1)


# --- what is computed


def dense_network(network: CFPNet, volume: Tensor) -> Tensor:
    """Return the network in evaluation mode on a full grid, (1, 3, D, D, D) -> (1, 6, D, D, D).

    On a full grid a sparse convolution is a dense one with zero padding. Written from the paper and
    the published layer list, with torch's dense convolutions.
    """
    state, config = network.state_dict(), network.config

    def convolve(name: str, x: Tensor, stride: int = 1, up: bool = False) -> Tensor:
        kernel = state[f"{name}.kernel"]
        kernel = kernel.reshape(-1, *kernel.shape[-2:])
        size = round(len(kernel) ** (1 / 3))
        # the first axis of space is the fastest of the rows
        weight = kernel.view(size, size, size, *kernel.shape[-2:]).permute(4, 3, 2, 1, 0)
        bias = state[f"{name}.bias"].flatten() if f"{name}.bias" in state else None
        if up:
            return functional.conv_transpose3d(x, weight.transpose(0, 1), bias, stride)
        return functional.conv3d(x, weight, bias, stride, padding=size // 2 if stride == 1 else 0)

    def norm(name: str, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{leaf}"].view(-1, *[1] * (x.ndim - 2))
            for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def layer(name: str, x: Tensor, **options: object) -> Tensor:
        return norm(f"{name}.norm", convolve(f"{name}.convolution", x, **options))

    def block(name: str, x: Tensor) -> Tensor:
        y = layer(f"{name}.second", layer(f"{name}.first", x).relu())
        if f"{name}.shortcut.convolution.kernel" in state:
            x = layer(f"{name}.shortcut", x)
        return (x + y).relu()

    x = volume
    for i in range(config.stem_convolutions):
        x = layer(f"stem.{i}", x).relu()
    skipped = []
    for i, (_, blocks) in enumerate(config.encoder):
        skipped.append(x)
        x = layer(f"encoder.{i}.down", x, stride=2).relu()
        for j in range(blocks):
            x = block(f"encoder.{i}.blocks.{j}", x)
    for i, (_, blocks) in enumerate(config.decoder):
        x = layer(f"decoder.{i}.up", x, stride=2, up=True).relu()
        encoder = skipped.pop()
        if config.mc_skip:
            name = f"decoder.{i}.mc_skip"
            projected = {
                "encoder": convolve(f"{name}.encoder_projection", encoder),
                "decoder": convolve(f"{name}.decoder_projection", x),
            }
            alpha = convolve(f"{name}.weight", projected[config.mc_skip_weight_from])
            if config.mc_skip_sigmoid:
                alpha = 1 / (1 + torch.exp(-alpha))
            on = config.mc_skip_weight_on
            other = {"encoder": "decoder", "decoder": "encoder"}[on]
            x = alpha * projected[on] + (1 - alpha) * projected[other]
        if config.concatenate:
            x = torch.cat([x, encoder], dim=1)
        for j in range(blocks):
            x = block(f"decoder.{i}.blocks.{j}", x)
    x = convolve("output", x)
    for i in (0, 3, 6):
        weight = state[f"head.{i}.weight"]
        x = torch.einsum("oc,bcxyz->boxyz", weight, x)
        if i < 6:
            x = norm(f"head.{i + 1}", x)
            x = torch.where(x > 0, x, state[f"head.{i + 2}.weight"] * x)
    return x + state["head.6.bias"].view(-1, 1, 1, 1)


@each_variant
def test_equals_the_dense_network_on_a_full_grid(config):
    side, corner = 16, torch.tensor([-16, 16, 0])
    network = scrambled(config)
    volume = torch.randn(1, 3, side, side, side, dtype=torch.float64, generator=generator(1))
    grid = torch.cartesian_prod(*[torch.arange(side)] * 3)  # (V, 3), sorted
    coordinates = torch.nn.functional.pad(grid + corner, (1, 0)).int()
    features = volume[0][:, grid[:, 0], grid[:, 1], grid[:, 2]].T.contiguous()
    with torch.no_grad():
        found = network(features, CoordinatePyramid(coordinates), torch.arange(side**3))
        expected = dense_network(network, volume)[0].flatten(1).T
    assert (found.external is None) == (config.out_channels == 3)
    torch.testing.assert_close(stacked(found), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weight_on", ["encoder", "decoder"])
@pytest.mark.parametrize("weight_from", ["encoder", "decoder"])
@pytest.mark.parametrize("sigmoid", [True, False])
def test_mc_skip_is_a_weighted_mean_of_both_projections(weight_on, weight_from, sigmoid):
    config = replace(
        SMALL,
        mc_skip_weight_on=weight_on,
        mc_skip_weight_from=weight_from,
        mc_skip_sigmoid=sigmoid,
    )
    _, pyramid, _ = batch([sphere(), sphere(seed=1)], config)
    skip = MCSkip(config, encoder=5, decoder=7, stride=2, backend=get_backend("torch")).double()
    encoder, decoder = (
        torch.randn(pyramid.size(2), c, dtype=torch.float64, generator=generator(c)) for c in (5, 7)
    )
    a = encoder @ skip.encoder_projection.kernel
    b = sparse_convolution_reference(
        decoder, skip.decoder_projection.kernel, pyramid.kernel_map(Geometry(3, 2, 2))
    )
    alpha = (a if weight_from == "encoder" else b) @ skip.weight.kernel
    alpha = torch.sigmoid(alpha) if sigmoid else alpha
    one, other = (a, b) if weight_on == "encoder" else (b, a)
    torch.testing.assert_close(
        skip(encoder, decoder, pyramid), other + alpha * (one - other), rtol=1e-10, atol=1e-10
    )


def test_forces_are_combined_as_mean_or_sum():
    internal, external = torch.tensor([[1.0, 2, 3]]), torch.tensor([[3.0, 0, -1]])
    assert Forces(internal, external, "mean").combined.tolist() == [[2, 1, 1]]
    assert Forces(internal, external, "sum").combined.tolist() == [[4, 2, 2]]
    assert Forces(internal, None, "mean").combined.tolist() == [[1, 2, 3]]


@each_variant
def test_gradients_reach_every_parameter(config):
    network = CFPNet(config).double()
    forces = network(*batch([sphere(), sphere(200, seed=1)], config))
    assert stacked(forces).shape == (500, config.out_channels)
    (stacked(forces) * torch.randn(500, 1, generator=generator())).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_clouds_of_a_batch_do_not_see_each_other():
    network = scrambled(SMALL)
    clouds = [sphere(300, 0), 0.5 * sphere(150, 1), sphere(40, 2)]
    alone = [stacked(network.predict([cloud])[0]) for cloud in clouds]
    for order in ([0, 1, 2], [2, 0, 1], [1, 1, 0]):
        together = network.predict([clouds[i] for i in order])
        for i, forces in zip(order, together, strict=True):
            torch.testing.assert_close(stacked(forces), alone[i], rtol=1e-9, atol=1e-9)


def test_the_order_of_points_does_not_matter_but_for_the_representative():
    """Points on voxel centres: every point of a voxel is the same, so any may stand for it."""
    network = scrambled(SMALL)
    size = SMALL.voxel_size
    cloud = (torch.floor(sphere() / size) + 0.5) * size
    cloud = torch.cat([cloud, cloud[:100]])
    order = torch.randperm(len(cloud), generator=generator())
    found = stacked(network.predict([cloud[order]])[0])
    torch.testing.assert_close(found, stacked(network.predict([cloud])[0])[order])


def test_a_voxels_feature_is_one_of_its_points_or_their_mean():
    clouds = [sphere(), 0.5 * sphere(200, seed=1)]
    one, mean = (
        replace(SMALL, voxel_feature=f, voxel_size=0.2) for f in ("representative", "mean")
    )
    voxels = voxelise(clouds, 0.2)
    points, owner = torch.cat(clouds), voxels.point_to_voxel
    # voxel by voxel
    members = [points[owner == index] for index in range(len(voxels.coordinates))]
    assert max(map(len, members)) > 5
    means = torch.stack([found.mean(dim=0) for found in members])
    torch.testing.assert_close(voxel_features(clouds, voxels, mean), means)
    for feature, found in zip(voxel_features(clouds, voxels, one), members, strict=True):
        assert bool((feature == found).all(dim=1).any())


def test_mean_features_and_forces_do_not_depend_on_the_order_of_points():
    config = replace(SMALL, voxel_feature="mean", voxel_size=0.2)
    network, cloud = scrambled(config), sphere()
    order = torch.randperm(len(cloud), generator=generator())
    features = [
        voxel_features([found], voxelise([found], 0.2), config) for found in (cloud, cloud[order])
    ]
    torch.testing.assert_close(features[1], features[0])
    found = stacked(network.predict([cloud[order]])[0])
    torch.testing.assert_close(found, stacked(network.predict([cloud])[0])[order])


def test_mean_features_take_noise_out():
    """The mean of n points has noise that is smaller by the root of n."""
    config = replace(SMALL, voxel_feature="mean", voxel_size=0.5)
    centres = (voxelise([sphere(30)], 0.5).coordinates[:, 1:] + 0.5) * 0.5
    noise = 0.02 * torch.randn(len(centres), 25, 3, generator=generator())
    cloud = (centres[:, None] + noise).reshape(-1, 3).float()
    features = voxel_features([cloud], voxelise([cloud], 0.5), config)
    assert len(features) == len(centres)
    assert float((features - centres).std()) == pytest.approx(0.02 / 5, rel=0.2)


@pytest.mark.parametrize("feature", ["representative", "mean"])
def test_prediction_uses_the_configured_feature(feature):
    config = replace(SMALL, voxel_feature=feature, voxel_size=0.2)
    network, cloud = scrambled(config), sphere()
    voxels = voxelise([cloud], 0.2)
    with torch.no_grad():
        expected = network(
            voxel_features([cloud], voxels, config),
            CoordinatePyramid(voxels.coordinates),
            voxels.point_to_voxel,
        )
    torch.testing.assert_close(stacked(network.predict([cloud])[0]), stacked(expected))


def test_points_of_a_voxel_get_the_same_forces():
    cloud = torch.cat([sphere(), sphere() + 1e-4])
    point_to_voxel = voxelise([cloud], SMALL.voxel_size).point_to_voxel
    forces = stacked(scrambled(SMALL).predict([cloud])[0])
    first = torch.zeros(int(point_to_voxel.max()) + 1, 6, dtype=forces.dtype)
    first[point_to_voxel] = forces
    assert torch.equal(forces, first[point_to_voxel])
    assert len(forces.unique(dim=0)) == len(first)


def features_before_the_head(network: CFPNet, clouds: list[Tensor]) -> tuple[Tensor, Forces]:
    seen: list[Tensor] = []
    handle = network.output.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))
    inputs = batch(clouds, network.config)
    with torch.no_grad():
        forces = network(*inputs)
    handle.remove()
    return seen[0][inputs[2]], forces


def test_head_on_voxels_equals_head_on_points():
    network = scrambled(SMALL)
    points, forces = features_before_the_head(network, [sphere(), sphere() + 1e-4])
    torch.testing.assert_close(stacked(forces), network.head(points), rtol=1e-12, atol=1e-12)


def test_training_statistics_of_the_head_count_points():
    network = CFPNet(SMALL).double()
    clouds = [torch.cat([sphere(100), sphere(1).repeat(400, 1)])]
    points, _ = features_before_the_head(network, clouds)
    hidden = network.head[0](points)  # (N, C)
    assert len(points) == 500
    torch.testing.assert_close(network.head[1].running_mean, 0.1 * hidden.mean(dim=0))


def test_prediction_leaves_no_trace():
    network = CFPNet(SMALL)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    forces = network.predict([sphere().float(), sphere(20).float()])
    assert network.training
    network.encoder.eval()
    network.predict([sphere().float()])
    assert network.training and not network.encoder[0].training and network.decoder[0].training
    network.eval()
    network.predict([sphere().float()])
    assert not any(module.training for module in network.modules())
    assert [len(f.combined) for f in forces] == [300, 20]
    assert not forces[0].combined.requires_grad
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    single = CFPNet(replace(SMALL, out_channels=3)).predict([sphere().float()])
    assert single[0].external is None
    assert single[0].combined.shape == (300, 3)


def test_prediction_casts_to_the_precision_of_the_network():
    cloud = sphere()
    expected = CFPNet(SMALL).double().predict([cloud])[0].combined
    found = CFPNet(SMALL).predict([cloud])[0].combined
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_trains_under_bfloat16_autocast():
    network = CFPNet(SMALL)
    features, pyramid, point_to_voxel = batch([sphere().float()], SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(features, pyramid, point_to_voxel).combined
    found.float().square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters())
    expected = network(features, pyramid, point_to_voxel).combined
    assert (found - expected).norm() < 0.1 * expected.norm()


# --- bad input


def test_training_on_a_single_voxel_is_refused():
    network = CFPNet(SMALL).double()
    point = torch.full((5, 3), 0.1, dtype=torch.float64)
    with pytest.raises(InputError, match="one voxel of stride 16, and batch normalisation needs"):
        network(*batch([point], SMALL))
    assert network(*batch([point, point], SMALL)).internal.shape == (10, 3)
    assert network.predict([point])[0].combined.shape == (5, 3)


def test_features_of_other_voxels_are_refused():
    features, pyramid, point_to_voxel = batch([sphere()], SMALL)
    message = rf"features: expected \({len(features)}, 3\), one row for each voxel, found \(9, 3\)"
    with pytest.raises(InputError, match=message):
        CFPNet(SMALL)(features[:9], pyramid, point_to_voxel)


@pytest.mark.parametrize(
    "clouds",
    [
        [],
        [torch.zeros(0, 3)],
        [torch.zeros(5, 2)],
        [torch.full((5, 3), math.nan)],
        [torch.tensor([[0.0, math.inf, 0.0]])],
        [torch.full((5, 3), 1e9)],
    ],
    ids=["none", "empty", "shape", "nan", "infinite", "far"],
)
def test_clouds_that_cannot_be_used(clouds):
    with pytest.raises(InputError):
        CFPNet(SMALL).predict(clouds)


def test_unknown_or_missing_backend():
    with pytest.raises(InputError, match="backend 'cuda'"):
        CFPNet(SMALL, backend="cuda")
    if importlib.util.find_spec("MinkowskiEngine"):
        assert CFPNet(SMALL, backend="minkowski").output.backend.name == "minkowski"
    else:
        with pytest.raises(BackendUnavailable, match=r"docs/minkowski\.md"):
            CFPNet(SMALL, backend="minkowski")


def test_a_cloud_that_is_not_normalised():
    with pytest.raises(InputError, match=r"point cloud 1: found a coordinate of .*normalised"):
        CFPNet(SMALL).predict([sphere().float(), 40 * sphere().float()])
