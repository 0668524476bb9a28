# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later
"""Arithmetic whose results are the same bits on every processor.

IEEE 754 fixes the result of + - * / and of the square root. It fixes no sine: NumPy and the C
library choose theirs by the processor, and these differ in the last bit, as BLAS and LAPACK do.
Whatever decides the content of a dataset therefore takes its sines, exponentials, powers, angles,
scalar products and main axes from here, where each is written in those five operations.

The formulas and coefficients are those of fdlibm (Sun Microsystems, 1993: k_sin.c, k_cos.c,
e_rem_pio2.c, e_exp.c, e_log.c, s_atan.c). Errors stay below 3 units in the last place, for `power`
below that times 1 + |exponent * log(base)|. The functions of one number take an array of float64
as well, and return its shape.
"""

import numpy as np

# pi / 2 in four parts; the product of one of the first three and an integer below 2^20 is exact
_HALF_PI = (
    1.57079632673412561417e00,
    6.07710050630396597660e-11,
    2.02226624871116645580e-21,
    8.47842766036889956997e-32,
)
LARGEST_ANGLE = 1e6  # radians: the parts of pi / 2 are good up to there

_SINE = (
    *(-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04),
    *(2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10),
)
_COSINE = (
    *(4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05),
    *(-2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11),
)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_EXPONENTIAL = (
    *(1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05),
    *(-1.65339022054652515390e-06, 4.13813679705723846039e-08),
)
_LOGARITHM = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01),
    *(2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01),
    1.479819860511658591e-01,
)
_ARCTANGENT = (
    *(3.33333333333329318027e-01, -1.99999999998764832476e-01, 1.42857142725034663711e-01),
    *(-1.11111104054623557880e-01, 9.09088713343650656196e-02, -7.69187620504482999495e-02),
    *(6.66107313738753120669e-02, -5.83357013379057348645e-02, 4.97687799461593236017e-02),
    *(-3.65315727442169155270e-02, 1.62858201153657823623e-02),
)


def sin(x):
    """Return the sine of angles in radians; ValueError beyond LARGEST_ANGLE."""
    return _sine_of(*_quarter_turns(x))


def cos(x):
    """Return the cosine of angles in radians; ValueError beyond LARGEST_ANGLE."""
    quarter, rest, low = _quarter_turns(x)
    return _sine_of(quarter + 1, rest, low)


def tan(x):
    """Return the tangent of angles in radians; ValueError beyond LARGEST_ANGLE."""
    return sin(x) / cos(x)


def exp(x):
    """Return e ** x; 0 where that is below 1e-300, ValueError where it is above 1e300."""
    x = np.asarray(x, dtype=np.float64)
    if (x > 690.0).any():
        raise ValueError("the exponential is too large")
    count = np.rint(np.maximum(x, -1000.0) / (_LN2_HIGH + _LN2_LOW))
    high, low = np.maximum(x, -1000.0) - count * _LN2_HIGH, count * _LN2_LOW
    rest = high - low
    square = rest * rest
    c = rest - square * _polynomial(square, _EXPONENTIAL)
    result = 1 - ((low - rest * c / (2 - c)) - high)
    # numbers near the smallest are rounded in ways of their own: there are none
    return np.where(x < -690.0, 0.0, np.ldexp(result, np.maximum(count, -1000).astype(int)))[()]


def log(x):
    """Return the natural logarithm of numbers above 1e-300; ValueError for others."""
    x = np.asarray(x, dtype=np.float64)
    if not (x > 1e-300).all():
        raise ValueError("the logarithm is taken of numbers above 1e-300 only")
    mantissa, count = np.frexp(x)
    below = mantissa < 0.70710678118654752
    mantissa, count = np.where(below, 2 * mantissa, mantissa), count - below
    f = mantissa - 1
    s = f / (2 + f)
    square = s * s
    half = 0.5 * f * f
    tail = square * _polynomial(square, _LOGARITHM)
    return (count * _LN2_HIGH - ((half - (s * (half + tail) + count * _LN2_LOW)) - f))[()]


