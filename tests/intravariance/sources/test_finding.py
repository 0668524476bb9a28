# SPDX-License-Identifier: Apache-2.0
"""Where meshes are found in folders and archives, and what is never read."""

import multiprocessing
import os
import struct
import zipfile
from dataclasses import replace

import pytest

from intravariance.dataset.specification_reader import load_group
from intravariance.errors import InputError
from intravariance.files.trees import FolderTree, ZipTree, open_tree
from intravariance.names import plain_name
from intravariance.sources import choose, parse_source
from intravariance.sources.synsets import SYNSETS
from tests.support.meshes_on_disk import box_off, category, specification, write, write_zip


def found(source, name, *subcategories):
    candidates = parse_source(source).candidates(category(name, *subcategories))
    return [(candidate.product, candidate.name) for candidate in candidates]


@pytest.mark.parametrize("text", ["", "proc", "folder", "folder:", "modelnet10:x", "/meshes"])
def test_an_unknown_source_is_refused_with_the_forms(text):
    with pytest.raises(InputError, match="procedural, folder:PATH, modelnet40:PATH, shapenet:PATH"):
        parse_source(text)


def test_a_missing_path_or_another_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        parse_source(f"folder:{tmp_path}/nowhere")
    (tmp_path / "meshes.rar").touch()
    with pytest.raises(InputError, match="a file of another kind"):
        parse_source(f"folder:{tmp_path}/meshes.rar")
    with pytest.raises(InputError, match="found nothing"):
        parse_source("folder:~nobody-of-this-name/meshes")


def test_labels_name_no_path_of_this_machine(tmp_path):
    folder = write(tmp_path / "mine", "bowl/a.off")
    assert parse_source(f"folder:{folder}").label == "folder:mine"
    assert parse_source(f"modelnet40:{folder}/").label == "modelnet40:mine"
    assert parse_source("procedural").label == "procedural"


@pytest.mark.parametrize("pack", [write, write_zip])
def test_folder_layout(tmp_path, pack):
    path = pack(
        tmp_path / "meshes.zip",
        "Bowl/b.OFF",
        "Bowl/a.stl",
        "Bowl/notes.txt",
        "Bowl/Soup-Bowl/deep/c.glb",
        "Bowl/.hidden.off",
        "__MACOSX/Bowl/a.off",
        "cup/a.obj",
        "a.off",
    )
    assert found(f"folder:{path}", "bowl") == [
        ("soup_bowl", "Bowl/Soup-Bowl/deep/c.glb"),
        ("a", "Bowl/a.stl"),
        ("b", "Bowl/b.OFF"),
    ]
    assert found(f"folder:{path}", "door") == []


def test_one_folder_around_everything_and_aliases(tmp_path):
    path = write_zip(tmp_path / "x.zip", "pack/raido/a.off", "pack/Night Stand/b.off")
    radio, stand = (
        next(c for c in load_group(2).categories if c.name == name)
        for name in ("radio", "night_stand")
    )
    source = parse_source(f"folder:{path}")
    assert [c.name for c in source.candidates(radio)] == ["pack/raido/a.off"]
    assert [c.name for c in source.candidates(stand)] == ["pack/Night Stand/b.off"]


def test_a_subcategory_named_like_its_category_is_listed_once(tmp_path):
    path = write(tmp_path / "meshes", "bowl/bowl/a.off", "bowl/b.off")
    assert found(f"folder:{path}", "bowl") == [("b", "bowl/b.off"), ("bowl", "bowl/bowl/a.off")]


def test_an_archive_with_a_member_without_a_name_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        nameless = zipfile.ZipInfo("x")
        nameless.filename = ""
        archive.writestr(nameless, b"")
    with pytest.raises(InputError, match=r"x\.zip has a member without a name"):
        found(f"folder:{path}", "bowl")


