# SPDX-License-Identifier: Apache-2.0
"""The Blender client, with real Blender processes."""

import os
import signal
import stat
import struct
import sys

import numpy as np
import point_cloud_utils
import pytest

import intravariance.building.blender
from intravariance.building.blender import BlenderCrash, BlenderWorker, ImpossibleDefect
from intravariance.building.plan import SampleJob
from intravariance.building.sample import SampleSettings, make_sample
from intravariance.errors import BackendUnavailable, IVError
from intravariance.geometry.densify import subdivide_long_edges
from intravariance.geometry.mesh import mesh_from_arrays, to_unit_sphere

TETRAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
TETRAHEDRON_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


@pytest.fixture(scope="module")
def blender(needs_blender):
    with BlenderWorker() as worker:
        yield worker


@pytest.fixture(scope="module")
def cone(blender):
    mesh = to_unit_sphere(mesh_from_arrays(*blender.design("cone", "traffic_cone")))
    return subdivide_long_edges(mesh, 0.04)


def test_versions(blender):
    assert blender.versions()["blender"].startswith("4.5")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not on this system")
def test_blender_loaded_on_one_processor_may_use_all_of_them_afterwards(blender):
    blender.versions()
    assert os.sched_getaffinity(blender._process.pid) == os.sched_getaffinity(0)


def test_the_same_request_gives_the_same_defect_in_another_process(blender, cone):
    here = blender.defect("missing", cone, [0, 1, 2], 0.5)
    with BlenderWorker() as other:
        there = other.defect("missing", cone, [0, 1, 2], 0.5)
    np.testing.assert_array_equal(here.mesh.vertices, there.mesh.vertices)
    np.testing.assert_array_equal(here.mesh.faces, there.mesh.faces)
    np.testing.assert_array_equal(here.cut, there.cut)
    assert here.parameters == there.parameters
    assert here.cut.any()
    assert len(here.rim)


def test_a_misaligned_part_is_labelled_and_goes_back_where_it_was(blender):
    tap = to_unit_sphere(mesh_from_arrays(*blender.design("tap", "mixer_tap")))
    tap = subdivide_long_edges(tap, 0.05)
    job = SampleJob("tap_test_001", "tap", "mixer_tap", "test", "misaligned", 3000, 0.8)
    sample = make_sample(
        job, tap, "design", SampleSettings(0, "canonical", 0.0, 0.0, (2000, 30000)), blender
    )
    moved = np.isfinite(sample.displacement).all(axis=1) & (sample.labels == 1)
    assert 0.01 < moved.mean() < 0.40
    assert not sample.displacement[sample.labels == 0].any()
    before = sample.points.astype(float) - np.nan_to_num(sample.displacement)
    known = moved | (sample.labels == 0)
    distance, _, _ = point_cloud_utils.closest_points_on_mesh(
        before[known], tap.vertices.astype(float), tap.faces
    )
    assert distance.max() < 1e-5
    distance, _, _ = point_cloud_utils.closest_points_on_mesh(
        sample.points[moved].astype(float), tap.vertices.astype(float), tap.faces
    )
    assert np.median(distance) > 0.01


def test_a_killed_worker_is_restarted_and_the_request_repeated(cone):
    with BlenderWorker() as worker:
        before = worker.defect("bulge", cone, [5], 0.5)
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        after = worker.defect("bulge", cone, [5], 0.5)
        assert worker.restarts == 1
    np.testing.assert_array_equal(before.mesh.vertices, after.mesh.vertices)


def test_a_request_that_always_takes_too_long_is_reported_with_its_parameters(cone):
    with (
        BlenderWorker(timeout=0.001, patience=100_000) as worker,
        pytest.raises(BlenderCrash, match=r"within 0.001 s of processor time.*'defect': 'crack'"),
    ):
        worker.defect("crack", cone, [7, 8], 0.5)


def test_a_worker_that_stops_listening_is_restarted(cone):
    with BlenderWorker(timeout=5, patience=1) as worker:
        worker.versions()
        os.kill(worker._process.pid, signal.SIGSTOP)
        large = subdivide_long_edges(cone, 0.02)  # more than a socket's buffer holds
        assert large.vertices.nbytes + large.faces.nbytes > 500_000
        worker.defect("bulge", large, [5], 0.5)
        assert worker.restarts == 1


def test_a_worker_that_is_stopped_is_restarted_long_before_its_patience_ends(monkeypatch):
    monkeypatch.setattr(intravariance.building.blender, "LOOK_AFTER", 0.2)
    with BlenderWorker(patience=10_000) as worker:
        worker.versions()
        os.kill(worker._process.pid, signal.SIGSTOP)
        assert worker.versions()["blender"].startswith("4.5")
        assert worker.restarts == 1