def power(base, exponent):
    """Return base ** exponent for bases that are 0 or above 1e-300, and positive exponents."""
    base = np.asarray(base, dtype=np.float64)
    zero = base == 0
    return np.where(zero, 0.0, exp(exponent * log(np.where(zero, 1.0, base))))[()]


def arctan2(y, x):
    """Return the angle in radians, -pi to pi, from the x axis to the points (x, y); 0 at (0, 0)."""
    y, x = np.asarray(y, dtype=np.float64), np.asarray(x, dtype=np.float64)
    a, b = np.abs(y), np.abs(x)
    steep = a > b
    small, large = np.where(steep, b, a), np.where(steep, a, b)
    t = small / np.where(large > 0, large, 1.0)
    # arctan(t) = arctan(1/2) + arctan((t - 1/2) / (1 + t/2)): the second argument is below 1/2
    wide = t > 0.4375
    z = np.where(wide, (2 * t - 1) / (2 + t), t)
    square = z * z
    angle = z - z * square * _polynomial(square, _ARCTANGENT)
    angle = np.where(wide, 4.63647609000806093515e-01 + (angle + 2.26987774529616870924e-17), angle)
    angle = np.where(steep, _HALF_PI_NEAREST - angle, angle)
    angle = np.where(x < 0, 2 * _HALF_PI_NEAREST - angle, angle)
    return np.where(y < 0, -angle, angle)[()]


def arctan(x):
    """Return the angle in radians, -pi/2 to pi/2, whose tangent is x."""
    return arctan2(x, np.ones_like(x, dtype=np.float64))


def arcsin(x):
    """Return the angle in radians, -pi/2 to pi/2, whose sine is x, -1 to 1."""
    return arctan2(x, np.sqrt((1 - x) * (1 + x)))


def arccos(x):
    """Return the angle in radians, 0 to pi, whose cosine is x, -1 to 1."""
    return arctan2(np.sqrt((1 - x) * (1 + x)), x)