def test_a_member_whose_own_header_is_no_text_is_named(tmp_path):
    path = write_zip(tmp_path / "x.zip", "bowl/abc.off")
    content = bytearray(path.read_bytes())
    place = content.find(b"bowl/abc.off")
    content[place : place + 4] = b"\xff\xfe\xfd\xfc"
    content[place - 23] |= 8  # in the flags of the member's own header: its name is UTF-8
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.zip: bowl/abc\.off cannot be read"):
        parse_source(f"folder:{path}").read("bowl/abc.off")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_an_archive_holds_twice_is_one_mesh(tmp_path):
    path = write_zip(tmp_path / "x.zip", "bowl/a.off", "bowl/a.off")
    assert found(f"folder:{path}", "bowl") == [("a", "bowl/a.off")]
    assert parse_source(f"folder:{path}").read("bowl/a.off") == box_off(1.1).encode()


@pytest.mark.parametrize("root", ["", "ModelNet40/"])
@pytest.mark.parametrize("pack", [write, write_zip])
def test_modelnet40_layout(tmp_path, pack, root):
    path = pack(
        tmp_path / "ModelNet40.zip",
        f"{root}vase/train/vase_0001.off",
        f"{root}vase/test/vase_0476.off",
        f"{root}vase/train/.DS_Store",
        f"{root}vase/vase_9999.off",
        f"{root}vase/train/vase_0001.txt",
        f"{root}bowl/train/bowl_0001.off",
        f"__MACOSX/{root}vase/train/vase_0001.off",
    )
    assert found(f"modelnet40:{path}", "vase") == [
        ("vase_0476", f"{root}vase/test/vase_0476.off"),
        ("vase_0001", f"{root}vase/train/vase_0001.off"),
    ]


@pytest.mark.parametrize("tail", ["model.obj", "models/model_normalized.obj"])
@pytest.mark.parametrize("pack", [write, write_zip])
def test_shapenet_layouts(tmp_path, pack, tail):
    names = [f"ShapeNetCore/02880940/{i}/{tail}" for i in ("b1", "a2")]
    path = pack(tmp_path / "s.zip", *names, "ShapeNetCore/02880940/a2/images/texture.obj")
    assert found(f"shapenet:{path}", "bowl") == [
        (name.split("/")[2], name) for name in sorted(names)
    ]


def test_shapenet_as_archives_for_each_synset(tmp_path):
    write_zip(tmp_path / "02880940.zip", "02880940/a/models/model_normalized.obj")
    source = parse_source(f"shapenet:{tmp_path}")
    (candidate,) = source.candidates(category("bowl"))
    assert candidate.name == "02880940.zip/02880940/a/models/model_normalized.obj"
    assert source.read(candidate.name) == box_off(1.0).encode()
    # unpacked beside the archive: the same model, not a second one
    write(tmp_path, "02880940/a/models/model_normalized.obj")
    assert [c.name for c in source.candidates(category("bowl"))] == [
        "02880940/a/models/model_normalized.obj"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "up", "expected"),
    [
        ("folder", "bowl/a.off", None, "z"),
        ("folder", "bowl/a.GLB", None, "y"),
        ("folder", "bowl/a.glb", "z", "z"),
        ("folder", "bowl/a.off", "y", "y"),
        ("modelnet40", "bowl/train/a.off", None, "z"),
        ("shapenet", "02880940/a/model.obj", None, "y"),
        ("shapenet", "02880940/a/model.obj", "z", "z"),
    ],
)
def test_which_axis_points_up(tmp_path, kind, name, up, expected):
    assert parse_source(f"{kind}:{tmp_path}", up).up_axis(name) == expected


def test_embedded_designs_have_no_other_axis():
    with pytest.raises(InputError, match="--up y is for files"):
        parse_source("procedural", "y")


@pytest.mark.parametrize("pack", [write, write_zip])
def test_reading(tmp_path, pack):
    tree = open_tree(pack(tmp_path / "meshes.zip", "bowl/a.off", "bowl/b.off"))
    assert tree.read("bowl/b.off") == box_off(1.1).encode()
    with pytest.raises(InputError, match=r"c\.off"):
        tree.read("bowl/c.off")


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    write(tmp_path, "outside/secret.off", "meshes/bowl/a.off", "meshes/store/b.off")
    bowl = tmp_path / "meshes/bowl"
    (bowl / "file.off").symlink_to(tmp_path / "outside/secret.off")
    (bowl / "folder").symlink_to(tmp_path / "outside")
    (bowl / "inside.off").symlink_to("../store/b.off")
    (tmp_path / "meshes/cup").symlink_to(tmp_path / "outside")
    tree = FolderTree(tmp_path / "meshes")
    assert tree.files("bowl") == ["bowl/a.off", "bowl/inside.off"]
    assert found(f"folder:{tmp_path}/meshes", "cup") == []
    for name in ("bowl/file.off", "../outside/secret.off", str(tmp_path / "outside/secret.off")):
        with pytest.raises(InputError, match="outside"):
            tree.read(name)


