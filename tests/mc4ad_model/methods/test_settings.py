# SPDX-License-Identifier: Apache-2.0
"""Files that settings name, here and where they were sent."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydantic")
pytest.importorskip("torch")

from mc4ad_model.methods import method_class
from mc4ad_model.methods.settings import files_at, place_of


def test_files_that_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("enc").mkdir()
    for name in ("encoder.json", "encoder.safetensors", "checkpoint-1.json"):
        Path("enc", name).touch()
    Path("resnet18.pth").write_bytes(b"weights")
    kind = method_class("ismp").Settings
    settings = kind.load(None, ["encoder=enc", "backbone=resnet18.pth"])
    assert settings.given_files == {
        "enc": [Path("enc/encoder.json"), Path("enc/encoder.safetensors")],
        "resnet18.pth": [Path("resnet18.pth")],
    }
    assert kind.load(None, ["encoder=missing"]).given_files == {"missing": []}
    assert kind.load().given_files == {} == method_class("mc4ad").Settings.load().given_files


def test_a_label_is_the_same_where_the_files_were_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("enc").mkdir()
    Path("enc/encoder.json").write_text('{"origin": {"sha256": "0123456789"}}')
    Path("resnet18.pth").write_bytes(b"weights")
    changes = ["encoder=enc", "backbone=resnet18.pth"]
    settings = method_class("ismp").Settings.load(None, changes)
    label = settings.label
    assert "01234567" in label
    away = tmp_path / "away"
    away.mkdir()
    Path("enc").rename(away / "0")
    Path("resnet18.pth").rename(away / "1")
    assert settings.label != label
    with files_at({"enc": away / "0", "resnet18.pth": away / "1"}):
        assert settings.label == label and place_of("enc") == away / "0"
    assert place_of("enc") == Path("enc")
