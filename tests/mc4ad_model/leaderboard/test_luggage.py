# SPDX-License-Identifier: Apache-2.0
"""The luggage of a job, and how its files come back, whatever happens meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from intravariance.errors import InputError, IVError
from mc4ad_model.leaderboard import luggage
from mc4ad_model.leaderboard.luggage import RanWith, coming, contents, pack, put

FILES = {
    "vase/run.json": b"{}",
    "vase/evaluation/metrics.json": b"{1}",
    "shared/network.safetensors": b"\0",
    "failure.txt": b"a fault",
}


def test_what_comes_back_is_what_was_sent(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    put(one, FILES)
    (one / "vase" / "x.json.partial").write_text("half")
    (one / "vase" / "evaluation.partial").mkdir()
    (one / "vase" / "evaluation.partial" / "metrics.json").write_text("half")
    (one / "vase.lock").touch()
    (one / "bowl").mkdir()
    sent = contents(one, ["vase", "shared", "failure.txt", "missing"])
    assert sent == FILES
    put(other, sent)
    assert contents(other, os.listdir(other)) == FILES and not coming(other).exists()


def test_a_folder_is_replaced_as_a_whole_and_the_others_stay(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    put(folder, FILES)
    put(folder, {"vase/run.json": b"[]", "bowl/run.json": b"{}"})
    assert contents(folder, ["vase", "bowl", "shared"]) == {
        "vase/run.json": b"[]",
        "bowl/run.json": b"{}",
        "shared/network.safetensors": b"\0",
    }


@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_refuses_leaves_no_folder_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    folder = tmp_path / "seed-0"
    put(folder, {"vase/run.json": b"old", "vase/method.json": b"old"})
    new = {"vase/run.json": b"new", "vase/method.json": b"new"}
    calls, write, rename = iter(range(9)), luggage.write_member, os.rename

    def refused(function, *given):
        if next(calls) == failing:
            raise OSError(28, "No space left on device")
        return function(*given)

    monkeypatch.setattr(luggage, "write_member", lambda *given: refused(write, *given))
    monkeypatch.setattr(luggage.os, "rename", lambda *given: refused(rename, *given))
    with pytest.raises(InputError, match="No space left"):
        put(folder, new)
    found = set(contents(folder, ["vase"]).values())
    assert found == {b"old"} or (not found and failing == 3)  # then the job is done again
    monkeypatch.undo()
    put(folder, new)
    assert contents(folder, ["vase"]) == new and os.listdir(tmp_path) == ["seed-0"]


@pytest.mark.parametrize("name", ["../vase/run.json", "/elsewhere/run.json", "vase/../../x", ""])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="a worker sent a file named"):
        put(tmp_path / "seed-0", {"vase/run.json": b"", name: b""})
    assert not os.listdir(tmp_path)


def test_what_is_too_large_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "seed-0", FILES)
    monkeypatch.setattr(luggage, "LARGEST", 4)
    with pytest.raises(IVError, match=r"seed-0: holds .* leave out --executor for this row"):
        contents(tmp_path / "seed-0", ["vase"])


def test_the_same_names_on_both_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = pack(Path("x.h5"), [Path("x.h5")], {}, {})
    assert one.data == "data/x.h5" and one.links == {"data/x.h5": tmp_path / "x.h5"}
    parts = [Path("parts-1/x.h5"), Path("parts-2/x.h5")]
    pattern = pack(Path("parts-*/x.h5"), parts, {}, {})
    assert pattern.data == "data/parts-*/x.h5"
    assert pattern.links == {f"data/{part}": tmp_path / part for part in parts}
    given = {
        "enc": [Path("enc/encoder.json"), Path("enc/encoder.safetensors")],
        "resnet18.pth": [Path("resnet18.pth")],
        "missing": [],
    }
    store = pack(Path("s3:/bucket/x.h5"), [], given, {"vase/run.json": b""})
    assert store.data == "" and store.begun == {"vase/run.json": b""}
    assert store.places == {"enc": "given-0", "resnet18.pth": "given-1/resnet18.pth"}
    assert store.links == {
        "given-0/encoder.json": tmp_path / "enc/encoder.json",
        "given-0/encoder.safetensors": tmp_path / "enc/encoder.safetensors",
        "given-1/resnet18.pth": tmp_path / "resnet18.pth",
    }


def test_what_must_be_the_same_names_a_package_that_is_not_there() -> None:
    name = "the package more-methods with the method breaks"
    found = RanWith((("method", "breaks", "more-methods"),))()
    assert found[name] == "" and {"iv", "numpy", "code", "mc4ad_model"} < found.keys()
    assert "+" not in found.get("torch", "")
