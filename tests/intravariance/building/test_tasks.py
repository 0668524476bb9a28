# SPDX-License-Identifier: Apache-2.0
"""The tasks of a build on machines without our files, and a build on a cluster of such."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import trimesh

from intravariance import load_specification, open_dataset
from intravariance.building.blender import blender_worker
from intravariance.building.plan import make_plan
from intravariance.building.sample import SampleSettings
from intravariance.building.tasks import (
    FamilyTask,
    MeshTask,
    SampleTask,
    make_family,
    prepare_mesh,
)
from intravariance.errors import InputError
from intravariance.executors import BLENDER
from intravariance.sources import choose, keep_prepared, parse_source
from tests.intravariance.building.test_run import start, wait_for_samples
from tests.support.dask_clusters import cluster, other_numpy, wait_until

SPECIFICATION = """
name = "cups"
points = [600, 700]
[[category]]
name = "cup"
subcategories = ["round", "square"]
templates = 2
positives = 1
defects = { bulge = 1, hole = 1 }
"""


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """Write a folder with a bad mesh and a good one for "round", and one for "square"."""
    folder = tmp_path / "meshes" / "cup"
    (folder / "round").mkdir(parents=True)
    for name in ("round/a.off", "round/b.off"):
        trimesh.creation.icosphere(3).export(folder / name)
    trimesh.creation.box((1, 2, 3)).export(folder / "square.off")
    return tmp_path / "meshes"


@pytest.fixture
def blender(needs_blender: None) -> Iterator[None]:
    """End the Blender that this process starts."""
    yield
    blender_worker(None).__exit__()
    blender_worker.cache_clear()


def away(path: Path) -> None:
    """Move a folder away, as it is not on another machine."""
    path.rename(path.with_name(f"{path.name} elsewhere"))


def test_what_is_packed_needs_no_file(meshes: Path, tmp_path: Path, blender: None) -> None:
    path = tmp_path / "cups.toml"
    path.write_text(SPECIFICATION)
    specification = load_specification(path)
    choices = choose(specification, parse_source(f"folder:{meshes}"), 0)
    bad = meshes / choices[0].offers[0][1].name
    bad.write_text("no mesh")
    cache, own = tmp_path / "cache", tmp_path / "own"
    tasks = [MeshTask(choice, cache, True, None) for choice in choices]
    found = [prepare_mesh(task) for task in tasks]
    packed = [task.packed() for task in tasks]
    strict = MeshTask(choices[0], cache, False, None).packed()
    away(meshes)
    for (base, warnings, _, nothing), task in zip(found, packed, strict=True):
        again, warned, _, content = prepare_mesh(copy.deepcopy(task))
        assert nothing is None and warned == warnings
        assert keep_prepared(own, again.path.name, content) == own / base.path.name
        assert content == base.path.read_bytes() and again.sha256 == base.sha256
    assert bad.name in found[0][1][0]
    with pytest.raises(InputError, match="no usable base mesh for cup/round"):
        prepare_mesh(strict)
    settings = SampleSettings(0, "so3", 0.01, specification.tolerance, specification.points)
    bases = {base.subcategory: base for base, *_ in found}
    samples = [
        SampleTask(
            job, bases[job.subcategory], settings, None,
            {name: base.path for name, base in bases.items() if name != job.subcategory},
        )
        for job in make_plan(specification, 0)
    ]  # fmt: skip
    families = [FamilyTask({0: task}) for task in samples]
    files = [{path: path.read_bytes() for path in task.shared()} for task in families]
    expected = [make_family(task) for task in families]
    away(cache)
    again = [
        make_family(task.packed().with_shared(shared))
        for task, shared in zip(families, files, strict=True)
    ]
    assert repr(again) == repr(expected)  # some numbers of the table are NaN
    assert {one.needs for one in families if one.tasks[0].job.defect == "normal"} == {""}
    assert {one.needs for one in families if one.tasks[0].job.defect != "normal"} == {BLENDER}


def lines_until(words: str, lines: Iterable[str]) -> list[str]:
    """Read lines up to one with these words, or all."""
    said = []
    for line in lines:
        said.append(line)
        if words in line:
            break
    return said


def test_a_worker_lost_and_one_that_joins_late_change_nothing(
    small_specification: Path, small_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    out = tmp_path / "cluster.h5"
    with cluster(tmp_path / "cluster", "first", "second") as found:
        wait_until(lambda: b"second" in (tmp_path / "cluster" / "scheduler.log").read_bytes())
        process = start(
            ["build", "--spec", small_specification, "--cache", tmp_path / "cache", "--out", out,
             "--executor", "dask", "--scheduler", found.file, "--json"]
        )  # fmt: skip
        wait_for_samples(process, out, 3)
        # so that the build cannot end before the third is there, and the second is missed
        for name in ("first", "second"):
            found.workers[name].send_signal(signal.SIGSTOP)
        found.start_worker("late")
        said = lines_until(" joined", process.stderr)
        found.kill("second")
        said += lines_until(" is gone", process.stderr)
        found.workers["first"].send_signal(signal.SIGCONT)
        output, more = process.communicate(timeout=300)
    messages = "".join([*said, more])
    assert process.returncode == 0, messages
    assert " joined; 3 workers" in messages and " is gone, others do its tasks" in messages
    report = json.loads(output)
    with open_dataset(small_file) as expected:
        assert report["content_digest"] == expected.digest


def test_a_build_refuses_workers_of_other_versions(
    small_specification: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    arguments = ["build", "--spec", small_specification, "--out", tmp_path / "x.h5"]
    with cluster(tmp_path / "cluster") as found:
        found.start_worker("other", path=other_numpy(tmp_path))
        wait_until(lambda: b"other" in (tmp_path / "cluster" / "scheduler.log").read_bytes())
        process = start([*arguments, "--executor", "dask", "--scheduler", found.file])
        _, messages = process.communicate(timeout=120)
    assert process.returncode == 2, messages
    assert "has numpy 0.1 (here " in messages and "Traceback" not in messages
    process = start([*arguments, "--executor", "dask", "--scheduler", found.file])
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 2, messages
    assert messages.startswith("iv: error: --scheduler ") and "no scheduler answers" in messages
    assert [*tmp_path.glob("x.h5*")] == []
