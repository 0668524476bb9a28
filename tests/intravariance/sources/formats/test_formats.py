# SPDX-License-Identifier: Apache-2.0
"""Each mesh format's own ways to write a surface, and to break off."""

import json
import struct

import numpy as np
import pytest
import trimesh

from intravariance.errors import InputError
from intravariance.sources.reading import read_triangles
from tests.support.meshes_on_disk import (
    CUBE_QUADS,
    CUBE_TRIANGLES,
    CUBE_VERTICES,
    obj_text,
    off_text,
)

BOX = trimesh.Trimesh(CUBE_VERTICES, CUBE_TRIANGLES, process=False)
L_RING = [(2, 0), (2, 1), (1, 1), (1, 2), (0, 2), (0, 0)]
L_VERTICES = [(x, y, z) for z in (0, 1) for x, y in L_RING]
L_FACES = [(5, 4, 3, 2, 1, 0), (6, 7, 8, 9, 10, 11),
           *((k, (k + 1) % 6, (k + 1) % 6 + 6, k + 6) for k in range(6))]  # fmt: skip


def triangles(data: str | bytes, file_format: str):
    """Return (F, 3, 3) corners of what is read."""
    content = data if isinstance(data, bytes) else data.encode()
    vertices, faces = read_triangles(content, file_format)
    return vertices[faces]


def volume(corners) -> float:
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))) / 6


def area(corners) -> float:
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(normals, axis=1).sum()) / 2


def same_surface(corners, expected) -> bool:
    """Compare triangles whatever their order and first corner."""

    def canonical(triangle):
        start = min(range(3), key=lambda k: tuple(triangle[k]))
        return tuple(map(tuple, np.roll(triangle, -start, axis=0).round(5).tolist()))

    return sorted(map(canonical, corners)) == sorted(map(canonical, expected))


def ply_text(elements: dict[str, tuple[str, list[str]]]) -> str:
    header = "".join(
        f"element {name} {len(rows)}\n{properties}" for name, (properties, rows) in elements.items()
    )
    body = "\n".join(row for _, rows in elements.values() for row in rows)
    return f"ply\nformat ascii 1.0\n{header}end_header\n{body}\n"


XYZ = "property float x\nproperty float y\nproperty float z\n"
CORNERS = "property list uchar int vertex_indices\n"


def rows(values) -> list[str]:
    return [" ".join(map(str, value)) for value in values]


@pytest.mark.parametrize("file_format", ["off", "obj", "ply"])
def test_concave_polygons_keep_their_notch(file_format):
    text = {
        "off": off_text(L_VERTICES, L_FACES),
        "obj": obj_text(L_VERTICES, L_FACES),
        "ply": ply_text({"vertex": (XYZ, rows(L_VERTICES)),
                         "face": (CORNERS, rows((len(f), *f) for f in L_FACES))}),
    }[file_format]  # fmt: skip
    corners = triangles(text, file_format)
    assert volume(corners) == pytest.approx(3)
    assert area(corners) == pytest.approx(14)  # overlapping triangles would have more


def test_obj_indices_count_from_where_the_face_stands():
    blocks, expected = [], []
    for shift in (0, 4, 9):
        moved = [(x + shift, y, z) for x, y, z in CUBE_VERTICES]
        blocks += [f"v {x} {y} {z}" for x, y, z in moved]
        blocks += ["f " + " ".join(str(k - 8) for k in face) for face in CUBE_TRIANGLES]
        expected.append(np.array(moved, dtype=float)[np.array(CUBE_TRIANGLES)])
    assert same_surface(triangles("\n".join(blocks), "obj"), np.concatenate(expected))


def test_obj_with_all_that_lines_may_hold():
    lines = ["\ufeff# made by hand", "mtllib x.mtl", "o first", "vn 0 0 1", "vt 0 0"]
    lines += [f"v {x} {y} {z} 1.0 0.5 0.5" for x, y, z in CUBE_VERTICES]
    styles = ("{0}", "{0}/1", "{0}//1", "{0}/1/1")
    for number, face in enumerate(CUBE_QUADS):
        words = [styles[number % 4].format(k + 1 if number % 2 else k - 8) for k in face]
        lines += ["g side", "usemtl wood", "s off", "l 1 2", f"f {words[0]} {words[1]} \\"]
        lines += ["  " + " ".join(words[2:]) + " # a side"]
    corners = triangles("\r\n".join(lines), "obj")
    assert volume(corners) == pytest.approx(8)
    assert area(corners) == pytest.approx(24)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 0 0\nf 1 1 1", "line 1, 'v 0 0'"),
        ("v 0 0 0\nf 0 1 1", "counted from 1"),
        ("v 0 0 0\nf -2 1 1", "1 vertices stand before it"),
        ("v 0 0 0\nf 1 1 2", r"outside 0\.\.0"),
        ("v a b c\n", "line 1"),
    ],
)
def test_obj_lines_that_cannot_be_read_are_named(text, reason):
    with pytest.raises(InputError, match=reason):
        triangles(text, "obj")


