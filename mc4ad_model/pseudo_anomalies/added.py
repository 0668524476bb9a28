# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies that installed packages add; docs/extending.md shows one.

An entry point names a function of the points (N, 3) of a normal product, their unit normals (N, 3)
and a `numpy.random.Generator`, which returns what moves each point, (N, 3), 0 where nothing does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.extensions import Extension, find
from mc4ad_model.pseudo_anomalies.names import OWN, added_names

Vectors = NDArray[np.float64]


def added_extension(name: str) -> Extension:
    """Return what an installed package adds under a name; nothing is imported.

    Raises
    ------
    InputError
        There is none, or it cannot be told which.
    """
    extension = find("pseudo-anomaly", name, OWN)
    if extension is None:
        known = ", ".join(added_names()) or "none is installed"
        raise InputError(f"pseudo-anomaly {name!r}: no installed package adds it ({known})")
    return extension


def added_displacement(
    name: str, points: Vectors, normals: Vectors, rng: np.random.Generator
) -> Vectors:
    """Return the displacement (N, 3) float64 of points by an installed package's function.

    Raises
    ------
    ExtensionError
        It raised, or returned something else than a displacement.
    InputError
        As `added_extension`.
    """
    extension = added_extension(name)
    function = extension.load()
    if not callable(function):
        raise extension.refuse("a function", repr(function))
    given = points.view(), normals.view()
    for array in given:
        array.flags.writeable = False  # they are the product's
    with extension.used():
        found = np.asarray(function(*given, rng))
    if found.shape != points.shape or found.dtype.kind not in "fiu":
        raise extension.refuse(
            f"a displacement {points.shape} of numbers", f"{found.shape} of {found.dtype}"
        )
    if not np.isfinite(found).all():
        raise extension.refuse("finite numbers", "others")
    return found.astype(np.float64)


def check_added(names: Iterable[str], points: Vectors, normals: Vectors) -> None:
    """Call each once on a normal cloud, so that what fails does so before a training."""
    for name in names:
        added_displacement(name, points, normals, np.random.default_rng(0))
