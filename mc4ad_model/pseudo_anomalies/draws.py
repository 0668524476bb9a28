# SPDX-License-Identifier: Apache-2.0
"""Random sizes and directions."""

from __future__ import annotations

import numpy as np

from mc4ad_model.pseudo_anomalies.product import Vectors

Range = tuple[float, float]


def log_uniform(bounds: Range, rng: np.random.Generator) -> float:
    """Draw a size between two positive bounds, each of its orders of magnitude as likely."""
    low, high = bounds
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def unit_vector(rng: np.random.Generator) -> Vectors:
    """Draw a direction (3,) uniformly."""
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.sqrt((vector * vector).sum()))
