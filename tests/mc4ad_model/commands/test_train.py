# SPDX-License-Identifier: Apache-2.0
"""`iv train`, and what stops it: signals to the whole process group, kills, several processes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance import cli
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.runs.run_folder import find_runs, read_run
from tests.conftest import run_iv
from tests.support.runs import TINY, results
from tests.support.samples import make_dataset, runs_folder

SMALLER = (*TINY, "network.layers=2", "training.repeats=2", "training.batch=2")
LONG = ("training.epochs=20", "training.checkpoint_epochs=3")  # 40 steps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Categories ball and brick, two templates each."""
    return make_dataset(tmp_path_factory.mktemp("data") / "small.h5")


def line(data: Path, *arguments: object, changes: tuple[str, ...] = ()) -> list[str]:
    """Return the words of `iv train` with a tiny configuration."""
    sets = [word for change in (*SMALLER, *changes) for word in ("--set", change)]
    words = ["train", "--data", data, "--preset", "released", "--device", "cpu"]
    return [str(word) for word in (*words, *sets, *arguments)]


@pytest.fixture
def iv(data: Path) -> Callable[..., Result]:
    def call(*arguments: object, changes: tuple[str, ...] = (), workers: int = 0) -> Result:
        words = line(data, "--workers", workers, *arguments, changes=changes)
        return CliRunner().invoke(cli.main, words)

    return call


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a long run of the category ball that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    words = line(data, "--category", "ball", "--out", out, "--workers", 0, changes=LONG)
    assert CliRunner().invoke(cli.main, words).exit_code == 0
    return out / "ball"


# --- what it does


def test_it_trains_each_category_once(iv, tmp_path):
    out = tmp_path / "out"
    result = iv("--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(out / "ball"), str(out / "brick")]
    assert "train ball: 4/4" in result.stderr
    assert ", loss " in result.stderr
    runs = find_runs(out)
    assert [run.category for run in runs] == ["ball", "brick"]
    assert all(run.finished and run.seed == 0 for run in runs)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = iv("--out", out)
    assert again.exit_code == 0
    assert again.stdout == result.stdout
    assert again.stderr.splitlines() == [
        "train ball: is trained already",
        "train brick: is trained already",
    ]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_one_category_is_trained_as_among_all(iv, tmp_path):
    iv("--out", tmp_path / "all")
    iv("--out", tmp_path / "one", "--category", "brick")
    assert [run.category for run in find_runs(tmp_path / "one")] == ["brick"]
    assert results(tmp_path / "one" / "brick") == results(tmp_path / "all" / "brick")


def test_json_and_quiet(iv, tmp_path):
    result = iv("--out", tmp_path, "--category", "ball", "--json", "--quiet")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"ball": str(tmp_path / "ball")}
    assert result.stderr == ""


