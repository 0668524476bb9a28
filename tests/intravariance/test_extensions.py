# SPDX-License-Identifier: Apache-2.0
"""Installed extensions as metadata alone tells of them, and whose fault an exception is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from intravariance.errors import InputError
from intravariance.extensions import ExtensionError, added, blamed, find, named_on_command_line
from tests.conftest import run_iv
from tests.support.extensions import package, python_path

GROUP = "intravariance.sources"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(entries: dict[str, str], folder: str = "site", **modules: str) -> Path:
        site = package(tmp_path / folder, GROUP, entries, **modules)
        monkeypatch.syspath_prepend(site)
        return site

    return put


def test_names_come_from_metadata_and_nothing_is_imported(install: Install) -> None:
    assert added("source", ()) == []
    install({"mine": "raises:mesh", "folder": "raises:mesh"}, raises="raise ValueError('read')\n")
    assert added("source", ("folder",)) == ["mine"] and added("method", ()) == []
    found = find("source", "mine", ("folder",))
    assert found is not None and found.identity == {
        "kind": "source", "name": "mine", "package": "more-sources", "version": "1.5",
    }  # fmt: skip
    assert find("source", "yours", ()) is None and find("source", "folder", ()) is not None
    with pytest.raises(ExtensionError, match=r"cannot be imported: ValueError: read \(.*raises.py"):
        found.load()


def test_of_two_packages_with_one_name_neither_is_taken(install: Install, tmp_path: Path) -> None:
    site = install({"mine": "first:mesh"})
    about = site / "other-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nmine = second:mesh\n")
    with pytest.raises(ExtensionError, match=r"more-sources 1\.5 .* and .* other 2\.0 .*only one"):
        find("source", "mine", ())


@pytest.mark.parametrize("value", ["no module at all!", "", ":mesh", "a:b:c", "os.path:join:"])
def test_an_entry_that_names_nothing(value: str, install: Install) -> None:
    install({"mine": value})
    found = find("source", "mine", ())
    assert found is not None
    with pytest.raises(ExtensionError, match=r"'mine' of the package more-sources 1.5"):
        found.load()


def test_damaged_metadata_of_a_package_disturbs_nothing(install: Install) -> None:
    site = install({"mine": "first:mesh"})
    for number, text in enumerate(("no sections\n", f"[{GROUP}]\nno equals sign\n", "\0\xff[")):
        about = site / f"bad{number}-1.dist-info"
        about.mkdir()
        (about / "entry_points.txt").write_text(text)
    found = run_iv("--help", PYTHONPATH=python_path(site))
    assert found.returncode == 0 and "evaluate" in found.stdout, found.stderr
    assert "mine" in added("source", ())


def test_an_exception_is_that_of_the_extension_whose_code_it_passed(install: Install) -> None:
    install(
        {"mine": "blamed_one:call", "yours": "blamed_two:call"},
        blamed_one="def call(function): return function()\n",
        blamed_two="def call(): return [][3]\n",
    )
    mine, yours = (find("source", name, ()) for name in ("mine", "yours"))
    assert mine is not None and yours is not None
    for function, expected in ((lambda: 1 / 0, mine), (yours.load(), None)):
        try:
            mine.load()(function)
        except (ZeroDivisionError, IndexError) as error:
            found = blamed(error)
            assert found is not None and "raised " in str(found)
            if expected is mine:
                assert str(found).startswith("the source 'mine'")
    try:
        [][3]
    except IndexError as error:
        assert blamed(error) is None


@pytest.mark.parametrize("text", ["mesh", "a b:c", "a:b c", "a:", ":b", "a:b:c", "../a:b"])
def test_an_object_is_named_by_module_and_name(text: str) -> None:
    with pytest.raises(InputError, match="expected MODULE:CLASS"):
        named_on_command_line("method", text)


def test_a_module_that_is_not_there_is_looked_for_where_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("neares:Nearest", "neares.inner:Nearest"):
        with pytest.raises(ExtensionError) as found:
            named_on_command_line("method", text).load()
        assert f"there is no module {text.partition(':')[0]}, neither in" in str(found.value)
        assert str(tmp_path) in str(found.value) and "uninstall" not in str(found.value)
    (tmp_path / "wants_more.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ExtensionError, match=r"cannot be imported: ModuleNotFound.* Mend it$"):
        named_on_command_line("method", "wants_more:Nearest").load()
