# SPDX-License-Identifier: Apache-2.0
import shutil
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from intravariance import cli
from intravariance.errors import did_you_mean, printable
from intravariance.executors.serial import SerialExecutor
from tests import ROOT
from tests.conftest import run_iv
from tests.support.samples import make_dataset

HEAVY = ["bpy", "h5py", "numpy", "open3d", "scipy", "torch", "trimesh"]


def test_help_lists_every_command_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom intravariance.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        f"heavy = [name for name in {HEAVY} if name in sys.modules]\nassert not heavy, heavy"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for entry in entry_points(group="intravariance.commands"):
        assert f"  {entry.name}" in result.stdout


def test_every_command_has_a_summary():
    names = {entry.name for entry in entry_points(group="intravariance.commands")}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert names >= set(declared["project"]["entry-points"]["intravariance.commands"])
    assert names == set(cli.SUMMARIES)


@pytest.mark.parametrize(
    "arguments",
    [["bluid"], ["build", "--grup", "2"], ["build"], ["verify"], ["verify", 300 * "a" + ".h5"]],
)
def test_wrong_words_are_the_users_mistake(arguments):
    result = run_iv(*arguments)
    assert result.returncode == 2
    assert "rror: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("package", ["intravariance", "annotations", "mc4ad_model"])
def test_packages_import_without_blender(package):
    script = (
        "import importlib, pkgutil, sys\nsys.modules['bpy'] = None\n"
        f"import {package} as package\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("biuld", "Did you mean 'build'?"),
        ("labels exprot", "Did you mean 'export'?"),
        ("build --grup 2", "'--group'"),
        ("export a.h5 --layout mvtec --out x", "Did you mean 'mvtec-like-folder'?"),
        ("train a.h5 --method PatchCore", "Did you mean 'patchcore'?"),
        ("ablate loses a.h5", "Did you mean 'losses'?"),
        ("import realad . --out a.h5", "Did you mean 'real3d-ad'?"),
        ("train small.h5 --category bal", "Did you mean 'ball'?"),
        ("view small.h5:brick_test_99", "Did you mean 'brick_test_009'"),
    ],
)
def test_a_mistyped_word_gets_the_one_that_was_meant(words, meant, tmp_path):
    if "small.h5" in words:
        make_dataset(tmp_path / "small.h5")
    result = run_iv(*words.split(), folder=tmp_path)
    assert result.returncode == 2 and meant in result.stderr and not result.stdout


def test_nothing_is_suggested_that_does_not_resemble():
    assert "mean" not in run_iv("zzzz").stderr
    assert did_you_mean("", ["build"]) == did_you_mean("zz", ["build"]) == ""
    assert did_you_mean("BOWL", ["bowl", "vase"]) == " Did you mean 'bowl'?"
    assert did_you_mean("anomaly", ["anomaly-shapenet"]) == " Did you mean 'anomaly-shapenet'?"


def test_help_tells_commands_by_purpose():
    shown = run_iv("--help").stdout
    assert [line for line in shown.splitlines() if line in {f"{title}:" for title in cli.GROUPS}]
    assert shown.index("Datasets:") < shown.index("  build ") < shown.index("Methods:")
    assert shown.index("Methods:") < shown.index("  train ") < shown.index("New scans:")


def test_every_help_is_answered_without_any_extra():
    extras = (
        "torch", "safetensors", "sklearn", "open3d", "matplotlib", "k3d", "pyarrow", "bpy",
        "fastapi", "starlette", "uvicorn", "python_multipart",
    )  # fmt: skip
    script = (
        f"import sys\nsys.modules.update(dict.fromkeys({extras}))\n"
        "from intravariance.cli import main\n"
        f"for name in {sorted(cli.SUMMARIES)}:\n"
        "    main([name, '--help'], standalone_mode=False, prog_name='iv')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for name in cli.SUMMARIES:
        assert f"Usage: iv {name} " in result.stdout


def test_more_jobs_than_cores_are_told_what_they_cost():
    command = ("build", "--group", "2", "--dry-run", "--json", "--jobs")
    many, one = run_iv(*command, "4096"), run_iv(*command, "1")
    assert "--jobs 4096: only" in many.stderr and many.returncode == 0
    assert "--jobs" not in one.stderr and many.stdout == one.stdout


def test_a_message_cannot_move_the_cursor_or_fill_pages(tmp_path):
    name = "a\x1b[2J\x07b.h5"
    result = run_iv("verify", name, folder=tmp_path)
    assert result.returncode == 2 and "a\\x1b[2J\\x07b.h5" in result.stderr
    long = printable("first\n" + 10_000 * "x" + "\n\tthird")
    assert long.startswith("first\nxxx") and long.endswith("\n\tthird")
    assert "(10,000 characters)" in long and len(long) < 5000
    assert printable("größer als 名") == "größer als 名"


SLOW_WRITER = """
import sys, time
from importlib.metadata import EntryPoint
from pathlib import Path
import click
from intravariance import cli
from intravariance.files.folders import new_folder

@click.command()
@click.argument("out", type=Path)
def write(out):
    with new_folder(out, "record.json", force=False):
        print("writing", flush=True)
        time.sleep(60)

cli.main.get_command = lambda ctx, name: write
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process there at once")
def test_sigterm_leaves_nothing_half_written(tmp_path):
    command = [sys.executable, "-c", SLOW_WRITER, "write", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    assert [*tmp_path.iterdir()]
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert not [*tmp_path.iterdir()] and "Traceback" not in said


class RemovesTheFolder(SerialExecutor):
    """Removes what the command writes in, once it has a result."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, function, tasks):
        for task, result in super().run(function, tasks):
            shutil.rmtree(self.folder, ignore_errors=True)
            yield task, result


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("out.h5.partial", "removed, or cannot be read or written, while iv was at work"),
        ("tree", "train/1.txt cannot be read (No such file or directory)"),
    ],
)
def test_a_folder_that_is_removed_meanwhile_gives_a_message(tmp_path, monkeypatch, removed, said):
    (tmp_path / "tree" / "train").mkdir(parents=True)
    for number in range(2):
        cloud = np.random.default_rng(number).normal(size=(30, 3))
        np.savetxt(tmp_path / "tree" / "train" / f"{number}.txt", cloud)
    executor = RemovesTheFolder(tmp_path / removed)
    monkeypatch.setattr("intravariance.commands.import_.local_executor", lambda jobs: executor)
    out = tmp_path / "out.h5"
    arguments = ["import", "folder", str(tmp_path / "tree"), "--out", str(out)]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2 and not out.exists()
    assert "iv: error: " in result.stderr and said in result.stderr


def test_errors_of_the_system_without_a_file_stay_bugs(monkeypatch):
    def fail(context):
        raise OSError("no file in it")

    monkeypatch.setattr(cli.LazyGroup.__mro__[1], "invoke", lambda self, context: fail(context))
    assert isinstance(CliRunner().invoke(cli.main, ["verify"]).exception, OSError)
    missing = {"name": "/no/such/folder/x.h5", "mode": "w"}
    monkeypatch.setattr(cli.LazyGroup.__mro__[1], "invoke", lambda *_: h5py.File(**missing))
    result = CliRunner().invoke(cli.main, ["verify"])
    assert result.exit_code == 2 and "/no/such/folder/x.h5" in result.stderr
