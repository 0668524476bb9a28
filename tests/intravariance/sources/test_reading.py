# SPDX-License-Identifier: Apache-2.0
"""Foreign files, as bad as they come: what is read, what is refused and with which words."""

import random
import struct
import time

import numpy as np
import pytest
import trimesh

from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh, to_unit_sphere
from intravariance.geometry.parts import components
from intravariance.geometry.topology import MAX_EDGE, closed_problem, signed_volume
from intravariance.sources.isolation import read_and_repair
from intravariance.sources.reading import read_triangles
from intravariance.sources.repair import (
    MAX_FACES,
    _drawn_back,
    _finish,
    clean,
    make_base_mesh,
    surface_error,
)
from intravariance.sources.wrapping import wrap
from tests.support.meshes_on_disk import (
    CUBE_QUADS,
    CUBE_TRIANGLES,
    CUBE_VERTICES,
    obj_text,
    off_text,
)

CUBE_VOLUME = 8 / 3**1.5  # of the cube inscribed in the unit sphere
BOX = trimesh.Trimesh(CUBE_VERTICES, CUBE_TRIANGLES, process=False)
HEXAGON = [(np.cos(a), np.sin(a)) for a in np.arange(6) * np.pi / 3]
PRISM_VERTICES = [(x, y, z) for z in (0, 1) for x, y in HEXAGON]
PRISM_FACES = [
    (5, 4, 3, 2, 1, 0),
    (6, 7, 8, 9, 10, 11),
    *((k, (k + 1) % 6, (k + 1) % 6 + 6, k + 6) for k in range(6)),
]


def ply_bytes(vertices, faces, order: str) -> bytes:
    """Write PLY with other properties between those that count; order: "<", ">" or "" (text)."""
    encoding = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    header = (
        f"ply\nformat {encoding} 1.0\ncomment by hand\nelement vertex {len(vertices)}\n"
        "property uchar red\nproperty float x\nproperty double y\nproperty float32 z\n"
        f"element face {len(faces)}\nproperty list uchar uint vertex_indices\n"
        "property list int8 float texcoord\nend_header\n"
    )
    rows = [("Bfdf", (7, *vertex)) for vertex in vertices]
    rows += [(f"B{len(f)}Ib2f", (len(f), *f, 2, 0.5, 0.5)) for f in faces]
    if not order:
        return (header + "\n".join(" ".join(map(str, row)) for _, row in rows)).encode()
    return header.encode() + b"".join(struct.pack(order + code, *row) for code, row in rows)


def prepare(text: str | bytes, file_format: str) -> tuple[Mesh, float]:
    data = text if isinstance(text, bytes) else text.encode()
    made = make_base_mesh(*read_triangles(data, file_format))
    return made.mesh, made.surface_error


def assert_prepared(mesh: Mesh) -> None:
    corners = mesh.vertices[mesh.faces].astype(float)
    assert closed_problem(mesh) == ""
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max() <= MAX_EDGE + 1e-6
    assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1, abs=1e-3)
    assert len(mesh.faces) <= MAX_FACES


def assert_cube(mesh: Mesh) -> None:
    assert_prepared(mesh)
    assert signed_volume(mesh) == pytest.approx(CUBE_VOLUME, rel=1e-4)


UNMERGED = [CUBE_VERTICES[index] for face in CUBE_TRIANGLES for index in face]
CUBE_FILES = {
    "plain OFF": ("off", off_text()),
    "no line break after OFF": ("off", off_text(header="OFF")),
    "space after OFF": ("off", off_text(header="OFF ")),
    "byte order mark and CRLF": ("off", "\ufeff" + off_text().replace("\n", "\r\n")),
    "comments and blank lines": ("off", "# by hand\n\n" + off_text().replace("\n", " # x\n\n")),
    "colours": ("off", off_text().replace("3 0 1 3", "3 0 1 3 255 0 0")),
    "quads in OFF": ("off", off_text(faces=CUBE_QUADS)),
    "unmerged vertices": ("off", off_text(UNMERGED, np.arange(36).reshape(-1, 3).tolist())),
    "repeated faces": ("off", off_text(faces=CUBE_TRIANGLES + CUBE_TRIANGLES[:5])),
    "back-to-back faces": (
        "off",
        off_text(faces=CUBE_TRIANGLES + [face[::-1] for face in CUBE_TRIANGLES]),
    ),
    "degenerate face": ("off", off_text(faces=[*CUBE_TRIANGLES, (0, 0, 1)])),
    "unused vertex far away": ("off", off_text(vertices=[*CUBE_VERTICES, (99, 99, 99)])),
    "inside out": ("off", off_text(faces=[face[::-1] for face in CUBE_TRIANGLES])),
    "tiny units": ("off", off_text([(x / 1e12, y / 1e12, z / 1e12) for x, y, z in CUBE_VERTICES])),
    "huge units": (
        "off",
        off_text([(x * 1e300, y * 1e300, z * 1e300) for x, y, z in CUBE_VERTICES]),
    ),
    "OBJ": ("obj", obj_text()),
    "OBJ quads": ("obj", obj_text(faces=CUBE_QUADS)),
    "binary PLY": ("ply", BOX.export(file_type="ply")),
    "ASCII PLY": ("ply", BOX.export(file_type="ply", encoding="ascii")),
    "quads in binary PLY": ("ply", ply_bytes(CUBE_VERTICES, CUBE_QUADS, "<")),
    "big-endian PLY": ("ply", ply_bytes(CUBE_VERTICES, CUBE_TRIANGLES, ">")),
    "mixed faces in binary PLY": (
        "ply",
        ply_bytes(CUBE_VERTICES, [*CUBE_QUADS[1:], *CUBE_TRIANGLES[:2]], "<"),
    ),
    "OBJ with comments": ("obj", obj_text().replace("\n", " # by hand\n")),
    "binary STL": ("stl", BOX.export(file_type="stl")),
    "ASCII STL": ("stl", BOX.export(file_type="stl_ascii")),
    "GLB": ("glb", BOX.export(file_type="glb")),
}


