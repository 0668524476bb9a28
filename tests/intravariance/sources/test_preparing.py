# SPDX-License-Identifier: Apache-2.0
"""The cache of prepared meshes, and what happens to files that cannot be used."""

import os

import numpy as np
import pytest

from intravariance.errors import InputError, IntegrityError
from intravariance.geometry.mesh import digest_arrays, mesh_from_arrays
from intravariance.geometry.topology import closed_problem
from intravariance.sources import choose, load_base_mesh, parse_source, prepare
from intravariance.sources.preparing import _store
from intravariance.sources.repair import Repaired
from tests.support.meshes_on_disk import (
    CUBE_TRIANGLES,
    CUBE_VERTICES,
    off_text,
    specification,
    write,
    write_zip,
)

BOWL = specification(bowl=["soup_bowl"])


class CubeMaker:
    """Stands for the Blender worker where a test is about the cache, not about Blender."""

    def __init__(self, blender: str = "4.5") -> None:
        self.blender = blender
        self.made = 0

    def versions(self):
        return {"blender": self.blender}

    def design(self, category, subcategory):
        self.made += 1
        return np.array(CUBE_VERTICES, dtype=float), np.array(CUBE_TRIANGLES)


def prepared(source, cache, skip_bad=False, fill=False, blender=None, up=None):
    (choice,) = choose(BOWL, parse_source(source, up), 0, fill)
    return prepare(choice, cache, skip_bad, blender or CubeMaker())


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "meshes", "bowl/a.off")


def test_a_file_becomes_a_base_mesh(folder, tmp_path):
    base, warnings = prepared(f"folder:{folder}", tmp_path / "cache")
    mesh = load_base_mesh(base.path)
    assert (base.category, base.subcategory) == ("bowl", "soup_bowl")
    assert base.origin == "folder:bowl/a.off"
    assert base.sha256 == digest_arrays(vertices=mesh.vertices, faces=mesh.faces)
    assert base.surface_error == 0
    assert warnings == []
    assert list((tmp_path / "cache").iterdir()) == [base.path]


def test_folder_and_archive_give_the_same_and_the_second_is_cached(folder, tmp_path, monkeypatch):
    first, _ = prepared(f"folder:{folder}", tmp_path / "cache")
    path = write_zip(tmp_path / "meshes.zip", "bowl/a.off")
    monkeypatch.setattr("subprocess.run", None)  # a second reading would fail
    second, _ = prepared(f"folder:{path}", tmp_path / "cache")
    assert second == first


def test_what_points_up_in_the_file_points_along_z_and_nothing_is_mirrored(tmp_path):
    part = tmp_path / "bowl/a.off"
    part.parent.mkdir()
    tetrahedron = [(0, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 3)]
    part.write_text(off_text(tetrahedron, [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]))
    as_it_is = load_base_mesh(prepared(f"folder:{tmp_path}", tmp_path / "cache")[0].path)
    turned = load_base_mesh(prepared(f"folder:{tmp_path}", tmp_path / "cache", up="y")[0].path)
    x, y, z = as_it_is.vertices.T
    np.testing.assert_array_equal(turned.vertices, np.stack([x, -z, y], axis=1))
    assert np.ptp(turned.vertices, axis=0) == pytest.approx(np.ptp([x, z, y], axis=1))
    assert closed_problem(turned) == ""


def test_a_damaged_directory_of_a_cache_file_is_found_or_harmless(tmp_path):
    cube = mesh_from_arrays(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES))
    _store(tmp_path / "x.npz", Repaired(cube, 0.0, 1.5, "kept"))
    data = (tmp_path / "x.npz").read_bytes()
    harmless = 0
    places = range(data.index(b"PK\x01\x02"), len(data))
    for place in places:
        for bit in (1, 255):
            damaged = bytearray(data)
            damaged[place] ^= bit
            (tmp_path / "x.npz").write_bytes(damaged)
            try:
                mesh = load_base_mesh(tmp_path / "x.npz")
            except IntegrityError:
                continue
            harmless += 1
            assert mesh.vertices.tobytes() == cube.vertices.tobytes()
            assert mesh.faces.tobytes() == cube.faces.tobytes()
    assert harmless < len(places)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other"])
