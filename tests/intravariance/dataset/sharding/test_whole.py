# SPDX-License-Identifier: Apache-2.0
"""All shards of a build, read as the one file: by index, by pattern, in other processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intravariance.dataset.opening import open_file
from intravariance.dataset.sharding import handles
from intravariance.dataset.sharding.shards import Shard
from intravariance.dataset.sharding.whole import dataset_name, is_dataset, is_there, is_whole
from intravariance.dataset.store import Dataset, open_dataset, open_shards
from intravariance.errors import InputError, IntegrityError
from intravariance.verification.verify import verify
from tests.support.samples import (
    assert_same,
    make_dataset,
    make_shard,
    metadata,
    small_specification,
    split_dataset,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one.h5, and the same in three shards: s-*.h5 and s.index.json."""
    folder = tmp_path_factory.mktemp("whole")
    split_dataset(make_dataset(folder / "s.h5"), 3)
    (folder / "s.h5").rename(folder / "one.h5")
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


NAMES = ("s.index.json", "s-*-of-00003.h5", "s-0000[0-2]-of-00003.h5", "s-?????-of-*.h5")


@pytest.mark.parametrize("name", NAMES)
def test_shards_are_read_as_the_one_file(folder: Path, name: str) -> None:
    one, whole = open_dataset(folder / "one.h5"), open_dataset(folder / name)
    assert whole.digest == one.digest and whole.metadata == one.metadata
    assert whole.version == one.version and whole.categories == one.categories
    assert whole.specification == one.specification
    assert [record.id for record in whole] == [record.id for record in one]
    for number in (5, 0, len(one) - 1, -2):  # in any order
        assert_same(whole[number].load(), one[number].load())
        assert_same(whole[one[number].id].load(), one[number].load())
    for own, record in zip(whole, one, strict=True):
        np.testing.assert_equal(
            {n: getattr(own, n) for n in ("digest", "snr", "difficulty", "n_anomalous")},
            {n: getattr(record, n) for n in ("digest", "snr", "difficulty", "n_anomalous")},
        )
        assert own.path == whole.path and own.file in whole.files
    bulges = whole.filter(category="ball", defect="bulge")
    assert [r.id for r in bulges] == [r.id for r in one.filter(category="ball", defect="bulge")]
    with pytest.raises(InputError, match="no defect crack; the file has bulge, missing, normal"):
        whole.filter(defect="crack")
    assert [len(part) for part in whole.parts] == [10, 9, 9]
    assert [part.path for part in whole.parts] == whole.files


def test_what_a_name_means(folder: Path, tmp_path: Path) -> None:
    starred = tmp_path / "a*b.h5"
    shutil.copy(folder / "one.h5", starred)
    assert not is_whole(starred) and len(open_dataset(starred)) == 28  # a file that is called so
    assert is_whole(folder / "s-*.h5") and not is_whole(folder / "s-00000-of-00003.h5")
    assert is_there(folder / "s-*.h5") and not is_there(folder / "t-*.h5")
    assert all(is_dataset(Path(n)) for n in ("a.H5", "a.hdf5", "a.index.json", "a-*.h5"))
    assert not any(is_dataset(Path(n)) for n in ("a.json", "a.ply", "index.json", "a-*"))
    names = {"a/g2.h5": "g2", "a/g2.index.json": "g2", "g2-*-of-00003.h5": "g2"}
    names |= {"g2-0000[01]-of-00002.h5": "g2", "g2-00000-of-00003.h5": "g2-00000-of-00003"}
    assert {name: dataset_name(Path(name)) for name in names} == names
    with pytest.raises(InputError, match=r"t-\*\.h5: no file has a name like this"):
        open_dataset(folder / "t-*.h5")


def total(what: Any) -> float:
    """Sum the first coordinates; in the module's scope so that spawned processes find it."""
    return float(sum(record.points[:, 0].astype(np.float64).sum() for record in what))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_for_themselves(folder: Path, method: str) -> None:
    whole = open_dataset(folder / "s.index.json").filter(split="test")
    here = total(whole)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(total, [whole, whole, [whole[0]]])[:2] == [here, here]
    again = pickle.loads(pickle.dumps(whole))
    assert again.digest == whole.digest and again.metadata == whole.metadata
    assert [r.id for r in again.filter(category="ball")] == [
        r.id for r in whole.filter(category="ball")
    ]
    assert max(len(pickle.dumps(record)) for record in whole) < 1000


