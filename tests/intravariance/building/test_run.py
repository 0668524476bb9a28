# SPDX-License-Identifier: Apache-2.0
"""The build as a user runs it, with real Blender processes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trimesh
from click.testing import CliRunner, Result
from filelock import FileLock

from intravariance import load_specification, open_dataset
from intravariance.building.run import build
from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.cli import main
from intravariance.executors.serial import SerialExecutor
from intravariance.verification.verify import verify
from tests.conftest import run_iv


@pytest.fixture
def command(small_specification, cache):
    """Arguments of a small build; a test adds --out. One process: each starts a Blender."""
    return ["build", "--spec", small_specification, "--cache", cache, "--jobs", 1]


def run_here(*arguments: object, folder: Path) -> Result:
    """Run `iv ARGUMENTS` in this process, where neither signals nor limits matter."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, list(map(str, arguments)))


def digest(path: Path) -> str:
    with open_dataset(path) as dataset:
        return dataset.digest


def samples_of(path: Path, category: str) -> dict[str, str]:
    """Return the digests of a category's samples by their names."""
    with open_dataset(path) as dataset:
        return {record.id: record.digest for record in dataset.filter(category=category)}


def rejected_draws(path: Path) -> dict[str, int]:
    """Count the refused draws for each defect type, as the samples of a file record them."""
    found: Counter[str] = Counter()
    with open_dataset(path) as dataset:
        for record in dataset:
            found[record.defect] += len(record.parameters.get("rejections", ()))
    return dict(+found)


