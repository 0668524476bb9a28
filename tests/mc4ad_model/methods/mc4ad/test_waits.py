# SPDX-License-Identifier: Apache-2.0
"""How often an inference waits for a device."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from torch.overrides import TorchFunctionMode

from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import SparseConvolution
from mc4ad_model.sparse.tiles import make_tiles
from tests.support.networks import sphere


class Waits(TorchFunctionMode):
    """Lists the calls whose result cannot be known before the device has it."""

    names = ("tolist", "item", "__bool__", "__float__", "__int__", "nonzero", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.found = list[str]()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function.__name__ in self.names:
            self.found.append(function.__name__)
        return function(*args, **(kwargs or {}))


class MapsAlone:
    """A backend that makes the maps and tiles of its kernels, and multiplies nothing."""

    name = "maps alone"

    def convolve(self, features, kernel, pyramid, geometry, epilogue=None):
        table = pyramid.kernel_map(geometry).forward
        table.kept("tiles", lambda: make_tiles(table, 64, 2 if table.offsets > 8 else 1))
        return features.new_zeros(table.targets, kernel.shape[2])


@pytest.mark.parametrize("arch", ["released", "po3ad"])
def test_the_maps_of_all_layers_wait_for_the_device_four_times(arch):
    """Whether the cloud has a place in voxels and is normalised, and how many voxels it has."""
    network = CFPNet(NetworkConfig.named(arch, width=0.25))
    for module in network.modules():
        if isinstance(module, SparseConvolution):
            module.backend = MapsAlone()
    with Waits() as waits:
        network.predict([sphere(300).float(), sphere(200).float()])
    assert sorted(waits.found) == ["__bool__", "tolist", "tolist", "unique"]
