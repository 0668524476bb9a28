# SPDX-License-Identifier: Apache-2.0
"""Topology of hand-made meshes, and of cuts whose outcome is known before they are made."""

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.defects.broken import no_break
from blender_scripts.defects.hole import no_hole
from blender_scripts.defects.missing import no_bite, opens_window
from blender_scripts.designs import shapes
from blender_scripts.meshes import join, ring_faces, subdivide_long_edges, unpaired
from blender_scripts.shaping.cutting import ball, cut_away
from blender_scripts.shaping.topology import (
    border,
    change,
    euler_characteristic,
    genus,
    loops,
    parts,
)
from blender_scripts.surface import Surface

UP = np.array([0.0, 0.0, 1.0])


def torus(count=16, around=8):
    angles, turns = (np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (count, around))
    width = 1 + 0.3 * np.cos(turns)
    x, y = (function(angles)[:, None] * width for function in (np.cos, np.sin))
    z = np.broadcast_to(0.3 * np.sin(turns), x.shape)
    rings = np.stack([x, y, z], axis=-1)
    return rings.reshape(-1, 3), ring_faces(count, around, closed=True)[:, ::-1]


def plate(windows=0):
    slab = shapes.box((2.0, 1.0, 0.2))
    if not windows:
        return slab
    places = np.linspace(-0.6, 0.6, windows)
    return shapes.difference(
        slab, shapes.join(*(shapes.box((0.3, 0.4, 1), (x, 0, 0)) for x in places))
    )


def surface(mesh):
    return Surface(*subdivide_long_edges(*mesh, 0.1))


def cut(pristine, size, centre):
    """Cut a box out, turned a little so that no two faces lie in one plane."""
    vertices, faces = shapes.box(size)
    vertices = vertices - vertices.mean(axis=0)
    cos, sin = np.cos(0.03), np.sin(0.03)
    vertices = vertices @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return cut_away(pristine, (vertices + centre, faces), {}, loose=0.3)


@pytest.mark.parametrize(
    ("mesh", "handles", "count"),
    [
        (ball(2), 0, 1),
        (torus(), 1, 1),
        (plate(), 0, 1),
        (plate(1), 1, 1),
        (plate(3), 3, 1),
        (join(ball(1), torus()), 1, 2),
    ],
    ids=["ball", "torus", "slab", "one window", "three windows", "ball and torus"],
)
def test_genus_and_parts_of_closed_meshes(mesh, handles, count):
    _, faces = mesh
    assert genus(faces) == handles
    assert parts(faces)[0] == count
    assert euler_characteristic(faces) == 2 * count - 2 * handles
    # vertices that no face uses, and the order of faces, do not matter
    assert genus(faces[::-1] + 7) == handles


def test_open_pieces_have_the_characteristic_of_disk_and_annulus():
    disk = np.array([(0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 1)])
    assert euler_characteristic(disk) == 1
    assert euler_characteristic(ring_faces(2, 6)) == 0
    assert euler_characteristic(np.zeros((0, 3), int)) == 0


def test_loops_are_counted_and_touching_ones_noticed():
    triangle = np.array([(0, 1), (1, 2), (2, 0)])
    assert loops(triangle) == (1, True)
    assert loops(np.concatenate([triangle, triangle + 3])) == (2, True)
    eight = np.concatenate([triangle, [(0, 3), (3, 4), (4, 0)]])
    assert loops(eight) == (1, False)
    assert not loops(triangle[:2])[1]


def test_a_pit_a_hole_through_and_a_bite_are_told_apart():
    slab = surface(plate())
    pit = cut(slab, (0.3, 0.3, 0.2), (0.2, 0.1, 0.1))
    assert change(slab, pit).__dict__ == {
        "loops": 1,
        "simple": True,
        "exposed": 1,
        "removed": 1,
        "genus": 0,
        "solids": 0,
        "touched": 1,
    }
    through = cut(slab, (0.3, 0.3, 1.0), (0.2, 0.1, 0.0))
    seen = change(slab, through)
    assert (seen.loops, seen.removed, seen.genus) == (2, 2, 1)
    bite = cut(slab, (0.3, 0.3, 1.0), (0.2, 0.5, 0.0))
    seen = change(slab, bite)
    assert (seen.loops, seen.removed, seen.genus) == (1, 1, 0)

    assert no_hole(slab, pit, UP, through=False) == ""
    assert no_hole(slab, through, UP, through=True) == ""
    assert no_hole(slab, through, UP, through=False) != ""
    for kind in (True, False):  # a notch is no hole
        assert no_hole(slab, bite, UP, through=kind) != ""
    assert no_bite(slab, bite, 0.3) == ""
    assert "pit in a side" in no_bite(slab, bite, 0.6)
    assert "hole" in no_bite(slab, through, 0.3)
    assert "not reach over an edge" in no_bite(slab, pit, 0.3)


