# SPDX-License-Identifier: Apache-2.0
"""The nine defects: what each must do to a box, a vessel and a plate with openings."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import point_cloud_utils
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tests import ROOT

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from annotations.vocabulary import DEFECT_TYPES, DISPLACEMENT_THRESHOLD, RIM_WIDTH
from blender_scripts.defects import DEFECTS, checks, make_defect
from blender_scripts.designs import shapes
from blender_scripts.meshes import (
    GeometryError,
    areas,
    closed_problem,
    subdivide_long_edges,
    volume,
)
from blender_scripts.shaping.cutting import RIM_SPACING, ball, tube
from blender_scripts.shaping.fields import components, rough_noise, smooth_step
from blender_scripts.surface import Surface

CUTS = [kind for kind, item in DEFECT_TYPES.items() if item.kind == "cut"]
DEFORMATIONS = [kind for kind, item in DEFECT_TYPES.items() if item.kind == "deformation"]
KINDS = [*DEFORMATIONS, *CUTS]  # any closed product can have these


def prepared(mesh):
    """Scale the mesh into the unit sphere and split edges longer than 0.05."""
    vertices, faces = mesh
    centre = np.average(vertices[faces].mean(axis=1), axis=0, weights=areas(vertices, faces))
    vertices = vertices - centre
    return subdivide_long_edges(vertices / np.linalg.norm(vertices, axis=1).max(), faces, 0.05)


def box():
    return shapes.box((1.0, 0.7, 1.3), bevel=0.05)


def vessel():
    outside = [(0, 0), (0.5, 0), (0.75, 0.6), (0.6, 1.3), (0.66, 1.5)]
    inside = [(0.6, 1.5), (0.54, 1.3), (0.69, 0.6), (0.45, 0.06), (0, 0.06)]
    return shapes.lathe(outside + inside)


def plate():
    windows = [shapes.box((0.35, 1.0, 0.5), (x, 0, 0.45)) for x in (-0.25, 0.25)]
    return shapes.difference(shapes.box((1.1, 0.14, 2.0), bevel=0.02), shapes.join(*windows))


SHAPES = {"box": box, "vessel": vessel, "plate": plate}
MESHES = {}


def mesh_of(shape):
    if shape not in MESHES:
        MESHES[shape] = prepared(SHAPES[shape]())
        assert closed_problem(*MESHES[shape]) == ""
    return MESHES[shape]


def made(kind, shape, seed=3, severity=0.6):
    return make_defect(kind, *mesh_of(shape), np.random.default_rng(seed), severity)[0]


@pytest.fixture(scope="module")
def defects():
    """Make one defect of every kind on every shape."""
    return {(kind, shape): made(kind, shape) for kind in KINDS for shape in SHAPES}


def digest(defect):
    total = hashlib.sha256(json.dumps(defect.parameters, sort_keys=True).encode())
    for name in ("vertices", "faces", "displacement", "cut", "rim"):
        total.update(np.ascontiguousarray(getattr(defect, name)).tobytes())
    return total.hexdigest()


def closest_distances(mesh, points):
    """Measure distances of points (N, 3) from the surface without the tree of the defects."""
    vertices, faces = mesh
    return point_cloud_utils.closest_points_on_mesh(np.ascontiguousarray(points), vertices, faces)[
        0
    ]


def test_the_table_has_the_vocabulary_and_the_labels_mean_the_same():
    assert list(DEFECTS) == list(DEFECT_TYPES)
    assert set(checks.LIMITS) == set(DEFECT_TYPES)
    assert checks.DISPLACEMENT_THRESHOLD == DISPLACEMENT_THRESHOLD
    assert checks.RIM_WIDTH == RIM_WIDTH


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_fit_together(defects, kind, shape):
    defect = defects[kind, shape]
    assert defect.vertices.shape == defect.displacement.shape
    assert defect.faces.max() < len(defect.vertices)
    assert defect.cut.shape == (len(defect.faces),)
    assert defect.cut.dtype == bool
    assert np.isfinite(defect.vertices).all()
    assert np.isfinite(defect.displacement).all()
    assert json.loads(json.dumps(defect.parameters)) == defect.parameters
    assert closed_problem(defect.vertices, defect.faces) == ""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", DEFORMATIONS)
def test_a_deformation_starts_on_the_pristine_surface(defects, kind, shape):
    defect = defects[kind, shape]
    size = np.linalg.norm(defect.displacement, axis=1)
    moved = np.flatnonzero(size > 0)
    some = moved[:: max(1, len(moved) // 150)]
    before = defect.vertices - defect.displacement
    assert closest_distances(mesh_of(shape), before[some]).max() < 1e-9
    # and it leaves that surface: the labels are not about sliding along it
    labelled = np.flatnonzero(size > DISPLACEMENT_THRESHOLD)
    some = labelled[:: max(1, len(labelled) // 150)]
    assert np.quantile(closest_distances(mesh_of(shape), defect.vertices[some]), 0.8) > 0.008
    assert not defect.cut.any()
    assert defect.rim.shape == (0, 3)
    # what is not displaced has not moved
    still = np.flatnonzero(size == 0)
    pristine = {tuple(vertex) for vertex in mesh_of(shape)[0]}
    refined = [i for i in still if tuple(defect.vertices[i]) not in pristine]
    if refined:
        points = defect.vertices[refined[:: max(1, len(refined) // 100)]]
        assert closest_distances(mesh_of(shape), points).max() < 1e-9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", CUTS)
def test_a_cut_takes_material_and_marks_its_faces(defects, kind, shape):
    defect = defects[kind, shape]
    assert not defect.displacement.any()
    assert volume(defect.vertices, defect.faces) < volume(*mesh_of(shape))
    centres = defect.vertices[defect.faces].mean(axis=1)
    untouched = np.flatnonzero(~defect.cut)
    some = untouched[:: max(1, len(untouched) // 150)]
    # single precision, and faces whose short edges were made one vertex
    assert closest_distances(mesh_of(shape), centres[some]).max() < 1e-4
    exposed = np.flatnonzero(defect.cut)
    some = exposed[:: max(1, len(exposed) // 150)]
    assert closest_distances(mesh_of(shape), centres[some]).max() > 0.02


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", CUTS)
def test_the_rim_lies_on_both_surfaces_and_is_dense(defects, kind, shape):
    defect = defects[kind, shape]
    cut = (defect.vertices, defect.faces[defect.cut])
    rest = (defect.vertices, defect.faces[~defect.cut])
    rim = defect.rim[:: max(1, len(defect.rim) // 150)]
    # slivers leave the referee a rounding error
    assert closest_distances(cut, rim).max() < 1e-7
    assert closest_distances(rest, rim).max() < 1e-7
    assert len(np.intersect1d(cut[1], rest[1])) > 0
    distance = np.linalg.norm(
        defect.vertices[np.intersect1d(cut[1], rest[1])][:50, None] - defect.rim, axis=2
    )
    assert distance.min(axis=1).max() <= RIM_SPACING


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_labelled_share_is_within_bounds(defects, kind, shape):
    defect = defects[kind, shape]
    size = areas(defect.vertices, defect.faces)
    if kind in CUTS:
        assert size[defect.cut].sum() < checks.LIMITS[kind].most * size.sum()
    else:
        moved = np.linalg.norm(defect.displacement, axis=1) > DISPLACEMENT_THRESHOLD
        share = size[moved[defect.faces].all(axis=1)].sum() / size.sum()
        assert 0.5 * checks.LIMITS[kind].least < share < checks.LIMITS[kind].most


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", CUTS)
def test_a_cut_leaves_no_crumbs(defects, kind, shape):
    defect = defects[kind, shape]
    edges = defect.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(components(edges, len(defect.vertices)))) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_repeating_gives_the_same_bytes_also_after_other_jobs(defects, kind):
    first = digest(defects[kind, "box"])  # made among 26 others
    assert digest(made(kind, "box")) == first
    assert digest(made(kind, "box", seed=4)) != first


def test_another_process_gives_the_same_bytes(defects):
    script = (
        "from tests.blender_scripts.test_defects import KINDS, digest, made\n"
        "for kind in reversed(KINDS): print(kind, digest(made(kind, 'plate')))"
    )
    root = ROOT
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    there = dict(line.split() for line in result.stdout.splitlines() if line.count(" ") == 1)
    assert there == {kind: digest(defects[kind, "plate"]) for kind in KINDS}


SIZES = {
    "bulge": ("radius", "height"),
    "concavity": ("radius",),
    "hole": ("radius",),
    "missing": ("radius", "volume_share"),
    "crack": ("width",),
    "broken": ("volume_share",),
    "scratch": ("width", "depth"),
    "bending": ("angle_degrees",),
    "twist": ("angle_degrees", "shift"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_severe_defect_is_larger_than_a_slight_one(kind):
    surface = Surface(*mesh_of("box"))
    compared = 0
    for seed in range(16):
        sizes = []
        for severity in (0.0, 0.5, 1.0):
            rng = np.random.default_rng(seed)
            try:
                if kind == "broken":  # few of the slight draws on a box are accepted
                    defect, _ = make_defect(kind, *mesh_of("box"), rng, severity)
                else:
                    defect = DEFECTS[kind](surface, rng, severity)
            except GeometryError:
                break
            sizes.append([abs(defect.parameters[name]) for name in SIZES[kind]])
        else:
            # a twist first turns more, and then moves off its axis
            growth = np.diff(sizes, axis=0)
            assert (growth > 0).any(axis=1).all() if kind == "twist" else (growth > 0).all()
            compared += 1
            if compared == 2:
                return
    assert compared, "no seed gave all three severities"


def test_turning_a_cylinder_about_its_own_axis_is_refused():
    vertices, faces = prepared(shapes.cylinder(0.5, 1.5, segments=96))
    pristine = Surface(vertices, faces)
    angle = np.radians(50) * smooth_step((vertices[:, 2] - 0.3) / 0.4)  # the upper part
    x, y, z = vertices.T
    turned = np.stack(
        [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], axis=1
    )
    accepted, _ = make_defect("twist", vertices, faces, np.random.default_rng(0), 0.5)
    assert checks.problem("twist", pristine, accepted) == ""
    wrung = replace(accepted, vertices=turned, displacement=turned - vertices)
    assert np.linalg.norm(wrung.displacement, axis=1).max() > 0.2
    assert "departs" in checks.problem("twist", pristine, wrung)


def test_the_checks_refuse_what_is_no_defect():
    pristine = Surface(*mesh_of("box"))
    defect = made("bulge", "box")
    elsewhere = defect.displacement + np.array([0.1, 0, 0])
    moved = np.where(defect.displacement.any(axis=1)[:, None], elsewhere, 0.0)
    shifted = replace(defect, displacement=moved)
    assert "does not start on the pristine" in checks.problem("bulge", pristine, shifted)
    nothing = replace(
        defect, vertices=pristine.vertices, displacement=np.zeros_like(defect.displacement)
    )
    assert "0.00% of the area" in checks.problem("bulge", pristine, nothing)
    high = np.linalg.norm(defect.displacement, axis=1) > 0.06
    unlabelled = replace(defect, displacement=np.where(high[:, None], 0.0, defect.displacement))
    assert checks.problem("bulge", pristine, unlabelled) != ""
    whole_cut = made("hole", "box")
    open_cut = replace(whole_cut, faces=whole_cut.faces[1:], cut=whole_cut.cut[1:])
    assert "open edges" in checks.problem("hole", pristine, open_cut)


def test_a_hidden_defect_is_refused():
    inner, outer = shapes.box((0.6, 0.6, 0.6)), shapes.box((1.0, 1.0, 1.0))
    cavity = prepared(shapes.join(outer, (inner[0], inner[1][:, ::-1])))
    pristine = Surface(*cavity)
    displacement = np.zeros_like(cavity[0])
    inside = np.abs(cavity[0]).max(axis=1) < 0.4
    displacement[inside] = cavity[0][inside] * -0.2
    defect = replace(
        made("bulge", "box"),
        vertices=cavity[0] + displacement,
        faces=cavity[1],
        displacement=displacement,
        cut=np.zeros(len(cavity[1]), dtype=bool),
    )
    assert "can be seen" in checks.problem("bulge", pristine, defect)


def test_rejected_attempts_are_reported_and_drawn_anew():
    reasons = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        defect, rejections = make_defect("concavity", *mesh_of("plate"), rng, 1.0)
        reasons += rejections
        if rejections:
            again = np.random.default_rng(seed)
            with pytest.raises(GeometryError, match="after 1 attempts"):
                make_defect("concavity", *mesh_of("plate"), again, 1.0, attempts=1)
            # the same generator goes on where the refused attempt left it
            following, _ = make_defect("concavity", *mesh_of("plate"), again, 1.0)
            assert digest(following) == digest(defect)
            break
    assert reasons


def test_what_is_impossible_says_why():
    rod = prepared(shapes.cylinder(0.03, 2.0, segments=12))
    with pytest.raises(GeometryError, match=r"no hole after 5 attempts: .+ \(\d\)"):
        make_defect("hole", *rod, np.random.default_rng(0), 0.5, attempts=5)
    with pytest.raises(ValueError, match=r"severity is 1\.5"):
        make_defect("hole", *rod, np.random.default_rng(0), 1.5)


def test_an_open_mesh_is_not_cut():
    vertices, faces = mesh_of("box")
    with pytest.raises(GeometryError, match="no missing after 2 attempts"):
        make_defect("missing", vertices, faces[:-5], np.random.default_rng(0), 0.5, attempts=2)


def test_building_blocks():
    vertices, faces = ball(3)
    assert len(faces) == 20 * 4**3
    assert closed_problem(vertices, faces) == ""
    assert np.allclose(np.linalg.norm(vertices, axis=1), 1)
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    up = np.array([0.0, 0.0, 1.0])
    vertices, faces = tube(np.stack([ring, ring + up, ring + 3 * up]))
    assert closed_problem(vertices, faces) == ""
    assert volume(vertices, faces) == pytest.approx(3 * np.pi, rel=1e-3)
    points = np.random.default_rng(0).uniform(-3, 3, (4000, 3))
    values = rough_noise(np.random.default_rng(1), 0.8)(points)
    assert abs(values.mean()) < 0.1
    assert 0.8 < values.std() < 1.2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(2, 30).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=60),
        )
    )
)
def test_components_agree_with_scipy(graph):
    count, pairs = graph
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    labels = components(edges, count)
    matrix = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    number, expected = connected_components(matrix, directed=False)
    assert len(np.unique(labels)) == number
    assert len(np.unique(np.stack([labels, expected], axis=1), axis=0)) == number
    assert (labels <= np.arange(count)).all()
