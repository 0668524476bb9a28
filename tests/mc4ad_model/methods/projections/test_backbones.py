# SPDX-License-Identifier: Apache-2.0
"""Networks from torchvision's files: what is taken, what is refused, and what tables call it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from torch import Tensor

from intravariance.errors import InputError, IntegrityError
from mc4ad_model.methods.projections.backbones import (
    backbone_label,
    describe,
    load_backbone,
    read_published,
    save_backbone,
)
from mc4ad_model.methods.projections.resnet import PUBLISHED, ResNetConfig
from tests.support.backbones import drawn


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return drawn(PUBLISHED).network.state_dict()


@pytest.fixture(scope="module")
def file(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "resnet18-00000000.pth"
    torch.save(state, path)
    return path


def test_a_published_file_is_taken_as_it_is_and_named_by_its_hash(file, state) -> None:
    found = read_published(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.origin == {"file": file.name, "sha256": digest, "public": False}
    assert found.parameters == 11_689_512
    assert not found.network.training
    for name, tensor in found.network.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert digest in describe(found) and "not torchvision's" in describe(found)
    assert backbone_label(str(file)) == f"backbone=file-{digest[:8]}"
    assert backbone_label("/nowhere/mine.pth") == "backbone=mine"
    assert backbone_label("") == "backbone=self-trained"


def test_older_files_count_no_batches(state, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    image = torch.zeros((1, 3, 32, 32))
    with torch.no_grad():
        expected = drawn(PUBLISHED).network(image)
        assert torch.equal(read_published(path).network(image), expected)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layer1.0.conv1.weight": None}, r"missing: layer1\.0\.conv1\.weight"),
        ({"fc.weight": torch.zeros((10, 512))}, r"another shape: fc\.weight \(10, 512\), expected"),
        ({"head.weight": torch.zeros(3)}, r"unexpected: head\.weight"),
        ({"bn1.bias": torch.full((64,), np.nan)}, r"bn1\.bias has numbers that are not finite"),
    ],
)
def test_other_networks_are_refused(state, tmp_path: Path, change, named) -> None:
    path, content = tmp_path / "other.pth", {**state, **change}
    torch.save({k: v for k, v in content.items() if v is not None}, path)
    with pytest.raises(InputError, match=named):
        read_published(path)


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (__import__("os").mkdir, ("made by a pickle",))


def test_no_pickle_runs_and_damage_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": _Code()}, "code.pth")
    with pytest.raises(InputError, match=r"code\.pth holds .*mkdir"):
        read_published(Path("code.pth"))
    assert not Path("made by a pickle").exists()
    Path("page.pth").write_text("<!DOCTYPE html><p>Not found")
    with pytest.raises(InputError, match=r"page\.pth is a web page"):
        read_published(Path("page.pth"))
    with pytest.raises(InputError, match=r"gone\.pth does not exist"):
        read_published(Path("gone.pth"))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    backbone = drawn(ResNetConfig(width=3, classes=7))
    save_backbone(tmp_path, backbone)
    again = load_backbone(tmp_path)
    assert again.origin == backbone.origin and again.network.config == backbone.network.config
    for name, tensor in again.network.state_dict().items():
        assert torch.equal(tensor, backbone.network.state_dict()[name])
    path = tmp_path / "backbone.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"backbone\.safetensors"):
        load_backbone(tmp_path)
