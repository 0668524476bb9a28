# SPDX-License-Identifier: Apache-2.0
"""Bending: a thing bends where it is slender, and no part by itself is put askew."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.defects import make_defect
from blender_scripts.defects.bending import (
    LEAST_ANGLE,
    MOST_OF_STOUT,
    SLENDER,
    carried,
    no_bending,
)
from blender_scripts.designs import shapes
from blender_scripts.meshes import join, subdivide_long_edges
from blender_scripts.surface import Surface
from tests.blender_scripts.test_defects import mesh_of, prepared


def drawn(mesh, seed):
    return make_defect("bending", *mesh, np.random.default_rng(seed), 0.6)[0]


def block_with_an_arm():
    """Make a block whose arm along x has a third of the area."""
    return prepared(
        shapes.union(shapes.box((0.7, 0.8, 0.8)), shapes.box((1.4, 0.25, 0.25), (0.9, 0, 0)))
    )


def test_what_bends_is_the_arm_and_not_the_block():
    mesh = block_with_an_arm()
    for seed in range(6):
        defect = drawn(mesh, seed)
        assert defect.parameters["slenderness"] >= SLENDER
        assert defect.parameters["axis"][0] > 0.9
        # the side of the block away from the arm stays
        assert not defect.displacement[mesh[0][:, 0] < mesh[0][:, 0].min() + 0.2].any()


def test_a_block_bends_by_a_small_angle_alone():
    for seed in range(4):
        defect = drawn(mesh_of("box"), seed)
        assert defect.parameters["slenderness"] < SLENDER
        assert LEAST_ANGLE <= defect.parameters["angle_degrees"] <= MOST_OF_STOUT + 1e-6
        far = {"angle_degrees": 1.5 * MOST_OF_STOUT}
        assert "no bending" in no_bending(replace(defect, parameters=defect.parameters | far))
        arm = far | {"slenderness": SLENDER}
        assert no_bending(replace(defect, parameters=defect.parameters | arm)) == ""


def test_a_part_that_lies_apart_is_not_bent():
    apart = Surface(*prepared(join(shapes.box((1, 1, 1)), shapes.box((1, 1, 1), (0, 0, 3)))))
    above = apart.vertices[:, 2] > 0
    assert carried(apart, above) == 0.0
    assert carried(apart, apart.vertices[:, 2] > apart.vertices[:, 2].min() + 0.2) == (
        pytest.approx(0.4, abs=0.1)  # five sixths of one of two boxes hang on the rest
    )
    whole = Surface(*prepared(shapes.box((1, 1, 3))))
    assert carried(whole, whole.vertices[:, 2] > 0) == 1.0


def test_a_sample_whose_part_moves_by_itself_is_refused():
    rod, block = shapes.box((0.2, 0.2, 0.6), (0, 0, 1.1)), shapes.box((1.0, 1.0, 1.4))
    vertices, faces = subdivide_long_edges(*join(block, rod), 0.1)
    own = vertices[:, 2] > 0.75
    displacement = np.where(own[:, None], [0.05, 0.0, 0.0], 0.0)
    angle = {"angle_degrees": 5.0, "slenderness": SLENDER}
    defect = replace(
        drawn(mesh_of("box"), 0),
        vertices=vertices + displacement,
        faces=faces,
        displacement=displacement,
        parameters=angle,
    )
    assert "not connected" in no_bending(defect)
    # the same part as one piece with the block
    vertices, faces = subdivide_long_edges(
        *shapes.union(block, shapes.move(rod, (0, 0, -0.2))), 0.1
    )
    own = vertices[:, 2] > 0.75
    displacement = np.where(own[:, None], [0.05, 0.0, 0.0], 0.0)
    joined = replace(
        defect, vertices=vertices + displacement, faces=faces, displacement=displacement
    )
    assert no_bending(joined) == ""
