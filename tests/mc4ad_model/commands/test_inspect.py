# SPDX-License-Identifier: Apache-2.0
"""`iv inspect`: whole reports of small synthetic files."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")
pytest.importorskip("matplotlib")
pytest.importorskip("open3d")

from intravariance.cli import main
from intravariance.cloud_files import write_ply
from intravariance.dataset.specification import Category, Specification
from intravariance.verification.folder import folder_problems
from tests.support.dask_clusters import cluster
from tests.support.samples import make_dataset, sphere_points

pytestmark = pytest.mark.skipif(
    find_spec("k3d") is None, reason="k3d is not installed: pip install '.[inspect]'"
)
Iv = Callable[..., Result]
SPECIFICATION = Specification(
    name="small",
    title="Small",
    points=(1000, 1200),
    categories=(
        Category("ball", ("round_ball", "long_ball"), 2, 2, {"bulge": 5}),
        Category("brick", ("flat_brick",), 1, 1, {"missing": 2}),
    ),
)
GENERATORS = ("da_gen_paper", "norm_as", "norm_as_signed", "bite")
CHOSEN = [part for name in GENERATORS for part in ("--generator", name)]
SMALL = ("--size", 64, "--points", 150, "--samples", 2, "--jobs", 1, "--quiet")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "small.h5"
    return make_dataset(path, SPECIFICATION, sigma=0.002)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five scans of dented balls and a good one, as a user might have them: no normals, mm."""
    root = tmp_path_factory.mktemp("scans")
    for number in range(6):
        rng = np.random.default_rng(number)
        points = sphere_points(1500, rng)
        near = np.linalg.norm(points - points[0], axis=1)
        depth = 0.15 * np.exp(-((near / 0.25) ** 2)) if number else np.zeros(1500)
        folder = root / "ball" / "test" / ("dent" if number else "good")
        folder.mkdir(parents=True, exist_ok=True)
        content = write_ply(
            80 * points * (1 - depth[:, None]) + 300, labels=(depth > 0.02).astype(np.uint8)
        )
        (folder / f"part_{number}.ply").write_bytes(content)
    return root


@pytest.fixture
def iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iv:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(item) for item in arguments])


@pytest.fixture(scope="module")
def report(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("reports") / "report"
    arguments = ["inspect", data, "--out", out, *SMALL, *CHOSEN, "--json"]
    result = CliRunner().invoke(main, [str(item) for item in arguments])
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_report_is_whole(report: tuple[Path, dict]) -> None:
    out, printed = report
    kinds = {"ball": {"bulge"}, "brick": {"missing"}}
    panels = {f"{c}_{kind}.png" for c, real in kinds.items() for kind in (*real, *GENERATORS)}
    assert {path.name for path in (out / "panels").iterdir()} == panels
    names = {"page.html", "realism.md", "realism.csv", "realism.json", "realism.png"}
    assert {path.name for path in out.iterdir()} == names | {
        "panels", "sheets", "report.json", "SHA256SUMS"
    }  # fmt: skip
    assert {path.name for path in (out / "sheets").iterdir()} == {"ball.png", "brick.png"}
    for picture in out.rglob("*.png"):
        with Image.open(picture) as image:
            assert np.ptp(np.asarray(image.convert("L"))) > 100
    assert json.loads((out / "realism.json").read_text()) == printed


def test_every_generator_is_compared_with_every_defect_type(report: tuple[Path, dict]) -> None:
    out, printed = report
    cells = {(item["generator"], item["defect"]) for item in printed["comparisons"]}
    assert cells == {(g, d) for g in GENERATORS for d in ("bulge", "missing", "all")}
    counts = {item["defect"]: (item["n_real"], item["n_pseudo"]) for item in printed["comparisons"]}
    assert counts == {"bulge": (5, 5), "missing": (2, 2), "all": (7, 7)}
    rows = list(csv.DictReader(io.StringIO((out / "realism.csv").read_text())))
    assert len(rows) == 10 * len(cells)


def test_what_is_known_by_construction_is_found(report: tuple[Path, dict]) -> None:
    """The file's bulges go straight outwards by up to 0.2: norm_as_signed goes straight, either
    way; the paper's generator leaves the centre where it is."""
    _, printed = report
    at = {(i["generator"], i["defect"]): i["distances"] for i in printed["comparisons"]}
    signed, paper = at["norm_as_signed", "bulge"], at["da_gen_paper", "bulge"]
    assert paper["angle_spread"]["value"] > 3 * signed["angle_spread"]["value"]
    assert paper["centre_share"]["value"] > signed["centre_share"]["value"] + 0.1
    markdown = (report[0] / "realism.md").read_text()
    assert "preset quick, seed 0" in markdown
    assert "0.002" in markdown


def test_the_same_bytes_from_two_processes(
    report: tuple[Path, dict], iv: Iv, data: Path, tmp_path: Path
) -> None:
    arguments = [*SMALL[:-3], "--jobs", 2, "--quiet", *CHOSEN, "--json"]
    result = iv("inspect", data, "--out", tmp_path / "again", *arguments)
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "again") == contents(report[0])


