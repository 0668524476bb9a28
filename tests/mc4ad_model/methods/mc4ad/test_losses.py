# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.configuration import LossConfig
from mc4ad_model.methods.mc4ad.deviations.network import Findings
from mc4ad_model.methods.mc4ad.losses import combined_loss, cosine, deviation_loss
from mc4ad_model.methods.mc4ad.network import CFPNet, Forces, voxel_features
from mc4ad_model.sparse import CoordinatePyramid, voxelise
from tests.support.networks import generator, sphere

RELEASED = LossConfig()
PRERELEASE = LossConfig(symmetry_magnitude=0.7, symmetry_direction=0.3)
PAPER = LossConfig(symmetry=1.0)
QUICKER = LossConfig(
    distance=100.0, direction=0.2, symmetry=0.01, distance_norm="squared", balanced=True
)
each_config = pytest.mark.parametrize(
    "config", [RELEASED, PRERELEASE, PAPER, QUICKER], ids=["released", "prerelease", "paper", "own"]
)


def vectors(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def drawn(points: int = 500, deformed: int = 20, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw internal and external force and displacement of a batch, (points, 3)."""
    random = generator(seed)
    internal, external = (torch.randn(points, 3, generator=random) for _ in range(2))
    displacement = torch.zeros(points, 3)
    displacement[:deformed] = 0.1 * torch.randn(deformed, 3, generator=random)
    return internal, external, displacement[torch.randperm(points, generator=random)]


def loss_of_reference(
    internal: np.ndarray, external: np.ndarray, target: np.ndarray, config: LossConfig
) -> dict[str, float]:
    """Follow the reference, section 3, written down point by point in float64."""
    rows: dict[str, list[float]] = {n: [] for n in ("dist", "dir", "mag", "symdir")}
    for i, e, d in zip(*(a.astype(float) for a in (internal, external, target)), strict=True):
        c = 0.5 * (i + e)
        if config.distance_norm == "l1":
            rows["dist"].append(np.abs(c - d).sum())
        else:
            rows["dist"].append(((c - d) ** 2).sum())
        rows["dir"].append(-np.dot(d / (np.linalg.norm(d) + 1e-8), c / (np.linalg.norm(c) + 1e-8)))
        rows["mag"].append(np.abs(i - e).sum() / (np.linalg.norm(i) + np.linalg.norm(e) + 1e-6))
        rows["symdir"].append(
            -np.dot(i / (np.linalg.norm(i) + 1e-8), e / (np.linalg.norm(e) + 1e-8))
        )
    moved = np.any(target != 0, axis=1)

    def mean(values: list[float]) -> float:
        array = np.array(values)
        if not config.balanced:
            return float(array.mean())
        parts = [array[chosen].mean() for chosen in (moved, ~moved) if chosen.any()]
        return float(np.mean(parts))

    terms = {
        "distance": mean(rows["dist"]),
        "direction": mean(rows["dir"]),
        "symmetry_magnitude": float(np.mean(rows["mag"])),
        "symmetry_direction": float(np.mean(rows["symdir"])),
    }
    terms["total"] = (
        config.distance * terms["distance"]
        + config.direction * terms["direction"]
        + config.symmetry * config.symmetry_magnitude * terms["symmetry_magnitude"]
        + config.symmetry * config.symmetry_direction * terms["symmetry_direction"]
    )
    return terms


def terms(internal: Tensor, external: Tensor | None, target: Tensor, config: LossConfig) -> dict:
    losses = combined_loss(Forces(internal, external, "mean"), target, config)
    return {name: float(value.detach()) for name, value in losses.items()}


# --- closed form


def test_two_points_by_hand():
    """Point 1: deformed along x, force half as long along x. Point 2: untouched, a force along y
    whose two halves are at a right angle."""
    internal = vectors((0.1, 0, 0), (0.3, 0.4, 0))
    external = vectors((0, 0, 0), (-0.4, 0.3, 0))
    target = vectors((0.1, 0, 0), (0, 0, 0))
    # forces: (0.05, 0, 0) and (-0.05, 0.35, 0)
    found = terms(internal, external, target, RELEASED)
    assert found["distance"] == pytest.approx((0.05 + 0.4) / 2)
    assert found["direction"] == pytest.approx(-1 / 2)
    # |(0.1, 0, 0)|_1 / 0.1 and |(0.7, 0.1, 0)|_1 / (0.5 + 0.5)
    assert found["symmetry_magnitude"] == pytest.approx((1 + 0.8) / 2, rel=1e-4)
    assert found["symmetry_direction"] == pytest.approx(0, abs=1e-7)
    assert found["total"] == pytest.approx(0.225 - 0.5 + 0.1 * 0.9, rel=1e-4)
    squared = terms(internal, external, target, LossConfig(distance_norm="squared"))
    assert squared["distance"] == pytest.approx((0.05**2 + 0.05**2 + 0.35**2) / 2)


def test_a_perfect_network_has_the_smallest_loss():
    """Both forces equal to the displacement everywhere: L_dist 0, L_dir -share of deformed points,
    L_sym -1 times the same share."""
    _, _, target = drawn(points=100, deformed=25)
    found = terms(target, target.clone(), target, PAPER)
    assert found["distance"] == 0
    assert found["direction"] == pytest.approx(-0.25, abs=1e-6)
    assert found["symmetry_magnitude"] == 0
    assert found["symmetry_direction"] == pytest.approx(-0.25, abs=1e-6)
    assert found["total"] == pytest.approx(-0.5, abs=1e-6)


def test_opposite_forces_are_punished_not_rewarded():
    """The paper's prose has opposing forces; its formula and the code pull them together."""
    force, target = vectors((0.3, 0, 0)), vectors((0, 0, 0))
    apart, together = (terms(force, s * force, target, PAPER) for s in (-1, 1))
    assert apart["symmetry_magnitude"] == pytest.approx(1, rel=1e-5)
    assert apart["symmetry_direction"] == pytest.approx(1)
    assert together["symmetry_magnitude"] == 0
    assert together["symmetry_direction"] == pytest.approx(-1)


def test_cosine_by_hand():
    first = vectors((1, 0, 0), (1, 1, 0), (0, 0, 0), (2, 0, 0))
    second = vectors((0, 3, 0), (1, 0, 0), (1, 2, 3), (-7, 0, 0))
    expected = torch.tensor([0, 1 / math.sqrt(2), 0, -1])
    assert torch.allclose(cosine(first, second), expected, atol=1e-6)


# --- independent rendering


@each_config
@pytest.mark.parametrize("deformed", [0, 20, 500])
def test_it_is_that_of_the_reference(config, deformed):
    internal, external, target = drawn(deformed=deformed)
    expected = loss_of_reference(internal.numpy(), external.numpy(), target.numpy(), config)
    found = terms(internal, external, target, config)
    assert found == pytest.approx(expected, rel=2e-5, abs=1e-6)


def test_sum_of_forces_is_the_papers():
    internal, external, target = drawn()
    mean = combined_loss(Forces(2 * internal, 2 * external, "mean"), target, RELEASED)
    total = combined_loss(Forces(internal, external, "sum"), target, RELEASED)
    assert torch.equal(mean.distance, total.distance)
    assert torch.equal(mean.direction, total.direction)


def test_a_network_with_one_force_has_po3ads_loss():
    force, _, target = drawn()
    found = terms(force, None, target, PAPER)
    expected = loss_of_reference(force.numpy(), force.numpy(), target.numpy(), PAPER)
    assert found["symmetry_magnitude"] == found["symmetry_direction"] == 0
    assert found["total"] == pytest.approx(expected["distance"] + expected["direction"], rel=1e-5)


# --- ablations and weights


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"symmetry": 0.0}, ("distance", "direction")),  # V1
        ({"direction": 0.0}, ("distance", "symmetry_magnitude", "symmetry_direction")),  # V2
        ({"distance": 0.0}, ("direction", "symmetry_magnitude", "symmetry_direction")),  # V3
    ],
    ids=["V1", "V2", "V3"],
)
def test_a_zero_weight_leaves_a_term_out(changes, left):
    internal, external, target = drawn()
    found = terms(internal, external, target, LossConfig(**{"symmetry": 1.0, **changes}))
    assert found["total"] == pytest.approx(sum(found[name] for name in left), rel=1e-5)
    # the terms themselves are reported as they are
    assert all(found[name] != 0 for name in found)


