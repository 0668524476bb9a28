# SPDX-License-Identifier: Apache-2.0
"""Sweeps with a real Blender: one geometry in all files, each file that of its setting."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from intravariance import load_specification, open_dataset
from intravariance.building.blender import BlenderWorker, Defective
from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.building.sweep import SWEPT, build_sweep, parse_sweeps, plan_sweep
from intravariance.building.sweep_index import INDEX, Sweep, read_sweep
from intravariance.cli import main
from intravariance.errors import InputError
from intravariance.executors.serial import SerialExecutor
from intravariance.geometry.sampling import apply_pose
from intravariance.verification.verify import verify

# Three kinds of defects: one that moves the surface, one that takes some away, one that gives away
# a part of another product.
SPECIFICATION = """
name = "pots"
points = [900, 1200]
noise_sigma = 0.03
[[category]]
name = "vase"
subcategories = ["handled_vase", "square_vase"]
templates = 2
positives = 2
defects = { bulge = 2, missing = 2 }
"""
SWEEPS = ("noise_sigma=0,0.002,0.0447", "points=500,2000")
NAMES = [f"pots-noise_sigma={s}-points={n}.h5" for s in (0, 0.002, 0.0447) for n in (500, 2000)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> BuildSettings:
    folder = tmp_path_factory.mktemp("pots")
    path = folder / "pots.toml"
    path.write_text(SPECIFICATION)
    own = load_specification(path)
    samples = SampleSettings(3, "so3", 0.03, own.tolerance, own.points)
    return BuildSettings(own, samples, "procedural", folder / "cache", quiet=True)


@pytest.fixture(scope="module")
def calls() -> Iterator[Counter[str]]:
    """Count what Blender is asked for, by defect."""
    found: Counter[str] = Counter()
    asked = BlenderWorker.defect

    def counted(self: BlenderWorker, kind: str, *arguments: Any, **more: Any) -> Defective:
        found[kind] += 1
        return asked(self, kind, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlenderWorker, "defect", counted)
        yield found


@pytest.fixture(scope="module")
def sweep(
    settings: BuildSettings, calls: Counter[str], tmp_path_factory: pytest.TempPathFactory
) -> Sweep:
    out = tmp_path_factory.mktemp("sweeps") / "pots"
    before = calls.copy()
    made, _ = build_sweep(settings, parse_sweeps(SWEEPS), out, SerialExecutor())
    assert calls - before == {"bulge": 2, "missing": 2}  # once a sample, and not six times
    return made


def digests(sweep: Sweep) -> dict[str, str]:
    return {member.file: member.digest for member in sweep.members}


def test_every_file_is_what_a_build_of_its_setting_alone_makes(
    sweep: Sweep, settings: BuildSettings, tmp_path: Path
) -> None:
    assert [member.file for member in sweep.members] == NAMES
    assert {path.name for path in sweep.folder.iterdir()} == {*NAMES, INDEX}
    for sigma, points, name in ((0.002, 2000, NAMES[3]), (0.0447, 500, NAMES[4])):
        text = SPECIFICATION.replace("[900, 1200]", f"[{points}, {points}]")
        path = tmp_path / "alone.toml"
        path.write_text(text.replace("0.03", str(sigma)))
        alone = tmp_path / name
        words = ["build", "--spec", path, "--seed", 3, "--cache", settings.cache, "--jobs", 1]
        result = CliRunner().invoke(main, list(map(str, [*words, "--out", alone, "--json"])))
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["content_digest"] == digests(sweep)[name]
        with open_dataset(alone) as one, open_dataset(sweep.folder / name) as other:
            assert one.metadata == other.metadata
            assert [r.id for r in one] == [r.id for r in other]


def test_samples_share_mesh_defect_and_pose_and_pass_verification(sweep: Sweep) -> None:
    first, *others = (open_dataset(sweep.folder / name) for name in NAMES)
    for other in others:
        for record, twin in zip(first, other, strict=True):
            own, its = record.parameters, twin.parameters
            assert (record.id, record.defect) == (twin.id, twin.defect)
            for key in ("base_mesh", "seed", "severity", "defect", "rejections"):
                assert own.get(key) == its.get(key), (record.id, key)
            np.testing.assert_array_equal(record.pose, twin.pose)
            if record.mesh is not None and twin.mesh is not None:
                np.testing.assert_array_equal(record.mesh.vertices, twin.mesh.vertices)
        assert verify(other.path, probes=False).passed


def test_noise_of_a_sweep_is_in_proportion_and_the_points_below_it_are_the_same(
    sweep: Sweep,
) -> None:
    """With noise off, the noise of the others is what their points differ by."""
    clean, fine, coarse = (open_dataset(sweep.folder / NAMES[number]) for number in (1, 3, 5))
    for record in clean:
        for other in (fine, coarse):
            for name in ("normals", "labels", "displacement"):
                np.testing.assert_array_equal(
                    getattr(record, name), getattr(other[record.id], name)
                )
        points = record.points.astype(np.float64)
        own, more = (other[record.id].points - points for other in (fine, coarse))
        # points are stored as float32, near 1
        np.testing.assert_allclose(own / 0.002, more / 0.0447, atol=3e-4)
        assert float(more.std()) == pytest.approx(0.0447, rel=0.05)


def test_points_of_a_sweep_lie_on_the_same_surface(sweep: Sweep) -> None:
    """The few are no subset of the many, and lie on one surface with them."""
    few, many = (open_dataset(sweep.folder / NAMES[number]) for number in (0, 1))
    assert {record.n_points for record in few} == {500}
    assert {record.n_points for record in many} == {2000}
    for record in few:
        back = np.linalg.inv(record.pose)
        both = [apply_pose(one[record.id].points, back) for one in (few, many)]
        spans = [np.ptp(points, axis=0) for points in both]
        np.testing.assert_allclose(spans[0], spans[1], atol=0.15)
        assert len(np.unique(np.concatenate(both), axis=0)) == 2500


class Dies(SerialExecutor):
    """Ends in the middle, as a kill would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def run(self, function: Callable[[Any], Any], tasks: Any) -> Iterator[tuple[Any, Any]]:
        for task, result in super().run(function, tasks):
            if "family" in function.__name__:
                self.after -= 1
                if self.after < 0:
                    raise KeyboardInterrupt
            yield task, result