def open_files() -> int:
    return sum(name.endswith(".h5") for name in map(_target, os.listdir("/proc/self/fd")))


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files in /proc")
def test_few_files_are_open_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "MOST_OPEN", 2)
    handles._forget()
    before = open_files()
    whole = open_dataset(folder / "s-*.h5")
    expected = [record.digest for record in whole]
    for record in whole:
        assert record.load().digest == record.digest
        assert open_files() - before <= 2
    with ThreadPoolExecutor(8) as pool:  # each lets go what another one reads
        found = list(pool.map(lambda record: record.load().digest, list(whole) * 5))
    assert found == expected * 5
    whole.close()
    assert open_files() == before
    _ = whole[0].points
    del whole, record
    assert open_files() <= before + 1  # of what was shared, until it is collected


def test_a_file_is_opened_anew_after_some_reads(
    copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = []

    def counted(*what: object) -> h5py.File:
        opened.append(what)
        return open_file(*what)

    monkeypatch.setattr(handles, "open_file", counted)
    monkeypatch.setattr(handles, "READS_AT_ONCE", 4)
    handles._forget()  # files that other tests left open
    with open_dataset(copy / "one.h5") as dataset:
        begun = len(opened)
        for record in dataset:
            assert record.load().digest == record.digest
    assert len(opened) - begun == pytest.approx(28 / 5, abs=1)


def test_verify_checks_each_shard_and_the_whole(copy: Path) -> None:
    report = verify(copy / "s.index.json")
    checks = {check.name: check for check in report.checks}
    assert report.passed, report.failures()
    assert report.digest == open_dataset(copy / "one.h5").digest
    assert checks["shards"].message == "3 files, each with the digest recorded in it"
    assert checks["counts"].message == "ball 14, brick 14" or "ball" in checks["counts"].message
    one = verify(copy / "one.h5")
    assert {(c.name, c.message) for c in one.checks} == {
        (c.name, c.message) for c in report.checks if c.name != "shards"
    }
    assert one.probes == report.probes
    with h5py.File(copy / "s-00001-of-00003.h5", "r+") as file:
        group = file[
            "ball/test/ball_test_000"
            if "ball_test_000" in file["ball/test"]
            else next(f"ball/test/{name}" for name in file["ball/test"])
        ]
        group["labels"][0] ^= 1
        file["brick"].create_group("more")
    failed = {c.name: c.message for c in verify(copy / "s-*.h5").checks if not c.passed}
    assert failed["shards"] == "s-00001-of-00003.h5: the content does not have the digest recorded"
    assert "s-00001-of-00003.h5: /brick/more: does not belong here" in failed["structure"]
    assert {"digests", "content digest"} <= failed.keys()
    assert verify(copy / "s-00000-of-00003.h5", probes=False).passed


# --- what does not belong together


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / "s-00001-of-00003.h5").unlink()
    with pytest.raises(InputError, match=r"1 of 3 shards are not beside it: s-00001-of-00003\.h5"):
        open_dataset(copy / "s.index.json")
    with pytest.raises(InputError, match=r"1 of 3 shards are missing: 1\. .*--shard 1/3"):
        open_dataset(copy / "s-*.h5")


def test_shards_of_other_builds_are_refused(copy: Path) -> None:
    path = copy / "s-00001-of-00003.h5"
    path.unlink()
    make_shard(copy / "s.h5", Shard(1, 3), metadata(small_specification(), seed=1))
    with pytest.raises(InputError, match="different builds: identity seed is 1 and 0"):
        open_dataset(copy / "s-*.h5")
    path.unlink()
    make_shard(copy / "s.h5", Shard(1, 3), made_with={"code": "xyz"})
    with pytest.raises(InputError, match="different builds: made with code is xyz and abc"):
        open_dataset(copy / "s-*-of-00003.h5")
    with pytest.raises(InputError, match=r"one\.h5 is no shard of a build"):
        open_dataset(copy / "*.h5")


def test_a_sample_in_two_shards_is_refused(copy: Path) -> None:
    path = copy / "s-00001-of-00003.h5"
    path.unlink()
    with open_dataset(copy / "s-00000-of-00003.h5") as other:
        named = iter([record.id for record in other])
    make_shard(copy / "s.h5", Shard(1, 3), change=lambda s: replace(s, id=next(named)))
    with pytest.raises(InputError, match=r"s-00000-of-00003\.h5 and .*both hold the sample"):
        open_dataset(copy / "s-*-of-00003.h5")


Lie = Callable[[dict[str, Any]], None]


def swapped(content: dict[str, Any]) -> None:
    content["shards"][0], content["shards"][1] = content["shards"][1], content["shards"][0]


def other_digest(content: dict[str, Any]) -> None:
    digests = content["shards"][2]["digests"]
    digests[next(iter(digests))] = "0" * 64


def other_order(content: dict[str, Any]) -> None:
    shard = content["shards"][2]
    shard["digests"] = dict(reversed(shard["digests"].items()))


def fewer_samples(content: dict[str, Any]) -> None:
    shard = content["shards"][2]
    shard["digests"].popitem()
    shard["samples"] -= 1
    content["samples"] -= 1


