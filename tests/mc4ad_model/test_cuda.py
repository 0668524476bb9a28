# SPDX-License-Identifier: Apache-2.0
"""Parity of a CUDA device with the CPU's float64: `pytest -m cuda`, skipped where there is none.

IV_TEST_DEVICE=cpu runs the same tests in float32 on the CPU, so that they are right before a device
is at hand. Each test records its error, and whether the same call twice gave the same bits.
"""

import os

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import BackendUnavailable
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES, NetworkConfig
from mc4ad_model.methods.mc4ad.configuration import LossConfig
from mc4ad_model.methods.mc4ad.deviations.network import new_network
from mc4ad_model.methods.mc4ad.losses import combined_loss, deviation_loss
from mc4ad_model.methods.mc4ad.network import CFPNet, Forces, voxel_features
from mc4ad_model.sparse import (
    CoordinatePyramid,
    Geometry,
    get_backend,
    sparse_convolution,
    voxelise,
)
from tests.support.deviations import deviating
from tests.support.networks import generator, scrambled, sphere
from tests.support.sparse_referees import (
    GEOMETRIES,
    name,
    random_operands,
    random_pyramid,
    with_gradients,
)

pytestmark = pytest.mark.cuda

POINT = Geometry(1, 1, 1)
WIDE = Geometry(2, 1, 2)
SMALL = NetworkConfig(width=0.25, voxel_size=0.1)
CASES = [(g, (16, 24)) for g in (*GEOMETRIES, POINT)] + [(WIDE, (128, 128))]


@pytest.fixture
def device():
    wanted = os.environ.get("IV_TEST_DEVICE", "cuda")
    if wanted == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield torch.device(wanted)
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def check(record_property):
    """Compare two runs on the device with each other and with what is expected of them."""

    def compare(run, expected, tolerance):
        first, second = run(), run()
        same = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        errors = [
            float((a.double().cpu() - b).abs().max() / b.abs().max().clamp(min=1e-30))
            for a, b in zip(first, expected, strict=True)
        ]
        record_property("error", f"{max(errors):.1e}")
        record_property("same_bits", "yes" if same else "no")
        assert max(errors) <= tolerance
        assert same

    return compare


@pytest.mark.parametrize(
    ("geometry", "channels"), CASES, ids=[f"{name(g)}_{c[0]}_to_{c[1]}" for g, c in CASES]
)
def test_convolution_and_its_gradients(geometry, channels, device, check):
    pyramid = random_pyramid((400, 90, 300), extent=6)
    features, kernel, gradient = random_operands(pyramid, geometry, channels)
    there = CoordinatePyramid(pyramid.coordinates().to(device))

    def convolve(pyramid, dtype, where):
        operands = [x.detach().to(where, dtype).requires_grad_() for x in (features, kernel)]
        output = sparse_convolution(*operands, pyramid.kernel_map(geometry))
        return with_gradients(output, operands, gradient.to(where, dtype))

    expected = convolve(pyramid, torch.float64, "cpu")
    check(lambda: convolve(there, torch.float32, device), expected, 1e-5)


@pytest.mark.parametrize("channels", [(64, 64), (128, 96)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g.kernel_size < 5], ids=name)
def test_triton_kernels(geometry, dtype, channels, device, check):
    """On the CPU, tests/mc4ad_model/sparse/test_triton.py runs them in Triton's interpreter."""
    if device.type == "cpu":
        pytest.skip("these shapes take too long in Triton's interpreter")
    backend = get_backend("triton")
    assert backend.works
    pyramid = random_pyramid((4000, 900, 3000), extent=14)
    features, kernel, gradient = random_operands(pyramid, geometry, channels)
    there = CoordinatePyramid(pyramid.coordinates().to(device))

    def convolve(dtype, where, through):
        operands = [x.detach().to(where, dtype).requires_grad_() for x in (features, kernel)]
        return with_gradients(through(*operands), operands, gradient.to(where, dtype))

    expected = convolve(
        torch.float64, "cpu", lambda x, k: sparse_convolution(x, k, pyramid.kernel_map(geometry))
    )
    check(
        lambda: convolve(dtype, device, lambda x, k: backend.convolve(x, k, there, geometry)),
        expected,
        1e-5 if dtype == torch.float32 else 2e-2,
    )


def test_voxels_and_kernel_maps(device, check):
    clouds = [sphere(900, seed).float() for seed in range(3)]

    def maps(where):
        voxels = voxelise([cloud.to(where) for cloud in clouds], 0.06)
        pyramid = CoordinatePyramid(voxels.coordinates)
        tables = [pyramid.kernel_map(geometry).forward.by_target for geometry in GEOMETRIES]
        return [voxels.coordinates, voxels.point_to_voxel, voxels.representative, *tables]

    expected = [table.double() for table in maps("cpu")]
    check(lambda: maps(device), expected, 0.0)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_inference(arch, device, check):
    network = scrambled(ARCHITECTURES[arch])
    clouds = [sphere(1500, seed) for seed in range(2)]

    def predict(network, dtype, where):
        forces = network.predict([cloud.to(where, dtype) for cloud in clouds])
        return [force.combined for force in forces]

    # voxels of the same float32 points, whatever the network computes in
    clouds = [cloud.float() for cloud in clouds]
    expected = predict(network, torch.float64, "cpu")
    there = scrambled(ARCHITECTURES[arch]).float().to(device)
    check(lambda: predict(there, torch.float32, device), expected, 1e-3)