def start(arguments) -> subprocess.Popen[str]:
    """Start `iv ARGUMENTS` in a process group of its own, and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-c", "from intravariance.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background job ignores Ctrl-C, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_samples(process, out: Path, count: int) -> Path:
    """Return the folder of finished samples, once a running build has made so many."""
    samples = out.with_name(f"{out.name}.partial") / "samples"
    end = time.monotonic() + 120
    while len(list(samples.glob("*.h5"))) < count and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return samples


def test_one_worker_gives_the_same_content_as_all(command, small_file, tmp_path):
    result = run_iv(*command, "--out", tmp_path / "one.h5", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["content_digest"] == digest(small_file)
    assert report["samples"] == len(open_dataset(small_file))
    assert report["rejected_draws"] == rejected_draws(small_file)
    assert not (tmp_path / "one.h5.partial").exists()


def test_another_executor_gives_the_same_content(small_specification, cache, small_file, tmp_path):
    specification = load_specification(small_specification)
    samples = SampleSettings(0, "so3", 0.002**0.5, specification.tolerance, specification.points)
    settings = BuildSettings(specification, samples, "procedural", cache, quiet=True)
    result = build(settings, tmp_path / "serial.h5", SerialExecutor())
    assert result.digest == digest(small_file)
    assert result.rejections == rejected_draws(small_file)


def test_killed_again_and_again_ends_with_the_same_content(command, small_file, tmp_path):
    out = tmp_path / "killed.h5"
    arguments = [*command, "--out", out, "--jobs", 2]
    rng = random.Random(0)
    for kill in range(2):
        process = start(arguments)
        # kill it once it has made a few samples more, at no particular moment
        samples = wait_for_samples(process, out, 6 * kill + 1)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it finished before it was killed"
        assert not out.exists()
    damaged, *whole = samples.glob("*.h5")
    damaged.write_bytes(b"not an HDF5 file")
    result = run_iv(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["rejected_draws"] == rejected_draws(small_file)
    assert f"carrying on: {len(whole)} of" in result.stderr
    assert digest(out) == digest(small_file)


def test_ctrl_c_says_that_the_build_can_go_on(command, small_file, tmp_path):
    out = tmp_path / "interrupted.h5"
    process = start([*command, "--out", out, "--jobs", 2])
    samples = wait_for_samples(process, out, 1)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 1, messages
    assert messages.endswith("iv: error: interrupted; the same command carries on from here\n")
    assert "Traceback" not in messages
    assert any(samples.glob("*.h5"))
    assert not out.exists()


def test_a_file_that_appears_during_the_build_is_kept(command, small_file, tmp_path):
    out = tmp_path / "meanwhile.h5"
    process = start([*command, "--category", "cone", "--out", out])
    samples = wait_for_samples(process, out, 1)
    out.write_text("precious")
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 2, messages
    assert "--force" in messages
    assert out.read_text() == "precious"
    assert len(list(samples.glob("*.h5"))) == len(samples_of(small_file, "cone"))


def test_another_seed_gives_other_content(command, small_file, tmp_path):
    out = tmp_path / "other.h5"
    result = run_iv(*command, "--seed", 1, "--category", "cone", "--out", out)
    assert result.returncode == 0, result.stderr
    mine, other = open_dataset(small_file), open_dataset(out)
    assert other.categories == ["cone"] or other.categories == ("cone",)
    assert not np.array_equal(mine["cone_train_000"].points, other["cone_train_000"].points)


def test_noise_and_pose_are_as_asked(command, tmp_path, needs_blender):
    out = tmp_path / "clean.h5"
    options = ["--noise-sigma", 0.002, "--pose", "canonical", "--category", "vase"]
    result = run_iv(*command, *options, "--out", out)
    assert result.returncode == 0, result.stderr
    with open_dataset(out) as dataset:
        assert dataset.metadata["identity"]["noise_sigma"] == 0.002
        for record in dataset:
            np.testing.assert_array_equal(record.pose, np.eye(4))
    report = verify(out)
    assert all(check.passed for check in report.checks), report.failures()
    (noise,) = (check.message for check in report.checks if check.name == "noise")
    assert noise.endswith("recorded 0.0020"), noise


def test_an_existing_file_is_kept_without_force(command, tmp_path):
    out = tmp_path / "precious.h5"
    out.write_text("precious")
    result = run_here(*command, "--out", out, folder=tmp_path)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert out.read_text() == "precious"


@pytest.mark.parametrize("record", ['{"other": "settings"}', None])
def test_an_unfinished_build_of_other_settings_is_kept_without_force(
    command, tmp_path, needs_blender, record
):
    partial = tmp_path / "mine.h5.partial"
    (partial / "samples").mkdir(parents=True)
    (partial / "lock" if record is None else partial / "build.json").write_text(record or "")
    (partial / "samples" / "keep.h5").write_text("x")
    result = run_iv(*command, "--out", tmp_path / "mine.h5")
    assert result.returncode == 2
    assert "unfinished build of mine.h5 with other settings" in result.stderr
    assert (partial / "samples" / "keep.h5").exists()


def test_two_builds_of_one_file_exclude_each_other(command, tmp_path, needs_blender):
    (tmp_path / "mine.h5.partial").mkdir()
    with FileLock(tmp_path / "mine.h5.partial" / "lock"):
        result = run_iv(*command, "--out", tmp_path / "mine.h5")
    assert result.returncode == 2
    assert "another process is building" in result.stderr


# the samples fit, the dataset file does not; the larger samples do not fit either
@pytest.mark.parametrize("size", [400_000, 80_000])
def test_a_full_disk_keeps_what_is_finished(command, small_file, tmp_path, size):
    # A limit on the size of a file stands for a full disk: both refuse to write more.
    out = tmp_path / "full.h5"
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
        "from intravariance.cli import main; main()"
    )
    command = [*command, "--category", "cone", "--out", out]
    arguments = [sys.executable, "-c", script, *map(str, command)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "free some space and run the same command again" in result.stderr
    assert not out.exists()
    result = run_iv(*command)
    assert result.returncode == 0, result.stderr
    assert samples_of(out, "cone") == samples_of(small_file, "cone")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--category", "bathtub"], "bathtub: not in specification 'small'"),
        (["--out", "/nowhere/x.h5"], "expected a file name in an existing folder"),
        (["--noise-sigma", 1, "--noise-variance", 1], "not both"),
        (["--group", 2], "either --group 1, --group 2 or --spec"),
        (["--source", "cloud:x"], "--source"),
        (["--source", "folder:/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_named(command, tmp_path, options, message):
    result = run_here(*command, *options, folder=tmp_path)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(command, tmp_path, needs_blender):
    test_mistakes_are_named(command, tmp_path, ["--out", "/proc/x.h5"], "cannot write")


def test_a_blender_that_is_missing_is_named_before_anything_is_made(command, tmp_path):
    out = tmp_path / "none.h5"
    for source in ("procedural", f"folder:{tmp_path / 'meshes'}"):
        folder = tmp_path / "meshes" / "cone"
        folder.mkdir(parents=True, exist_ok=True)
        for radius in (1, 2):
            trimesh.creation.cone(radius, 2).export(folder / f"{radius}.stl")
        options = ["--blender", "/nowhere/blender", "--category", "cone", "--source", source]
        result = run_iv(*command, *options, "--out", out)
        assert result.returncode == 2, result.stderr
        assert "--blender /nowhere/blender: cannot be started" in result.stderr
        assert "samples" not in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["meshes"]


def test_one_mesh_under_two_names_is_refused(cache, tmp_path, needs_blender):
    folder = tmp_path / "meshes" / "block"
    folder.mkdir(parents=True)
    for name in ("one.stl", "two.stl"):
        trimesh.creation.box(extents=(1, 2, 3)).export(folder / name)
    specification = tmp_path / "mine.toml"
    specification.write_text(
        'name = "mine"\npoints = [2000, 2000]\n[[category]]\nname = "block"\n'
        'subcategories = ["left", "right"]\ntemplates = 2\npositives = 0\n'
    )
    source = f"folder:{tmp_path / 'meshes'}"
    arguments = ["--spec", specification, "--source", source, "--cache", cache]
    result = run_iv("build", *arguments, folder=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "are the same mesh" in result.stderr
    assert not list(tmp_path.glob("*.h5*"))


def test_dry_run_prints_the_plan_and_writes_nothing(command, tmp_path):
    result = run_here(*command, "--dry-run", "--json", folder=tmp_path)
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert len(plan["samples"]) == 17
    assert set(plan["base_meshes"]) == {
        "cone/traffic_cone",
        "cone/funnel",
        "vase/handled_vase",
        "vase/square_vase",
    }
    assert not list(tmp_path.iterdir())