def test_a_term_without_weight_has_no_gradient():
    internal, external, target = drawn()
    internal.requires_grad_()
    zero = LossConfig(distance=0, direction=0, symmetry=0)
    combined_loss(Forces(internal, external, "mean"), target, zero).total.backward()
    assert torch.equal(internal.grad, torch.zeros_like(internal))


def test_balanced_is_the_mean_of_two_means():
    internal, external, target = drawn(points=400, deformed=10)
    moved = (target != 0).any(dim=1)
    parts = [
        terms(internal[chosen], external[chosen], target[chosen], RELEASED)
        for chosen in (moved, ~moved)
    ]
    found = terms(internal, external, target, LossConfig(balanced=True))
    for name in ("distance", "direction"):
        assert found[name] == pytest.approx((parts[0][name] + parts[1][name]) / 2, rel=1e-5)


@pytest.mark.parametrize("deformed", [0, 50])
def test_balanced_with_one_kind_of_points_is_the_plain_mean(deformed):
    arrays = drawn(points=50, deformed=deformed)
    plain, balanced = (terms(*arrays, LossConfig(balanced=b)) for b in (False, True))
    assert balanced == pytest.approx(plain, rel=1e-5, abs=1e-7)


# --- zeros, precision, shapes


@each_config
@pytest.mark.parametrize("zero", ["target", "internal", "forces", "all", "opposite"])
def test_values_and_gradients_are_finite_at_zero(config, zero):
    internal, external, target = drawn(points=30, deformed=10)
    if zero in ("target", "all"):
        target = torch.zeros_like(target)
    if zero in ("internal", "forces", "all"):
        internal = torch.zeros_like(internal)
    if zero in ("forces", "all"):
        external = torch.zeros_like(external)
    if zero == "opposite":  # the combined force is 0, its parts are not
        external = -internal
    internal.requires_grad_()
    external = external.detach().requires_grad_()
    losses = combined_loss(Forces(internal, external, "mean"), target, config)
    losses.total.backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    assert torch.isfinite(internal.grad).all()
    assert torch.isfinite(external.grad).all()