def dot(a, b):
    """Return the (...,) scalar products of vectors (..., 3)."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def cross(a, b):
    """Return the vector products of vectors (..., 3), as np.cross does, sooner."""
    a, b = np.asarray(a), np.asarray(b)
    x, y, z = a[..., 0], a[..., 1], a[..., 2]
    u, v, w = b[..., 0], b[..., 1], b[..., 2]
    first = y * w - z * v
    product = np.zeros((*first.shape, 3), dtype=first.dtype)
    product[..., 0], product[..., 1], product[..., 2] = first, z * u - x * w, x * v - y * u
    return product


def side_products(vertices, faces):
    """Return x, y and z, (F,) each, of the vector products of two sides of triangles, 0-1 and 0-2.

    vertices (V, 3), faces (F, 3). Their lengths are twice the areas, their directions the normals.
    """
    first, second, third = np.ascontiguousarray(np.transpose(faces), dtype=np.intp)
    sides = []
    for values in np.ascontiguousarray(np.transpose(vertices), dtype=np.float64):
        start = values[first]
        sides.append((values[second] - start, values[third] - start))
    (x, u), (y, v), (z, w) = sides
    return y * w - z * v, z * u - x * w, x * v - y * u


def sixfold_volumes(vertices, faces):
    """Return six times the signed volume (F,) between the origin and each triangle."""
    corners = np.ascontiguousarray(np.transpose(faces), dtype=np.intp)
    columns = np.ascontiguousarray(np.transpose(vertices), dtype=np.float64)
    (x, x1, x2), (y, y1, y2), (z, z1, z2) = (values[corners] for values in columns)
    return x * (y1 * z2 - z1 * y2) + y * (z1 * x2 - x1 * z2) + z * (x1 * y2 - y1 * x2)


def norm(vectors):
    """Return the (...,) lengths of vectors (..., D)."""
    vectors = np.asarray(vectors)
    if vectors.shape[-1] == 3:  # the same sum, sooner
        return np.sqrt(dot(vectors, vectors))
    return np.sqrt(np.square(vectors).sum(axis=-1))


def normal(rng, shape):
    """Draw standard normal numbers: an array of `shape`, multiples of 2^-30.

    rng : numpy.random.Generator. Its numbers beyond 3.65 come from the C library's logarithm, whose
    last bits the rounding takes away.
    """
    return np.ldexp(np.rint(np.ldexp(rng.standard_normal(shape), 30)), -30)


def random_rotation(rng):
    """Draw a rotation matrix (3, 3) uniformly on SO(3)."""
    q = normal(rng, 4)  # a normalised Gaussian quaternion is uniform on SO(3)
    w, x, y, z = q / norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def eigenvectors(matrices):
    """Return (values (..., 3), vectors (..., 3, 3)) of symmetric matrices (..., 3, 3).

    Values descend; vectors lie in rows, right-handed or left-handed, of either sign. Jacobi's
    method: the off-diagonal elements are turned away one by one, in a fixed order.
    """
    a = np.array(matrices, dtype=np.float64)
    vectors = np.broadcast_to(np.eye(3), a.shape).copy()
    for _ in range(8):  # it converges quadratically: 5 or 6 rounds do
        for p, q in ((0, 1), (0, 2), (1, 2)):
            element = a[..., p, q]
            # the smaller of the two angles: tan = sign / (|ratio| + sqrt(ratio^2 + 1))
            small = np.abs(element) <= 1e-30 * (np.abs(a[..., p, p]) + np.abs(a[..., q, q]))
            ratio = (a[..., q, q] - a[..., p, p]) / np.where(small, 1.0, 2 * element)
            tangent = np.copysign(1.0, ratio) / (np.abs(ratio) + np.sqrt(ratio * ratio + 1))
            tangent = np.where(small, 0.0, tangent)
            c = 1 / np.sqrt(tangent * tangent + 1)
            c, s = c[..., None], (tangent * c)[..., None]
            for rows in (a, np.swapaxes(a, -1, -2), vectors):
                first, second = rows[..., p, :].copy(), rows[..., q, :].copy()
                rows[..., p, :], rows[..., q, :] = c * first - s * second, s * first + c * second
    values = np.diagonal(a, axis1=-2, axis2=-1)
    order = np.argsort(-values, axis=-1, kind="stable")
    return (
        np.take_along_axis(values, order, axis=-1),
        np.take_along_axis(vectors, order[..., None], axis=-2),
    )


_HALF_PI_NEAREST = np.pi / 2


def _quarter_turns(x):
    """Return (number of quarter turns, rest in -pi/4 .. pi/4, what the rest's rounding lost)."""
    x = np.asarray(x, dtype=np.float64)
    if not (np.abs(x) <= LARGEST_ANGLE).all():
        raise ValueError(f"an angle is beyond {LARGEST_ANGLE:g} radians")
    quarter = np.rint(x / _HALF_PI_NEAREST)
    rest, low = x - quarter * _HALF_PI[0], 0.0
    for part in _HALF_PI[1:]:
        taken = quarter * part
        shorter = rest - taken
        low = low + ((rest - shorter) - taken)
        rest = shorter
    high = rest + low
    return quarter.astype(np.int64), high, (rest - high) + low


def _sine_of(quarter, rest, low):
    """Return the sine of `rest + low` and a number of quarter turns."""
    square = rest * rest
    cube = rest * square
    sine = rest - (
        square * (0.5 * low - cube * _polynomial(square, _SINE[1:])) - low - cube * _SINE[0]
    )
    half = 0.5 * square
    kept = 1 - half
    cosine = kept + (
        (1 - kept) - half + (square * square * _polynomial(square, _COSINE) - rest * low)
    )
    result = np.where(quarter & 1, cosine, sine)
    return np.where(quarter & 2, -result, result)[()]


def _polynomial(x, coefficients):
    """Return c0 + c1 x + c2 x^2 + ... by Horner's rule."""
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = coefficient + x * total
    return total
