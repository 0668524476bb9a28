# SPDX-License-Identifier: Apache-2.0
"""Leaderboards of sweeps: each file's is as by itself, and the curves are made of their figures."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")
pytest.importorskip("matplotlib")

from PIL import Image

from intravariance.building.sweep_index import INDEX, Member, Sweep
from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from mc4ad_model.evaluation.results import read_results
from mc4ad_model.leaderboard import rows
from mc4ad_model.leaderboard.curves import SweepBoard, curve_pictures
from mc4ad_model.leaderboard.rows import CONTROLS
from tests.mc4ad_model.leaderboard.test_documents import BOARD
from tests.support.browser import Visit, chromium
from tests.support.samples import make_sweep

SIGMAS = (0.0, 0.1)
SPECIFICATION = Specification(
    "small", "Small", (300, 400), (Category("vase", ("long_ball",), 1, 3, {"bulge": 3}),)
)
FILES = [f"small-noise_sigma={sigma:g}" for sigma in SIGMAS]


def board(data: Path, out: Path, *more: object) -> Result:
    words = ["leaderboard", data, "--methods", "constant", "--seeds", "0", "--jobs", "1"]
    return CliRunner().invoke(main, [str(word) for word in (*words, "--out", out, *more)])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return make_sweep(tmp_path_factory.mktemp("sweep"), SPECIFICATION, sigmas=SIGMAS)


@pytest.fixture(scope="module")
def made(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("boards") / "board"
    planned = board(sweep.folder, out, "--dry-run")
    assert planned.exit_code == 0 and planned.stdout.count("0/1") == 2 * 7, planned.output
    assert not out.exists()
    result = board(sweep.folder, out)
    assert result.exit_code == 0, result.output
    assert "O-AUROC by noise_sigma\nrow " in result.stdout
    yield out


def lines(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "curves.csv").read_text().splitlines()))


def test_the_curves_are_made_of_the_scores_that_each_file_s_leaderboard_keeps(made: Path) -> None:
    found = lines(made)
    for row in ("registered_distance", "random"):
        for sigma, file in zip(SIGMAS, FILES, strict=True):
            results = read_results(made / file / f"runs/{row}/seed-0/vase/evaluation")
            (line,) = [
                one
                for one in found
                if (float(one["noise_sigma"]), one["row"], one["metric"]) == (sigma, row, "P-AUROC")
            ]
            assert float(line["mean"]) == results.evaluation.metrics.p_auroc
            assert line["seeds"] == "1" and line["deviation"] == ""
    assert {one["row"] for one in found} == set(CONTROLS)
    record = json.loads((made / "curves.json").read_text())
    means = record["rows"]["registered_distance"]["P-AUROC"]
    own = [
        float(one["mean"])
        for one in found
        if (one["row"], one["metric"]) == ("registered_distance", "P-AUROC")
    ]
    assert means == own and len(own) == 2
    assert own[0] > own[1]  # noise makes it harder


def test_the_leaderboard_of_each_file_is_an_ordinary_one(
    made: Path, sweep: Sweep, tmp_path: Path
) -> None:
    for member, file in zip(sweep.members, FILES, strict=True):
        alone = Path(shutil.copytree(made / file, tmp_path / file))
        result = board(sweep.folder / member.file, alone)
        assert result.exit_code == 0 and "7 jobs, 0 of them to do" in result.stderr
        for name in ("leaderboard.json", "leaderboard.csv", "leaderboard.html"):
            assert (alone / name).read_bytes() == (made / file / name).read_bytes()


def test_given_again_nothing_is_trained_and_the_same_is_written(
    made: Path, sweep: Sweep, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(made, tmp_path / "board"))
    for name in ("curves.csv", "curves.html", "curves-noise_sigma.png"):
        (copied / name).unlink()
    result = board(sweep.folder / INDEX, copied, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("7 jobs, 0 of them to do") == 2
    assert json.loads(result.stdout) == json.loads((made / "curves.json").read_text())
    for path in made.glob("curves*"):
        assert (copied / path.name).read_bytes() == path.read_bytes()
    markdown = board(sweep.folder, copied, "--markdown").stdout
    assert markdown.encode() == (made / "curves.md").read_bytes()


def test_the_page_shows_the_curves_and_leads_to_every_leaderboard(made: Path) -> None:
    with Image.open(made / "curves-noise_sigma.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 400
    with chromium() as browser:
        visit = Visit(browser, made / "curves.html")
        width = visit.page.evaluate("document.querySelector('img').naturalWidth")
        assert width == picture.size[0]
        links = visit.page.evaluate(
            "[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
        )
        files = [unquote(link) for link in links if not link.startswith("#")]
        assert {f"{file}/leaderboard.html" for file in FILES} < set(files)
        assert all((made / link).is_file() for link in files)
        assert not visit.errors and not visit.requests


def test_two_swept_keys_have_a_picture_each_with_a_panel_for_each_value_of_the_other(
    made: Path,
) -> None:
    """Without any figures: the settings decide on the panels."""
    members = tuple(
        Member(f"{s}-{n}.h5", {"noise_sigma": s, "points": n}, "")
        for s in (0, 0.1)
        for n in (50, 90, 200)
    )
    swept = {"noise_sigma": (0, 0.1), "points": (50, 90, 200), "scan.outliers": (0,)}
    pictures = curve_pictures(SweepBoard(Sweep(made, swept, members), (BOARD,) * 6, made))
    assert list(pictures) == ["noise_sigma", "points"]
    widths = [Image.open(io.BytesIO(content)).size[0] for content in pictures.values()]
    assert widths[0] > widths[1]  # three panels beside each other, and two


def test_bad_input_is_named_before_anything_is_trained(
    made: Path, sweep: Sweep, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sweep.folder, tmp_path / "sweep"))
    first, last = sweep.members
    shutil.copyfile(folder / first.file, folder / last.file)
    for options in ((), ("--dry-run",)):
        result = board(folder, tmp_path / "out", *options)
        assert result.exit_code == 2 and f"but {INDEX} says {last.digest}" in result.stderr
    somebodys = tmp_path / "somebodys"
    somebodys.mkdir()
    (somebodys / "letter.txt").write_text("dear")
    result = board(sweep.folder, somebodys)
    assert result.exit_code == 2 and "letter.txt" in result.stderr
    result = board(sweep.folder, made / FILES[0])
    assert result.exit_code == 2 and "no leaderboard of a sweep" in result.stderr
    before = {path: path.read_bytes() for path in made.glob("curves*")}
    (tmp_path / "other").mkdir()
    other = make_sweep(tmp_path / "other", SPECIFICATION, sigmas=SIGMAS[1:])
    result = board(other.folder, made)
    assert result.exit_code == 2 and f"{made}: holds the leaderboard of another" in result.stderr
    assert "choose another folder" in result.stderr
    assert {path: path.read_bytes() for path in made.glob("curves*")} == before
    result = board(sweep.folder, tmp_path / "out", "--category", "cup")
    assert result.exit_code == 2 and "--category cup" in result.stderr
    assert not (tmp_path / "out").exists()
    (folder / INDEX).write_text("{")
    result = board(folder, tmp_path / "out")
    assert result.exit_code == 2 and f"{INDEX}: is not valid JSON" in result.stderr
    result = board(tmp_path, tmp_path / "out")  # a folder without an index
    assert result.exit_code == 2 and str(tmp_path) in result.stderr


def test_files_that_were_added_to_a_sweep_are_added_to_its_leaderboard(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CONTROLS", ("constant",))
    first = replace(sweep, swept={"noise_sigma": SIGMAS[:1]}, members=sweep.members[:1])
    out, folder = tmp_path / "out", Path(shutil.copytree(sweep.folder, tmp_path / "sweep"))
    for grown, number in ((replace(first, folder=folder), 1), (replace(sweep, folder=folder), 2)):
        grown.write()
        result = board(folder, out)
        assert result.exit_code == 0, result.output
        assert len(json.loads((out / "curves.json").read_text())["files"]) == number
    assert "1 jobs, 0 of them to do" in result.stderr  # of the first file