@pytest.mark.parametrize("feature", ["representative", "mean"])
def test_loss_and_gradients_of_a_training_step(feature, device, check):
    config = ARCHITECTURES["released"]
    config = type(config)(voxel_feature=feature, width=0.25)
    clouds = [sphere(700, seed).float() for seed in range(4)]
    target = 0.1 * torch.randn(2800, 3, generator=generator(5))

    def step(dtype, where):
        network = CFPNet(config, generator=generator(3)).to(where, dtype).train()
        moved = [cloud.to(where) for cloud in clouds]
        voxels = voxelise(moved, config.voxel_size)
        features = voxel_features(moved, voxels, config).to(dtype)
        forces = network(features, CoordinatePyramid(voxels.coordinates), voxels.point_to_voxel)
        loss = combined_loss(forces, target.to(where), LossConfig()).total
        loss.backward()
        gradients = [network.stem[0].convolution.kernel.grad, network.head[-1].weight.grad]
        return [loss.detach()[None], *gradients]

    expected = [value.double() for value in step(torch.float64, "cpu")]
    check(lambda: step(torch.float32, device), expected, 2e-2)


@pytest.mark.parametrize("norm", ["l1", "squared"])
def test_combined_loss(norm, device, check):
    values = [torch.randn(500, 3, dtype=torch.float64, generator=generator(i)) for i in range(3)]
    values[2][::2] = 0

    def losses(dtype, where):
        internal, external, target = (value.to(where, dtype) for value in values)
        forces = Forces(internal, external, "mean")
        config = LossConfig(distance_norm=norm, balanced=True)
        return [value[None] for _, value in combined_loss(forces, target, config).items()]

    expected = [value.double() for value in losses(torch.float64, "cpu")]
    check(lambda: losses(torch.float32, device), expected, 1e-5)


@pytest.mark.parametrize("precision", ["TF32", "bfloat16"])
def test_inference_in_less_than_float32(precision, device, check):
    """Rounded products of twenty layers; float32 products on a CPU, which has no TF32."""
    network = scrambled(SMALL)
    clouds = [sphere(900).float()]
    expected = [network.predict([cloud.double() for cloud in clouds])[0].combined]
    there = scrambled(SMALL).float().to(device)

    def predict():
        if precision == "TF32":
            torch.set_float32_matmul_precision("high")
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return [there.predict([cloud.to(device) for cloud in clouds])[0].combined]

    check(predict, expected, 1e-2 if precision == "TF32" else 1e-1)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_network_on_deviations_its_loss_and_gradients(backend, device, check):
    """The default preset's network and loss; on random features."""
    tiny = backend == "triton" and device.type == "cpu"  # in Triton's interpreter
    config = deviating("network.width=0.05" if tiny else "network.width=0.25").network
    coordinates = random_pyramid((12, 8) if tiny else (70, 50), extent=2).coordinates()
    lengths = torch.bincount(coordinates[:, 0].long()).tolist()
    voxels = len(coordinates)
    features, force = (torch.randn(voxels, n, generator=generator(n)) for n in (28, 3))
    evidence = torch.rand(voxels, generator=generator(7))
    defective = torch.tensor([1.0, 0.0])

    def step(backend, dtype, where):
        network = new_network(config, backend, generator(3)).to(where, dtype).train()
        pyramid = CoordinatePyramid(coordinates.to(where))
        found = network(features.to(where, dtype), pyramid, lengths)
        truth = [value.to(where) for value in (force, evidence, defective)]
        loss = deviation_loss(found, *truth, LossConfig(balanced=True)).total
        loss.backward()
        gradients = [network.stem[0].convolution.kernel.grad, network.head[-1].weight.grad]
        return [loss.detach()[None], found.evidence.detach(), found.objects.detach(), *gradients]

    unless_available(backend)
    expected = [value.double() for value in step("torch", torch.float64, "cpu")]
    check(lambda: step(backend, torch.float32, device), expected, 2e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_triton_network(precision, device, check):
    unless_available("triton")
    if device.type == "cpu" and precision == "bfloat16":
        pytest.skip("Triton's interpreter multiplies bfloat16 in another way")
    config = SMALL
    if device.type == "cpu":
        config = NetworkConfig(width=0.05, voxel_size=0.5, layers=2)
    clouds = [sphere(60 if device.type == "cpu" else 900).float()]
    network = scrambled(config)
    expected = [network.predict([cloud.double() for cloud in clouds])[0].combined]
    there = CFPNet(config, "triton").to(device)
    there.load_state_dict(network.state_dict())

    def predict():
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            return [there.predict([cloud.to(device) for cloud in clouds])[0].combined]

    check(predict, expected, 1e-3 if precision == "float32" else 1e-1)


def unless_available(backend):
    """Skip where a backend does not run; fail where plain torch would compute in its place."""
    try:
        assert getattr(get_backend(backend), "works", True)
    except BackendUnavailable as error:
        pytest.skip(str(error))
