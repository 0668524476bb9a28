# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from intravariance.building import run as module
from intravariance.commands import build as build_module
from intravariance.commands.build import build_command
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.commands.reproduce import reproduce_command
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.paper import reproduction
from mc4ad_model.paper.printed_tables import MC4AD, table19
from mc4ad_model.paper.reproduction import Reproduction, table_rows
from mc4ad_model.runs.experiments import CategoryOutcome
from tests.support.samples import make_dataset

TINY = [
    "training.epochs=1", "training.repeats=2", "training.batch=2", "network.voxel_size=0.3",
    "network.width=0.1", "data.frame=own",
]  # fmt: skip


def made(values: dict[str, list[float]], group: int = 2) -> Reproduction:
    """Return a reproduction whose O-AUROC are these for each seed, P-AUROC 0.1 more."""
    outcomes = tuple(
        CategoryOutcome(category, seed, value, value + 0.1, 5.0, 100, 60.0, 10)
        for category, each in values.items()
        for seed, value in enumerate(each)
    )
    seeds = tuple(range(len(next(iter(values.values())))))
    return Reproduction(group, "mc4ad", "quick", {}, tuple(values), seeds, outcomes, ())


def column(found: Reproduction, name: str) -> dict[str, object]:
    heading, rows = table_rows(found, "o_auroc")
    return {str(row[0]): row[heading.index(name)] for row in rows}


def test_ours_is_beside_the_published_values() -> None:
    found = made({"vase": [0.7, 0.9], "bowl": [0.5, 0.6]})
    heading, rows = table_rows(found, "o_auroc")
    assert heading == [
        "O-AUROC", "vase", "xbox", "radio", "night_stand", "keyboard", "door", "desk", "cone",
        "bowl", "average", "average of 1 shared",
    ]  # fmt: skip
    assert all(len(row) == len(heading) for row in rows)
    assert len(rows) == 8
    assert column(found, "vase")["MC4AD, paper"] == 0.780
    assert column(found, "vase")["MC4AD here, quick"] == f"0.800 ±{stdev([0.7, 0.9]):.3f}"
    assert column(found, "bowl")["MC4AD, paper"] is None
    assert column(found, "desk")["MC4AD here, quick"] is None
    assert column(found, "average")["MC4AD, paper"] == 0.625
    assert column(found, "average")["MC4AD here, quick"] == f"0.675 ±{stdev([0.6, 0.75]):.3f}"
    shared = column(found, "average of 1 shared")
    assert (shared["MC4AD, paper"], shared["MC4AD here, quick"]) == (0.78, "0.800 ±0.141")


def test_over_the_same_categories_there_is_one_average() -> None:
    names = table19(1, "o_auroc").categories
    found = made({name: [0.5] for name in names}, group=1)
    heading, rows = table_rows(found, "p_auroc")
    assert heading == ["P-AUROC", *names, "average"]
    # the misprint of 0.890 is put right
    averages = {str(row[0]): row[-1] for row in rows}
    assert averages["PatchCore (FPFH), paper"] == 0.800
    assert averages["MC4AD here, quick"] == "0.600"


def test_the_published_average_over_shared_categories() -> None:
    printed = table19(2, "o_auroc")
    names = [name for name in printed.categories if name != "desk"]
    found = made({name: [0.5] for name in (*names, "bowl")})
    expected = mean(printed.value(MC4AD, name) or 0 for name in names)
    assert column(found, "average of 7 shared")["MC4AD, paper"] == pytest.approx(expected)


# The command, with real trainings of a few steps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that claims to be Group 2, with balls and bricks for vases and bowls."""
    counts = {"bulge": 2, "missing": 2}
    products = (("vase", ("round_ball",)), ("bowl", ("flat_brick",)))
    categories = tuple(Category(name, names, 1, 3, counts) for name, names in products)
    specification = Specification("group2", "Small", (200, 250), categories)
    return make_dataset(tmp_path_factory.mktemp("reproduction") / "small.h5", specification)


def reproduce(out: Path, *arguments: object) -> Result:
    line: list[object] = ["table19", "--preset", "quick", "--out", out, "--seeds", "0,1"]
    line += ["--workers", 0, *arguments]
    for change in TINY:
        line += ["--set", change]
    return CliRunner().invoke(reproduce_command, [str(word) for word in line])


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("runs") / "table19"
    return out, reproduce(out, "--data", data, "--quiet")