@pytest.mark.parametrize("name", CUBE_FILES)
def test_every_way_to_write_a_cube_gives_the_cube(name):
    mesh, error = prepare(CUBE_FILES[name][1], CUBE_FILES[name][0])
    assert_cube(mesh)
    assert error == 0


PRISM_FILES = {
    "off": off_text(PRISM_VERTICES, PRISM_FACES),
    "obj": obj_text(PRISM_VERTICES, PRISM_FACES),
    "ply": ply_bytes(PRISM_VERTICES, PRISM_FACES, "<"),
    "text ply": ply_bytes(PRISM_VERTICES, PRISM_FACES, ""),
}


@pytest.mark.parametrize("name", PRISM_FILES)
def test_polygons_of_any_size_in_one_file(name):
    mesh, error = prepare(PRISM_FILES[name], name[-3:])
    assert_prepared(mesh)
    radius = np.sqrt(1 + 0.5**2)
    assert signed_volume(mesh) == pytest.approx(1.5 * np.sqrt(3) / radius**3, rel=1e-4)
    assert error == 0


@pytest.mark.parametrize("scale", [1e-12, 0.0254, 1.0, 37.5, 1e300])
def test_the_unit_of_the_file_is_kept(scale):
    corners = np.array(CUBE_VERTICES) * scale + scale * np.array([5, -3, 2])
    closed = make_base_mesh(corners, np.array(CUBE_TRIANGLES))
    assert closed.unit_radius == pytest.approx(np.sqrt(3) * scale, rel=1e-5)
    assert closed.repair == "kept"


def test_the_unit_of_a_rebuilt_mesh_is_that_of_its_surface(open_box):
    bare = make_base_mesh(np.array(CUBE_VERTICES) * 25.4, np.array(CUBE_TRIANGLES[:10]))
    # the file's corners, in radii, lie on the rebuilt surface again: same scale, other centre
    assert np.ptp(bare.mesh.vertices, axis=0) * bare.unit_radius == pytest.approx(50.8, rel=0.02)
    assert bare.repair.startswith("made watertight")


def test_several_objects_are_one_mesh_and_materials_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.mtl").mkdir()  # opening it would fail
    second = [(x + 3, y, z) for x, y, z in CUBE_VERTICES]
    lines = obj_text(CUBE_VERTICES + second, []).splitlines()
    lines = ["mtllib trap.mtl", "mtllib ../missing.mtl", *lines]
    for number, name in enumerate(("left", "right")):
        lines += [f"o {name}", f"usemtl {name}"]
        lines += ["f " + " ".join(str(i + 1 + 8 * number) for i in f) for f in CUBE_TRIANGLES]
    mesh, _ = prepare("\n".join(lines), "obj")
    assert_prepared(mesh)
    assert components(mesh).max() == 1


def test_a_glb_scene_is_read_with_its_transforms():
    scene = trimesh.Scene()
    scene.add_geometry(BOX, transform=trimesh.transformations.translation_matrix([-3, 0, 0]))
    scene.add_geometry(BOX.copy(), transform=trimesh.transformations.translation_matrix([3, 0, 0]))
    vertices, _ = read_triangles(scene.export(file_type="glb"), "glb")
    assert np.ptp(vertices, axis=0).tolist() == [8, 2, 2]


