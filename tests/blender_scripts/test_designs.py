# SPDX-License-Identifier: Apache-2.0
"""The embedded designs: solids, the same every time, and different products."""

import tomllib
from functools import cache
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from intravariance.dataset.specification import GROUPS
from intravariance.dataset.specification_reader import load_group
from intravariance.geometry.densify import subdivide_long_edges
from intravariance.geometry.mesh import mesh_from_arrays, to_unit_sphere, triangle_areas
from intravariance.geometry.sampling import sample_surface
from intravariance.geometry.topology import MAX_EDGE, closed_problem

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.designs import KINDS, build, designs_of

CATALOGUE = tomllib.loads(
    (files("blender_scripts") / "designs" / "catalogue.toml").read_text(encoding="utf-8")
)
DESIGNS = [(category, name) for category, names in CATALOGUE.items() for name in names]


@pytest.fixture(scope="module")
def built():
    """Build every design, in its own units."""
    return {design: mesh_from_arrays(*build(*design)) for design in DESIGNS}


def test_the_catalogue_lists_what_the_modules_have():
    for category, names in CATALOGUE.items():
        assert list(designs_of(category)) == names
    assert {name for kind in KINDS.values() for name in kind} == CATALOGUE.keys()


@pytest.mark.parametrize("group", GROUPS)
def test_every_product_of_the_groups_has_a_design(group):
    for category in load_group(group).categories:
        assert set(category.subcategories) <= set(CATALOGUE[category.name])


@pytest.mark.parametrize("design", DESIGNS, ids="/".join)
def test_a_design_is_one_solid_that_defects_can_bend(built, design):
    mesh = to_unit_sphere(built[design])
    dense = subdivide_long_edges(mesh, MAX_EDGE)
    assert closed_problem(dense) == ""
    assert triangle_areas(dense).sum() == pytest.approx(triangle_areas(mesh).sum(), rel=1e-4)
    assert len(dense.faces) <= 60_000
    edges = np.concatenate([dense.faces[:, :2], dense.faces[:, 1:]])
    links = coo_array((np.ones(len(edges)), edges.T), shape=[len(dense.vertices)] * 2)
    assert connected_components(links, directed=False)[0] == 1


def test_designs_stand_on_the_ground(built):
    for design, mesh in built.items():
        height = np.ptp(mesh.vertices[:, 2])
        assert abs(mesh.vertices[:, 2].min()) < 0.02 * height, design


@pytest.mark.parametrize("category", CATALOGUE)
def test_building_again_gives_the_same_arrays(built, category):
    for name in reversed(CATALOGUE[category]):
        again = mesh_from_arrays(*build(category, name))
        np.testing.assert_array_equal(again.vertices, built[category, name].vertices)
        np.testing.assert_array_equal(again.faces, built[category, name].faces)


@pytest.mark.parametrize("category", CATALOGUE)
def test_the_products_of_a_category_are_not_one_shape_rescaled(built, category):
    @cache
    def cloud(name, seed):
        points = sample_surface(built[category, name], 3000, np.random.default_rng(seed)).points
        low, high = (
            built[category, name].vertices.min(axis=0),
            np.ptp(built[category, name].vertices, axis=0),
        )
        return (points - low) / high  # any scaling of an axis is gone

    def distance(one, other):
        return np.mean([cKDTree(a).query(b)[0].mean() for a, b in ((one, other), (other, one))])

    @cache
    def same(name):
        return distance(cloud(name, 0), cloud(name, 1))

    for one, other in combinations(CATALOGUE[category], 2):
        apart = distance(cloud(one, 0), cloud(other, 1))
        assert apart > 1.2 * max(same(one), same(other)), (one, other)