def test_killed_and_started_again_it_ends_with_the_same_files(
    sweep: Sweep, settings: BuildSettings, calls: Counter[str], tmp_path: Path
) -> None:
    out, swept = tmp_path / "again", parse_sweeps(SWEEPS)
    with pytest.raises(KeyboardInterrupt):
        build_sweep(settings, swept, out, Dies(5))
    assert not (out / INDEX).exists() and len(list(out.glob("*.partial/samples/*.h5"))) == 30
    made, _ = build_sweep(settings, swept, out, SerialExecutor())
    assert digests(made) == digests(sweep)
    # killed after some files were in place
    (out / INDEX).unlink()
    (out / NAMES[2]).unlink()
    kept = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    before = calls.copy()
    made, _ = build_sweep(settings, swept, out, SerialExecutor())
    assert digests(made) == digests(sweep) == digests(read_sweep(out))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert sum((calls - before).values()) == 4
    # values may be added
    more = parse_sweeps(("noise_sigma=0,0.002,0.0447,0.01", "points=500,2000"))
    made, _ = build_sweep(settings, more, out, SerialExecutor())
    assert digests(sweep).items() < digests(made).items()
    with pytest.raises(InputError, match=r"holds another sweep, with pots-noise_sigma=0\.01"):
        build_sweep(settings, swept, out, SerialExecutor())


def test_a_file_of_other_settings_is_kept_without_force(
    sweep: Sweep, settings: BuildSettings, tmp_path: Path
) -> None:
    out, swept = tmp_path / "other", {"noise_sigma": (0.002,)}
    other = replace(settings, samples=replace(settings.samples, seed=4))
    first, _ = build_sweep(other, swept, out, SerialExecutor())
    with pytest.raises(InputError, match="damaged or was made with other settings"):
        build_sweep(settings, swept, out, SerialExecutor())
    assert digests(read_sweep(out)) == digests(first)
    second, _ = build_sweep(settings, swept, out, SerialExecutor(), force=True)
    assert digests(read_sweep(out)) == digests(second) != digests(first)
    (out / "pots-noise_sigma=0.002.h5").write_text("precious")
    with pytest.raises(InputError, match="damaged or was made with other settings"):
        build_sweep(settings, swept, out, SerialExecutor())
    assert (out / "pots-noise_sigma=0.002.h5").read_text() == "precious"