def test_a_mirrored_part_is_turned_and_a_cavity_is_not():
    far = [(x + 5, y, z) for x, y, z in CUBE_VERTICES]
    small = [(x / 2, y / 2, z / 2) for x, y, z in CUBE_VERTICES]
    inward = [[index + 8 for index in face[::-1]] for face in CUBE_TRIANGLES]
    mirrored, _ = prepare(off_text(CUBE_VERTICES + far, CUBE_TRIANGLES + inward), "off")
    assert signed_volume(mirrored) == pytest.approx(16 / (3.5**2 + 2) ** 1.5, rel=1e-4)
    hollow, _ = prepare(off_text(CUBE_VERTICES + small, CUBE_TRIANGLES + inward), "off")
    assert signed_volume(hollow) == pytest.approx(7 / 3**1.5, rel=1e-4)


def test_parts_hidden_inside_others_go_and_slight_overlap_stays():
    inner = [(x / 2, y / 2, z / 2) for x, y, z in CUBE_VERTICES]
    handle = [(x / 8 + 1, y / 8, z / 8) for x, y, z in CUBE_VERTICES]  # half of it in the cube
    second = [[index + 8 for index in face] for face in CUBE_TRIANGLES]
    filled = prepare(off_text(CUBE_VERTICES + inner, CUBE_TRIANGLES + second), "off")
    assert_prepared(filled[0])
    assert components(filled[0]).max() == 0
    assert 0 < filled[1] < 0.02
    held = prepare(off_text(CUBE_VERTICES + handle, CUBE_TRIANGLES + second), "off")
    assert components(held[0]).max() == 1
    assert held[1] == 0


@pytest.fixture(scope="module")
def open_box():
    """Make a cube without its last side, repaired, and the surface error."""
    return prepare(off_text(faces=CUBE_QUADS[:5]), "off")


def test_an_open_box_becomes_a_solid_that_hugs_it(open_box):
    mesh, error = open_box
    assert_prepared(mesh)
    assert 0 < error < 0.02
    # Thin walls, not a full cube: the open box must stay open to the outside.
    assert signed_volume(mesh) < 0.2 * CUBE_VOLUME


def test_the_second_repair_gives_a_solid_that_hugs_the_open_box_too():
    mesh = to_unit_sphere(clean(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES[:10])))
    skin = next(_drawn_back(mesh, wrap(mesh, 0.03)))
    assert_prepared(_finish(to_unit_sphere(skin)))
    assert surface_error(mesh, skin) < 0.02
    assert signed_volume(skin) < 0.2 * CUBE_VOLUME


def test_a_repair_that_loses_the_surface_gives_way_to_the_second(monkeypatch):
    """Hair of more than a thousand strands is mostly specks to the first repair; here of twenty."""
    monkeypatch.setattr("intravariance.sources.repair.SMALLEST_PART", 0.06)
    monkeypatch.setattr("intravariance.sources.repair.RESOLUTIONS", (2_000,))
    monkeypatch.setattr("intravariance.sources.repair.VOXELS", (0.05,))
    roots = np.array([(x, y, 0) for x in range(5) for y in range(4)], dtype=float)
    lengths = np.linspace(0.8, 1, 20)[:, None] * [0, 0, 1]
    corners = np.stack([roots, roots + lengths, roots + np.array([0.3, 0, 0])], axis=1)
    made = make_base_mesh(corners.reshape(-1, 3), np.arange(60).reshape(-1, 3))
    assert_prepared(made.mesh)
    assert made.repair == "wrapped, voxels of 0.05 radii"
    assert made.surface_error < 0.05
    assert components(made.mesh).max() == 19


def test_crossing_sheets_become_a_solid():
    sheets = [(0, 1, 3, 2), (0, 4, 7, 3), (0, 5, 7, 2)]
    mesh, error = prepare(off_text(faces=sheets), "off")
    assert_prepared(mesh)
    assert error < 0.03


def test_a_solid_with_too_many_faces_is_thinned_out():
    sphere = trimesh.creation.icosphere(subdivisions=6)  # 81,920 faces
    made = make_base_mesh(sphere.vertices, sphere.faces)
    assert_prepared(made.mesh)
    assert made.surface_error < 0.002
    assert made.repair == "thinned out"
    assert signed_volume(made.mesh) == pytest.approx(4 / 3 * np.pi, rel=0.01)


def test_cleaning_keeps_one_of_faces_that_lie_on_each_other():
    mesh = clean(
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1e-9]]),
        np.array([[0, 1, 2], [2, 1, 0], [1, 3, 0], [2, 3, 0]]),
    )
    assert mesh.faces.shape == (1, 3)
    assert mesh.vertices.shape == (3, 3)


