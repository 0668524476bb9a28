# SPDX-License-Identifier: Apache-2.0
"""The four networks: published sizes, shapes, and that the order of points does not matter."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from mc4ad_model.classification.networks import NETWORKS, make_network, parameters
from mc4ad_model.classification.pointnet import PENALTY, PointNet, TNet, orthogonality
from mc4ad_model.classification.sizes import Sizes
from mc4ad_model.paper.printed_tables import table5a

SMALL = {"points": 64, "width": 0.1, "attention": 0.02, "neighbours": 0.3}
EACH = pytest.mark.parametrize("name", NETWORKS)
MC_SKIP = pytest.mark.parametrize("mc_skip", [False, True], ids=["plain", "mc-skip"])


def cloud(normals: bool, size: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(size, 64, 6 if normals else 3))
    points[..., :3] /= np.abs(points[..., :3]).max()
    return torch.from_numpy(points.astype(np.float32))


def test_the_networks_are_those_of_table_5a() -> None:
    assert set(NETWORKS) == set(table5a().plain) == set(table5a().mc_skip)


@pytest.mark.parametrize(
    ("name", "plain", "mc_skip", "published"),
    [
        # published: PointNet 3.5 M, PointNet++ (SSG) 1.48 M, DGCNN 1.81 M; 9.6 M is that of the
        # common re-implementation of Point Transformer
        ("PointNet", 3_471_473, 3_529_841, 3.5),
        ("PointNet++", 1_475_688, 2_628_200, 1.48),
        ("DGCNN", 1_809_576, 1_834_728, 1.81),
        ("PointTransformer", 9_584_040, 11_509_480, 9.6),
    ],
)
def test_parameters_are_the_published_and_the_printed_ones(
    name: str, plain: int, mc_skip: int, published: float
) -> None:
    """Those that docs/classification.md prints."""
    numbers = [parameters(make_network(name, Sizes(), on, outputs=40)) for on in (False, True)]
    assert numbers == [plain, mc_skip]
    assert plain / 1e6 == pytest.approx(published, rel=0.01)


def test_dgcnn_with_mc_skip_has_nothing_more_than_the_connections() -> None:
    """Eq. 13 on 64, 64, 128, 256 channels: two projections and a weight for each connection."""
    both = [parameters(make_network("DGCNN", Sizes(), on, 40)) for on in (False, True)]
    assert both[1] - both[0] == (64 * 64 + 64 * 64 + 64) + (3 * 128 + 128 * 128 + 128)


@EACH
@MC_SKIP
@pytest.mark.parametrize("normals", [False, True])
def test_classes_do_not_depend_on_the_order_of_points(
    name: str, mc_skip: bool, normals: bool
) -> None:
    torch.manual_seed(0)
    network = make_network(name, Sizes(normals=normals, **SMALL), mc_skip, outputs=5)
    points, none = cloud(normals, 8), torch.zeros(8, dtype=torch.long)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = None  # means and deviations of all that came, which is this
    network(points, none)
    network.eval()
    order = torch.from_numpy(np.random.default_rng(1).permutation(64))
    with torch.no_grad():
        found, _ = network(points, none)
        again, _ = network(points[:, order], none)
        other, _ = network(points * 0.5, none)
    assert found.shape == (8, 5)
    size = float(found.abs().max())
    assert torch.allclose(found, again, atol=1e-4 * size)
    assert float((found - other).abs().max()) > 0.01 * size


@EACH
@MC_SKIP
def test_parts_follow_their_points(name: str, mc_skip: bool) -> None:
    torch.manual_seed(0)
    network = make_network(name, Sizes(**SMALL), mc_skip, outputs=7, categories=3).eval()
    points, categories = cloud(False), torch.tensor([0, 2])
    order = torch.from_numpy(np.random.default_rng(1).permutation(64))
    with torch.no_grad():
        found, _ = network(points, categories)
        again, _ = network(points[:, order], categories)
        other, _ = network(points, torch.tensor([1, 2]))
    assert found.shape == (2, 64, 7)
    assert torch.allclose(found[:, order], again, atol=1e-5)
    assert not torch.allclose(found[0], other[0])
    assert torch.allclose(found[1], other[1], atol=1e-6)


@EACH
@MC_SKIP
def test_every_parameter_is_trained(name: str, mc_skip: bool) -> None:
    torch.manual_seed(0)
    network = make_network(name, Sizes(normals=True, **SMALL), mc_skip, outputs=7, categories=3)
    found, penalty = network(cloud(True), torch.tensor([0, 2]))
    (found.square().sum() + penalty).backward()
    unused = [key for key, value in network.named_parameters() if value.grad is None]
    assert not unused


def test_the_regulariser_is_the_distance_from_orthogonal_matrices() -> None:
    angle = 0.3
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert float(orthogonality(torch.tensor([turn]))) == pytest.approx(0, abs=1e-6)
    # [[2, 0], [1, 1]]: A A^T - 1 = [[3, 2], [2, 1]], whose norm is sqrt(18); of zeros, sqrt(2)
    matrices = torch.tensor([[[2.0, 0], [1, 1]], [[0, 0], [0, 0]]])
    assert float(orthogonality(matrices)) == pytest.approx((18**0.5 + 2**0.5) / 2)


def test_pointnet_is_penalised_for_its_feature_transform_alone() -> None:
    torch.manual_seed(0)
    backbone = PointNet(Sizes(**SMALL), mc_skip=False, local=False).eval()
    points = cloud(False)
    with torch.no_grad():
        turned = points @ backbone.transform(points)
        inner = backbone.first.transform(backbone.first.convolution(turned))
        found = backbone(points).penalty
    assert found == pytest.approx(PENALTY * float(orthogonality(inner)))
    for name in set(NETWORKS) - {"PointNet"}:
        network = make_network(name, Sizes(**SMALL), True, 5).eval()
        assert float(network(points, torch.zeros(2, dtype=torch.long))[1]) == 0


def test_a_transform_adds_to_the_identity() -> None:
    network = TNet(3, 4, Sizes(**SMALL)).eval()
    with torch.no_grad():
        for value in network.cloud[-1].parameters():
            value.zero_()
        assert torch.equal(network(cloud(False)), torch.eye(4).expand(2, 4, 4))


def test_small_sizes_keep_enough() -> None:
    sizes = Sizes(width=0.01, neighbours=0.01)
    assert sizes.channels((64, 1024)) == (4, 10) and sizes.crowd(20) == 4


def test_a_radius_holds_as_many_points_of_a_surface_as_published() -> None:
    assert [Sizes(points=n).radius(0.2) for n in (2048, 1024)] == [0.2, 0.2]
    # four times fewer points for each area, on four times the area
    assert Sizes(points=256).radius(0.2) == pytest.approx(0.4)
