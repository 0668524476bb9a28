# SPDX-License-Identifier: Apache-2.0
"""Leaderboards on real Dask clusters: as those of this machine, whatever happens to workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("distributed")
pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
pytest.importorskip("pydantic")

from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from mc4ad_model.evaluation.results import METRICS_FILE, read_results
from mc4ad_model.leaderboard import rows
from tests.support.dask_clusters import Cluster, cluster, wait_until
from tests.support.extensions import package, python_path
from tests.support.object_store import BUCKET, s3_server
from tests.support.samples import make_dataset, make_sweep

COUNTS = {"bulge": 2, "missing": 1}
VASE = Category("vase", ("long_ball",), 1, 3, COUNTS)
SPECIFICATION = Specification(
    "group2", "Small", (300, 400), (VASE, Category("bowl", ("flat_brick",), 1, 3, COUNTS))
)
LEARNT = "calibrated_deviation"
PLUGIN = '''
import errno, os, signal, time
from pathlib import Path
from mc4ad_model.methods.controls import Constant

class Breaks(Constant):
    title = "breaks"
    def score(self, points):
        raise ValueError("a fault of its own")

class Dies(Constant):
    title = "dies"
    def score(self, points):
        os.kill(os.getpid(), signal.SIGKILL)

class Full(Constant):
    """Finds its disk full, the first time that it is fitted."""
    title = "full"
    def fit(self, templates, rng, folder=None):
        marker = Path(os.environ["WAITS_IN"]).with_name("full")
        if not marker.exists():
            marker.touch()
            raise OSError(errno.ENOSPC, "No space left on device")
        super().fit(templates, rng, folder)

class Waits(Constant):
    """Waits for ever, the first two times that it is fitted."""
    title = "waits"
    def fit(self, templates, rng, folder=None):
        markers = Path(os.environ["WAITS_IN"])
        count = len([*markers.iterdir()])
        new = markers / f"{count}.new"
        new.write_text(f"{os.getpid()} {os.getppid()}")
        new.rename(markers / str(count))
        if count < 2:
            time.sleep(3600)
        super().fit(templates, rng, folder)
'''  # fmt: skip


def iv(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def dask(found: Cluster) -> tuple[object, ...]:
    return ("--executor", "dask", "--scheduler", found.file)


@pytest.fixture(scope="module", autouse=True)
def one_control() -> Iterator[None]:
    """Have few rows that are in every leaderboard, as each takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CONTROLS", ("constant",))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "small.h5", SPECIFICATION)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), "first", "second") as found:
        log = found.folder / "scheduler.log"
        wait_until(lambda: all(name in log.read_bytes() for name in (b"first", b"second")), 300)
        yield found


