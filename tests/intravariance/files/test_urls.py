# SPDX-License-Identifier: Apache-2.0
"""Places in object stores as paths, and what is said when a store does not answer."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[scale]'")

import fsspec

from intravariance.dataset.sample_names import split_target
from intravariance.errors import InputError
from intravariance.files.urls import Url, asking, has_pattern, matching, parse_place, size_of


@pytest.mark.parametrize(
    "text", ["s3://bucket/a/group2.h5", "memory://a.h5", "hf://datasets/o/n/g.h5", "gs://b/x-*.h5"]
)
def test_a_url_is_a_path(text: str) -> None:
    place = parse_place(text)
    assert isinstance(place, Url) and str(place) == text and f"{place}" == text
    assert place.name == text.rsplit("/", 1)[1] and place.suffix == ".h5"
    assert str(place.with_name("b.json")) == f"{text.rsplit('/', 1)[0]}/b.json"
    assert str(place.parent / "c" / "d.h5") == f"{text.rsplit('/', 1)[0]}/c/d.h5"
    again = pickle.loads(pickle.dumps(place))
    assert again == place and isinstance(again, Url) and hash(again) == hash(place)
    assert parse_place(place) is place and parse_place(Path(text)) == place
    assert has_pattern(place) == ("*" in text)


@pytest.mark.parametrize("text", ["a.h5", "/a/b.h5", "a:b.h5", "x.h5:vase/bulge", "C:/a.h5", "s3:"])
def test_other_paths_are_paths(text: str) -> None:
    assert type(parse_place(text)) is type(Path(text))


def test_samples_of_files_in_stores() -> None:
    place = parse_place("s3://b/g.h5")
    assert split_target("s3://b/g.h5") == (place, "")
    assert split_target("s3://b/g.h5:vase/bulge") == (place, "vase/bulge")
    assert split_target("s3://b/g.index.json:x")[0].name == "g.index.json"


def test_what_a_store_is_asked() -> None:
    store = fsspec.filesystem("memory")
    store.pipe_file("/urls/a-1.h5", b"12345")
    store.pipe_file("/urls/a-2.h5", b"")
    folder = parse_place("memory://urls")
    assert (folder.is_dir(), folder.is_file(), folder.exists()) == (True, False, True)
    file = folder / "a-1.h5"
    assert (file.is_dir(), file.is_file(), file.exists()) == (False, True, True)
    assert not (folder / "b.h5").exists() and not (folder / "b.h5").is_file()
    assert size_of(file) == 5 and file.read_bytes() == b"12345" and file.resolve() == file
    assert matching(folder / "a-*.h5") == [file, folder / "a-2.h5"]
    stream = file.stream()
    assert stream.seek(1) == 1 and stream.read(2) == b"23" and stream.tell() == 3
    with pytest.raises(OSError, match="ends too early"):
        stream.readinto(memoryview(bytearray(9)))
    with pytest.raises(InputError, match=r"memory://urls/b\.h5: cannot be read: there is no such"):
        (folder / "b.h5").read_bytes()


def test_errors_of_clients_are_told_with_the_place() -> None:
    url = Url("s3://b/c.h5")
    with pytest.raises(InputError, match=r"^nosuch://a/b: cannot be read: Protocol not known"):
        parse_place("nosuch://a/b").exists()
    for error, said in (
        (PermissionError("Forbidden"), r"no right to it \(Forbidden\); see your credentials"),
        (FileNotFoundError("x"), "there is no such file or bucket"),
        (RuntimeError("one\ntwo"), "cannot be written: one$"),
        (RuntimeError(), "cannot be written: RuntimeError$"),
    ):
        with pytest.raises(InputError, match=said), asking(url, "written"):
            raise error