@each_config
def test_gradients_are_those_of_finite_differences(config):
    internal, external, target = drawn(points=6, deformed=3)

    def total(i: Tensor, e: Tensor) -> float:
        expected = loss_of_reference(i.numpy(), e.numpy(), target.numpy(), config)
        return expected["total"]

    internal.requires_grad_()
    external.requires_grad_()
    combined_loss(Forces(internal, external, "mean"), target, config).total.backward()
    i, e, step = internal.detach().double(), external.detach().double(), 1e-6
    for point in range(6):
        for axis in range(3):
            by = torch.zeros(6, 3, dtype=torch.float64)
            by[point, axis] = step
            slopes = (
                (total(i + by, e) - total(i - by, e)) / (2 * step),
                (total(i, e + by) - total(i, e - by)) / (2 * step),
            )
            found = (float(internal.grad[point, axis]), float(external.grad[point, axis]))
            assert found == pytest.approx(slopes, rel=1e-3, abs=1e-4)


@each_config
def test_bfloat16_forces_are_combined_and_compared_in_float32(config):
    internal, external, target = drawn()
    internal, external = internal.bfloat16(), external.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        losses = combined_loss(Forces(internal, external, "mean"), target, config)
    assert {value.dtype for _, value in losses.items()} == {torch.float32}
    expected = terms(internal.float(), external.float(), target, config)
    assert {name: float(value) for name, value in losses.items()} == expected


