# SPDX-License-Identifier: Apache-2.0
"""Compile the Triton kernels for devices that need not be there; `python -m` prints JSON.

Triton's interpreter never sees what its compiler refuses. It replaces the compiler where
TRITON_INTERPRET=1 is in the environment, so that this is a process of its own.
"""

from __future__ import annotations

import json
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from mc4ad_model.sparse.triton_convolution import OPTIONS, TileShape, tile_shape
from mc4ad_model.sparse.triton_kernels import convolve_tiles, kernel_gradient

NARROW = 32  # the channels of the smallest tile of a device, which compiles within a second
PRECISIONS = {"ieee": ("fp32", "ieee"), "tf32": ("fp32", "tf32"), "bf16": ("bf16", "ieee")}
WIDE = 128  # of the tile with the most memory


def compiled(
    kernel: Any, capability: int, shape: TileShape, depth: int, number: str, fused: bool = True
) -> Any:
    """Compile as a call with channels that are multiples of 16 does.

    fused : with an epilogue, as in inference.
    """
    dtype, precision = PRECISIONS[number]
    rows = shape.rows if kernel is convolve_tiles else shape.depth
    constants = {
        "ADD": True, "NORM": fused, "SUM": fused, "RELU": fused, "ROWS": rows,
        "COLUMNS": shape.columns, "DEPTH": depth, "PRECISION": precision, "out_stride": 1,
    }  # fmt: skip
    pointers = dict.fromkeys(("features", "kernel", "gradient", "output", "added"), f"*{dtype}")
    pointers |= dict.fromkeys(("table", "order", "live", "counts", "pairs"), "*i32")
    pointers |= dict.fromkeys(("partial", "mean", "variance", "weight", "bias"), "*fp32")
    if not fused:
        constants |= dict.fromkeys(("mean", "variance", "weight", "bias", "epsilon", "added"))
    constants = {name: value for name, value in constants.items() if name in kernel.arg_names}
    numbers = {**pointers, "epsilon": "fp32"}
    signature = {name: numbers.get(name, "i32") for name in kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = {*pointers, "inside", "outside", "kernel_stride", "in_stride"} - constants.keys()
    attributes = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if name in aligned
    }
    return triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": shape.warps, "num_stages": shape.stages, **OPTIONS},
    )


def variants_of_a_second_word() -> int:
    """Count what a launch would compile for tiles of second words, which begin anywhere."""
    backend = make_backend(GPUTarget("cuda", 90, 32))
    bind = create_function_from_signature(convolve_tiles.signature, convolve_tiles.params, backend)
    features, rows = torch.zeros(16, 16), torch.zeros(16, dtype=torch.int32)
    constants = dict.fromkeys(("mean", "variance", "weight", "bias", "epsilon", "added"))
    constants |= dict.fromkeys(("ADD", "NORM", "SUM", "RELU"), True)
    constants |= {"ROWS": 64, "COLUMNS": 64, "DEPTH": 32, "PRECISION": "ieee"}
    found = set()
    for begin in range(4):
        pointers = [features] * 4 + [rows, rows, rows[begin:], rows[begin:]]
        _, specialised, _ = bind(*pointers, *[16] * 10, 1, **constants)
        found.add(str(specialised))
    return len(found)


def main() -> None:
    """Print the bytes of shared memory of each kernel, by name, device and precision; then how
    many variants tiles of second words have."""
    found = {}
    for capability in (80, 90):
        shape = tile_shape(NARROW, divmod(capability, 10))
        for kernel, depth in ((convolve_tiles, shape.depth), (kernel_gradient, NARROW)):
            for number in PRECISIONS:
                name = f"{kernel.__name__} sm{capability} {number}"
                found[name] = compiled(kernel, capability, shape, depth, number).metadata.shared
    plain = compiled(convolve_tiles, 90, shape, shape.depth, "tf32", fused=False)
    found["convolve_tiles sm90 tf32 without epilogue"] = plain.metadata.shared
    shape = tile_shape(WIDE, (9, 0))
    wide = compiled(convolve_tiles, 90, shape, shape.depth, "tf32")
    found["convolve_tiles sm90 tf32 wide"] = wide.metadata.shared
    print(json.dumps({"shared": found, "variants": variants_of_a_second_word()}))


if __name__ == "__main__":
    main()
