# SPDX-License-Identifier: Apache-2.0
"""`--method` in `iv train`, `iv evaluate`, `iv reproduce` and `iv compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("sklearn")

from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from mc4ad_model.runs.run_folder import find_runs
from tests.support.samples import make_dataset, runs_folder

Iv = Callable[..., Result]
LABELS = {"btf": "btf-fpfh"}  # whose settings have a name


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file that claims to be Group 2, with balls and bricks for vases and bowls."""
    counts = {"bulge": 2, "missing": 2}
    products = (("vase", ("round_ball",)), ("bowl", ("flat_brick",)))
    categories = tuple(Category(name, names, 1, 3, counts) for name, names in products)
    specification = Specification("group2", "Small", (200, 250), categories)
    return make_dataset(tmp_path_factory.mktemp("methods") / "small.h5", specification)


@pytest.fixture
def iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iv:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(item) for item in arguments])


@pytest.mark.parametrize(
    "name", ["registered_distance", "calibrated_deviation", "btf", "constant", "random"]
)
def test_a_method_is_trained_evaluated_and_compared(iv: Iv, data: Path, name: str) -> None:
    if name == "btf":
        pytest.importorskip("open3d")
    trained = iv("train", "--data", data, "--method", name, "--quiet")
    assert trained.exit_code == 0, trained.output
    folder = runs_folder(data, LABELS.get(name, name))
    assert trained.stdout.split() == [f"{folder}/{c}" for c in ("vase", "bowl")]
    assert {run.method for run in find_runs(Path(folder))} == {name}
    assert "trained already" in iv("train", "--data", data, "--method", name).stderr
    result = iv("evaluate", "--data", data, "--run", folder, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["method"] == name
    if name == "constant":
        assert found["mean"]["O-AUROC"] == found["mean"]["P-AUROC"] == 0.5
    if name == "random":
        assert abs(found["mean"]["P-AUROC"] - 0.5) < 0.1
    if name in ("registered_distance", "calibrated_deviation"):
        assert found["mean"]["P-AUROC"] > 0.6
    if name == "registered_distance":
        assert found["mean"]["cosine"] > 0
    if find_spec("k3d") and find_spec("matplotlib"):
        compared = iv("compare", folder, "--data", data, "--size", 64, "--quiet")
        assert compared.exit_code == 0, compared.output


def test_several_methods_share_one_table_and_what_is_trained_is_used(iv: Iv, data: Path) -> None:
    names = ("constant", "random")
    options = [word for name in names for word in ("--method", name)]
    result = iv("evaluate", "--data", data, *options, "--quiet")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["method", "category", "O-AUROC"]
    rows = [line.split()[:2] for line in lines[1:7]]
    assert rows == [[name, c] for name in names for c in ("vase", "bowl", "mean")]
    refused = iv("evaluate", "--data", data, *options)
    assert refused.exit_code == 2 and "--force" in refused.stderr
    run = ("--run", runs_folder(data, "random"))
    for twice in (run, ("--method", "random")):
        named = iv("evaluate", "--data", data, *run, *twice, "--force")
        assert named.exit_code == 2 and "named twice" in named.stderr
    again = iv(
        "evaluate", "--data", data, "--method", "constant", *run, "--out", "out", "--json",
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    assert "trained already" in again.stderr
    assert list(json.loads(again.stdout)["methods"]) == ["random", "constant"]
    assert {path.name for path in Path("out").iterdir()} == {"0-random", "1-constant"}


def test_files_of_one_name_have_runs_of_their_own(iv: Iv, data: Path, tmp_path: Path) -> None:
    counts = {"bulge": 2, "missing": 2}
    categories = (Category("vase", ("round_ball",), 1, 3, counts),)
    specification = Specification("group2", "Small", (200, 250), categories)
    less_noise = make_dataset(tmp_path / "less_noise.h5", specification, sigma=0.002)
    for file in (data, less_noise):
        assert iv("evaluate", file, "--method", "constant", "--quiet").exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_a_method_is_put_beside_the_papers_table(iv: Iv, data: Path) -> None:
    result = iv("reproduce", "table19", "--data", data, "--method", "constant", "--seeds", "0,1")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if line.startswith("constant score"))
    assert row.startswith("constant score here") and "0.500 ±0.000" in row
    assert "not the paper's" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("evaluate",), "--method NAME"),
        (("train", "--method", "constant", "--preset", "quick"), "no presets"),
        (("train", "--method", "constant", "--set", "a=1"), "unknown a"),
        (("train", "--method", "registered_distance", "--set", "neighbours=0"), "neighbours = 0"),
        (("train", "--method", "nosuch"), "nosuch"),
    ],
)
def test_mistakes_are_the_users(iv: Iv, data: Path, arguments: tuple[str, ...], named: str) -> None:
    result = iv(arguments[0], "--data", data, *arguments[1:])
    assert result.exit_code == 2
    assert named in result.stderr
    assert not Path("runs").exists()