def test_a_damaged_cache_file_is_found_and_made_again(folder, tmp_path, damage):
    base, _ = prepared(f"folder:{folder}", tmp_path / "cache")
    data = bytearray(base.path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    damaged = {"truncate": data[:-100], "empty": b"", "other": b"not an archive"}
    base.path.write_bytes(damaged.get(damage, data))
    with pytest.raises(IntegrityError, match="damaged"):
        load_base_mesh(base.path)
    again, _ = prepared(f"folder:{folder}", tmp_path / "cache")
    assert again == base
    load_base_mesh(base.path)


def test_arrays_that_contradict_their_hash_are_found(folder, tmp_path):
    base, _ = prepared(f"folder:{folder}", tmp_path / "cache")
    with np.load(base.path) as content:
        arrays = dict(content)
    arrays["vertices"][0, 0] += 1e-6
    np.savez(base.path, **arrays)
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_base_mesh(base.path)


def test_a_cache_file_with_a_pickle_is_not_loaded(tmp_path):
    np.savez(tmp_path / "x.npz", vertices=np.array([print], dtype=object))
    with pytest.raises(IntegrityError, match="damaged"):
        load_base_mesh(tmp_path / "x.npz")


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/cache cannot be written .*--cache"):
        prepared(f"folder:{folder}", tmp_path / "file" / "cache", skip_bad=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_read_only_cache_is_named(folder, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"cache cannot be written .*--cache"):
        prepared(f"folder:{folder}", cache)


def test_a_bad_file_is_named_with_the_reason_and_the_way_out(tmp_path):
    (tmp_path / "bowl").mkdir()
    (tmp_path / "bowl/bad.off").write_text("OFF\n3 1 0\n")
    with pytest.raises(InputError) as error:
        prepared(f"folder:{tmp_path}", tmp_path / "cache")
    assert "folder:bowl/bad.off: it is cut off" in str(error.value)
    assert "--skip-bad" in str(error.value)


def test_skipping_takes_the_next_and_says_so(folder, tmp_path):
    for letter in "bcd":
        (folder / f"bowl/{letter}.off").write_text(f"OFF\n{letter}\n")
    base, warnings = prepared(f"folder:{folder}", tmp_path / "cache", skip_bad=True)
    assert base.origin == "folder:bowl/a.off"
    (choice,) = choose(BOWL, parse_source(f"folder:{folder}"), 0)
    names = [candidate.name for _, candidate in choice.offers]
    assert len(warnings) == names.index("bowl/a.off")
    for name, warning in zip(names, warnings, strict=False):
        assert warning.startswith(f"skipped base mesh folder:{name}: it is not a valid OFF")


def test_skipping_everything_is_an_error_unless_filled(tmp_path):
    (tmp_path / "bowl").mkdir()
    (tmp_path / "bowl/bad.off").write_text("OFF\n3 1 0\n")
    with pytest.raises(InputError, match="None is left to try"):
        prepared(f"folder:{tmp_path}", tmp_path / "cache", skip_bad=True)
    base, warnings = prepared(f"folder:{tmp_path}", tmp_path / "cache", skip_bad=True, fill=True)
    assert base.origin == "procedural:bowl/soup_bowl"
    assert len(warnings) == 1


def test_designs_are_cached_by_what_they_are_made_with(tmp_path):
    blender = CubeMaker()
    first, _ = prepared("procedural", tmp_path, blender=blender)
    second, _ = prepared("procedural", tmp_path, blender=blender)
    assert (first, blender.made) == (second, 1)
    newer, _ = prepared("procedural", tmp_path, blender=CubeMaker("4.6"))
    assert newer.path != first.path
    assert newer.sha256 == first.sha256
