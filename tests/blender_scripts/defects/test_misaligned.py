# SPDX-License-Identifier: Apache-2.0
"""Misaligned parts: a pot with a spout, a table with a loose tray, and a box without parts."""

import numpy as np
import point_cloud_utils
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, RIM_WIDTH
from blender_scripts.defects import make_defect
from blender_scripts.designs import shapes
from blender_scripts.meshes import GeometryError, closed_problem, join
from blender_scripts.shaping.topology import solids
from tests.blender_scripts.test_defects import prepared

SEEDS = range(3)


def pot():
    body = shapes.box((0.8, 0.8, 0.8), bevel=0.05)
    spout = shapes.box((0.25, 0.3, 1.0), (0.1, 0, 0.7), bevel=0.03)
    return shapes.union(body, spout)


def tray_on_table():
    return join(shapes.box((1.0, 1.0, 0.6)), shapes.box((0.5, 0.5, 0.1), (0, 0, 0.5)))


@pytest.fixture(scope="module")
def pots():
    mesh = prepared(pot())
    return mesh, [
        make_defect("misaligned", *mesh, np.random.default_rng(seed), 0.7)[0] for seed in SEEDS
    ]


def distances(mesh, points):
    return point_cloud_utils.closest_points_on_mesh(np.ascontiguousarray(points), *mesh)[0]


def moved_faces(defect):
    size = np.linalg.norm(defect.displacement, axis=1)
    return (size[defect.faces] > DISPLACEMENT_THRESHOLD).all(axis=1) & ~defect.cut


def is_rigid(before, after):
    """Compare all distances between points (N, 3) before and after."""
    pairs = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (before, after)]
    return np.abs(pairs[0] - pairs[1]).max() < 1e-5


def test_a_joined_part_moves_as_a_whole_and_stays_joined(pots):
    mesh, defects = pots
    for defect in defects:
        assert closed_problem(defect.vertices, defect.faces) == ""
        assert solids(defect.surface) == 1
        rows = np.unique(defect.faces[moved_faces(defect)])
        some = rows[:: max(1, len(rows) // 100)]
        before = defect.vertices - defect.displacement
        assert is_rigid(before[some], defect.vertices[some])
        # the part is where it was before, once moved back, and departs where it is now
        assert distances(mesh, before[some]).max() < 1e-5
        assert np.quantile(distances(mesh, defect.vertices[some]), 0.75) > 0.01


def test_every_face_that_moved_or_is_new_is_labelled_and_no_other(pots):
    mesh, defects = pots
    for defect in defects:
        centres = defect.vertices[defect.faces].mean(axis=1)
        size = np.linalg.norm(defect.displacement[defect.faces], axis=2).max(axis=1)
        rest = np.flatnonzero((size == 0) & ~defect.cut)
        assert distances(mesh, centres[rest[:: max(1, len(rest) // 300)]]).max() < 1e-5
        exposed = centres[defect.cut]
        gap, _ = cKDTree(defect.rim).query(exposed)
        on_pristine = distances(mesh, exposed) < 1e-5
        assert (gap[on_pristine] < RIM_WIDTH).all()  # a band of the rest, along the seam
        mixed = (np.linalg.norm(defect.displacement[defect.faces], axis=2) == 0).any(axis=1)
        assert not (mixed & (size > 0) & ~defect.cut).any()


def test_a_severe_shift_is_larger_than_a_slight_one():
    mesh = prepared(pot())
    sizes = []
    for severity in (0.0, 1.0):
        defect, _ = make_defect("misaligned", *mesh, np.random.default_rng(1), severity)
        sizes.append(defect.parameters["shift"] + defect.parameters["turn_degrees"])
    assert sizes[0] < sizes[1]


def test_a_solid_of_its_own_moves_without_a_cut():
    mesh = prepared(tray_on_table())
    kinds = set()
    for seed in range(6):
        defect, _ = make_defect("misaligned", *mesh, np.random.default_rng(seed), 0.5)
        kinds.add(defect.parameters["part"])
        if defect.parameters["part"] == "solid":
            assert not defect.cut.any()
            moved = np.flatnonzero(defect.displacement.any(axis=1))
            assert is_rigid(mesh[0][moved][::7], defect.vertices[moved][::7])
            # the tray and nothing else: it lies above the table
            still = np.setdiff1d(np.arange(len(mesh[0])), moved)
            assert mesh[0][moved, 2].min() > mesh[0][still, 2].max()
    assert "solid" in kinds


def test_a_product_without_parts_is_refused():
    block = prepared(shapes.box((1.0, 0.9, 1.0)))
    with pytest.raises(
        GeometryError, match=r"no misaligned after 6 attempts: .*(protrude|fitting size)"
    ):
        make_defect("misaligned", *block, np.random.default_rng(0), 0.5, attempts=6)