def test_ply_strips_are_their_triangles():
    # three strips of a cube's sides, one after the other, the second begun by a corner twice
    strip = [0, 1, 4, 5, 6, 7, 2, 3, -1, 0, 4, 2, 6, -1, 5, 1, 7, 3]
    text = ply_text({"vertex": (XYZ, rows(CUBE_VERTICES)),
                     "tristrips": (CORNERS, rows([(len(strip), *strip)]))})  # fmt: skip
    corners = triangles(text, "ply")
    assert area(corners) == pytest.approx(20)
    assert len(corners) == 10
    # every triangle faces to the side of its strip's first
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = np.einsum("fi,fi->f", normals, corners.mean(axis=1))
    assert [len(set(np.sign(outward[part]))) for part in (slice(6), slice(6, 8), slice(8, 10))] == [
        1, 1, 1]  # fmt: skip


def test_ply_strips_agree_with_an_independent_reader():
    strip = np.random.default_rng(0).integers(0, 8, 200)
    text = ply_text({"vertex": (XYZ, rows(CUBE_VERTICES)),
                     "tristrips": (CORNERS, rows([(len(strip), *strip)]))})  # fmt: skip
    expected = trimesh.util.triangle_strips_to_faces([strip])
    whole = [face for face in expected if len(set(face.tolist())) == 3]
    read = read_triangles(text.encode(), "ply")[1]
    assert sorted(sorted(face) for face in read.tolist()) == sorted(sorted(f) for f in whole)


@pytest.mark.parametrize("order", ["<", ">", ""])
def test_ply_vertices_may_have_lists(order):
    encoding = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    header = (
        f"ply\nformat {encoding} 1.0\nelement range_grid 1\nproperty list uchar int numbers\n"
        "element vertex 8\nproperty list uchar int near\nproperty float x\nproperty float y\n"
        "property list uchar float weights\nproperty float z\nelement face 12\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    content = [("B2i", (2, 5, 6))]
    for number, (x, y, z) in enumerate(CUBE_VERTICES):
        near, weights = range(number % 3), [0.5] * (number % 2)
        content.append((f"B{len(near)}iffB{len(weights)}ff",
                        (len(near), *near, x, y, len(weights), *weights, z)))  # fmt: skip
    content += [("B3i", (3, *face)) for face in CUBE_TRIANGLES]
    if order:
        body = b"".join(struct.pack(order + code, *values) for code, values in content)
    else:
        body = "\n".join(" ".join(map(str, values)) for _, values in content).encode()
    corners = triangles(header.encode() + body, "ply")
    assert same_surface(corners, BOX.triangles)


def test_ply_without_faces_says_what_it_has():
    grid = ply_text({"vertex": (XYZ, rows(CUBE_VERTICES)),
                     "range_grid": (CORNERS, rows([(1, 0), (0,)]))})  # fmt: skip
    with pytest.raises(InputError, match="no faces but 8 vertex, 2 range_grid"):
        triangles(grid, "ply")


BINARY_STL = BOX.export(file_type="stl")
TEXT_STL = BOX.export(file_type="stl_ascii")


def test_stl_that_begins_with_solid_may_be_binary():
    assert same_surface(triangles(b"solid" + BINARY_STL[5:], "stl"), BOX.triangles)
    assert same_surface(triangles(TEXT_STL, "stl"), BOX.triangles)
    several = TEXT_STL + TEXT_STL.replace("vertex ", "vertex  ").upper()
    assert len(triangles(several, "stl")) == 24


@pytest.mark.parametrize("title", [b"", b"solid"])
@pytest.mark.parametrize(
    ("size", "reason"),
    [
        (len(BINARY_STL) - 1, "cut off: declares 12 triangles, holds 11 and 49 bytes more"),
        (len(BINARY_STL) - 50, "cut off: declares 12 triangles, holds 11$"),
        (84, "cut off: declares 12 triangles, holds 0$"),
        (len(BINARY_STL) + 7, "longer than it says: declares 12 triangles, holds 12 and 7 bytes"),
        (len(BINARY_STL) + 100, "longer than it says: declares 12 triangles, holds 14"),
        (50, "shorter than its header"),
    ],
)
def test_binary_stl_that_is_not_as_long_as_it_says(title, size, reason):
    data = (title + BINARY_STL[len(title) :] + bytes(100))[:size]
    with pytest.raises(InputError, match=reason):
        triangles(data, "stl")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.77, 0.99])