def test_an_impossible_defect_says_why(blender):
    tiny = to_unit_sphere(mesh_from_arrays(TETRAHEDRON, TETRAHEDRON_FACES))
    with pytest.raises(ImpossibleDefect, match="no hole after 100 attempts: "):
        # far too coarse a mesh: no draw gives a hole that leaves the most of it
        blender.defect("hole", mesh_from_arrays(tiny.vertices * 0.02, tiny.faces), [1], 1.0)


def test_no_such_program(tmp_path):
    missing = tmp_path / "blender"
    with (
        BlenderWorker(missing) as worker,
        pytest.raises(BackendUnavailable, match=r"--blender .*blender: cannot be started"),
    ):
        worker.versions()


def program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "ModuleNotFoundError: No module named 'bpy'",
            r"the extra blender brings it: pip install .*Python 3\.11",
        ),
        (
            "ImportError: libXrender.so.1: cannot open shared object file: No such file",
            "(?s)libXrender.so.1.*apt-get install .*libxrender1",
        ),
        ("something else went wrong", "its last output:\nsomething else went wrong"),
    ],
)
def test_a_blender_that_cannot_start_says_what_to_install(tmp_path, output, message):
    broken = program(tmp_path / "blender", f'#!/bin/sh\necho "{output}" >&2\nexit 1\n')
    with BlenderWorker(broken) as worker, pytest.raises(BackendUnavailable, match=message):
        worker.versions()


def test_a_blender_that_is_killed_while_it_starts_is_started_again(tmp_path, needs_blender):
    text = f"""#!{sys.executable}
import os, pathlib, runpy, signal, sys
marker = pathlib.Path({str(tmp_path / "marker")!r})
if not marker.exists():
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)
runpy.run_path(sys.argv[sys.argv.index("--python") + 1], run_name="__main__")
"""
    with BlenderWorker(program(tmp_path / "blender", text)) as worker:
        assert worker.versions()["blender"].startswith("4.5")
        assert worker.restarts == 1


@pytest.mark.parametrize("garbage", [b"", b"x" * 99, struct.pack("!i", 2**31 - 1), b"PK\3\4" * 9])
def test_garbage_instead_of_an_answer_costs_a_try(tmp_path, needs_blender, garbage):
    text = f"""#!{sys.executable}
import os, pathlib, runpy, struct, sys
marker = pathlib.Path({str(tmp_path / "marker")!r})
script = sys.argv[sys.argv.index("--python") + 1]
worker = runpy.run_path(script)
pack = worker["pack"]
def answer(header, arrays):
    if header["request"] == "versions" or marker.exists():
        return worker["answer"](header, arrays)
    marker.touch()
    garbage = {garbage!r}
    if garbage.startswith(b"PK"):
        return garbage
    os.write(int(os.environ["IV_BLENDER_SOCKET"]), garbage)
    os._exit(0)
worker["main"].__globals__["answer"] = answer
worker["main"]()
"""
    with BlenderWorker(program(tmp_path / "blender", text)) as worker:
        vertices, _ = worker.design("cone", "funnel")
        assert len(vertices) > 100 and worker.restarts == 1


def test_a_blender_that_always_answers_garbage_is_a_crash_or_no_blender(tmp_path):
    text = f"""#!{sys.executable}
import os
os.write(int(os.environ["IV_BLENDER_SOCKET"]), b"HTTP/1.1 400 Bad Request" * 99)
"""
    with (
        BlenderWorker(program(tmp_path / "blender", text)) as worker,
        pytest.raises(BackendUnavailable, match="Blender could not be started"),
    ):
        worker.versions()


def test_a_blender_that_eats_memory_fails_alone(cone):
    with BlenderWorker(memory=8 * 2**20) as worker:
        assert worker.versions()["blender"].startswith("4.5")
        with pytest.raises(IVError, match=r"MemoryError|failed 3 times"):
            worker.defect("bulge", subdivide_long_edges(cone, 0.02), [5], 0.5)


def test_a_blender_that_is_always_killed_is_a_crash(tmp_path):
    killed = program(tmp_path / "blender", "#!/bin/sh\nkill -KILL $$\n")
    with (
        BlenderWorker(killed) as worker,
        pytest.raises(BlenderCrash, match=r"failed 3 times .it was killed while it started"),
    ):
        worker.versions()


def test_a_blender_program_is_called_with_blenders_own_options(tmp_path, needs_blender):
    # stands for the full program: takes its command line, runs the script with the wheel's bpy
    text = f"""#!{sys.executable}
import runpy, sys
assert sys.argv[1:3] == ["--background", "--factory-startup"], sys.argv
script = sys.argv[sys.argv.index("--python") + 1]
print("Blender 4.5.0 (a banner on stdout)")
runpy.run_path(script, run_name="__main__")
"""
    with BlenderWorker(program(tmp_path / "blender", text)) as worker:
        assert worker.versions()["blender"].startswith("4.5")