@pytest.fixture(scope="module")
def here(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a leaderboard in processes of this machine."""
    out = tmp_path_factory.mktemp("here") / "board"
    result = board(data, out, "--methods", "registered_distance", "--jobs", 2)
    assert result.exit_code == 0, result.output
    return out


def board(data: object, out: Path, *more: object) -> Result:
    return iv("leaderboard", data, "--seeds", "0,1", "--out", out, *more)


def scores(out: Path) -> dict[str, tuple[object, dict[str, bytes]]]:
    """Return figures and point scores of all evaluations, by the names of their folders."""
    found = {}
    for path in sorted(out.rglob(METRICS_FILE)):
        results = read_results(path.parent)
        points = {name: s.tobytes() for name, s in results.evaluation.point_scores.items()}
        name = path.parent.relative_to(out).as_posix()
        found[name] = (results.evaluation.metrics, results.origin, points)
    return found


def files(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))


def test_the_same_scores_and_files_as_here(
    here: Path, data: Path, two_workers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)  # a path that means nothing to the workers
    out = tmp_path / "board"
    more = ("--methods", "registered_distance", *dask(two_workers))
    result = board(data.name, out, *more)
    assert result.exit_code == 0, result.output
    assert "3 jobs, 3 of them to do" in result.stderr  # each row with each category is one there
    assert "leaderboard: 6/6: " in result.stderr and "seed 1, vase: " in result.stderr
    assert scores(out) == scores(here) and files(out) == files(here)
    for name in ("run.json", "templates.safetensors"):
        place = Path("runs/registered_distance/seed-1/bowl", name)
        assert (out / place).read_bytes() == (here / place).read_bytes()


def test_what_one_begins_the_other_finishes(
    here: Path, data: Path, two_workers: Cluster, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(here, tmp_path / "board"))
    seed = out / "runs/registered_distance/seed-0"
    shutil.rmtree(seed / "vase")
    shutil.rmtree(seed / "bowl/evaluation")  # it is trained, and that is not done again
    (seed / "bowl/calibration.json.1.partial").write_text("half")
    trained = (seed / "bowl/templates.json").read_bytes(), (seed / "bowl/fit.json").read_bytes()
    shutil.rmtree(seed.with_name("seed-1") / "vase")
    (out / "runs/constant/seed-0.partial/old").mkdir(parents=True)
    methods = ("--methods", "registered_distance")
    result = board(data, out, *methods, *dask(two_workers))
    assert result.exit_code == 0, result.output
    assert "3 jobs, 2 of them to do" in result.stderr and "3/3: " in result.stderr
    assert scores(out) == scores(here) and files(out) == files(here)
    assert trained == (
        (seed / "bowl/templates.json").read_bytes(),
        (seed / "bowl/fit.json").read_bytes(),
    )
    again = board(data, out, *methods, "--jobs", 1)
    assert again.exit_code == 0 and "3 jobs, 0 of them to do" in again.stderr


def test_one_network_for_all_categories_is_one_job(
    data: Path, two_workers: Cluster, tmp_path: Path
) -> None:
    """Its folder beside those of the categories comes back too."""
    pytest.importorskip("torch")
    small = "network.width=0.1,training.epochs=1,training.repeats=1,training.batch=2"
    out = tmp_path / "board"
    result = iv(
        "leaderboard", data, "--methods", f"mc4ad[{small}]", "--seeds", 0, "--out", out,
        *dask(two_workers),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 jobs, 2 of them to do" in result.stderr and "/3: mc4ad" in result.stderr
    (seed,) = (out / "runs").glob("mc4ad*/seed-0")
    assert {"vase", "bowl"} < {path.name for path in seed.iterdir()}
    again = iv("leaderboard", data, "--methods", f"mc4ad[{small}]", "--seeds", 0, "--out", out)
    assert again.exit_code == 0 and "2 jobs, 0 of them to do" in again.stderr


def test_an_encoder_that_only_the_sender_has(
    data: Path, two_workers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from mc4ad_model.methods.point_mae.encoders import save_encoder  # noqa: PLC0415 - torch
    from tests.support.encoders import untrained  # noqa: PLC0415 - torch

    monkeypatch.chdir(tmp_path)
    Path("enc").mkdir()
    save_encoder(Path("enc"), untrained())
    row = "patchcore[features=point_mae,encoder=enc,centres=60,group_size=32]"
    common = ("--category", "vase", "--methods", row, "--seeds", 0, "--out")
    away = iv("leaderboard", data, *common, "away", *dask(two_workers))
    assert away.exit_code == 0, away.output
    local = iv("leaderboard", data, *common, "here", "--jobs", 1)
    assert local.exit_code == 0, local.output
    found, expected = scores(tmp_path / "away"), scores(tmp_path / "here")
    assert found.keys() == expected.keys() and len(found) == 2
    for name, (_, origin, points) in expected.items():
        assert found[name][1] == origin  # with settings and label
        for sample, own in points.items():
            np.testing.assert_allclose(
                np.frombuffer(found[name][2][sample], np.float32),
                np.frombuffer(own, np.float32), rtol=1e-4,
            )  # fmt: skip
    shutil.move("away", "again")
    again = iv("leaderboard", data, *common, "again", "--jobs", 1)
    assert again.exit_code == 0 and "2 jobs, 0 of them to do" in again.stderr


def test_a_store_is_read_by_the_workers_themselves(
    here: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # of another test's server, which is gone
        s3fs.S3FileSystem().put_file(str(data), f"{BUCKET}/small.h5")
        out = tmp_path / "board"
        with cluster(tmp_path / "cluster", "first", "second") as found:
            url = f"s3://{BUCKET}/small.h5"
            result = iv(
                "leaderboard", url, "--methods", "constant", "--seeds", 0, "--out", out,
                *dask(found),
            )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert not [*(tmp_path / "cluster").rglob("kept/*")]
    expected = scores(here)
    assert len(scores(out)) == 2
    assert all(expected[name] == one for name, one in scores(out).items())


def test_a_sweep(two_workers: Cluster, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one = Specification("small", "Small", (300, 400), (VASE,))
    (tmp_path / "sweep").mkdir()
    sweep = make_sweep(tmp_path / "sweep", one, sigmas=(0.0, 0.1))
    out = tmp_path / "curves"
    common = ("--methods", "registered_distance", "--seeds", 0, "--out")
    result = iv("leaderboard", sweep.folder, *common, out, *dask(two_workers))
    assert result.exit_code == 0, result.output
    assert result.stderr.count("dask: 2 workers") == 1
    local = iv("leaderboard", sweep.folder, *common, tmp_path / "here", "--jobs", 2)
    assert local.exit_code == 0 and len(scores(out)) == 4
    assert scores(out) == scores(tmp_path / "here") and files(out) == files(tmp_path / "here")


def test_lost_commands_and_workers_and_rows_that_fail(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("Breaks", "Dies", "Full", "Waits")
    entries = {name.lower(): f"bad:{name}" for name in names}
    site = package(tmp_path / "site", "intravariance.methods", entries, bad=PLUGIN)
    markers = tmp_path / "markers"
    markers.mkdir()
    monkeypatch.setenv("WAITS_IN", str(markers))
    monkeypatch.setenv("PYTHONPATH", python_path(site))
    out = tmp_path / "board"
    with cluster(tmp_path / "cluster", "first", "second") as found:
        words = [sys.executable, "-c", "from intravariance.cli import main; main()"]
        words += ["leaderboard", data, "--methods", "waits,breaks,dies,full", "--category", "vase"]
        words += ["--seeds", "0", "--out", out, "--json", *dask(found)]
        command = subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL)
        wait_until((markers / "0").exists, 300)
        command.kill()  # nobody waits for what its job does
        command.wait()
        number, _ = map(int, (markers / "0").read_text().split())
        wait_until(lambda: not _runs(number))
        command = subprocess.Popen(
            [*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until((markers / "1").exists, 300)
        number, parent = map(int, (markers / "1").read_text().split())
        (lost,) = [name for name, one in found.workers.items() if one.pid == parent]
        found.kill(lost)
        stdout, stderr = command.communicate()
    assert command.returncode == 1, stderr
    wait_until(lambda: not _runs(number))
    assert (markers / "2").exists() and not (markers / "3").exists()
    made = json.loads(stdout)["rows"]
    assert made["waits"]["means"]["O-AUROC"]["mean"] == 0.5
    assert made["full"]["means"]["O-AUROC"]["mean"] == 0.5
    assert "ValueError: a fault of its own" in made["breaks"]["not_working"]
    assert "the worker tcp://127.0.0.1:" in made["breaks"]["not_working"]
    assert str(out / "runs/breaks/seed-0/failure.txt") in made["breaks"]["not_working"]
    assert "a fault of its own" in (out / "runs/breaks/seed-0/failure.txt").read_text()
    assert (out / "runs/breaks/seed-0/vase/method.json").is_file()  # it is fitted, and that is kept
    assert "killed by signal 9" in made["dies"]["not_working"]
    assert " is gone, others do its tasks" in stderr
    assert not [*out.rglob("*.partial")] and not [*out.rglob("*.lock")]


def _runs(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_bytes().rsplit(b")", 1)[1].split()[0]
    except OSError:
        return False
    return state != b"Z"


def test_a_package_that_workers_lack(
    data: Path, two_workers: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = "intravariance.methods"
    monkeypatch.syspath_prepend(package(tmp_path, group, {"breaks": "bad:Breaks"}, bad=PLUGIN))
    out = tmp_path / "board"
    result = board(data, out, "--methods", "breaks", *dask(two_workers))
    assert result.exit_code == 2, result.output
    said = "lacks the package more-methods with the method breaks (here 1.5, code "
    assert "the worker tcp://127.0.0.1:" in result.stderr and said in result.stderr
    assert not out.exists()


def test_options_that_do_not_go_together(data: Path, tmp_path: Path) -> None:
    out, nobody = tmp_path / "board", ("--scheduler", "tcp://127.0.0.1:1")
    for more, said in {
        nobody: "is of a Dask cluster; add --executor dask",
        (*nobody, "--executor", "dask", "--jobs", "2"): "--jobs 2: the cluster of --scheduler",
        (*nobody, "--executor", "dask"): "no scheduler answers",
    }.items():
        result = board(data, out, "--methods", "constant", *more)
        assert result.exit_code == 2 and said in result.stderr, result.output
    planned = board(data, out, "--methods", "constant", *nobody, "--executor", "dask", "--dry-run")
    assert planned.exit_code == 0 and "0/2" in planned.stdout and not out.exists()


def test_times_of_several_machines_are_told_apart(here: Path, data: Path, tmp_path: Path) -> None:
    assert "machine" not in (here / "leaderboard.md").read_text().split("Means over")[0]
    out = Path(shutil.copytree(here, tmp_path / "board"))
    for path in out.glob("runs/registered_distance/seed-0/*/fit.json"):
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"machine": "elsewhere"}))
    result = board(data, out, "--methods", "registered_distance", "--jobs", 1)
    assert result.exit_code == 0 and "0 of them to do" in result.stderr
    own = os.uname().nodename
    text = (out / "leaderboard.md").read_text()
    assert "measured on 2 machines" in text and "| machine |" in text
    record = json.loads((out / "leaderboard.json").read_text())["rows"]
    assert record["registered_distance"]["machines"] == sorted(["elsewhere", own])
    assert record["constant"]["machines"] == [own]
