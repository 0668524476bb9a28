# SPDX-License-Identifier: Apache-2.0
"""Ends and shards that break off: a rim loses a splinter, and a wall never gets a window."""

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.defects import make_defect
from blender_scripts.defects.broken import DEPTH, FIRST_END, Shard
from blender_scripts.meshes import closed_problem
from blender_scripts.shaping.pieces import in_solid
from blender_scripts.shaping.topology import change
from blender_scripts.surface import Surface
from tests.blender_scripts.test_defects import mesh_of


def shard(rng, sides):
    return Shard(
        place=rng.normal(size=3),
        direction=np.array([0.6, 0.0, 0.8]),
        depth=0.2,
        facing=2 * np.pi * (np.arange(sides) + rng.uniform(-0.2, 0.2, sides)) / sides,
        wide=0.2 * rng.uniform(0.3, 0.9, sides),
        spread=rng.uniform(0.3, 0.8, sides),
    )


@pytest.mark.parametrize("sides", [3, 4, 5])
def test_the_cutter_is_closed_and_holds_the_points_that_are_deeper_than_its_border(sides):
    rng = np.random.default_rng(sides)
    piece = shard(rng, sides)
    cutter = Surface(*piece.cutter(lambda points: np.zeros(len(points))))
    assert closed_problem(cutter.vertices, cutter.faces) == ""
    assert not cutter.crosses_itself()
    points = piece.place + rng.uniform(-0.4, 0.3, (3000, 3))
    points = points[(points - piece.place) @ piece.direction < 0.05]  # below the lid
    depths = piece.depths(points)
    clear = np.abs(depths - 1) > 0.03  # the cutter's sides are made of flat faces
    # a ray that meets an edge may tell wrong
    assert ((depths < 1)[clear] != in_solid(cutter, points)[clear]).sum() <= 2
    assert 30 < (depths < 1).sum() < len(points) - 30


def test_the_slight_lose_a_shard_and_the_severe_an_end():
    for severity, expected in ((0.0, "shard"), (FIRST_END - 0.01, "shard"), (1.0, "end")):
        for seed in range(2):
            rng = np.random.default_rng(seed)
            result, _ = make_defect("broken", *mesh_of("plate"), rng, severity)
            assert result.parameters["piece"] == expected


@pytest.mark.parametrize("shape", ["vessel", "plate"])
def test_a_shard_of_a_wall_takes_its_edge_and_opens_no_window(shape):
    surface = Surface(*mesh_of(shape))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        result, _ = make_defect("broken", surface.vertices, surface.faces, rng, 0.2)
        seen = change(surface, result)
        assert (seen.genus, seen.solids, seen.simple) == (0, 0, True)
        assert seen.removed == seen.touched == 1
        assert DEPTH[0] <= result.parameters["depth"] <= DEPTH[1]
        # nothing further from its place than its sides reach went
        gone = surface.distances(result.vertices[np.unique(result.faces[~result.cut])]).max()
        assert gone < 1e-4
        place = np.array(result.parameters["place"])
        away = np.linalg.norm(result.vertices[np.unique(result.faces[result.cut])] - place, axis=1)
        assert away.max() < 6 * result.parameters["depth"]
