# SPDX-License-Identifier: Apache-2.0
"""The check for closedness, against counting edges one by one."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.meshes import closed_problem, join
from tests.blender_scripts.test_defects import mesh_of


def counted(faces):
    edges = Counter(
        (a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)
    )
    if max(edges.values()) > 1:
        return "edges shared by more than two faces, or neighbouring faces of opposite orientation"
    return "" if all((b, a) in edges for a, b in edges) else "open edges"


def changed(faces, how):
    if how == "open":
        return faces[:-1]
    if how == "even open":  # with an even number of edges
        return faces[:-2]
    if how == "turned":
        return np.concatenate([faces[:1, ::-1], faces[1:]])
    return np.concatenate([faces, faces[:2]]) if how == "twice" else faces


@pytest.mark.parametrize("how", ["whole", "open", "even open", "turned", "twice"])
def test_a_mesh_is_closed_where_each_edge_comes_once_either_way(how):
    vertices, faces = mesh_of("vessel")
    faces = changed(faces, how)
    assert closed_problem(vertices, faces) == counted(faces)
    assert (counted(faces) == "") == (how == "whole")


def test_more_than_open_edges_is_wrong_with_a_mesh():
    vertices, faces = mesh_of("box")
    assert closed_problem(vertices, faces[:, ::-1]) == "faces that point inwards"
    assert closed_problem(vertices, faces[:0]) == "no faces"
    flat = np.where(
        np.arange(len(vertices))[:, None] == faces[0, 0], vertices[faces[0, 1]], vertices
    )
    assert closed_problem(flat, faces) == "faces without area"
    assert closed_problem(*join((vertices, faces), (vertices + 5, faces))) == ""
    assert closed_problem(np.where(vertices > 0, np.nan, vertices), faces) == (
        "vertices that are not finite"
    )
