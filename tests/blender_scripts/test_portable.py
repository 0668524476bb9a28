# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of what makes data: right, the same everywhere, and the only one that is used."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import blender_scripts
import intravariance
from blender_scripts import portable

EXTENDED = np.longdouble  # 64 bits of mantissa: a referee for functions in double precision
RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.uniform(-60, 60, 20_000), RNG.uniform(-9e5, 9e5, 20_000)])
ANGLES = np.concatenate([ANGLES, np.arange(-2000, 2000) * (np.pi / 2), RNG.uniform(-1, 1, 9) / 1e9])
POSITIVE = np.exp(RNG.uniform(-600, 600, 20_000))


def units_off(found: np.ndarray, exact: np.ndarray) -> float:
    """Return the largest error in units of the last place."""
    return float(np.max(np.abs(EXTENDED(found) - exact) / np.spacing(np.abs(exact).astype(float))))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sin", (ANGLES,)),
        ("cos", (ANGLES,)),
        ("tan", (ANGLES,)),
        ("exp", (RNG.uniform(-600, 600, 20_000),)),
        ("log", (POSITIVE,)),
        ("log", (RNG.uniform(0.5, 2, 20_000),)),
        ("arctan2", tuple(RNG.normal(size=(2, 20_000)))),
        ("arctan2", ([0.0, 0.0, 1.0, -1.0, 2.0], [1.0, -1.0, 0.0, 0.0, 2.0])),
        ("arctan", (RNG.normal(size=20_000) * 5,)),
        ("arcsin", (RNG.uniform(-1, 1, 20_000),)),
        ("arccos", (RNG.uniform(-1, 1, 20_000),)),
    ],
)
def test_functions_are_right_to_three_units_in_the_last_place(name, arguments):
    if np.finfo(EXTENDED).nmant < 63:
        pytest.skip("no extended precision here")
    exact = getattr(np, name)(*(EXTENDED(argument) for argument in arguments))
    assert units_off(getattr(portable, name)(*arguments), exact) < 3


def test_powers_follow_the_logarithm():
    base, exponent = RNG.uniform(0, 4, 20_000), 2.5
    exact = EXTENDED(base) ** EXTENDED(exponent)
    allowed = 3 * (1 + np.abs(exponent * np.log(base)))
    error = np.abs(EXTENDED(portable.power(base, exponent)) - exact) / np.spacing(base**exponent)
    assert (error < allowed).all()
    assert portable.power(0.0, 0.7) == 0
    assert portable.power([1.0, 4.0], 0.5).tolist() == pytest.approx([1, 2], rel=1e-15)


def test_the_same_bits_as_where_this_was_written():
    """A processor, C library or NumPy that gave others would change every dataset."""
    x = np.linspace(-40, 40, 4001)
    results = [portable.sin(x), portable.cos(x), portable.tan(x), portable.exp(x)]
    results += [portable.log(x[2001:]), portable.power(x[2000:], 0.7), portable.arctan2(x, x[::-1])]
    results += [portable.arccos(x / 40), portable.norm(np.stack([x, x + 1, x * x], axis=1))]
    rng = np.random.default_rng(5)
    symmetric = rng.integers(-9, 9, (50, 3, 3)).astype(float)
    results += portable.eigenvectors(symmetric + symmetric.transpose(0, 2, 1))
    results += [portable.normal(rng, 1000), portable.random_rotation(rng)]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(r).tobytes() for r in results))
    assert digest.hexdigest() == GOLDEN


GOLDEN = "5450db663b94e5ef15ba021a4ea00a034c999f9af2f85707fc54652264aca9c6"


def test_numbers_give_numbers_and_arrays_their_shape():
    assert isinstance(portable.sin(1.0), float)
    assert portable.exp(np.zeros((2, 3))).shape == (2, 3)
    assert portable.arctan2(0.0, 0.0) == 0
    assert portable.exp([-1e9, 0.0]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("function", "argument"),
    [("sin", 2e6), ("cos", np.nan), ("exp", 700.0), ("log", 0.0), ("log", -1.0), ("log", np.nan)],
)
def test_what_is_out_of_range_is_refused(function, argument):
    with pytest.raises(ValueError, match=r"radians|too large|above"):
        getattr(portable, function)(argument)


def test_eigenvectors_are_those_of_lapack():
    matrices = RNG.normal(size=(500, 3, 3))
    matrices = matrices + matrices.transpose(0, 2, 1)
    special = [np.zeros((3, 3)), np.eye(3), [[1, 1, 0], [1, 1, 0], [0, 0, 2]], 1e-150 * np.eye(3)]
    matrices = np.concatenate([matrices, special])
    values, vectors = portable.eigenvectors(matrices)
    assert values == pytest.approx(np.linalg.eigvalsh(matrices)[:, ::-1], abs=1e-13)
    assert vectors @ vectors.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), matrices.shape), abs=1e-13
    )
    turned = vectors @ matrices @ vectors.transpose(0, 2, 1)
    assert turned == pytest.approx(values[:, None] * np.eye(3), abs=1e-12)


