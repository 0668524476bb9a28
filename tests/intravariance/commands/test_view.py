# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from intravariance.cloud_files import write_ply, write_text
from intravariance.commands.view import choose_sample, read_scores, view_command
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from tests.intravariance.looking.test_rendering import is_orange
from tests.support.samples import UNEVEN, make_dataset, sphere_points

SIZE = 96


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("view") / "small.h5", UNEVEN, sigma=0.002)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> str:
    """Return what is printed; InputError goes through, as to the `iv` group."""
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(view_command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def columns(path: Path) -> int:
    """Count how many pictures stand side by side."""
    with Image.open(path) as picture:
        assert picture.width % SIZE == 0
        return picture.width // SIZE


def has_labels(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(is_orange(np.asarray(picture.convert("RGB"))).any())


def ball() -> np.ndarray:
    return sphere_points(1500, np.random.default_rng(0))


# --- samples of a dataset


def test_the_first_defective_sample_by_default(file: Path, here: Path) -> None:
    with open_dataset(file) as dataset:
        expected = next(record.id for record in dataset if record.defect != "normal")
    assert run(file, "--size", SIZE) == f"{expected}.png\n"
    assert columns(here / f"{expected}.png") == 4  # template, surface, labels, displacement
    assert [path.name for path in here.iterdir()] == [f"{expected}.png"]


def test_a_sample_by_name_kind_and_category(file: Path) -> None:
    with open_dataset(file) as dataset:
        for record in dataset:
            assert choose_sample(dataset, record.id).id == record.id
        found = choose_sample(dataset, "bead/missing")
        assert (found.category, found.defect) == ("bead", "missing")
        assert choose_sample(dataset, "bead").category == "bead"
        assert choose_sample(dataset, "bead").defect != "normal"
        assert choose_sample(dataset, "ball/normal").defect == "normal"
        assert choose_sample(dataset, "").defect != "normal"
        for wrong, close in (
            ("ball_test_999", r"mean 'ball_test_\d+'"),
            ("baed/missing", "mean 'bead/missing'"),
            ("ball/missing", "mean 'bead/missing'"),
            ("zzzzzz", r"no sample zzzzzz\. Names are like bead_test_\d+, and .*iv info"),
        ):
            with pytest.raises(InputError, match=close):
                choose_sample(dataset, wrong)


def test_json_names_the_picture(file: Path, here: Path) -> None:
    printed = run(file, "--size", SIZE, "--out", "one.png", "--json")
    assert json.loads(printed) == {"path": "one.png"} and (here / "one.png").is_file()


def test_one_colour_is_one_picture(file: Path, here: Path) -> None:
    run(f"{file}:bead/missing", "--out", "a.png", "--size", SIZE, "--colour", "labels")
    assert columns(here / "a.png") == 1 and has_labels(here / "a.png")
    run(f"{file}:bead/normal", "--out", "b.png", "--size", SIZE)
    assert not has_labels(here / "b.png")


def test_scores_of_a_sample(file: Path, here: Path) -> None:
    with open_dataset(file) as dataset:
        record = choose_sample(dataset, "bead/bulge")
        np.save("scores.npy", record.labels.astype(np.float32))
    run(f"{file}:bead/bulge", "--out", "a.png", "--size", SIZE, "--scores", "scores.npy")
    assert columns(here / "a.png") == 5
    run(f"{file}:bead/bulge", "--out", "b.png", "--size", SIZE, "--scores", "scores.npy",
        "--colour", "scores")  # fmt: skip
    assert columns(here / "b.png") == 1


def test_a_page(file: Path, here: Path) -> None:
    pytest.importorskip("k3d", reason="k3d is not installed")
    run(f"{file}:bead/bulge", "--out", "a.html")
    text = (here / "a.html").read_text()
    assert "bead_test" in text and "bead_train" in text  # with a template
    with pytest.raises(InputError, match="page has buttons"):
        run(file, "--out", "b.html", "--colour", "labels")


# --- the user's own clouds


def test_an_own_cloud_without_normals_or_labels(here: Path) -> None:
    Path("part.ply").write_bytes(write_ply(40 + 7 * ball()))
    assert run("part.ply", "--size", SIZE) == "part.png\n"
    assert columns(here / "part.png") == 1 and not has_labels(here / "part.png")
    before = (here / "part.png").read_bytes()
    with pytest.raises(InputError, match=r"part\.png exists.*--force"):
        run("part.ply")
    run("part.ply", "--size", SIZE, "--force")
    assert (here / "part.png").read_bytes() == before


def test_labels_and_scores_from_files_beside(here: Path) -> None:
    points = ball()
    labels = (points[:, 1] < -0.8).astype(np.uint8)
    Path("part.xyz").write_bytes(write_text(points))
    np.savetxt("truth.txt", labels, fmt="%d")
    np.savetxt("scores.txt", points[:, 1])
    run("part.xyz", "--labels", "truth.txt", "--size", SIZE)
    assert columns(here / "part.png") == 2 and has_labels(here / "part.png")
    run("part.xyz", "--scores", "scores.txt", "--size", SIZE, "--out", "heat.png")
    assert columns(here / "heat.png") == 2
    Path("whole.ply").write_bytes(write_ply(points, points, labels))
    run("whole.ply", "--size", SIZE, "--colour", "labels")
    assert columns(here / "whole.png") == 1 and has_labels(here / "whole.png")


def test_a_file_whose_name_has_a_colon(here: Path) -> None:
    Path("a:b.ply").write_bytes(write_ply(ball()))
    assert run("a:b.ply", "--size", SIZE) == "a:b.png\n"


def test_what_is_refused_before_anything_is_written(file: Path, here: Path) -> None:
    Path("part.ply").write_bytes(write_ply(ball()))
    Path("hole.txt").write_text("0 0 0\n1 nan 0\n")
    Path("empty.txt").write_text("")
    Path("part.step").write_text("ISO")
    np.save("three.npy", np.zeros(3))
    start = sorted(here.iterdir())
    for arguments, message in (
        (["missing.h5"], "no such file"),
        (["missing.ply"], r"missing\.ply"),
        (["part.step"], r"part\.step: expected a dataset file \(\.h5 \.hdf5\), a point cloud"),
        (["hole.txt"], r"hole\.txt.*line 2"),
        (["empty.txt"], r"empty\.txt.*empty"),
        (["part.ply:one"], r"part\.ply is one cloud and has no samples"),
        ([f"{file}:one"], "no sample one"),
        (["part.ply", "--out", "a.jpg"], r"ending in \.png or \.html"),
        (["part.ply", "--out", "nowhere/a.png"], "existing folder"),
        (["part.ply", "--colour", "labels"], "give a file of them with --labels"),
        (["part.ply", "--colour", "scores"], "give a file of them with --scores"),
        (["part.ply", "--colour", "displacement"], "alone that iv built"),
        (["part.ply", "--labels", "three.npy"], r"three\.npy.*3 labels for 1,500 points"),
        (["part.ply", "--scores", "three.npy"], r"each of 1,500 points, .*\(3,\)"),
        ([file, "--labels", "three.npy"], "has its own"),
    ):
        with pytest.raises(InputError, match=message):
            run(*arguments)
    assert sorted(here.iterdir()) == start


def test_scores_must_be_numbers(here: Path) -> None:
    np.save("good.npy", np.arange(3.0)[:, None])
    assert read_scores(here / "good.npy", 3).tolist() == [0, 1, 2]
    np.save("bad.npy", np.array([0, np.inf, 1]))
    with pytest.raises(InputError, match="number 2 is inf"):
        read_scores(here / "bad.npy", 3)
    Path("word.txt").write_text("1\ntwo\n3\n")
    with pytest.raises(InputError, match=r"word\.txt"):
        read_scores(here / "word.txt", 3)
