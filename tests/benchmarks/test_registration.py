# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from intravariance.geometry.mesh import mesh_from_arrays, to_unit_sphere
from tests.support.samples import make_dataset, product, small_specification

pytest.importorskip("open3d", reason="open3d is not installed: pip install '.[model]'")
from benchmarks.product_symmetries import Motions, Product

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "registration.py"


@pytest.fixture(scope="module")
def brick() -> Product:
    return Product(product("flat_brick"), np.random.default_rng(0))


def turned(vector, shift=(0.0, 0.0, 0.0)) -> Motions:
    rotation = Rotation.from_rotvec(np.radians(vector)).as_matrix()
    return Motions(rotation[None], np.array([shift], dtype=float))


def test_a_brick_looks_the_same_in_four_poses(brick):
    angles = np.degrees(Rotation.from_matrix(brick.symmetries.rotation).magnitude())
    assert np.allclose(angles, [0, 180, 180, 180], atol=0.1)
    assert np.abs(brick.symmetries.shift).max() < 1e-3


@pytest.mark.parametrize("half_turn", [(0, 0, 0), (180, 0, 0), (0, 180, 0), (0, 0, 180)])
def test_errors_are_counted_from_the_nearest_symmetry(brick, half_turn):
    true = turned(half_turn)
    degrees, shift = brick.error(turned(half_turn, (0.03, 0, 0)))
    assert degrees < 0.1
    assert shift == pytest.approx(0.03, abs=1e-3)
    rotation = true.rotation @ turned((0, 4, 0)).rotation
    degrees, shift = brick.error(Motions(rotation, true.shift))
    assert degrees == pytest.approx(4, abs=0.1)
    assert shift < 0.01


def test_a_wrong_pose_is_no_symmetry(brick):
    degrees, _ = brick.error(turned((0, 0, 90)))
    assert degrees == pytest.approx(90, abs=0.5)


def test_a_solid_of_revolution_may_be_turned_by_any_angle():
    shape = trimesh.creation.cone(radius=0.5, height=1.5, sections=90)
    mesh = to_unit_sphere(mesh_from_arrays(np.asarray(shape.vertices), np.asarray(shape.faces)))
    cone = Product(mesh, np.random.default_rng(0), count=300)
    assert cone.error(turned((0, 0, 37.3)))[0] < 1.5
    assert cone.error(turned((8, 0, 0)))[0] == pytest.approx(8, abs=1)
    assert cone.error(turned((180, 0, 0)))[0] > 90


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FILE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tables_of_all_ways(tmp_path):
    specification = small_specification(points=(2000, 2500))
    path = make_dataset(tmp_path / "small.h5", specification, sigma=0.02)
    done = run(path, "--categories", "brick", "--limit", 2, "--markdown", "--failures")
    assert done.returncode == 0, done.stderr
    comparison = done.stdout.split("mean of categories")[1]
    for way in ("ours", "FPFH-RANSAC + ICP", "FGR + ICP"):
        assert f"| {way} | 2 |" in comparison
    ours = done.stdout.split("\nours\n")[1].splitlines()
    assert next(line for line in ours if line.startswith("| brick")).startswith(
        "| brick | 2 | 1.000 | 1.000 |"
    )


def test_bad_input_is_the_users_mistake(tmp_path):
    assert run(tmp_path / "none.h5").returncode == 2
    done = run(tmp_path / "none.h5", "--ways", "guessing")
    assert done.returncode == 2 and "guessing: expected some of ours" in done.stderr


def test_deficits_of_own_and_of_other_clouds(tmp_path):
    specification = small_specification(points=(1000, 1500), positives=3, defects=1)
    path = make_dataset(tmp_path / "small.h5", specification, sigma=0.02)
    script = FILE.with_name("registration_fits.py")
    done = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in done.stdout.splitlines()}
    assert float(rows["normal"][5]) < 0.2, "the largest deficit of a normal cloud"
    assert float(rows["of other categories"][3]) > float(rows["normal"][3]) + 0.1
