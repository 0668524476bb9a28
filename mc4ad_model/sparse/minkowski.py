# SPDX-License-Identifier: Apache-2.0
"""Convolution by an installed MinkowskiEngine 0.5.4, on our coordinates and with our row order.

Only MinkowskiEngine's convolution functions are used. Its own coordinates of strides 2, 4, ... are
in hash order; so each stride's coordinates are inserted from the pyramid. Inserting keeps the order
of rows that are unique, on CPU and CUDA, so both backends give the same rows.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from intravariance.errors import BackendUnavailable
from mc4ad_model.sparse.convolution import check_operands
from mc4ad_model.sparse.coordinates import CoordinatePyramid
from mc4ad_model.sparse.epilogue import Epilogue, finish
from mc4ad_model.sparse.kernel_maps import Geometry

_BUILD_IT = "build it (docs/minkowski.md) or use the torch backend, which computes the same"


class MinkowskiBackend:
    """MinkowskiEngine's convolution.

    It computes in float64 for float64 operands and in float32 for all others, which is what it
    knows; under autocast the result has the autocast dtype nevertheless, as the torch backend's.

    Raises
    ------
    BackendUnavailable
        MinkowskiEngine is not installed or cannot be imported.
    """

    name = "minkowski"

    def __init__(self) -> None:
        _engine()

    def convolve(
        self,
        features: Tensor,
        kernel: Tensor,
        pyramid: CoordinatePyramid,
        geometry: Geometry,
        epilogue: Epilogue | None = None,
    ) -> Tensor:
        """Convolve, as `Backend.convolve` says.

        MinkowskiEngine's coordinate maps and kernel maps are kept with the pyramid.

        Raises
        ------
        InputError
            Shapes or dtypes that do not fit each other or the geometry.
        BackendUnavailable
            Features on a CUDA device, but MinkowskiEngine was built without CUDA.
        """
        engine = _engine()
        from MinkowskiEngineBackend._C import ConvolutionMode  # noqa: PLC0415 - weight

        if features.is_cuda and not engine.is_cuda_available():
            raise BackendUnavailable(
                "MinkowskiEngine is installed without CUDA, but the features are on a CUDA device: "
                f"{_BUILD_IT}"
            )
        dtype = features.dtype
        device = features.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            features, kernel = features.float(), kernel.float()
        check_operands(features, kernel, pyramid.size(geometry.source_stride), geometry.offsets)
        known = torch.promote_types(features.dtype, torch.float32)
        maps = _maps(pyramid)
        if geometry.transposed:
            function = engine.MinkowskiConvolutionTransposeFunction
        else:
            function = engine.MinkowskiConvolutionFunction
        output: Tensor = function.apply(
            features.to(known),
            kernel.to(known).contiguous(),
            _kernel_generator(geometry),
            ConvolutionMode.DEFAULT,
            maps.key(pyramid, geometry.source_stride),
            maps.key(pyramid, geometry.target_stride),
            maps.manager,
        )
        return finish(output.to(dtype), epilogue)


@functools.cache
def _engine() -> Any:
    """Import MinkowskiEngine and return the module."""
    with warnings.catch_warnings():
        # That it was built without CUDA, which only matters to features on CUDA: see `convolve`.
        warnings.filterwarnings("ignore", "The MinkowskiEngine was compiled with CPU_ONLY")
        # That it sets OMP_NUM_THREADS, on more than 16 processors; torch has its threads already.
        warnings.filterwarnings("ignore", "The environment variable `OMP_NUM_THREADS` not set")
        try:
            import MinkowskiEngine  # noqa: PLC0415 - weight
        except ModuleNotFoundError as error:
            if error.name != "MinkowskiEngine":
                raise _broken(error) from error
            raise BackendUnavailable(f"MinkowskiEngine is not installed: {_BUILD_IT}") from error
        except ImportError as error:
            raise _broken(error) from error
    return MinkowskiEngine


def _broken(error: ImportError) -> BackendUnavailable:
    """Say what to do about an engine built against another torch or Python, or not patched."""
    return BackendUnavailable(
        f"MinkowskiEngine is installed, but importing it fails ({error}). It fits the torch and "
        f"the Python that it was built with: {_BUILD_IT}"
    )


@functools.cache
def _kernel_generator(geometry: Geometry) -> Any:
    """Make MinkowskiEngine's description of a kernel; its stride is the down convolution's."""
    stride = 1 if geometry.source_stride == geometry.target_stride else 2
    return _engine().KernelGenerator(geometry.kernel_size, stride=stride, dimension=3)


@dataclass(frozen=True)
class _Maps:
    """The voxels of one batch as MinkowskiEngine holds them.

    Attributes
    ----------
    manager : MinkowskiEngine.CoordinateManager
        Builds each kernel map once.
    keys : stride -> MinkowskiEngine.CoordinateMapKey
    """

    manager: Any
    keys: dict[int, Any] = field(default_factory=dict)

    def key(self, pyramid: CoordinatePyramid, stride: int) -> Any:
        """Insert the coordinates of a stride, once."""
        if stride not in self.keys:
            coordinates = pyramid.coordinates(stride)
            self.keys[stride], _ = self.manager.insert_and_map(coordinates, stride)
        return self.keys[stride]


def _maps(pyramid: CoordinatePyramid) -> _Maps:
    """Return the pyramid's coordinate manager, made when first asked for."""
    maps = pyramid.shared.get(MinkowskiBackend.name)
    if not isinstance(maps, _Maps):
        engine = _engine()
        cuda = pyramid.coordinates().is_cuda
        maps = _Maps(
            engine.CoordinateManager(
                D=3,
                # It sets the number of OpenMP threads of the whole process.
                num_threads=torch.get_num_threads(),
                coordinate_map_type=(
                    engine.CoordinateMapType.CUDA if cuda else engine.CoordinateMapType.CPU
                ),
            )
        )
        pyramid.shared[MinkowskiBackend.name] = maps
    return maps
