# SPDX-License-Identifier: Apache-2.0
"""`iv import`, and what comes after it, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from intravariance.cloud_files import write_text
from intravariance.commands.import_ import import_command
from intravariance.commands.info import info_command
from intravariance.commands.verify import verify_command
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.layouts import READERS
from tests.support.foreign_trees import ball, real3d_tree, shapenet_class, write_tree

RUN = "from intravariance.commands.import_ import import_command; import_command()"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(import_command, ["--jobs", "1", *map(str, arguments)])


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    write_tree(folder / "real3d", real3d_tree())
    write_tree(folder / "shapenet", shapenet_class("cap0", {"bulge": 2, "crak": 1}, count=400))
    return folder


@pytest.fixture(scope="module")
def files(trees: Path) -> dict[str, Path]:
    """Import both trees."""
    found = {}
    for name in ("real3d", "shapenet"):
        found[name] = trees / f"{name}.h5"
        result = run("auto", trees / name, "--out", found[name], "--quiet")
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{found[name]}: ") and not result.stderr
    return found


def test_json(trees: Path, tmp_path: Path, files: dict[str, Path]) -> None:
    out = tmp_path / "f.h5"
    result = run("anomaly-shapenet", trees / "shapenet", "--out", out, "--json")
    report = json.loads(result.stdout)
    with open_dataset(out) as dataset, open_dataset(files["shapenet"]) as same:
        assert report["content_digest"] == dataset.digest == same.digest
        assert report["samples"] == len(dataset)
        assert report["specification"] == dataset.specification.to_dict()
    assert "anomaly-shapenet: 9 clouds of 1 categories" in result.stderr


def test_dry_run_lists_the_samples_and_writes_nothing(
    trees: Path, tmp_path: Path, files: dict[str, Path]
) -> None:
    line = ("auto", trees / "shapenet", "--out", tmp_path / "f.h5", "--dry-run")
    planned = json.loads(run(*line, "--json").stdout)["samples"]
    with open_dataset(files["shapenet"]) as dataset:
        made = [(r.id, r.category, r.split, r.defect) for r in dataset]
    kinds = ("id", "category", "split", "defect")
    assert [tuple(sample[kind] for kind in kinds) for sample in planned] == made
    plain = run(*line)
    assert plain.stdout.count("sample  ") == len(made)
    assert f"{len(made)} samples; nothing was written (--dry-run)" in plain.stderr
    assert not list(tmp_path.iterdir())
    exists = run("auto", trees / "shapenet", "--out", files["shapenet"], "--dry-run")
    assert isinstance(exists.exception, InputError) and "exists" in str(exists.exception)
    restored = run("hf-parquet", trees, "--out", tmp_path / "f.h5", "--dry-run")
    assert "--dry-run: of no use" in str(restored.exception)


def test_skipped_clouds_are_named(tmp_path: Path) -> None:
    files = {name: data for name, data in real3d_tree(60).items() if name.startswith("duck")}
    files["duck/test/4_good.pcd"] = b""
    root = write_tree(tmp_path / "tree", files)
    arguments = ("real3d-ad", root, "--out", tmp_path / "f.h5")
    result = run(*arguments)
    assert isinstance(result.exception, InputError) and "--skip-bad" in str(result.exception)
    result = run(*arguments, "--skip-bad")
    assert "8 samples, 1 skipped" in result.stdout
    assert "skipped  duck/test/4_good.pcd: it is empty" in result.stderr
    assert "carrying on: 8 of 9 samples exist" in result.stderr


def test_choices_and_files_left_out(tmp_path: Path) -> None:
    points, labels = ball(60, np.random.default_rng(0), bump=0.3)
    masked = write_text(points, labels=labels, header=True).replace(b" 1\n", b" 3\n")
    files = {
        "train/a.xyz": write_text(points),
        "test/dent/b.xyz": masked + b"nan nan nan 0\n0 0 0 0\n",
        "test/dent/c.bin": b"x",
    }
    root = write_tree(tmp_path / "tree", files)
    arguments = ("folder", root, "--out", tmp_path / "f.h5", "--quiet")
    assert "--drop-no-return" in str(run(*arguments).exception)
    dropping = (*arguments, "--drop-no-return")
    assert "--anomalous-labels 3;" in str(run(*dropping).exception)
    result = run(*dropping, "--anomalous-labels", "1-3", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("not read: 1 .bin (test/dent/c.bin)")
    report = json.loads(result.stdout)
    assert report["dropped"] == {"test/dent/b": 2}
    assert report["left_out"]["kinds"] == {".bin": {"count": 1, "files": ["test/dent/c.bin"]}}
    with open_dataset(tmp_path / "f.h5") as dataset:
        assert max(record.n_anomalous for record in dataset) == labels.sum()
    result = run(*dropping, "--anomalous-labels", "1-3", "--force")
    assert "--drop-no-return left out 2 points of 1 clouds (test/dent/b 2)" in result.stderr
    assert "--anomalous-labels x: expected" in str(
        run(*arguments, "--anomalous-labels", "x").exception
    )


def test_help_and_message_name_every_layout(trees: Path, tmp_path: Path) -> None:
    shown = run("--help").stdout
    result = run("other", trees / "real3d", "--out", tmp_path / "f.h5")
    for name in ("auto", *READERS, "hf-parquet"):
        assert name in shown and name in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("real3d", "real3d"), "layout real3d: expected one of auto, mvtec-3d-ad, "),
        (("auto", "nowhere"), "expected a folder or a .zip file, found nothing"),
        (("mvtec-3d-ad", "real3d"), "is not in the layout mvtec-3d-ad"),
    ],
)
def test_what_cannot_be_read(
    trees: Path, tmp_path: Path, arguments: tuple[str, str], message: str
) -> None:
    result = run(arguments[0], trees / arguments[1], "--out", tmp_path / "f.h5")
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_info_and_verify(files: dict[str, Path]) -> None:
    for file in files.values():
        shown = CliRunner().invoke(info_command, [str(file)])
        assert "none added by iv; what the imported clouds have, which is unknown" in shown.stdout
        assert "imported        yes" in shown.stdout
        checked = CliRunner().invoke(verify_command, [str(file)])
        assert checked.exit_code == 0
        assert (
            "surface         -       not applicable: nothing says where the surface of a scan was"
            in checked.stdout
        )
        assert "Measured, not judged" in checked.stdout


def test_killed_it_carries_on(tmp_path: Path) -> None:
    clouds = {name: data for name, data in real3d_tree(10_000).items() if "duck" in name}
    root = write_tree(tmp_path / "tree", clouds)  # large enough that some are left to do
    out = tmp_path / "killed.h5"
    arguments = ["auto", str(root), "--out", str(out), "--jobs", "1"]
    process = subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if any(tmp_path.glob("killed.h5.partial/samples/*.h5")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it finished before it was killed"
    assert not out.exists()
    result = run(*arguments)
    assert result.exit_code == 0 and "carrying on: " in result.stderr
    whole = json.loads(run("auto", root, "--out", tmp_path / "whole.h5", "--json").stdout)
    with open_dataset(out) as dataset:
        assert dataset.digest == whole["content_digest"]
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["real3d", "shapenet"])
@pytest.mark.parametrize("frame", ["own", "registered"])
def test_a_network_trains_on_it(
    files: dict[str, Path], name: str, frame: str, tmp_path: Path
) -> None:
    """The commands themselves, without a setting for what scans lack: meshes."""
    pytest.importorskip("torch")
    from mc4ad_model.commands.evaluate import evaluate_command  # noqa: PLC0415 - weight
    from mc4ad_model.commands.train import train_command  # noqa: PLC0415 - weight
    from tests.support.runs import TINY  # noqa: PLC0415 - weight

    with open_dataset(files[name]) as dataset:
        category = dataset.categories[0]
    rotation = "so3" if frame == "own" else "none"
    settings = [*TINY, f"data.frame={frame}", f"data.rotation={rotation}"]
    words = ["--data", str(files[name]), "--category", category, "--out", str(tmp_path / "run")]
    words += ["--preset", "released", "--workers", "0", "--device", "cpu", "--quiet"]
    words += [word for setting in settings for word in ("--set", setting)]
    refused = CliRunner().invoke(train_command, [*words, "--track", "meshes"])
    assert isinstance(refused.exception, InputError)
    assert "take --track clouds" in str(refused.exception)
    trained = CliRunner().invoke(train_command, words)
    assert trained.exit_code == 0, trained.output
    evaluation = ["--data", str(files[name]), "--run", str(tmp_path / "run"), "--quiet", "--json"]
    evaluated = CliRunner().invoke(evaluate_command, evaluation)
    assert evaluated.exit_code == 0, evaluated.output
    printed = json.loads(evaluated.stdout)
    assert printed["track"] == "clouds"
    assert np.isfinite(printed["categories"][category]["metrics"]["o_auroc"])
