# SPDX-License-Identifier: Apache-2.0
"""Layouts that installed packages add: what they return is checked, whoever calls them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.exporting.tree import write_tree
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.layouts import (
    ExportOptions,
    added_layouts,
    detect_layout,
    find_scans,
    layout_reader,
    layout_writer,
)
from intravariance.executors.processes import ProcessExecutor
from intravariance.executors.serial import SerialExecutor
from intravariance.extensions import ExtensionError
from tests.support.extensions import package
from tests.support.foreign_trees import write_tree as write_files
from tests.support.samples import make_dataset, small_specification

MODULE = """
from intravariance.exchange.layouts import Entry, PointCloud, Scan
def find(tree, root, skipped=None):
    return [Scan(n, "ball", "", "train", "normal", n, "", tree, read)
            for n in tree.files("") if n.endswith(".cloud")]
def read(scan): return PointCloud(1 / 0)
def plan(records, options): return [Entry(r.id, r.id + ".cloud") for r in records]
def content(sample, entry, options): return {entry.cloud: b"x"}
"""
# Faulty bodies, by the name of the function that they replace, each with the error's text.
FAULTS = {
    "find": (
        ("return None", "expected a list of Scans from find, found None"),
        ("return [3]", r"found \[3\]"),
        ("return tree.no_such_name", "raised AttributeError: 'FolderTree' object has no attribute"),
        (
            "return 2 * [Scan('a', 'b', '', 'train', 'normal', 'a', '', tree, read)]",
            "an id of its own for each scan, found 'a' twice",
        ),
        (
            "return [Scan('a', 'b', '', 'valid', 'normal', 'a', '', tree, read)]",
            "expected scans of train or test, found others: a",
        ),
    ),
    "plan": (
        ("return records", "expected a list of Entries from plan"),
        ("return []", "expected an Entry for each sample"),
        ("return [Entry(r.id, 'a') for r in records]", "files of its own for each .* 'a' twice"),
        ("return [Entry(r.id, '../' + r.id) for r in records]", "inside the folder, found '../"),
        ("return [Entry(r.id, '/' + r.id) for r in records]", "inside the folder, found '/"),
        ("return [r.no_such_name for r in records]", "raised AttributeError"),
    ),
    "content": (
        ("return b'x'", "expected a dict of bytes by the name of the file from content"),
        ("return {entry.cloud: 'x'}", "expected a dict of bytes"),
        ("return {}", r"expected the files ball_.*\.cloud from content, found none"),
        ("return {entry.cloud: b'x', 'more': b'y'}", "cloud, more"),
        ("return {entry.cloud: bytes(sample.no_such_name)}", "raised AttributeError"),
    ),
}
Add = Callable[..., None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Add:
    """Return what installs a package whose layout `mine` is a module with this text."""

    def install(text: str, name: str = "mine") -> None:
        module = re.sub(r"\W", "_", request.node.name)  # imported once in this process
        site = tmp_path / "site"
        package(site, "intravariance.layouts", {name: module}, **{module: text})
        monkeypatch.syspath_prepend(site)

    return install


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    return make_dataset(folder / "d.h5", small_specification((60, 80), 1, 1))


def exported(data: Path, out: Path, executor=None) -> None:
    with open_dataset(data) as dataset:
        write_tree(
            layout_writer("mine"), dataset, out, ExportOptions(), executor or SerialExecutor(),
            quiet=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("function", "body", "said"),
    [(name, body, said) for name, faults in FAULTS.items() for body, said in faults],
)
def test_what_is_wrong_names_the_package(
    function: str, body: str, said: str, add: Add, data: Path, tmp_path: Path
) -> None:
    (head,) = re.findall(rf"def {function}\(.*?\):", MODULE)
    add(f"{MODULE}{head} {body}\n")  # in place of the one above
    (tmp_path / "tree").mkdir()
    with pytest.raises(
        ExtensionError,
        match=rf"^the layout 'mine' of the package more-layouts 1.5 \(entry point .*{said}",
    ):
        if function == "find":
            find_scans("mine", tmp_path / "tree")
        else:
            exported(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_reader_raises_in_another_process_names_the_package(
    add: Add, tmp_path: Path
) -> None:
    add(MODULE)
    tree = write_files(tmp_path / "tree", {"a.cloud": b"1", "b.cloud": b"2", "c.txt": b""})
    settings = ImportSettings("mine", tree, quiet=True)
    with (
        pytest.raises(InputError, match=r"a\.cloud: the layout 'mine' .* raised ZeroDivisionError"),
        ProcessExecutor(1) as executor,
    ):
        import_dataset(settings, tmp_path / "out.h5", executor)
    assert not (tmp_path / "out.h5").exists()


def test_it_is_listed_and_is_not_tried_by_itself(add: Add, tmp_path: Path) -> None:
    add(MODULE)
    assert added_layouts() == ["mine"]
    tree = write_files(tmp_path / "tree", {"a.cloud": b"1"})
    assert detect_layout(tree) is None
    assert [scan.id for scan in find_scans("mine", tree)] == ["a.cloud"]
    with pytest.raises(InputError, match=r"layout yours: expected one of auto, .*, mine"):
        layout_reader("yours")


def test_one_that_only_reads_does_not_write(add: Add) -> None:
    add(MODULE[: MODULE.index("def plan")])
    with pytest.raises(ExtensionError, match=r"it to be written, found no plan, content"):
        layout_writer("mine")


def test_what_it_holds_is_a_word_of_ours(add: Add) -> None:
    add(MODULE + "HOLDS = {'colour': 'the clouds'}\n")
    with pytest.raises(ExtensionError, match=r"expected HOLDS with some of subcategory, pose"):
        layout_writer("mine")


@pytest.mark.parametrize("name", ["folder", "hf-parquet", "auto", "real3d-ad"])
def test_ours_are_not_replaced(name: str, add: Add) -> None:
    add(MODULE, name)
    assert added_layouts() == []
    with pytest.raises(ExtensionError, match=f"'{name}' of the package more-layouts 1.5"):
        layout_reader(name)
