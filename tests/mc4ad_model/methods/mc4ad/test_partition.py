# SPDX-License-Identifier: Apache-2.0
"""The patches that a cloud is cut into, against sorting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import chisquare

from mc4ad_model.methods.mc4ad import anomalies
from mc4ad_model.methods.mc4ad.anomalies import partition
from tests.support.samples import sphere_points


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def partition_reference(points: np.ndarray, patches: int, centres: list[int]) -> list[np.ndarray]:
    """Return the obvious twin: for each centre sort the distances of all points that are free."""
    size, free, cut = len(points) // patches, np.arange(len(points)), []
    for index, centre in enumerate(centres):
        assert centre in free
        squares = ((points[free] - points[centre]) ** 2).sum(axis=1)
        order = np.argsort(squares, kind="stable")
        chosen = order if index == patches - 1 else order[:size]
        cut.append(np.sort(free[chosen]))
        free = np.delete(free, chosen)
    return cut


@given(seed=st.integers(0, 10_000), points=st.integers(64, 900), patches=st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_patches_are_those_of_sorting(seed, points, patches):
    rng = random(seed)
    cloud = rng.normal(size=(points, 3))
    cut = partition(cloud, patches, rng, patches)
    expected = partition_reference(cloud, patches, [patch.centre for patch in cut])
    assert len(cut) == patches
    for patch, members in zip(cut, expected, strict=True):
        np.testing.assert_array_equal(patch.members, members)


LATTICE = np.stack(np.meshgrid(*[np.arange(9.0)] * 3), axis=-1).reshape(-1, 3)

# distances that are equal but for rounding, which float32 puts in a wrong order
TURNED = LATTICE @ Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()


@pytest.mark.parametrize(
    "cloud",
    [
        sphere_points(25_000, random()),
        LATTICE,
        LATTICE[random(2).permutation(len(LATTICE))],
        TURNED,
        np.repeat(sphere_points(40, random()), 10, axis=0),
        np.zeros((130, 3)),
        sphere_points(700, random()) + 1e5,
        sphere_points(700, random()) * 1e-30,
        sphere_points(700, random()) * 5e17,
        np.concatenate([sphere_points(700, random()), [[1e8, 0, 0]]]),
        sphere_points(700, random()) * [1, 1e-9, 0],
        sphere_points(700, random()).astype(np.float32),
        np.asfortranarray(sphere_points(700, random())),
    ],
    ids=[
        "sphere", "lattice", "shuffled_lattice", "turned_lattice", "duplicates", "one_place",
        "far_away", "tiny", "huge", "outlier", "line", "float32", "by_columns",
    ],
)  # fmt: skip
def test_patches_are_those_of_sorting_in_awkward_clouds(cloud):
    for seed in range(1 if len(cloud) > 5000 else 8):
        cut = partition(cloud, 64, random(seed), 64)
        centres = [patch.centre for patch in cut]
        expected = partition_reference(cloud.astype(np.float64), 64, centres)
        for patch, members in zip(cut, expected, strict=True):
            np.testing.assert_array_equal(patch.members, members)


def test_a_reach_that_ends_among_tied_points_is_widened():
    """Exactly as many points as wanted are within it, but not the right ones."""
    free = anomalies._FreePoints(TURNED)
    for centre in range(0, len(TURNED), 50):
        squares = ((TURNED - TURNED[centre]) ** 2).sum(axis=1)
        expected = np.argsort(squares, kind="stable")
        weights = np.append(-free.table[:3, centre], np.float32(1))
        rough = np.sort(np.einsum("i,ij->j", weights, free.table)).astype(np.float64)
        for size in range(5, 60):
            middle = (rough[size - 1] + rough[size]) / 2
            free.reach = middle + float(free.half_squares[centre])
            np.testing.assert_array_equal(free.nearest(centre, size), np.sort(expected[:size]))


@pytest.mark.parametrize(("points", "size", "last"), [(64, 1, 1), (200, 3, 11), (640, 10, 10)])
def test_sizes_and_disjointness(points, size, last):
    cut = partition(sphere_points(points, random()), 64, random(1), 64)
    assert [len(patch.members) for patch in cut] == [size] * 63 + [last]
    assert all(patch.centre in patch.members for patch in cut)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([patch.members for patch in cut])), np.arange(points)
    )


def test_first_patches_are_the_same_however_many_are_cut():
    cloud = sphere_points(2000, random())
    few, all_ = partition(cloud, 64, random(3), 5), partition(cloud, 64, random(3), 64)
    for patch, same in zip(few, all_[:5], strict=True):
        assert patch.centre == same.centre
        np.testing.assert_array_equal(patch.members, same.members)


def test_centres_are_uniform_over_the_free_points():
    """The second centre, of a line whose first patch is known to be one half or the other."""
    line = np.stack([np.arange(20.0), np.zeros(20), np.zeros(20)], axis=1)
    rng = random(4)
    first, second = np.zeros(20), np.zeros(20)
    for _ in range(3000):
        cut = partition(line, 4, rng, 2)
        first[cut[0].centre] += 1
        if cut[0].centre < 3:  # the patch is 0 to 4
            second[cut[1].centre] += 1
    assert chisquare(first).pvalue > 0.01
    assert second[:5].sum() == 0
    assert chisquare(second[5:]).pvalue > 0.01
