# SPDX-License-Identifier: Apache-2.0
"""docs/add_a_method.md: its two files, installed as a package as they stand there, are a method."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from intravariance.dataset.specification import Category, Specification
from intravariance.errors import InputError
from intravariance.extensions import ExtensionError
from mc4ad_model.methods import method_class, try_method
from tests import ROOT
from tests.conftest import run_iv
from tests.support.extensions import (
    files_of,
    install,
    lines_of_code,
    needs_pip,
    package,
    python_path,
)
from tests.support.samples import make_dataset, runs_folder

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("sklearn", "safetensors"))), reason="the extra model is not installed"
)
FILES = files_of(ROOT / "docs/add_a_method.md")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    category = Category("ball", ("long_ball",), 1, 2, {"bulge": 2})
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder / "d.h5", Specification("s", "S", (300, 350), (category,)))


def test_the_method_has_under_40_lines() -> None:
    assert set(FILES) == {"nearest.py", "pyproject.toml"}
    assert lines_of_code(FILES["nearest.py"]) < 40


@needs_pip
def test_the_installed_method_is_evaluated_and_is_a_row(data: Path, tmp_path: Path) -> None:
    site = install(FILES, tmp_path)
    path = python_path(site)
    evaluated = run_iv(
        "evaluate", "--data", data, "--method", "nearest", "--json", folder=tmp_path,
        PYTHONPATH=path,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["method"] == "nearest"
    out = tmp_path / "board"
    ranked = run_iv(
        "leaderboard", "--data", data, "--methods", "nearest,nearest[neighbours=3]", "--out", out,
        "--seeds", "0", "--json", folder=tmp_path, PYTHONPATH=path,
    )  # fmt: skip
    assert ranked.returncode == 0, ranked.stderr
    rows = json.loads(ranked.stdout)["rows"]
    assert rows["nearest"]["seeded"] is False  # as it says itself
    assert rows["nearest[neighbours=3]"]["settings"] == {"neighbours": 3}
    alone = json.loads(evaluated.stdout)["mean"]
    for name in ("O-AUROC", "P-AUROC", "AU-PRO"):
        assert rows["nearest"]["means"][name]["mean"] == alone[name]
    (site / "nearest.py").write_text((site / "nearest.py").read_text() + "# changed\n")
    again = run_iv(
        "leaderboard", "--data", data, "--methods", "nearest", "--out", out, "--seeds", "0",
        folder=tmp_path, PYTHONPATH=path,
    )  # fmt: skip
    assert again.returncode == 2
    assert "is a run with another code" in again.stderr


def test_a_class_is_tried_without_a_package_and_anew_after_each_change(
    data: Path, tmp_path: Path
) -> None:
    tried = ("evaluate", "--data", data, "--method", "nearest:Nearest", "--json")
    (tmp_path / "nearest.py").write_text(FILES["nearest.py"])
    first = run_iv(*tried, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["method"] == "nearest:Nearest" and found["mean"]["O-AUROC"] is not None
    # what `fit` does now, with another number of points
    (tmp_path / "nearest.py").write_text(
        FILES["nearest.py"].replace("np.concatenate([", "np.concatenate([np.zeros((1, 3))] + [")
    )
    fitted = tmp_path / runs_folder(data, "nearest.Nearest") / "ball" / "nearest.json"
    before = len(json.loads(fitted.read_bytes())["points"])
    again = run_iv(*tried, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(json.loads(fitted.read_bytes())["points"]) == before + 1


def test_what_a_run_names_is_not_imported(data: Path, tmp_path: Path) -> None:
    (tmp_path / "nearest.py").write_text(FILES["nearest.py"])
    made = run_iv("evaluate", "--data", data, "--method", "nearest:Nearest", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    (tmp_path / "nearest.py").write_text("open('imported', 'w')\n")
    run = tmp_path / runs_folder(data, "nearest.Nearest")
    other = run_iv("evaluate", "--data", data, "--run", run, folder=tmp_path)
    assert other.returncode == 2 and "nearest:Nearest" in other.stderr
    assert "`iv evaluate --method`" in other.stderr
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("no_such_module:Mine", "there is no module no_such_module"),
        ("nearest:Mine", "cannot be imported: AttributeError"),
        ("nearest:json", "expected a class, found <module 'json'"),
        ("nearest:NearestSettings", "NearestSettings without title, Settings, files"),
        ("nearest:", "expected MODULE:CLASS"),
        (":Nearest", "expected MODULE:CLASS"),
    ],
)
def test_what_cannot_be_tried(
    text: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nearest.py").write_text(FILES["nearest.py"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nearest", raising=False)
    with pytest.raises(InputError, match=f"method {text}.*{re.escape(named)}"):
        try_method(text)
    with pytest.raises(InputError, match="expected one of mc4ad"):
        method_class(text)


BROKEN = {
    "broken": ("import no_such_library\n", "cannot be imported: ModuleNotFoundError: No module"),
    "ends": ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3 ("),
    "wrong": ("method = 3\n", "expected a class, found 3"),
    "mc4ad": ("class method: ...\n", "this package has one of that name"),
}


def test_a_broken_package_is_named_and_disturbs_nothing_else(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {name: f"module_{name}:method" for name in BROKEN}
    modules = {f"module_{name}": text for name, (text, _) in BROKEN.items()}
    site = package(tmp_path / "site", "intravariance.methods", entries, **modules)
    for command in (["--help"], ["info", data], ["evaluate", "--help"]):
        assert run_iv(*command, PYTHONPATH=python_path(site)).returncode == 0
    monkeypatch.syspath_prepend(site)
    for name, (_, said) in BROKEN.items():
        with pytest.raises(ExtensionError) as raised:
            method_class(name)
        assert str(raised.value).startswith(
            f"the method '{name}' of the package more-methods 1.5 (entry point {name} = "
            f"module_{name}:method)"
        )
        assert said in str(raised.value)
    assert method_class("btf").title


def test_what_a_method_raises_is_shown_with_its_package(data: Path, tmp_path: Path) -> None:
    code = FILES["nearest.py"].replace("return Prediction(", "return 1 / 0, (")
    package(tmp_path / "site", "intravariance.methods", {"mine": "mine:Nearest"}, mine=code)
    found = run_iv(
        "evaluate", "--data", data, "--method", "mine", folder=tmp_path,
        PYTHONPATH=python_path(tmp_path / "site"),
    )  # fmt: skip
    assert found.returncode == 1
    *trace, last = found.stderr.splitlines()
    assert any("Traceback" in line for line in trace)
    assert last.startswith("iv: error: the method 'mine' of the package more-methods 1.5")
    assert "raised ZeroDivisionError: division by zero" in last and "mine.py, line " in last
