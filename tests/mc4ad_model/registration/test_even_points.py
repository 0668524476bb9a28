# SPDX-License-Identifier: Apache-2.0
import numpy as np

from intravariance.geometry.sampling import sample_surface
from mc4ad_model.registration.even_points import even_points
from tests.support.samples import product


def test_points_lie_on_the_faces_and_are_spread_more_evenly_than_by_chance():
    mesh = product("flat_brick")
    points = even_points(mesh, 4000, np.random.default_rng(0))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert points.shape == (4000, 3)
    sides = np.minimum(np.abs(points - low), np.abs(points - high)).min(axis=1)
    assert sides.max() < 1e-6

    def unevenness(drawn: np.ndarray) -> float:
        counts = [
            np.histogramdd(d, bins=6, range=list(zip(low, high, strict=True)))[0] for d in drawn
        ]
        return float(np.var(np.array(counts), axis=0).sum())

    even = np.array([even_points(mesh, 4000, np.random.default_rng(s)) for s in range(8)])
    chance = [sample_surface(mesh, 4000, np.random.default_rng(s)).points for s in range(8)]
    assert unevenness(even) < unevenness(np.array(chance))
    # a part stands for all of it
    assert np.abs(points[:1000].mean(axis=0) - points.mean(axis=0)).max() < 0.06
