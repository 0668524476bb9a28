# SPDX-License-Identifier: Apache-2.0
"""`iv pretrain`, and an encoder in `iv train`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

import torch

from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from mc4ad_model.runs.run_folder import find_runs
from tests.mc4ad_model.methods.point_mae.test_encoders import published
from tests.support.samples import make_dataset


def iv(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(item) for item in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    categories = (Category("ball", ("round_ball",), 1, 1, {"bulge": 1}),)
    specification = Specification("small", "Small", (1100, 1200), categories)
    return make_dataset(tmp_path_factory.mktemp("pretrain") / "small.h5", specification)


def test_an_encoder_is_trained_and_used(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    command = ("pretrain", "--data", data, "--out", out, "--steps", 2, "--batch", 2, "--quiet")
    result = iv(*command, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["encoder"] == str(out) and found["parameters"] == 782_080
    assert found["origin"]["steps"] == 2 and found["origin"]["network"]["width"] == 96
    assert {path.name for path in out.iterdir()} == {"encoder.json", "encoder.safetensors"}
    before = (out / "encoder.safetensors").read_bytes()
    again = iv(*command)
    assert again.exit_code == 2 and "holds an encoder" in again.stderr
    assert iv(*command, "--force").exit_code == 0
    assert (out / "encoder.safetensors").read_bytes() == before
    run = tmp_path / "run"
    small = ("--set", "centres=50", "--set", "group_size=32", "--quiet")
    used = ("--method", "m3dm", "--set", f"encoder={out}", *small)
    assert iv("train", "--data", data, "--out", run, *used).exit_code == 0
    assert find_runs(run)[0].settings.label == "m3dm-pointmae=self-trained"


def test_dry_run_says_how_it_would_be_trained(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    result = iv("pretrain", data, "--out", out, "--steps", 7, "--dry-run", "--json")
    planned = json.loads(result.stdout)["planned"]
    assert planned["steps"] == 7 and planned["batch"] == 16 and planned["network"]["width"] == 96
    assert not out.exists()


def test_a_published_checkpoint_is_read_and_its_hash_is_printed(tmp_path: Path) -> None:
    torch.save({"base_model": published()}, tmp_path / "a.pth")
    out = tmp_path / "encoder"
    result = iv("pretrain", "--checkpoint", tmp_path / "a.pth", "--out", out)
    assert result.exit_code == 0, result.output
    origin = json.loads((out / "encoder.json").read_text())["origin"]
    assert f"sha256 {origin['sha256']} (not the public weights)" in result.stdout
    assert f"pointmae=file-{origin['sha256'][:8]}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either a dataset FILE to train on, or --checkpoint FILE"),
        (("--checkpoint", "none.pth"), "none.pth does not exist"),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path: Path) -> None:
    result = iv("pretrain", "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_a_folder_that_is_something_elses_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = iv("pretrain", "--data", data, "--out", tmp_path, "--force")
    assert result.exit_code == 2 and "holds notes.txt, which is no encoder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["checkpoint-notes.txt", "encoder.safetensors", "checkpoint-dir/"])
def test_files_that_only_look_like_an_encoders_are_left_alone(name: str, tmp_path: Path) -> None:
    torch.save({"base_model": published()}, tmp_path / "a.pth")
    out = tmp_path / "out"
    out.mkdir()
    if name.endswith("/"):
        (out / name).mkdir()
    else:
        (out / name).write_text("mine")
    result = iv("pretrain", "--checkpoint", tmp_path / "a.pth", "--out", out)
    assert result.exit_code == 2 and str(out) in result.stderr
    assert [path.name for path in out.iterdir()] == [name.rstrip("/")]
    assert (out / name).is_dir() or (out / name).read_text() == "mine"


def test_an_output_that_is_a_file_is_named(tmp_path: Path) -> None:
    torch.save({"base_model": published()}, tmp_path / "a.pth")
    result = iv("pretrain", "--checkpoint", tmp_path / "a.pth", "--out", tmp_path / "a.pth")
    assert result.exit_code == 2 and "a.pth: is no folder" in result.stderr


def test_an_encoder_outlives_data_that_cannot_be_learnt_from(tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    torch.save({"base_model": published()}, tmp_path / "a.pth")
    assert iv("pretrain", "--checkpoint", tmp_path / "a.pth", "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    categories = (Category("ball", ("round_ball",), 1, 1, {"bulge": 1}),)
    small = make_dataset(
        tmp_path / "small.h5", Specification("small", "Small", (300, 400), categories)
    )
    for data in (tmp_path / "typo.h5", small):
        result = iv("pretrain", "--data", data, "--out", out, "--force", "--quiet")
        assert result.exit_code == 2
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