def fewer_shards(content: dict[str, Any]) -> None:
    content["samples"] -= content["shards"].pop()["samples"]


def put(place: str, value: object) -> Lie:
    def lie(content: dict[str, Any]) -> None:
        content["shards"][1][place] = value

    return lie


LIES: dict[str, tuple[Lie, str]] = {
    "count": (put("samples", 5), r"s-00001-of-00003\.h5 has 5 samples, and 9 are listed"),
    "count of all": (lambda c: c.update(samples=3), "says that there are 3 samples, and lists 28"),
    "size": (put("bytes", 7), r"says that s-00001-of-00003\.h5 has 7 bytes, and it has \d+"),
    "digest of a shard": (put("content_digest", "0"), "has the content digest 0, and it has "),
    "digest of all": (
        lambda c: c.update(content_digest="0"),
        "says that the whole has the content digest 0, and it has ",
    ),
    "digest of a sample": (
        other_digest,
        r"has sample ball_test_000 of digest 0+\.\.\. .*and it has ball_test_000 of .* there",
    ),
    "order of samples": (other_order, "says that .* has sample .*, and it has .* there"),
    "order of shards": (swapped, r"has the place of shard 0, and it has that of shard 1"),
    "fewer samples": (fewer_samples, "has 8 samples, and it has 9"),
    "fewer shards": (fewer_shards, "1 of 3 shards are missing: 2"),
    "no shards": (lambda c: c.update(shards=[], samples=0), "lists no shard"),
    "elsewhere": (put("file", "../one.h5"), r"'\.\./one\.h5', which does not lie beside"),
    "absolute": (put("file", "/elsewhere/one.h5"), "does not lie beside the index; refused"),
    "another": (put("file", "s-00000-of-00003.h5"), r"says that s-00000-of-00003\.h5 has \d+ byte"),
    "the folder": (put("file", ".."), "does not lie beside the index; refused"),
    "no number": (put("bytes", "7"), "shard 1 has no bytes"),
    "no list": (lambda c: c.update(shards={}), "it has no shards"),
    "no shard": (lambda c: c["shards"].append(3), "shard 3 has no file"),
    "later version": (lambda c: c.update(format_version=2), "format version 2, this iv reads 1"),
    "something else": (lambda c: c.update(format="iv"), "not an index of shards"),
}


@pytest.mark.parametrize("which", LIES)
def test_an_index_that_lies_is_told(copy: Path, which: str) -> None:
    path, (lie, message) = copy / "s.index.json", LIES[which]
    content = json.loads(path.read_text())
    lie(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        open_dataset(path)
    assert str(error.value).startswith(str(path)) or which == "fewer shards"


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '"x"', "\0"])
def test_what_is_no_index(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.index.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.index\.json: (expected|not) an index of shards"):
        open_dataset(tmp_path / "a.index.json")
    with pytest.raises(InputError, match="no such file; `iv build --shards N`"):
        open_dataset(tmp_path / "b.index.json")


def test_a_shard_that_is_replaced_while_in_use_is_told(copy: Path, tmp_path: Path) -> None:
    whole = open_dataset(copy / "s-*.h5")
    pickled = pickle.dumps(whole)
    whole.close()
    other = make_shard(tmp_path / "s.h5", Shard(1, 3), metadata(small_specification(), seed=1))
    os.replace(other, copy / "s-00001-of-00003.h5")
    with pytest.raises(IntegrityError, match=r"s-00001-of-00003\.h5: was replaced by another file"):
        _ = [record.points for record in whole]
    again: Dataset = pickle.loads(pickled)
    with pytest.raises(IntegrityError, match=r"s-00001-of-00003\.h5: was replaced by another file"):
        _ = [record.points for record in again]
    for path in copy.glob("s-*.h5"):
        path.unlink()
    os.replace(
        make_shard(tmp_path / "u.h5", Shard(0, 1), metadata(small_specification(), seed=1)),
        copy / "s-00000-of-00001.h5",
    )
    with pytest.raises(IntegrityError, match="was replaced by other files while in use"):
        _ = pickle.loads(pickled).metadata


def test_a_damaged_shard_is_named(copy: Path) -> None:
    path = copy / "s-00002-of-00003.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises((IntegrityError, InputError), match=r"s-00002-of-00003\.h5"):
        open_dataset(copy / "s-*.h5")
    with pytest.raises(InputError, match=r"has \d+ bytes, and it has \d+"):
        open_dataset(copy / "s.index.json")


def test_files_named_one_by_one_are_a_whole_in_any_order(folder: Path) -> None:
    shards = sorted(folder.glob("s-*.h5"))
    with open_shards([shards[2], shards[0], shards[1]]) as whole:
        assert whole.files == shards
        assert pickle.loads(pickle.dumps(whole)).metadata == whole.metadata