def test_the_default_folder_names_data_preset_and_seed(iv, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = iv("--category", "ball", "--seed", 3)
    folder = f"{runs_folder(data, 'released', 3)}/ball"
    assert result.stdout.split() == [folder]
    assert read_run(tmp_path / folder).seed == 3


def test_dry_run_says_what_would_be_trained_and_writes_nothing(iv, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = iv("--dry-run", "--json", changes=("training.epochs=7",))
    assert result.exit_code == 0
    planned = json.loads(result.stdout)
    expected = RunConfig.load("released", (*SMALLER, "training.epochs=7"))
    assert RunConfig.from_mapping(planned["settings"], "stdout") == expected
    assert planned["runs"] == [
        {
            "category": name,
            "templates": 2,
            "track": "meshes",
            "state": "new",
            "folder": f"{runs_folder(data, 'released')}/{name}",
        }
        for name in ("ball", "brick")
    ]
    shown = iv("--dry-run").stdout
    assert '"epochs"' in shown and shown.endswith("2 trainings (--dry-run: none was started)\n")
    assert list(tmp_path.iterdir()) == []


def test_dry_run_finds_what_is_there_and_what_is_wrong(iv, whole, tmp_path):
    def states(*arguments, **more):
        result = iv("--out", whole.parent, "--dry-run", "--json", *arguments, **more)
        return [one["state"] for one in json.loads(result.stdout)["runs"]]

    before = {path: path.stat().st_mtime_ns for path in whole.parent.rglob("*")}
    assert states(changes=LONG) == ["is trained already", "new"]
    assert states("--force") == ["starts anew", "new"]
    assert {path: path.stat().st_mtime_ns for path in whole.parent.rglob("*")} == before
    file = tmp_path / "file"
    file.write_bytes(b"")
    for arguments, named in (
        (("--out", whole.parent), "holds another run"),
        (("--category", "bal"), "Did you mean 'ball'?"),
        (("--out", file / "runs"), f"no folder can be made in {file}"),
        (("--out", tmp_path), None),
    ):
        result = iv("--dry-run", *arguments)
        assert result.exit_code == (2 if named else 0) and (named or "") in result.stderr


def test_dry_run_looks_at_the_encoder(data, tmp_path):
    words = ["train", str(data), "--method", "m3dm", "--set", f"encoder={tmp_path}", "--dry-run"]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 2 and f"{tmp_path}/encoder" in result.stderr


# --- what it does not do


@pytest.mark.parametrize(
    ("arguments", "changes", "named"),
    [
        (("--category", "vase"), (), ["--category vase", "ball, brick"]),
        (("--preset", "nosuch"), (), ["preset 'nosuch'", "quick"]),
        ((), ("training.batch=9",), ["training.batch = 9", "only 4 samples"]),
        ((), ("training.epochs=0",), ["training.epochs = 0"]),
        (("--data", "nosuch.h5"), (), ["nosuch.h5"]),
        (("--seed", "-1"), (), ["--seed"]),
        (("--workers", "-1"), (), ["--workers"]),
    ],
)
def test_errors_are_found_before_anything_is_written(iv, tmp_path, arguments, changes, named):
    out = tmp_path / "out"
    result = iv("--out", out, *arguments, changes=changes)
    assert result.exit_code == 2, result.output
    for part in named:
        assert part in result.stderr
    assert not out.exists()


def test_a_template_without_a_mesh(tmp_path):
    """As of scans: it is trained without any change of a setting, and the run says so."""
    bare = make_dataset(tmp_path / "bare.h5", change=lambda sample, rng: replace(sample, mesh=None))
    words = line(bare, "--out", tmp_path / "out", "--workers", 0)
    refused = CliRunner().invoke(cli.main, [*words, "--track", "meshes"])
    assert refused.exit_code == 2
    assert "ball_train_000 has no mesh; take --track clouds" in refused.stderr
    assert CliRunner().invoke(cli.main, words).exit_code == 0
    assert read_run(tmp_path / "out" / "ball").track == "clouds"


def test_the_track_of_clouds_can_be_asked_for(iv, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert iv("--category", "ball", "--track", "clouds").exit_code == 0
    folder = Path(f"{runs_folder(data, 'released')}-clouds")
    assert read_run(folder / "ball").track == "clouds"
    with_meshes = iv("--category", "ball", "--out", folder)
    assert with_meshes.exit_code == 2
    assert "track = 'clouds', now 'meshes'" in with_meshes.stderr
    words = ["evaluate", "--data", data, "--run", folder]
    assert "\nTrack: clouds\n" in CliRunner().invoke(cli.main, words).stdout


@pytest.mark.skipif(
    importlib.util.find_spec("MinkowskiEngine") is not None, reason="MinkowskiEngine is installed"
)
def test_a_backend_that_is_not_installed(iv, tmp_path):
    result = iv("--out", tmp_path / "out", "--backend", "minkowski")
    assert result.exit_code == 2
    assert "MinkowskiEngine" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(iv, tmp_path):
    result = iv("--out", tmp_path / "out", "--device", "cuda")
    assert result.exit_code == 2
    assert "--device cuda" in result.stderr


def test_another_configuration_in_the_same_folder(iv, tmp_path):
    arguments = ("--out", tmp_path, "--category", "ball")
    assert iv(*arguments).exit_code == 0
    before = results(tmp_path / "ball")
    result = iv(*arguments, changes=("training.epochs=1",))
    assert result.exit_code == 2
    assert "config.training.epochs = 2, now 1" in result.stderr
    assert "--force" in result.stderr
    assert results(tmp_path / "ball") == before
    forced = iv(*arguments, "--force", changes=("training.epochs=1",))
    assert forced.exit_code == 0
    assert len((tmp_path / "ball" / "metrics.jsonl").read_text().splitlines()) == 1
    # the same run with --force is done again, and is the same
    assert iv(*arguments, "--force").exit_code == 0
    assert results(tmp_path / "ball") == before


def test_another_run_of_one_category_stops_before_any_is_trained(iv, tmp_path):
    assert iv("--out", tmp_path, "--category", "brick", "--seed", 1).exit_code == 0
    result = iv("--out", tmp_path)
    assert result.exit_code == 2
    assert "brick: holds another run (seed = 1, now 0)" in result.stderr
    assert not (tmp_path / "ball" / "run.json").exists()


def test_a_loss_that_is_not_finite_is_our_fault(iv, tmp_path):
    result = iv("--out", tmp_path, changes=("training.learning_rate=1e30",))
    assert result.exit_code == 1
    assert "ball: the loss of batch 1 of epoch 0 is not finite" in result.stderr
    assert not (tmp_path / "brick" / "run.json").exists()


# --- what stops it


def started(data: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    """Return the long run in a session of its own, some epochs done."""
    words = line(data, "--category", "ball", "--out", out, "--workers", workers, changes=LONG)
    process = subprocess.Popen(
        [sys.executable, "-c", "from intravariance.cli import main; main()", *words],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        # another number of threads is another result
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )  # fmt: skip
    metrics = out / "ball" / "metrics.jsonl"
    until = time.monotonic() + 60
    while not metrics.is_file() or len(metrics.read_text().splitlines()) < 4:
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.005)
    return process


def test_ctrl_c_saves_and_the_same_command_goes_on(iv, data, tmp_path, whole):
    """It goes to all processes. SIGTERM: tests/test_training.py and tests/test_interruption.py."""
    process = started(data, tmp_path, workers=1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "interrupted after step" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "ball").glob("checkpoint-*.json"))
    result = iv("--category", "ball", "--out", tmp_path, changes=LONG)
    assert result.exit_code == 0
    assert "train ball: carries on after step" in result.stderr
    assert results(tmp_path / "ball") == results(whole)


def test_a_kill_loses_no_more_than_the_time_since_the_last_checkpoint(iv, data, tmp_path, whole):
    process = started(data, tmp_path, workers=1)
    others = psutil.Process(process.pid).children(recursive=True)
    assert len(others) >= 2  # the fork server, and what makes samples
    process.kill()
    process.communicate(timeout=60)
    assert psutil.wait_procs(others, timeout=20)[1] == []  # nothing is left behind
    assert not (tmp_path / "ball" / "network.json").exists()
    result = iv("--category", "ball", "--out", tmp_path, changes=LONG)
    assert result.exit_code == 0, result.output
    assert "carries on after step" in result.stderr
    assert results(tmp_path / "ball") == results(whole)


# --- the program around it


def test_no_command_imports_torch_before_it_runs():
    code = (
        "import sys; from intravariance.cli import _commands; "
        "[entry.load() for entry in _commands().values()]; "
        "print([name for name in ('torch', 'sklearn', 'open3d', 'matplotlib', 'pyarrow') "
        "if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_names_every_option():
    result = run_iv("train", "--help")
    assert result.returncode == 0
    for option in (
        "--data", "--category", "--preset", "--set", "--seed", "--out", "--force", "--device",
        "--backend", "--workers", "--dry-run", "--json", "--quiet",
    ):  # fmt: skip
        assert option in result.stdout