def test_the_table_and_what_differs(data: Path, done: tuple[Path, Result]) -> None:
    out, result = done
    assert result.exit_code == 0, result.output
    assert not result.stderr
    found = json.loads((out / "table19.json").read_text())
    values = {(o["category"], o["seed"]): o["o_auroc"] for o in found["outcomes"]}
    assert set(values) == {(name, seed) for name in ("vase", "bowl") for seed in (0, 1)}
    own = [values["vase", 0], values["vase", 1]]
    row = next(line for line in result.stdout.splitlines() if line.startswith("MC4AD here"))
    assert f"{mean(own):.3f} ±{stdev(own):.3f}" in row
    with open_dataset(data) as dataset:
        assert dataset.digest in result.stdout
    # what a reader must be told
    for words in (
        "the paper's file is not public", "no mean rank", "only ours has bowl", "desk",
        "variance of 0.001998", "0.964", "Reg3D-AD",
    ):  # fmt: skip
        assert words in result.stdout, words
    config = RunConfig.load("quick", TINY)
    for name in config.differences(RunConfig.load("paper")):
        assert name in result.stdout
    assert "Training took" in result.stdout


def test_it_carries_on_and_prints_markdown(data: Path, done: tuple[Path, Result]) -> None:
    out, _ = done
    before = (out / "table19.json").read_bytes()
    result = reproduce(out, "--data", data, "--markdown")
    assert "vase: is trained already" in result.stderr
    assert "evaluate" not in result.stderr
    assert (out / "table19.json").read_bytes() == before
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert lines[0].startswith("| O-AUROC | vase | xbox |")
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 * (1 + 1 + 7 + 1)
    found = json.loads(reproduce(out, "--data", data, "--json", "--quiet").stdout)
    assert found == json.loads(before)


def test_without_a_file_the_group_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path, done: tuple[Path, Result]
) -> None:
    asked = []

    def build(group: int, path: Path, quiet: bool) -> None:
        asked.append((group, path))
        path.write_bytes(data.read_bytes())

    monkeypatch.setattr("mc4ad_model.commands.reproduce.build_dataset", build)
    for _ in range(2):
        result = reproduce(tmp_path / "new", "--category", "vase", "--json", "--quiet")
        assert result.exit_code == 0, result.output
    assert asked == [(2, tmp_path / "new" / "group2.h5")]
    # another folder, the same data, categories and seeds: the same numbers
    fresh = json.loads(result.stdout)["ours"]["p_auroc"]["categories"]["vase"]
    old = json.loads((done[0] / "table19.json").read_text())
    assert fresh == old["ours"]["p_auroc"]["categories"]["vase"]


def test_the_build_is_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are those of `iv build --group 2 --seed 0`."""

    made = []
    result = module.BuildResult(tmp_path, "", 0, {})
    for place, name in ((build_module, "build_at"), (reproduction, "build")):
        monkeypatch.setattr(place, name, lambda settings, *_: made.append(settings) or result)
    reproduction.build_dataset(2, tmp_path / "group2.h5", quiet=True)
    CliRunner().invoke(build_command, ["--group", "2", "--quiet"], catch_exceptions=False)
    assert made[0] == made[1]


def test_dry_run_says_what_is_trained_already(done: tuple[Path, Result], data: Path) -> None:
    out, _ = done
    planned = reproduce(out, data, "--dry-run", "--json", "--seeds", "0,7", "--category", "bowl")
    runs = json.loads(planned.stdout)["runs"]
    assert [(run["seed"], run["state"]) for run in runs] == [(0, "is trained already"), (7, "new")]
    assert not (out / "seed-7").exists()
    bare = reproduce(out.parent / "new", "--dry-run", "--category", "bowl")
    assert "it would be built first" in bare.stderr and "2 trainings" in bare.stdout
    assert not (out.parent / "new").exists()


def test_input_that_makes_no_sense(tmp_path: Path, data: Path) -> None:
    def error(*arguments: object) -> str:
        result = reproduce(tmp_path, *arguments)
        assert isinstance(result.exception, InputError), result.output
        return str(result.exception)

    assert "holds group2, but --group 1" in error("--data", data, "--group", 1)
    assert "has vase, bowl" in error("--data", data, "--category", "spoon")
    both = reproduce(tmp_path, "--data", data, "--json", "--markdown")
    assert both.exit_code == 2 and "not both" in both.stderr
    assert "--seeds" in error("--data", data, "--seeds", "x")
    assert "preset" in error("--data", data, "--preset", "best")