POINTS_PLY = trimesh.PointCloud(CUBE_VERTICES).export(file_type="ply")
BAD_FILES = {
    "empty OFF": ("off", b"", "begin with OFF"),
    "empty OBJ": ("obj", b"", "no faces"),
    "empty PLY": ("ply", b"", "not a valid PLY file"),
    "empty STL": ("stl", b"", "no faces|not a valid STL"),
    "empty GLB": ("glb", b"", "not a valid GLB file"),
    "point cloud": ("ply", POINTS_PLY, "no faces"),
    "NaN": ("off", off_text([(0, 0, float("nan")), *CUBE_VERTICES[1:]]), "NaN"),
    "infinity": ("obj", obj_text([(0, 0, float("inf")), *CUBE_VERTICES[1:]]), "NaN or inf"),
    "one point": ("off", off_text([(1, 1, 1)] * 8), "coincide"),
    "only a line": ("off", off_text([(i, 0, 0) for i in range(8)]), "no surface"),
    "bad index": ("off", off_text(faces=[(0, 1, 8)]), "outside 0..7"),
    "negative index": ("off", off_text(faces=[(0, 1, -2)]), "outside 0..7"),
    "cut-off OFF": ("off", off_text()[:-20], "cut off"),
    "cut-off PLY": ("ply", BOX.export(file_type="ply")[:-20], "not a valid PLY"),
    "huge counts": ("off", "OFF\n4000000000 4000000000 0\n0 0 0\n", "cut off"),
    "index beyond all integers": ("off", off_text(faces=[(0, 1, 10**20)]), r"outside 0\.\.7"),
    "huge counts in PLY": (
        "ply",
        ply_bytes(CUBE_VERTICES, CUBE_QUADS, "<").replace(b"vertex 8", b"vertex 4000000000"),
        "cut off",
    ),
    "huge list in PLY": (
        "ply",
        ply_bytes(CUBE_VERTICES, CUBE_QUADS, "").replace(b"4 0 1 3 2", b"4000000000 0 1 3 2"),
        "cut off",
    ),
    "PLY points": ("ply", ply_bytes(CUBE_VERTICES, [], "<"), "no faces"),
    "words": ("off", "OFF\nthree two one\n", "not a valid OFF"),
    "polygon without corners": ("off", "OFF\n1 1 0\n0 0 0\n3\n", "not a valid OFF"),
    "external buffer": (
        "glb",
        BOX.export(file_type="glb").replace(
            b'"buffers":[{"byte', b'"buffers":[{"uri":"../x","byte'
        ),
        "not a valid GLB",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_with_the_reason(name):
    file_format, text, reason = BAD_FILES[name]
    with pytest.raises(InputError, match=reason):
        prepare(text, file_format)


@pytest.mark.parametrize("name", ["plain OFF", "OBJ", "binary PLY", "binary STL", "GLB"])
def test_damaged_files_raise_nothing_but_input_errors(name):
    file_format, text = CUBE_FILES[name]
    data = text if isinstance(text, bytes) else text.encode()
    rng = random.Random(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        damaged = damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])]
        try:
            vertices, faces = read_triangles(bytes(damaged), file_format)
            clean(vertices, faces)
        except (InputError, MemoryError):
            refused += 1
    assert refused > 10


def test_the_child_repairs_to_the_same_arrays_as_this_process(open_box):
    made = read_and_repair(off_text(faces=CUBE_QUADS[:5]).encode(), "off")
    assert np.array_equal(made.mesh.vertices, open_box[0].vertices)
    assert np.array_equal(made.mesh.faces, open_box[0].faces)
    assert made.surface_error == open_box[1]
    assert made.repair == "made watertight, octree of 20,000 leaves"


def test_the_child_does_not_import_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert_cube(read_and_repair(off_text().encode(), "off").mesh)


def test_a_reason_comes_back_from_the_child():
    with pytest.raises(InputError, match="cut off"):
        read_and_repair(off_text()[:-20].encode(), "off")


def test_a_file_that_needs_too_much_memory_is_refused():
    # 5 million vertices in 400 MB of address space
    data = b"OFF\n5000000 1 0\n" + b"0 0 0\n" * 5_000_000 + b"3 0 1 2\n"
    with pytest.raises(InputError, match=r"memory|MemoryError|limit 0\.39"):
        read_and_repair(data, "off", memory=400 * 2**20)


def test_a_file_that_takes_too_long_is_refused():
    data = b"OFF\n5000000 1 0\n" + b"0 0 0\n" * 5_000_000 + b"3 0 1 2\n"
    start = time.monotonic()
    with pytest.raises(InputError, match="not read within 1 s"):
        read_and_repair(data, "off", seconds=1)
    assert time.monotonic() - start < 10