def test_links_that_are_not_followed_are_told_and_followed_on_demand(tmp_path):
    write(tmp_path, "outside/secret.off", "outside/deep/b.off", "meshes/bowl/a.off")
    (tmp_path / "meshes/bowl/file.off").symlink_to("../../outside/secret.off")
    (tmp_path / "meshes/bowl/folder").symlink_to(tmp_path / "outside")
    (tmp_path / "meshes/bowl/round").symlink_to(".")  # a folder inside itself ends
    (tmp_path / "meshes/Cup").symlink_to(tmp_path / "outside")
    source = parse_source(f"folder:{tmp_path}/meshes")
    (note,) = source.left_out(category("bowl"))
    assert note.startswith("not followed: 3 links to folders or out of")
    assert "bowl/file.off -> ../../outside/secret.off" in note
    assert "--follow-links" in note
    (note,) = source.left_out(category("cup"))
    assert note.startswith("not followed: 1 link to")
    assert f"Cup -> {tmp_path}/outside" in note
    with pytest.raises(InputError, match=r"not followed: 1 link .*Cup"):
        choose(specification(cup=["one"]), source, 0)

    followed = parse_source(f"folder:{tmp_path}/meshes", follow_links=True)
    assert followed.left_out(category("bowl")) == []
    assert [c.name for c in followed.candidates(category("bowl"))] == [
        "bowl/a.off",
        "bowl/file.off",
        "bowl/folder/deep/b.off",
        "bowl/folder/secret.off",
    ]
    assert [c.name for c in followed.candidates(category("cup"))] == [
        "Cup/deep/b.off",
        "Cup/secret.off",
    ]
    assert followed.read("bowl/file.off") == box_off(1.0).encode()
    for name in ("../outside/secret.off", str(tmp_path / "outside/secret.off")):
        with pytest.raises(InputError, match="outside"):
            followed.read(name)


def test_shapenet_archives_and_models_behind_links(tmp_path):
    write_zip(tmp_path / "blobs/1f", "03001627/a/models/model_normalized.obj")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/03001627.zip").symlink_to("../blobs/1f")
    source = parse_source(f"shapenet:{tmp_path}/snapshot")
    assert source.candidates(category("chair")) == []
    assert "03001627.zip -> ../blobs/1f" in source.left_out(category("chair"))[0]
    followed = parse_source(f"shapenet:{tmp_path}/snapshot", follow_links=True)
    (candidate,) = followed.candidates(category("chair"))
    assert followed.read(candidate.name) == box_off(1.0).encode()


def test_files_of_kinds_that_are_not_read_are_counted(tmp_path):
    write(tmp_path, "bowl/a.off", "bowl/a.STEP", "bowl/x/b.step", "bowl/c.3mf", "cup/d.fbx")
    write(tmp_path, "bowl/a.mtl", "bowl/wood.PNG", "bowl/LICENSE.txt", "bowl/.hidden.step")
    (note,) = parse_source(f"folder:{tmp_path}").left_out(category("bowl"))
    assert note.startswith("files of kinds that are not read: 1 .3mf, 2 .step (read are off")


@pytest.mark.parametrize(
    ("name", "synset"),
    [("chair", "03001627"), ("flower pot", "03991062"), ("Trash-Bin", "02747177"),
     ("03001627", "03001627"), ("tap", "03325088"), ("cup", "03797390")],
)  # fmt: skip
def test_every_class_of_shapenet_has_a_name_and_a_number(tmp_path, name, synset):
    write(tmp_path, f"{synset}/m1/models/model_normalized.obj")
    wanted = replace(category("any"), name=name)
    assert [c.product for c in parse_source(f"shapenet:{tmp_path}").candidates(wanted)] == ["m1"]