def test_vector_products_and_lengths_are_numpys_to_the_bit():
    a, b = np.random.default_rng(3).standard_normal((2, 50, 4, 3))
    assert np.array_equal(portable.cross(a, b), np.cross(a, b))
    assert np.array_equal(portable.cross(a[0, 0], b), np.cross(a[0, 0], b))
    assert np.array_equal(portable.norm(a), np.sqrt(np.square(a).sum(axis=-1)))


def test_side_products_and_volumes_of_triangles_are_those_of_vectors_to_the_bit():
    rng = np.random.default_rng(5)
    vertices, faces = rng.standard_normal((200, 3)), rng.integers(0, 200, (500, 3), dtype=np.int32)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    found = np.stack(portable.side_products(vertices, faces), axis=1)
    assert np.array_equal(found, np.cross(b - a, c - a))
    volumes = portable.sixfold_volumes(vertices, faces)
    assert np.array_equal(volumes, portable.dot(a, np.cross(b, c)))


def test_random_rotations_are_uniform_and_right_handed():
    rng = np.random.default_rng(1)
    turns = np.array([portable.random_rotation(rng) for _ in range(2000)])
    assert turns @ turns.transpose(0, 2, 1) == pytest.approx(
        np.broadcast_to(np.eye(3), turns.shape), abs=1e-14
    )
    assert np.linalg.det(turns) == pytest.approx(np.ones(2000))
    # each entry is uniform in -1 .. 1: mean 0, variance 1/3
    assert turns.mean(axis=0) == pytest.approx(np.zeros((3, 3)), abs=0.06)
    assert turns.var(axis=0) == pytest.approx(np.full((3, 3), 1 / 3), abs=0.03)


def test_normal_numbers_are_numpys_but_for_their_last_bits():
    drawn = portable.normal(np.random.default_rng(2), 10_000)
    assert drawn == pytest.approx(np.random.default_rng(2).standard_normal(10_000), abs=2**-31)
    assert (np.ldexp(drawn, 30) % 1 == 0).all()


# Code that makes data takes nothing from NumPy, Python or BLAS whose last bit a processor decides.
# Elsewhere anything goes: reading, verifying, drawing and training make no data.
ROOMS = ("building", "sources", "geometry")
NO_DATA = {"portable.py", "normals.py", "template_surface.py"}
FUNCTIONS = {
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "asin", "acos", "atan"),
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "power", "float_power", "pow"),
    *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "hypot", "cbrt", "angle", "dist"),
    *("atan2", "dot", "vdot", "inner", "matmul", "tensordot", "einsum", "linalg"),
}
DISTRIBUTIONS = {"standard_normal", "normal", "exponential", "gamma", "dirichlet", "lognormal"}


def data_making() -> list[Path]:
    """List the modules that decide what is in a dataset."""
    roots = [Path(intravariance.__file__).parent / room for room in ROOMS]
    roots.append(Path(blender_scripts.__file__).parent)
    found = [path for root in roots for path in sorted(root.rglob("*.py"))]
    return [path for path in found if path.name not in NO_DATA]


def forbidden(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give line and name of what rounds as a processor likes."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name("np" | "math" as module), name) if name in FUNCTIONS:
                yield node.lineno, f"{module}.{name}"
            case ast.Call(ast.Attribute(_, name)) if name in DISTRIBUTIONS:
                yield node.lineno, f"Generator.{name}"
        operator = getattr(node, "op", None)
        if isinstance(operator, ast.MatMult):
            yield node.lineno, "@"
        if isinstance(operator, ast.Pow) and not whole_power(node):
            yield node.lineno, "**"


def whole_power(node: ast.AST) -> bool:
    """Return whether a power is of a whole number, which Python computes exactly."""
    base = node.left if isinstance(node, ast.BinOp) else node.target
    base = base.operand if isinstance(base, ast.UnaryOp) else base
    exponent = node.right if isinstance(node, ast.BinOp) else node.value
    fraction = isinstance(exponent, ast.Constant) and not isinstance(exponent.value, int)
    return isinstance(base, ast.Constant) and isinstance(base.value, int) and not fraction


def test_nothing_that_makes_data_rounds_as_a_processor_likes():
    found = [
        f"{path}:{line}: {name}"
        for path in data_making()
        for line, name in forbidden(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "take these from blender_scripts.portable: " + ", ".join(found)


def test_the_search_finds_what_it_forbids():
    code = "np.sin(x)\nmath.atan2(y, x)\na @ b\nx ** 2\nr **= 0.5\nnp.linalg.norm(v)\nrng.normal(3)"
    code += "\n2 ** 30\n(-1) ** k\nnp.sqrt(x)\n2 ** 0.5"
    lines = {line for line, _ in forbidden(ast.parse(code))}
    assert lines == {1, 2, 3, 4, 5, 6, 7, 11}
