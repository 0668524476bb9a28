# SPDX-License-Identifier: Apache-2.0
"""Plausible deformations: each test refuses its fault on a hand-made mesh, and designs pass all."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts import designs
from blender_scripts.defects import checks, make_defect, plausibility
from blender_scripts.designs import shapes
from blender_scripts.meshes import face_normals, join
from blender_scripts.shaping.fields import fitted
from blender_scripts.surface import Surface
from tests.blender_scripts.test_defects import prepared

COUNT = 21  # vertices along a side of the sheet
SPACING = 1.0 / (COUNT - 1)


def sheet(height=0.0):
    """Make a flat square of side 1, (vertices, faces), in the plane z = height."""
    x, y = (axis.ravel() for axis in np.meshgrid(*2 * [np.linspace(-0.5, 0.5, COUNT)]))
    corner = (np.arange(COUNT - 1)[:, None] * COUNT + np.arange(COUNT - 1)).ravel()
    first = np.stack([corner, corner + 1, corner + COUNT + 1], axis=1)
    second = np.stack([corner, corner + COUNT + 1, corner + COUNT], axis=1)
    vertices = np.stack([x, y, np.full(COUNT**2, height)], axis=1)
    return vertices, np.concatenate([first, second])


def judged(kind, before, faces, after):
    """Say what `implausible` finds wrong with a deformation from `before` to `after` (V, 3)."""
    surface, displacement = Surface(after, faces), after - before
    labelled = np.linalg.norm(displacement, axis=1)[faces].mean(axis=1) > 0.002
    return plausibility.implausible(kind, surface, displacement, labelled)


def bump(vertices, height, radius=0.3, centre=(0.0, 0.0)):
    """Raise vertices (V, 3) smoothly around a centre."""
    distance = np.linalg.norm(vertices[:, :2] - centre, axis=1) / radius
    rise = height * np.cos(0.5 * np.pi * np.clip(distance, 0, 1)) ** 2
    return vertices + rise[:, None] * [0.0, 0.0, 1.0]


def test_a_smooth_bump_passes():
    vertices, faces = sheet()
    assert judged("bulge", vertices, faces, bump(vertices, 0.08)) == ""


def test_a_triangle_that_turns_over_is_refused():
    vertices, faces = sheet()
    after = vertices.copy()
    middle = len(vertices) // 2
    after[middle, 0] += 1.6 * SPACING  # past its neighbour
    over = plausibility.turned_over(vertices, after, faces)
    assert 0 < len(over) < 6
    assert (faces[over] == middle).any(axis=1).all()
    assert judged("bulge", vertices, faces, after) == "triangles turn over"


def test_a_fold_is_refused():
    # two squares hinged at x = 0; each turns by 80 degrees, so neither of them turns over
    vertices = np.array([[-1, 0, 0], [-1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0.0]])
    faces = np.array([[0, 2, 1], [2, 3, 1], [2, 4, 3], [4, 5, 3]])
    angle = np.radians(80)
    after = vertices.copy()
    side = vertices[:, 0] != 0
    after[side, 0], after[side, 2] = vertices[side, 0] * np.cos(angle), np.sin(angle)
    assert len(plausibility.turned_over(vertices, after, faces)) == 0
    assert sorted(plausibility.folded(vertices, after, faces)[0].tolist()) == [1, 2]
    assert len(plausibility.folded(vertices, vertices, faces)) == 0
    assert len(plausibility.folded(after, after, faces)) == 0  # it was folded before
    assert judged("scratch", vertices, faces, after) == "neighbouring triangles are folded"


def test_two_sheets_through_each_other_are_refused():
    vertices, faces = join(sheet(0.0), sheet(0.05))
    lower = np.arange(len(vertices)) < COUNT**2
    after = np.where(lower[:, None], bump(vertices, 0.08), vertices)
    assert judged("bulge", vertices, faces, after) == "the surface passes through itself"
    gentle = np.where(lower[:, None], bump(vertices, 0.04), vertices)
    assert judged("bulge", vertices, faces, gentle) == ""
    # what met before, or all but touched, is no news
    surface, rows = Surface(after, faces), np.arange(len(faces))
    assert len(plausibility.new_intersections(vertices, surface, rows)) > 0
    assert len(plausibility.new_intersections(after, surface, rows)) == 0
    close, _ = join(sheet(0.0), sheet(0.0005))
    surface = Surface(np.where(lower[:, None], bump(close, 0.001, 0.08), close), faces)
    crossing = plausibility._overlaps(surface.vertices, faces, rows)
    assert 0 < len(crossing) <= plausibility.MANY
    assert len(plausibility.new_intersections(close, surface, rows)) == 0


def test_a_torn_region_is_refused():
    vertices, faces = sheet()
    after = bump(vertices, 0.2)
    torn = np.where((vertices[:, 0] > 0.01)[:, None], vertices, after)
    assert judged("bulge", vertices, faces, torn) == "the displacement jumps"


def test_strain_beyond_the_limit_is_refused():
    vertices, faces = sheet()
    wide = vertices * [1.9, 1.0, 1.0]
    assert judged("bending", vertices, faces, wide) == "the surface is stretched too far"
    assert judged("bulge", vertices, faces, wide) == ""


def test_two_places_are_no_piece_and_two_sides_of_a_wall_are():
    vertices, faces = sheet()
    after = bump(bump(vertices, 0.05, 0.15, (-0.3, 0)), 0.05, 0.15, (0.3, 0))
    assert judged("bulge", vertices, faces, after) == "the labelled surface is in several pieces"
    upper, lower = sheet(0.03), sheet(0.0)
    wall = join(upper, (lower[0], lower[1][:, ::-1]))
    assert judged("bulge", *wall, bump(wall[0], 0.05)) == ""


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float64, (4, 2, 3), elements=st.floats(-1, 1)), st.floats(-np.pi, np.pi))
def test_stretches_are_the_singular_values_of_the_deformation(edges, angle):
    u, v = edges[0]
    if np.linalg.norm(np.cross(u, v)) < 0.05:
        return
    before = np.stack([np.zeros(3), u, v])
    after = np.stack([np.zeros(3), *edges[1]]) + edges[2, 0]
    found = np.ravel(plausibility.stretches(before, after, np.array([[0, 1, 2]])))
    # the map from an orthonormal frame of the one plane
    frame, _ = np.linalg.qr(np.stack([u, v], axis=1))
    inside = frame.T @ np.stack([u, v], axis=1)
    expected = np.linalg.svd(np.stack(edges[1], axis=1) @ np.linalg.inv(inside), compute_uv=False)
    assert np.allclose(found, expected[::-1], atol=1e-4 * max(1.0, expected.max()))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    turned = before @ np.vstack([turn, [0, 0, 1]]).T
    still = np.ravel(plausibility.stretches(before, turned, np.array([[0, 1, 2]])))
    assert np.allclose(still, 1.0, atol=1e-5)


@pytest.mark.parametrize("power", [0.7, 1.0, 1.5])
def test_an_amount_is_fitted_to_what_is_wanted(power):
    for wanted in (0.02, 0.1, 0.4):
        amount = fitted(lambda x: x**power, wanted, 1.0)
        assert amount**power == pytest.approx(wanted, rel=0.1)
    assert fitted(lambda x: x, 5.0, 1.0) == 1.0


MADE = {}


def product(category, subcategory):
    if (category, subcategory) not in MADE:
        MADE[category, subcategory] = prepared(designs.build(category, subcategory))
    return MADE[category, subcategory]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(
        [("cup", "coffee_mug"), ("keyboard", "trackpad_keyboard"), ("tap", "mixer_tap")]
    ),
    st.sampled_from(["bulge", "concavity", "twist"]),
    st.integers(0, 10**6),
    st.floats(0, 1),
)
def test_deformed_designs_keep_their_limits(names, kind, seed, severity):
    mesh = product(*names)
    defect, _ = make_defect(kind, *mesh, np.random.default_rng(seed), severity)
    before, faces = defect.vertices - defect.displacement, defect.faces
    a, b = (face_normals(x, faces) for x in (before, defect.vertices))
    solid = plausibility.heights(before, faces) > 2 * plausibility.SLIVER
    assert ((a * b).sum(axis=1)[solid] > 0).all()
    jump = np.linalg.norm(np.diff(defect.displacement[faces], axis=1), axis=2)
    assert jump.max() < 0.1
    size = np.linalg.norm(defect.displacement, axis=1)
    departure = defect.parameters["departure"]
    assert checks.LIMITS[kind].departure / 2 < departure <= size.max()


@pytest.mark.parametrize("kind", ["bulge", "concavity"])
def test_a_pushed_part_or_a_drooping_rim_has_no_name(kind):
    vertices, faces = prepared(shapes.box((1.0, 1.0, 0.06), bevel=0.01))
    pristine = Surface(vertices, faces)
    defect, _ = make_defect(kind, vertices, faces, np.random.default_rng(1), 0.5)
    corner = vertices[:, :2].max(axis=0)
    sign = 1.0 if kind == "bulge" else -1.0
    drooping = np.linalg.norm(vertices[:, :2] - corner, axis=1) / 0.5
    shift = 0.06 * np.cos(0.5 * np.pi * np.clip(drooping, 0, 1)) ** 2
    displacement = sign * shift[:, None] * [0.0, 0.0, 1.0]
    place = {"centre": [*corner, vertices[:, 2].max()], "direction": [0.0, 0.0, sign]}
    defect = replace(
        defect,
        vertices=vertices + displacement,
        displacement=displacement,
        parameters=defect.parameters | place,
    )
    assert "come to rest" in checks.problem(kind, pristine, defect)
