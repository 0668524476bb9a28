# SPDX-License-Identifier: Apache-2.0
"""`iv predict`, and `mc4ad_model.predict`, which gives the same."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("pydantic")

from intravariance.cloud_files import read_cloud, write_ply, write_text
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.importing.thinning import Thinning
from intravariance.files.checksums import read_checksums
from mc4ad_model import ScanPrediction, predict
from mc4ad_model.prediction.treatment import kept_scan_points
from mc4ad_model.runs.calibration import stored_calibration
from mc4ad_model.runs.run_folder import read_run
from tests.support.foreign_trees import real3d_tree, write_tree
from tests.support.predictions import run_iv, small_data, small_runs
from tests.support.samples import make_dataset

RATE = ("--false-alarms", 0.025)
NEEDED = ("track clouds", "--track meshes", "a mesh of the product in train/", "--scan-noise")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs(data, tmp_path_factory.mktemp("runs") / "run")


def stored(data: Path, category: str = "brick") -> dict[str, NDArray[np.float32]]:
    """Return the test clouds of a category, by their ids."""
    with open_dataset(data) as dataset:
        return {r.id: r.points for r in dataset.filter(category=category) if r.split == "test"}


@pytest.fixture(scope="module")
def clouds(data: Path) -> dict[str, NDArray[np.float32]]:
    return stored(data)


def words(runs: Path, *scans: object, category: str = "brick") -> tuple[object, ...]:
    return ("predict", "--run", runs, *scans, "--category", category, "--size", 64)


def fields(path: Path) -> dict[str, NDArray[np.floating[Any]]]:
    """Read a little-endian PLY of vertices, as its header says."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = [line.split() for line in head.decode().splitlines()]
    kinds = {"float": "<f4", "double": "<f8"}
    properties = [(line[2], kinds[line[1]]) for line in lines if line[0] == "property"]
    rows = np.frombuffer(body, properties)
    assert len(rows) == next(int(line[2]) for line in lines if line[:2] == ["element", "vertex"])
    return {name: rows[name] for name, _ in properties}


def mistake(result: Result, *said: str) -> None:
    assert result.exit_code == 2, result.output
    assert not result.stdout
    for word in said:
        assert word in result.stderr