def test_the_classes_of_shapenet_are_55_and_two_of_version_1():
    assert len(SYNSETS) == 55 + 2
    names = [name for names in SYNSETS.values() for name in names]
    assert len(set(names)) == len(names)
    assert all(name == plain_name(name) for name in names)


def test_a_link_to_itself_is_named(tmp_path):
    write(tmp_path, "bowl/a.off")
    (tmp_path / "bowl/loop.off").symlink_to("loop.off")
    tree = FolderTree(tmp_path)
    assert tree.files("bowl") == ["bowl/a.off", "bowl/loop.off"]
    with pytest.raises(InputError, match=r"loop\.off cannot be read"):
        tree.read("bowl/loop.off")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    (tmp_path / "meshes").mkdir(mode=0o300)
    with pytest.raises(InputError, match="meshes cannot be read"):
        found(f"folder:{tmp_path}/meshes", "bowl")


@pytest.mark.parametrize("name", ["../evil.off", "/evil.off", "bowl/../../evil.off", "c:evil.off"])
def test_an_archive_that_points_out_of_itself_is_not_used(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, "OFF")
    with pytest.raises(InputError, match="points out of the archive"):
        found(f"folder:{tmp_path}/x.zip", "bowl")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["x.zip"]


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"x\.zip is not a readable \.zip"):
        found(f"folder:{tmp_path}/x.zip", "bowl")


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("bowl/a.off", "w") as file,
    ):
        for _ in range(60):
            file.write(bytes(2**20))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="zip bomb"):
        ZipTree(path).read("bowl/a.off")


def patched(path, record: bytes, offset: int, value: bytes):
    """Overwrite bytes of the first local or central record, as a hostile archiver would."""
    data = bytearray(path.read_bytes())
    start = data.index(record) + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return ZipTree(path)


CENTRAL = b"PK\x01\x02"  # flags at 8, method at 10, CRC at 16, sizes at 20 and 24


def test_an_encrypted_member_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", "a.off")
    with pytest.raises(InputError, match="encrypted"):
        patched(path, CENTRAL, 8, b"\x01").read("a.off")


def test_a_member_that_declares_a_huge_size_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", "a.off")
    with pytest.raises(InputError, match="larger than 512 MiB"):
        patched(path, CENTRAL, 24, struct.pack("<I", 2**30)).read("a.off")


def test_a_member_that_declares_too_small_a_size_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", "a.off")
    with pytest.raises(InputError, match="cannot be read"):
        patched(path, CENTRAL, 24, struct.pack("<I", 10)).read("a.off")


def test_a_damaged_member_is_refused(tmp_path):
    path = write_zip(tmp_path / "x.zip", "a.off")
    with pytest.raises(InputError, match="cannot be read"):
        patched(path, b"PK\x03\x04", 60, bytes(20)).read("a.off")


def test_a_compression_that_cannot_be_bounded_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.off", "OFF")
    with pytest.raises(InputError, match="another way than deflate"):
        ZipTree(tmp_path / "x.zip").read("a.off")


def test_an_archives_directory_is_read_once(tmp_path, monkeypatch):
    """A process reads it once, whatever is done with the tree; a changed archive is read again."""
    opened = []

    class Counted(zipfile.ZipFile):
        def __init__(self, *args, **options):
            opened.append(os.getpid())
            super().__init__(*args, **options)

    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50):
            archive.writestr(f"{number}.off", str(number) * 9000)
    tree = ZipTree(path)
    assert len(tree.files("")) == 50
    opened.clear()
    for number in range(50):
        assert tree.read(f"{number}.off").decode() == str(number) * 9000
    assert opened == [os.getpid()]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        names = [f"{number}.off" for number in range(50)] * 4
        found = pool.map(tree.read, names, chunksize=1)
    assert found == [(name[:-4] * 9000).encode() for name in names]
    assert tree.read("7.off").decode() == "7" * 9000
    assert opened == [os.getpid()]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("3.off", "other")
    assert tree.read("3.off") == b"other"