def test_a_pit_over_an_edge_is_no_hole():
    slab = surface(plate())
    corner = cut(slab, (0.3, 0.3, 0.2), (0.2, 0.5, 0.1))  # one closed curve, like a pit
    assert change(slab, corner).loops == 1
    assert "over an edge" in no_hole(slab, corner, UP, through=False)
    assert no_bite(slab, corner, 0.3) == ""


def test_a_break_loses_an_end_and_opens_no_window():
    side = np.array([1.0, 0.0, 0.0])
    slab = surface(plate())
    end = cut(slab, (1.0, 3.0, 3.0), (1.2, 0, 0))
    assert no_break(slab, end, side) == ""
    assert "outermost end would stay" in no_break(slab, end, -side)
    assert "shaving" in no_break(slab, cut(slab, (3.0, 3.0, 0.2), (0, 0, 0.15)), UP)
    globe = surface(ball(3))
    assert "along a wall" in no_break(globe, cut(globe, (3, 3, 1), (0, 0, 1.4)), UP)
    assert no_break(globe, cut(globe, (3, 3, 1), (0, 0, 1.1)), UP) == ""

    vertices, faces = ball(3)
    shell = surface(join((vertices, faces), (0.9 * vertices, faces[:, ::-1])))
    assert "window" in no_break(shell, cut(shell, (3, 3, 1), (0, 0, 1.1)), UP)
    hollow = shapes.difference(shapes.box((1, 1, 1)), shapes.box((0.8, 0.8, 1), (0, 0, 0.1)))
    tray = surface(hollow)  # open above
    assert "window" in no_break(tray, cut(tray, (3, 3, 0.5), (0, 0, -0.6)), -UP)
    assert no_break(tray, cut(tray, (3, 3, 0.6), (0, 0, 0.5)), UP) == ""


def test_a_break_takes_no_whole_part():
    side = np.array([1.0, 0.0, 0.0])
    pierced = surface(plate(windows=2))
    # the end beyond the windows, the end with a window in it, and half of the plate
    assert no_break(pierced, cut(pierced, (1.0, 3.0, 3.0), (1.27, 0, 0)), side) == ""
    crown = cut(pierced, (1.0, 3.0, 3.0), (0.85, 0, 0))
    assert change(pierced, crown).genus == -1
    assert "whole part" in no_break(pierced, crown, side)
    slab = surface(plate())
    half = cut_away(slab, shapes.box((1.0, 3.0, 3.0), (0.6, 0, 0.01)), {}, loose=0.3)
    assert "whole part" in no_break(slab, half, side)


def test_a_cut_through_a_ring_takes_its_handle():
    ring = surface(torus(48, 24))
    gap = cut(ring, (0.9, 0.4, 0.9), (1.0, 0, 0))
    seen = change(ring, gap)
    assert (seen.loops, seen.exposed, seen.removed, seen.genus) == (2, 2, 1, -1)
    assert no_bite(ring, gap, 0.3) == ""


def test_faces_on_the_same_vertices_are_found_as_by_comparing_all():
    rng = np.random.default_rng(0)
    # numbers as large as these overflow where they are packed into one
    faces = np.concatenate([rng.integers(0, 5, (60, 3)), 10**8 + rng.integers(0, 4, (60, 3))])
    rows = np.sort(faces, axis=1)
    count = (rows[:, None] == rows[None]).all(axis=2).sum(axis=1)
    assert {1, 2, 3} <= set(count.tolist())
    assert np.array_equal(unpaired(faces), count != 2)


@pytest.mark.parametrize("place", [(0.3, 0.1, 0.1), (1.0, 0.2, 0.0), (0.3, 0.1, 0.3), (0.9, 0, 0)])
def test_a_bite_that_opens_a_window_is_known_before_it_is_cut(place):
    slab, (directions, faces) = surface(plate()), ball(3)
    depth = np.sqrt(np.square(slab.vertices - place).sum(axis=1)) / 0.25
    found = opens_window(slab, np.arange(len(depth)), depth)
    bite = cut_away(slab, (0.25 * directions + place, faces), {}, loose=0.2)
    assert found == (change(slab, bite).removed > 1)


def test_the_border_lies_between_exposed_and_untouched_faces():
    slab = surface(plate())
    pit = cut(slab, (0.3, 0.3, 0.2), (0.2, 0.1, 0.1))
    edges = border(pit.vertices, pit.faces, pit.cut)
    assert edges.lengths.sum() == pytest.approx(1.2, abs=1e-3)
    assert np.allclose(edges.normals, UP, atol=1e-6)
    assert edges.resultant() == pytest.approx(1.0)
    assert edges.mean(edges.across(UP)) == pytest.approx(1.0)
    assert np.allclose(pit.vertices[edges.ends][..., 2], 0.1, atol=1e-6)