def test_tables_and_clouds_say_what_the_method_says(
    runs: Path, data: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run_iv(*words(runs, data), *RATE, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"predict brick: {len(clouds)}/{len(clouds)}" in result.stderr
    content = json.loads((out / "predictions.json").read_text())
    lines = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    run = read_run(runs / "brick")
    method, normal = run.load_method(), stored_calibration(run).scores
    assert [scan["file"] for scan in content["scans"]] == [f"{data}:{name}" for name in clouds]
    for scan, line, points in zip(content["scans"], lines, clouds.values(), strict=True):
        own = method.score(points)
        top = np.sort(own.points.astype(float))[-int(np.ceil(0.02 * len(points))) :].mean()
        assert scan["object_score"] == top == float(line["object_score"])
        assert scan["p_value"] == normal.p_value(top) == float(line["p_value"])
        assert scan["anomalous"] == (scan["p_value"] <= 0.025) == (line["anomalous"] == "yes")
        assert scan["points"] == len(points) == int(line["points"])
        assert scan["error"] == line["error"] == line["notes"] == "" and scan["notes"] == []
        found = fields(out / scan["cloud"])
        assert list(found) == ["x", "y", "z", "score", "fx", "fy", "fz"]
        force = np.stack([found[name] for name in ("fx", "fy", "fz")], 1)
        np.testing.assert_array_equal(force, np.asarray(own.force, np.float32))
        np.testing.assert_array_equal(found["score"], own.points)
        np.testing.assert_array_equal(np.stack([found[a] for a in "xyz"], 1), points)
    assert {scan["anomalous"] for scan in content["scans"]} == {True, False}
    assert (out / "worst.png").is_file() and (out / "predictions.html").is_file()
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert files == {*read_checksums(out), "SHA256SUMS"}
    assert "nothing here tells whether scans are" in result.stdout.replace("\n", " ")


def test_an_organised_scan_scores_as_the_points_that_it_has(
    runs: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    points = next(iter(clouds.values()))
    organised = tmp_path / "organised.ply"
    organised.write_bytes(write_ply(np.concatenate([points, np.zeros((5, 3), np.float32)])))
    (tmp_path / "plain.ply").write_bytes(write_ply(points))
    options = ("--drop-no-return", "--json", "--out", tmp_path / "out")
    result = run_iv(*words(runs, organised, tmp_path / "plain.ply"), *options)
    first, second = json.loads(result.stdout)["scans"]
    assert first["object_score"] == second["object_score"]
    assert first["points"] == second["points"] == len(points)
    assert "5 of its rows" in first["notes"][0] and not second["notes"]
    (called,) = predict(runs, [organised], category="brick", drop_no_return=True)
    assert called.object_score == first["object_score"]


def test_the_python_call_gives_what_the_command_gives(
    runs: Path, data: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    result = run_iv(*words(runs, data), *RATE, "--out", tmp_path / "out", "--json", "--quiet")
    assert result.exit_code == 0 and not result.stderr
    scans = json.loads(result.stdout)["scans"]
    assert scans == json.loads((tmp_path / "out" / "predictions.json").read_text())["scans"]
    named = list(predict(runs, [data], category="brick", false_alarms=0.025))
    given = list(predict(runs, clouds.values(), category="brick", false_alarms=0.025))
    for scan, one, other in zip(scans, named, given, strict=True):
        for found in (one, other):
            assert isinstance(found, ScanPrediction) and found.scores is not None
            for name in ("object_score", "p_value", "anomalous"):
                assert scan[name] == getattr(found, name)
            scores = fields(tmp_path / "out" / scan["cloud"])["score"]
            np.testing.assert_array_equal(scores, found.scores)
    assert [one.file for one in given][:2] == ["cloud 0", "cloud 1"]


def test_a_bad_scan_does_not_stop_the_others(
    runs: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    first, second = list(clouds.values())[:2]
    bad = first.copy()
    bad[7, 1] = np.nan
    scans = write_tree(
        tmp_path / "scans",
        {
            "a/part.ply": write_ply(first),
            "b/part.ply": write_ply(second)[:-5],
            "c/nan.ply": write_ply(bad),
            "c/few.txt": write_text(first[:5]),
            "d/part.txt": write_text(second),
            "d/report.pdf": b"%PDF",
            "README.txt": b"scanned on Monday\n",
        },
    )
    result = run_iv(*words(runs, scans), "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    found = {scan["file"].removeprefix(f"{scans}/"): scan for scan in content["scans"]}
    assert {name for name, scan in found.items() if not scan["error"]} == {
        "a/part.ply",
        "d/part.txt",
    }
    assert "cut off" in found["b/part.ply"]["error"]
    assert "nan" in found["c/nan.ply"]["error"] and "5 points" in found["c/few.txt"]["error"]
    for name in ("b/part.ply", "c/nan.ply"):
        scan = found[name]
        assert (scan["points"], scan["object_score"], scan["cloud"]) == (None, None, "")
        assert f"{scans}/{name}: {scan['error']}" in result.stdout
    assert content["left_out"] == [f"{scans}/README.txt", f"{scans}/d/report.pdf"]
    assert "left out: 2 files" in result.stderr and "report.pdf" in result.stdout


def test_a_broken_scan_outweighs_an_anomalous_one(
    runs: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    good, wrong = tmp_path / "good.ply", tmp_path / "wrong.ply"
    found = predict(runs, clouds.values(), category="brick")
    scored = sorted(found, key=lambda one: one.object_score or 0)
    lowest = np.asarray(scored[0].points)
    limit = ("--false-alarms", 0.5, "--fail-on-anomaly", "--worst", 0, "--quiet")
    good.write_bytes(write_ply(lowest))
    wrong.write_bytes(write_ply(lowest * (1.0, 1.0, 1.4)))
    broken = tmp_path / "broken.ply"
    broken.write_bytes(b"ply\n")
    codes = []
    for number, scans in enumerate(((good,), (good, wrong), (good, wrong, broken))):
        out = tmp_path / f"out{number}"
        codes.append(run_iv(*words(runs, *scans), *limit, "--out", out).exit_code)
        assert not (out / "worst.png").exists()
    assert codes == [0, 1, 2]
    assert run_iv(*words(runs, wrong), *limit[:2], "--out", tmp_path / "x").exit_code == 0


def test_names_of_any_kind_neither_collide_nor_escape(
    runs: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    names = ("花瓶 1.ply", "ваза.PLY", "a b;c,\"d'.ply", "-rf.ply", "CON.ply", "x" * 200 + ".ply")
    first = write_ply(next(iter(clouds.values())))
    scans = write_tree(tmp_path / "scans", {f"{d}/{n}": first for d in "pq" for n in names})
    out = tmp_path / "out"
    result = run_iv(*words(runs, scans, scans / "p", scans / "p" / names[0]), "--out", out)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "predictions.json").read_text())["scans"]
    assert sorted(Path(s["file"]).name for s in found) == sorted(2 * names)
    written = [scan["cloud"] for scan in found]
    assert len({name.casefold() for name in written}) == len(written) == 12
    assert {f"clouds/{p.name}" for p in (out / "clouds").iterdir()} == set(written)
    assert any("花瓶 1" in name for name in written)
    lines = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert [line["file"] for line in lines] == [scan["file"] for scan in found]


def test_the_picture_shows_the_worst_first(
    runs: Path, data: Path, tmp_path: Path, clouds: dict[str, NDArray[np.float32]]
) -> None:
    out = tmp_path / "out"
    assert run_iv(*words(runs, data), "--out", out, "--worst", 2).exit_code == 0
    with Image.open(out / "worst.png") as picture:
        assert picture.width == 2 * 64
    result = run_iv(*words(runs, data), "--out", out, "--force")
    assert result.exit_code == 0
    with Image.open(out / "worst.png") as picture:
        assert picture.width == 4 * 64
    rows = [line.split() for line in result.stdout.splitlines()[1 : len(clouds) + 1]]
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_results_are_replaced_only_by_force_and_unchanged(
    runs: Path, data: Path, tmp_path: Path
) -> None:
    out, one = tmp_path / "out", f"{data}:brick_test_000"
    assert run_iv(*words(runs, one), "--out", out).exit_code == 0
    mistake(run_iv(*words(runs, one), "--out", out), "exists", "--force")
    assert run_iv(*words(runs, one), "--out", out, "--force").exit_code == 0
    (out / "mine.txt").write_text("notes")
    mistake(run_iv(*words(runs, one), "--out", out, "--force"), "mine.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_what_cannot_be_meant_is_an_error_before_anything_is_scored(
    runs: Path, data: Path, tmp_path: Path
) -> None:
    def given(*more: object) -> Result:
        return run_iv("predict", "--run", runs, *more, "--out", tmp_path / "out")

    mistake(given(data), "ball, brick", "--category")
    mistake(given(data, "--category", "vase"), "vase", "ball, brick")
    brick = ("--category", "brick")
    mistake(given(tmp_path / "none.ply", *brick), "none.ply", "no such file")
    mistake(given(f"{data}:ball_test_000", *brick), "category ball", "brick")
    mistake(given(f"{data}:brick_test_99", *brick), "Did you mean")
    mistake(given(data, "--fail-on-anomaly", *brick), "--false-alarms")
    for number in ("nan", "inf"):
        mistake(given(data, *brick, "--length", number), "--length", "not a finite number")
    mistake(given(data, *brick, "--false-alarms", "nan"), "--false-alarms", "finite number")
    if Path("/proc/self").exists():
        result = run_iv("predict", "--run", runs, data, *brick, "--out", "/proc/x")
        mistake(result, "nothing can be written")
    mistake(given(data, *RATE, "--category", "ball"), "no calibration", "iv calibrate")
    mistake(given(data, *brick, "--false-alarms", 0.01), "at least 99", "--clouds 99")
    (tmp_path / "empty").mkdir()
    mistake(given(tmp_path / "empty", *brick), "holds no cloud")
    mistake(given(tmp_path, *brick), "lies in")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="--length"):
        predict(runs, [data], category="brick", length=-1)


def test_without_a_calibration_there_are_scores_alone(
    runs: Path, data: Path, tmp_path: Path
) -> None:
    result = run_iv(*words(runs, data, category="ball"), "--out", tmp_path / "out")
    assert result.exit_code == 0 and "No p-values" in result.stdout
    assert "`iv calibrate`" in result.stdout
    for scan in json.loads((tmp_path / "out" / "predictions.json").read_text())["scans"]:
        assert scan["p_value"] is None and scan["anomalous"] is None
        assert np.isfinite(scan["object_score"])


def test_conditions_of_the_calibration_are_held_against_what_is_scored(
    runs: Path, data: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    # a scan tells its number of points alone
    half, whole = tmp_path / "half.ply", tmp_path / "whole.ply"
    points = next(iter(clouds.values()))
    half.write_bytes(write_ply(points[::2]))
    whole.write_bytes(write_ply(points))
    first, second = predict(runs, [half, whole], category="brick", false_alarms=0.025)
    assert len(first.notes) == 1 and "calibrated for 300 to 400 points" in first.notes[0]
    assert first.object_score is not None and first.p_value is first.anomalous is None
    assert second.notes == () and second.p_value is not None
    words_of_line = (*RATE, "--fail-on-anomaly", "--quiet", "--out", tmp_path / "line")
    assert run_iv(*words(runs, half), *words_of_line).exit_code == 2  # undecided is not passed
    # a dataset file tells more
    specification = Specification(
        "small", "Small", (300, 400), (Category("brick", ("flat_brick",), 1, 1, {"bulge": 1}),)
    )
    other = make_dataset(tmp_path / "other.h5", specification, sigma=0.01)
    result = run_iv(*words(runs, other), *RATE, "--out", tmp_path / "out")
    mistake(result, "other test clouds", "noise_sigma")
    (found, _) = predict(runs, [other], category="brick")
    assert found.object_score is not None and found.p_value is None
    assert "noise_sigma" in found.notes[0]


def test_scans_are_thinned_as_the_import_thinned_the_training_clouds(
    runs: Path, data: Path, clouds: dict[str, NDArray[np.float32]], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(runs, tmp_path / "run"))
    with changed(run / "brick" / "run.json") as content:
        content["identity"]["imported"] = {"thinning": {"max_points": 350}, "frames": {}}
    points = np.concatenate([cloud.astype(np.float64) for cloud in clouds.values()])
    file = tmp_path / "scan.ply"
    file.write_bytes(write_ply(points))
    keep = kept_scan_points(points, Thinning(max_points=350))
    sample = f"{data}:{next(iter(clouds))}"
    whole, again, less, stored_one = predict(
        run, [file, points, points[keep], sample], category="brick", false_alarms=0.025
    )
    assert whole.p_value is not None and whole.anomalous is not None
    assert whole.object_score == again.object_score == less.object_score
    for name in ("scores", "force"):
        own, other = getattr(whole, name), getattr(less, name)
        assert len(own) == len(points)
        np.testing.assert_array_equal(own[keep], other)
        np.testing.assert_array_equal(own, getattr(again, name))
    doubt, note = whole.notes
    assert doubt.startswith("fits no template")  # several clouds in one
    assert "350 of its" in note and "iv import --max-points 350" in note
    assert less.notes == (doubt,)
    assert stored_one.notes == ()  # a sample of a file is as it was imported


@contextmanager
def changed(path: Path) -> Iterator[dict[str, Any]]:
    content = json.loads(path.read_text())
    yield content
    path.write_text(json.dumps(content))


def test_scans_are_treated_as_the_import_treated_the_training_clouds(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "Real3D-AD", real3d_tree())
    data = tmp_path / "scans.h5"
    assert run_iv("import", "real3d-ad", tree, "--out", data, "--jobs", 1, "--quiet").exit_code == 0
    run = tmp_path / "run"
    method = ("--method", "registered_distance", "--set", "neighbours=20", "--category", "duck")
    assert run_iv("train", "--data", data, *method, "--out", run, "--quiet").exit_code == 0
    with open_dataset(data) as dataset:
        record = next(r for r in dataset.filter(category="duck") if r.split == "test")
        length = record.parameters["imported"]["length"]
        file = tree / record.parameters["imported"]["files"]["cloud"]
    assert length > 10
    scan, sample, kept = (
        next(predict(run, [target], length=given))
        for target, given in ((file, None), (f"{data}:{record.id}", None), (file, 0))
    )
    assert scan.scores is not None and scan.points is not None and sample.scores is not None
    np.testing.assert_array_equal(scan.scores, sample.scores)
    np.testing.assert_array_equal(scan.points, read_cloud(file).points)  # in its own unit
    assert scan.force is not None and sample.force is not None
    np.testing.assert_array_equal(scan.force, sample.force * np.float32(length))
    assert kept.object_score != scan.object_score
    assert "float32" in next(predict(run, [file], length=1e-300)).error
    assert not scan.notes
    rod = tmp_path / "rod.xyz"
    np.savetxt(rod, scan.points * (0.3, 0.3, 1.4))
    (note,) = next(predict(run, [rod])).notes
    assert note.startswith("fits no template")
    # clouds as templates never have a calibration: that is said, and how one is come by
    mistake(run_iv(*words(run, file, category="duck"), *RATE, "--out", tmp_path / "x"), *NEEDED)
    said = run_iv(*words(run, file, category="duck"), "--out", tmp_path / "x").stdout
    assert all(word in said for word in NEEDED) and "iv calibrate" not in said
    mistake(run_iv("calibrate", "--data", data, "--run", run), *NEEDED)
    with changed(run / "duck" / "run.json") as content:
        content["identity"]["imported"]["thinning"] = {"max_points": len(scan.points)}
    assert next(predict(run, [file])).notes == ()
    with changed(run / "duck" / "run.json") as content:
        content["identity"]["imported"]["frames"] |= {"duck/mallard": {"length": 3.0}}
    with pytest.raises(InputError, match=r"several lengths .*3\.0"):
        predict(run, [file])
    assert next(predict(run, [file], length=length)).object_score == scan.object_score
