# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools that the defects share: drawn and fitted numbers, smooth steps, rough noise."""

import numpy as np

from blender_scripts.portable import cos, dot, normal, power
from blender_scripts.surface import unit


def drawn(rng, severity, slight, severe):
    """Draw a number from `slight` (severity 0) to `severe` (1); a tenth of the range is chance.

    So the lengths of one defect do not move in lockstep, and a third of the severities is still a
    band of sizes of its own.
    """
    return round(float(slight + (severe - slight) * (0.9 * severity + 0.1 * rng.random())), 9)


def smooth_step(x):
    """Return 0 below 0, 1 above 1, and between them 6 x^5 - 15 x^4 + 10 x^3, without a kink."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (x * (6 * x - 15) + 10)


def rms_departure(surface, points, displacement):
    """Return the root mean square distance from the surface of displaced points (N, 3) of it."""
    distances = surface.distances(points + displacement)
    return float(np.sqrt((distances * distances).mean()))


def fitted(departure, wanted, most):
    """Return the amount, `most` at most, that makes a departure that grows with it as wanted.

    departure : a function of the amount, about linear. Six evaluations come within a few percent.
    """
    low, low_value, high, high_value = 0.0, departure(0.0), most, departure(most)
    if high_value <= wanted:
        return most
    for _ in range(4):
        share = (wanted - low_value) / max(high_value - low_value, 1e-12)
        middle = low + (high - low) * float(np.clip(share, 0.05, 0.95))
        value = departure(middle)
        if abs(value - wanted) < 0.02 * wanted:
            return middle
        if value < wanted:
            low, low_value = middle, value
        else:
            high, high_value = middle, value
    share = (wanted - low_value) / max(high_value - low_value, 1e-12)
    return low + (high - low) * float(np.clip(share, 0.0, 1.0))


def random_direction(rng):
    """Draw a vector (3,) uniformly on the unit sphere."""
    return unit(normal(rng, 3))


def rough_noise(rng, longest, octaves=4, roughness=0.8, waves=12):
    """Draw a random field, points (N, 3) -> values (N,) with standard deviation about 1.

    Each octave is a sum of plane waves of random direction and phase; the wavelength starts at
    `longest` and halves, the amplitude goes with wavelength ** roughness.
    """
    scale = np.ldexp(1.0, -np.arange(octaves))
    amplitude = power(scale, roughness)
    amplitude *= np.sqrt(2 / waves / np.square(amplitude).sum())
    directions = unit(normal(rng, (octaves, waves, 3)))
    phases = rng.uniform(0, 2 * np.pi, (octaves, waves))

    def field(points):
        total = np.zeros(len(points))
        for octave in range(octaves):
            frequency = 2 * np.pi / (longest * scale[octave])
            for direction, phase in zip(directions[octave], phases[octave], strict=True):
                total += amplitude[octave] * cos(frequency * dot(points, direction) + phase)
        return total

    return field


def components(edges, count):
    """Return (count,) the smallest vertex number that edges (E, 2) connect each vertex to."""
    labels = np.arange(count)
    one, other = np.ascontiguousarray(np.transpose(edges))
    while len(one):
        first, second = labels[one], labels[other]
        apart = np.flatnonzero(first != second)
        one, other, first, second = (item[apart] for item in (one, other, first, second))
        np.minimum.at(labels, np.maximum(first, second), np.minimum(first, second))
        jumped = labels[labels]
        while not np.array_equal(jumped, labels):
            labels, jumped = jumped, jumped[jumped]
    return labels