def test_scans_share_geometry_too_and_one_that_hides_the_defect_is_named(
    settings: BuildSettings, tmp_path: Path
) -> None:
    many, few = (
        replace(
            settings,
            specification=replace(settings.specification, points=(count, count)),
            samples=replace(settings.samples, points=(count, count)),
        )
        for count in (5000, 900)
    )
    swept = parse_sweeps(("scan.outliers=0,0.05", "scan.density_variation=0,0.3"))
    made, results = build_sweep(many, swept, tmp_path / "scans", SerialExecutor())
    assert len({member.digest for member in made.members}) == 4
    assert {result.samples for result in results} == {8}
    # of 900 points fewer than ten show a small defect, and then another one is drawn
    with pytest.raises(InputError, match=r"do not share geometry: vase_test_00\d has another"):
        build_sweep(few, {"scan.outliers": (0, 0.05)}, tmp_path / "few", SerialExecutor())
    assert not (tmp_path / "few" / INDEX).exists()


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["build", "--group", "2", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sweep", "severity=0,1"), f"expected KEY=VALUE,VALUE,... with one of {SWEPT[0]}"),
        (("--sweep", "noise=0,1"), "did you mean 'noise_sigma'"),
        (("--sweep", "noise_sigma=0,loud"), "'loud' is no number"),
        (("--sweep", "noise_sigma="), "'' is no number"),
        (("--sweep", "noise_sigma=0.1,1e-1"), "a value is there twice"),
        (("--sweep", "points=20", "--sweep", "points=30"), "points is swept already"),
        (("--sweep", "points=20.5"), "--sweep points=20.5: points = 20.5, expected int"),
        (("--sweep", "noise_sigma=nan"), "expected float from 0.0 to 1.0"),
        (("--sweep", "points=8"), "expected int from 16 to 10000000"),
        (("--sweep", "scan.incidence_noise=0.3"), "ask for them with views = 1 or more"),
        (("--sweep", "noise_sigma=0,1", "--noise-sigma", 1), "give --sweep or --noise-sigma"),
        (("--sweep", "points=20,30", "--shard", "0/2"), "give --sweep or --shard, not both"),
        (("--sweep", "points=20,30", "--out", "a.h5"), "expected the name of a folder"),
        (("--sweep", "points=20,30", "--out", "memory://a/b"), "is built on this machine"),
        (("--sweep", "points=20,30", "--shards", 2), "give --sweep or --shards, not both"),
        (("--sweep", "points=20,30", "--out", "no/folder"), "--out no/folder: cannot be made"),
    ],
)
def test_mistakes_are_named_before_anything_is_made(
    words: tuple[object, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert message.lower() in result.stderr.lower(), result.stderr
    assert not list(tmp_path.iterdir())


def test_a_dry_run_names_the_files_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--sweep", "noise_sigma=0,0.002", "--sweep", "points=2000", "--dry-run")
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [
        f"group2-sweep/group2-noise_sigma={sigma}-points=2000.h5" for sigma in ("0", "0.002")
    ]
    found = json.loads(call(*words, "--json").stdout)
    assert found["samples_each"] == 454
    assert found["members"][1]["values"] == {"noise_sigma": 0.002, "points": 2000}
    assert not list(tmp_path.iterdir())


def test_noise_in_a_unit_gives_way_to_that_of_the_sweep(settings: BuildSettings) -> None:
    own = replace(settings.specification, given={"noise_sigma": "0.05 mm", "tolerance": "0.1 mm"})
    (member,) = plan_sweep(replace(settings, specification=own), {"noise_sigma": (0.002,)}, Path())
    assert member.settings.specification.given == {"tolerance": "0.1 mm"}
    assert member.settings.samples.noise_sigma == 0.002 and member.settings.noise is None