def test_text_stl_that_was_cut_off(share):
    with pytest.raises(InputError, match=r"cut off: declares \d+ triangles, holds \d+"):
        triangles(TEXT_STL[: int(share * len(TEXT_STL))], "stl")
    kept = TEXT_STL[: TEXT_STL.rindex("endsolid")]
    with pytest.raises(InputError, match="declares 12 triangles, holds 12, and no endsolid"):
        triangles(kept, "stl")


def test_text_stl_with_words_for_numbers():
    with pytest.raises(InputError, match="not a valid STL"):
        triangles(TEXT_STL.replace("vertex -1", "vertex one", 1), "stl")
    with pytest.raises(InputError, match="12 triangles have 35 vertices"):
        triangles(TEXT_STL.replace("vertex", "vortex", 1), "stl")


def glb(description: dict, body: bytes = b"") -> bytes:
    """Pack a GLB file; the buffer and the version are added."""
    full = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": len(body)}], **description}
    text = json.dumps(full).encode()
    text += b" " * (-len(text) % 4)
    body += bytes(-len(body) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def cube_glb(points=None, indices=None, nodes=None, **more) -> bytes:
    """Describe the cube as one mesh; `more` is added to the description."""
    points = np.array(CUBE_VERTICES, dtype="<f4") if points is None else points
    indices = np.array(CUBE_TRIANGLES, dtype="<u2").ravel() if indices is None else indices
    kinds = {"f4": 5126, "i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125}
    body = points.tobytes() + indices.tobytes()
    description = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes or [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "bufferViews": [
            {"buffer": 0, "byteLength": points.nbytes},
            {"buffer": 0, "byteOffset": points.nbytes, "byteLength": indices.nbytes},
        ],
        "accessors": [
            {"bufferView": 0, "count": len(points), "type": "VEC3",
             "componentType": kinds[points.dtype.str[1:]]},
            {"bufferView": 1, "count": len(indices), "type": "SCALAR",
             "componentType": kinds[indices.dtype.str[1:]]},
        ],
    }  # fmt: skip
    return glb(description | more, body)


def test_glb_in_every_kind_of_numbers():
    for kind in ("<u1", "<u2", "<u4"):
        indices = np.array(CUBE_TRIANGLES, dtype=kind).ravel()
        assert same_surface(triangles(cube_glb(indices=indices), "glb"), BOX.triangles)
    quantised = np.array(CUBE_VERTICES, dtype="<i2") * 1000
    data = cube_glb(points=quantised, extensionsRequired=["KHR_mesh_quantization"],
                    nodes=[{"mesh": 0, "scale": [1e-3] * 3}])  # fmt: skip
    assert same_surface(triangles(data, "glb"), BOX.triangles)


def test_glb_normalised_integers_and_strides():
    points = np.full((8, 4), 99, dtype="<i2")  # every row has a stranger behind
    points[:, :3] = np.array(CUBE_VERTICES) * 32767
    indices = np.array(CUBE_TRIANGLES, dtype="<u2").ravel()
    data = cube_glb(points=points, indices=indices)
    text = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    text["bufferViews"][0]["byteStride"] = 8
    text["accessors"][0] |= {"normalized": True}
    again = glb(text, points.tobytes() + indices.tobytes())
    assert same_surface(triangles(again, "glb"), BOX.triangles)


def test_glb_sparse_values():
    points = np.array(CUBE_VERTICES, dtype="<f4")
    wrong = points.copy()
    wrong[[2, 7]] = 55
    indices = np.array(CUBE_TRIANGLES, dtype="<u2").ravel()
    where, what = np.array([2, 7], dtype="<u2"), points[[2, 7]]
    data = cube_glb(points=wrong, indices=indices)
    text = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    end = wrong.nbytes + indices.nbytes
    text["bufferViews"] += [
        {"buffer": 0, "byteOffset": end, "byteLength": where.nbytes},
        {"buffer": 0, "byteOffset": end + where.nbytes, "byteLength": what.nbytes},
    ]
    text["accessors"][0]["sparse"] = {
        "count": 2,
        "indices": {"bufferView": 2, "componentType": 5123},
        "values": {"bufferView": 3},
    }
    body = b"".join(part.tobytes() for part in (wrong, indices, where, what))
    assert same_surface(triangles(glb(text, body), "glb"), BOX.triangles)


@pytest.mark.parametrize(
    ("mode", "indices", "count"), [(5, [0, 1, 2, 3], 2), (6, [0, 1, 3, 2], 2), (1, [0, 1, 2, 3], 0)]
)
def test_glb_strips_fans_and_lines(mode, indices, count):
    points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
    data = cube_glb(np.array(points, dtype="<f4"), np.array(indices, dtype="<u2"),
                    meshes=[{"primitives": [
                        {"attributes": {"POSITION": 0}, "indices": 1, "mode": mode}]}])  # fmt: skip
    if count == 0:
        with pytest.raises(InputError, match="no faces"):
            triangles(data, "glb")
        return
    corners = triangles(data, "glb")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert len(corners) == count
    assert np.allclose(normals, [0, 0, 1])  # a square, covered once, seen from one side


def test_glb_transforms_agree_with_trimesh():
    rng = np.random.default_rng(0)
    nodes = [{"mesh": 0, "children": [1, 2], "translation": [1, 2, 3], "scale": [1, 2, 3],
              "rotation": [0.5, 0.5, 0.5, 0.5]},
             {"mesh": 0, "matrix": [*np.c_[rng.normal(size=(4, 3)), [0, 0, 0, 1]].ravel()]},
             {"children": [3]}, {"mesh": 0, "scale": [-1, 1, 1]}]  # fmt: skip
    data = cube_glb(nodes=nodes)
    corners = triangles(data, "glb")
    scene = trimesh.load_scene(trimesh.util.wrap_as_stream(data), file_type="glb", process=False)
    expected = np.concatenate([part.triangles for part in scene.dump()])
    assert len(corners) == 36
    assert np.allclose(np.sort(corners.reshape(-1, 3), axis=0),
                       np.sort(expected.reshape(-1, 3), axis=0), atol=1e-5)  # fmt: skip
    # a mirrored part keeps its outside
    for part in corners.reshape(3, 12, 3, 3):
        centred = part - part.reshape(-1, 3).mean(axis=0)
        assert volume(centred) > 0


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]},
         "KHR_draco_mesh_compression, which is not read; export it without Draco"),
        ({"extensionsRequired": ["EXT_meshopt_compression", "KHR_materials_unlit"]},
         "requires EXT_meshopt_compression, which"),
        ({"extensionsRequired": ["VENDOR_b", "VENDOR_a"]}, "requires VENDOR_a, VENDOR_b, which"),
        ({"extensionsUsed": ["EXT_mesh_gpu_instancing"]}, "EXT_mesh_gpu_instancing"),
    ],
)  # fmt: skip
def test_glb_extensions_that_are_not_read_are_named(more, named):
    with pytest.raises(InputError, match=named):
        triangles(cube_glb(**more), "glb")