def test_a_network_under_autocast_gives_a_float32_loss_with_finite_gradients():
    config = NetworkConfig.named("released", width=0.25, layers=4, voxel_size=0.2)
    network, cloud = CFPNet(config), sphere(400).float()
    voxels = voxelise([cloud], config.voxel_size)
    target = torch.zeros(400, 3)
    with torch.autocast("cpu", torch.bfloat16):
        forces = network(
            voxel_features([cloud], voxels, config),
            CoordinatePyramid(voxels.coordinates),
            voxels.point_to_voxel,
        )
        losses = combined_loss(forces, target, RELEASED)
    assert forces.internal.dtype == torch.bfloat16
    assert losses.total.dtype == torch.float32
    losses.total.backward()
    for parameter in network.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_other_shapes_are_an_error_that_names_them():
    internal, external, target = drawn(points=10, deformed=2)
    with pytest.raises(InputError, match=r"\(10, 3\).*\(9, 3\)"):
        combined_loss(Forces(internal, external, "mean"), target[:9], RELEASED)


# --- properties


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([RELEASED, PAPER, QUICKER]))
def test_the_order_of_points_does_not_matter(seed, config):
    arrays = drawn(points=60, deformed=12, seed=seed)
    order = torch.randperm(60, generator=generator(seed + 1))
    shuffled = terms(*(array[order] for array in arrays), config)
    assert shuffled == pytest.approx(terms(*arrays, config), rel=1e-5, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_euclidean_does_not_depend_on_the_axes(seed):
    """L1 norms do: released code's L_dist and the magnitude of L_sym."""
    arrays = drawn(points=60, deformed=12, seed=seed)
    turn = torch.from_numpy(Rotation.random(random_state=seed).as_matrix()).float()
    plain, turned = (
        terms(*(array @ by for array in arrays), LossConfig(distance_norm="squared"))
        for by in (torch.eye(3), turn)
    )
    for name in ("distance", "direction", "symmetry_direction"):
        assert turned[name] == pytest.approx(plain[name], rel=1e-4, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10))
def test_directions_do_not_depend_on_lengths(seed, scale):
    internal, external, target = drawn(points=40, deformed=10, seed=seed)
    plain = terms(internal, external, target, RELEASED)
    scaled = terms(scale * internal, scale * external, target, RELEASED)
    for name in ("direction", "symmetry_direction", "symmetry_magnitude"):
        assert scaled[name] == pytest.approx(plain[name], rel=1e-3, abs=1e-5)
    assert -1 <= plain["direction"] <= 1
    assert 0 <= plain["symmetry_magnitude"] <= math.sqrt(3)


# --- of a network on deviations


def test_evidence_adds_its_cross_entropies_to_those_of_the_forces():
    """-log(sigmoid(2)) = log(1 + e^-2), and so on, worked out by hand."""
    internal, external, displacement = drawn(3, 1)
    forces = Forces(internal, external, "mean")
    logits, share = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([1.0, 0.0, 0.25])
    objects, defective = torch.tensor([3.0, -2.0]), torch.tensor([1.0, 1.0])
    config = LossConfig(evidence=2.0, object=0.5)
    found = deviation_loss(
        Findings(forces, logits, objects), displacement, share, defective, config
    )
    own = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)) + math.log(2)) / 3
    whole = (math.log1p(math.exp(-3)) + math.log1p(math.exp(2))) / 2
    plain = combined_loss(forces, displacement, config)
    assert float(found.evidence) == pytest.approx(own, rel=1e-6)
    assert float(found.object) == pytest.approx(whole, rel=1e-6)
    assert float(found.total) == pytest.approx(float(plain.total) + 2 * own + 0.5 * whole, rel=1e-6)
    for name, value in plain.items():
        assert name == "total" or float(vars(found)[name]) == float(value)


def test_certainty_however_large_has_a_finite_loss_and_gradient():
    internal, external, displacement = drawn(4, 1)
    evidence = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    objects = torch.tensor([-1e4], requires_grad=True)
    findings = Findings(Forces(internal, external, "mean"), evidence, objects)
    target = torch.tensor([1.0, 0.0, 0.0, 1.0])
    loss = deviation_loss(findings, displacement, target, torch.ones(1), RELEASED)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert torch.isfinite(evidence.grad).all() and torch.isfinite(objects.grad).all()
    assert evidence.grad.tolist()[:2] == [0.0, 0.0]