def test_the_same_bytes_from_a_cluster(
    report: tuple[Path, dict], iv: Iv, data: Path, scans: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    with cluster(tmp_path / "cluster", "first", "second") as found:
        common = [*SMALL[:-3], "--quiet", "--executor", "dask", "--scheduler", found.file]
        shutil.copy(data, "small.h5")  # a path that means nothing to the workers
        result = iv("inspect", "small.h5", "--out", "again", *common, *CHOSEN)
        assert result.exit_code == 0, result.output
        shutil.copytree(scans, "scans")
        real = ["--category", "ball", "--real", "scans", "--generator", "norm_as_signed"]
        result = iv("inspect", "small.h5", "--out", "real", *common, *real)
        assert result.exit_code == 0, result.output
    assert contents(tmp_path / "again") == contents(report[0])


def test_scans_as_real_defects(iv: Iv, data: Path, scans: Path, tmp_path: Path) -> None:
    """Blender's (here: the file's) own defects are then compared with them too."""
    result = iv(
        "inspect", data, "--category", "ball", "--real", scans, "--out", tmp_path / "out", *SMALL,
        "--generator", "norm_as_signed", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = {(i["generator"], i["defect"]): i for i in json.loads(result.stdout)["comparisons"]}
    assert set(found) == {
        (g, d) for g in ("norm_as_signed", "blender_bulge") for d in ("dent", "all")
    }
    cell = found["norm_as_signed", "dent"]
    assert (cell["n_real"], cell["n_pseudo"]) == (5, 5)
    assert cell["distances"]["magnitude_mean"] is None  # nobody knows how far a scan was moved
    assert cell["distances"]["area_share"]["value"] < 0.1
    assert (tmp_path / "out" / "panels" / "ball_dent.png").is_file()
    assert b"blender_bulge" in (tmp_path / "out" / "page.html").read_bytes()


def test_an_imported_file(iv: Iv, scans: Path, tmp_path: Path) -> None:
    """Scans of one's own are templates too; nothing is known of how far they were moved."""
    shutil.copytree(scans, tmp_path / "mine")
    (tmp_path / "mine" / "ball" / "train").mkdir()
    whole = write_ply(80 * sphere_points(1600, np.random.default_rng(9)) + 300)
    (tmp_path / "mine" / "ball" / "train" / "good.ply").write_bytes(whole)
    imported = iv("import", "folder", tmp_path / "mine", "--out", "mine.h5", "--quiet", "--jobs", 1)
    assert imported.exit_code == 0, imported.output
    result = iv("inspect", "mine.h5", *SMALL, "--generator", "norm_as_signed", "--json")
    assert result.exit_code == 0, result.output
    cells = {i["defect"]: i for i in json.loads(result.stdout)["comparisons"]}
    assert (cells["dent"]["n_real"], cells["dent"]["n_pseudo"]) == (5, 5)
    known = {name for name, value in cells["dent"]["distances"].items() if value is not None}
    assert known == {"area_share", "elongation"}
    assert (tmp_path / "mine-inspection" / "panels" / "ball_norm_as_signed.png").is_file()


def test_another_file_as_real_defects(iv: Iv, data: Path, tmp_path: Path) -> None:
    other = make_dataset(tmp_path / "other.h5", SPECIFICATION, seed=1, sigma=0.002)
    result = iv(
        "inspect", data, "--category", "ball", "--real", other, "--out", tmp_path / "out", *SMALL,
        "--generator", "norm_as", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = {(i["generator"], i["defect"]): i for i in json.loads(result.stdout)["comparisons"]}
    same = found["blender_bulge", "bulge"]["two_sample"]
    assert same["low"] < 0.5 < same["high"]  # the same kind of defect, drawn anew


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--category", "vase"), "no category vase"),
        (("--generator", "mine"), "is not one of 'da_gen_paper'"),
        (("--preset", "slow"), "slow"),
        (("--set", "anomalies.patches=0"), "patches"),
        (("--set", "anomalies.patches=5000"), "take fewer patches"),
        (("--set", "anomalies.magnitude=[0.001,0.1]"), "are not labelled"),
        (("--real", "nowhere"), "nowhere"),
    ],
)
def test_bad_options_are_errors_before_any_work(
    iv: Iv, data: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = iv("inspect", data, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_without_defects(iv: Iv, tmp_path: Path) -> None:
    normal = Specification("plain", "Plain", (300, 400), (Category("ball", ("pearl",), 1, 2, {}),))
    result = iv("inspect", make_dataset(tmp_path / "plain.h5", normal))
    assert result.exit_code == 2
    assert "category ball has no sample with a defect" in result.stderr


def test_scans_of_other_categories_or_none(iv: Iv, data: Path, scans: Path, tmp_path: Path) -> None:
    other = iv("inspect", data, "--category", "brick", "--real", scans)
    assert other.exit_code == 2
    assert "has ball; expected one of brick" in other.stderr
    bare = iv("inspect", data, "--real", scans / "ball")
    assert bare.exit_code == 2
    assert "say of which with one --category (ball, brick)" in bare.stderr
    damaged = tmp_path / "damaged" / "test" / "dent"
    damaged.mkdir(parents=True)
    (damaged / "part.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 5\n")
    broken = iv("inspect", data, "--category", "ball", "--real", tmp_path / "damaged", *SMALL)
    assert broken.exit_code == 2
    assert "part.ply" in broken.stderr


def test_other_noise_and_the_same_file_are_no_comparison(
    iv: Iv, data: Path, tmp_path: Path
) -> None:
    same = iv("inspect", data, "--real", data)
    assert same.exit_code == 2
    assert "holds the same samples" in same.stderr
    loud = make_dataset(tmp_path / "loud.h5", SPECIFICATION, seed=1, sigma=0.05)
    arguments = [item for item in SMALL if item != "--quiet"]
    result = iv(
        "inspect", data, "--category", "ball", "--real", loud, *arguments, "--generator", "norm_as"
    )
    assert result.exit_code == 0, result.output
    assert "the two-sample test will be of the noise" in result.stderr
    assert "the control tells pseudo-anomalies and real defects apart" in result.stderr
    assert (
        "The two-sample test is of that as well" in Path("small-inspection/realism.md").read_text()
    )


def test_nothing_is_left_of_a_report_that_fails_and_force_replaces_all_of_one(
    iv: Iv, data: Path, report: tuple[Path, dict], scans: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(scans, tmp_path / "mixed")
    (mixed / "ball" / "test" / "dent" / "part_9.ply").write_bytes(b"ply\n")
    out = tmp_path / "out"
    failed = iv("inspect", data, "--category", "ball", "--real", mixed, "--out", out, *SMALL)
    assert failed.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused = iv("inspect", data, "--out", out, "--force")
    assert "is not replaced" in refused.stderr
    shutil.rmtree(out)
    shutil.copytree(report[0], out)
    done = iv(
        "inspect", data, "--category", "brick", "--out", out, *SMALL, "--force",
        "--generator", "norm_as",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [path.name for path in (out / "sheets").iterdir()] == ["brick.png"]


def test_noise_that_hides_everything_is_said(iv: Iv, tmp_path: Path) -> None:
    tiny = Specification("t", "T", (700, 800), (Category("ball", ("pearl",), 1, 1, {"bulge": 1}),))
    loud = make_dataset(tmp_path / "loud.h5", tiny, sigma=0.0447)
    arguments = [item for item in SMALL if item != "--quiet"]
    result = iv("inspect", loud, *arguments, "--generator", "norm_as")
    assert result.exit_code == 0, result.output
    assert "--noise-sigma 0.002" in result.stderr
    assert result.stdout.splitlines()[-1] == "loud-inspection: open page.html in a browser"
    assert folder_problems(Path("loud-inspection")) == []
    assert (tmp_path / "loud-inspection" / "page.html").is_file()
    again = iv("inspect", loud, *arguments)
    assert again.exit_code == 2
    assert "exists" in again.stderr