def test_glb_extensions_that_change_no_triangle_are_no_matter():
    required = ["KHR_materials_unlit", "KHR_texture_transform", "KHR_lights_punctual"]
    data = cube_glb(extensionsRequired=required, extensionsUsed=[*required, "KHR_draco_x"])
    assert same_surface(triangles(data, "glb"), BOX.triangles)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"accessors": [{"count": 8, "type": "VEC3", "componentType": 5126}] * 2}, "no bytes"),
        ({"nodes": [{"children": [1]}, {"children": [0]}]}, "node 0 lies at two places"),
        ({"nodes": [{"mesh": 4}]}, "not a valid GLB"),
        ({"buffers": [{"uri": "cube.bin", "byteLength": 9}]}, "buffer outside the file"),
        ({"meshes": [{"weights": [0, 0.5], "primitives": []}]}, "morphed"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 20}] * 2}, "beyond the end of its buffer"),
    ],
)
def test_glb_that_cannot_be_read(more, reason):
    with pytest.raises(InputError, match=reason):
        triangles(cube_glb(**more), "glb")


def test_glb_that_was_cut_off():
    data = cube_glb()
    with pytest.raises(InputError, match=f"cut off: declares {len(data)} bytes, holds 100"):
        triangles(data[:100], "glb")
    with pytest.raises(InputError, match="version 1"):
        triangles(data[:4] + b"\1\0\0\0" + data[8:], "glb")
