# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from intravariance.commands.export import export_command
from intravariance.dataset.specification import Category, Specification
from intravariance.errors import InputError, IVError
from intravariance.exchange.exporting import tree
from intravariance.exchange.layouts import WRITERS, find_scans
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from tests.support.exporting_samples import make_exportable, plain_folder
from tests.support.samples import make_dataset


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with plain_folder() as path:
        yield path


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return make_exportable(folder / "data.h5")


def run(*arguments: object) -> Result:
    options = [str(argument) for argument in arguments]
    return CliRunner().invoke(export_command, options, catch_exceptions=False)


def refused(*arguments: object) -> str:
    with pytest.raises(IVError) as error:
        run(*arguments)
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize("jobs", [1, 2])
def test_summary_and_progress(jobs: int, file: Path, folder: Path) -> None:
    out = folder / f"tree{jobs}"
    result = run(file, "--layout", "anomaly-shapenet", "--out", out, "--jobs", jobs)
    *rest, last = result.stdout.splitlines()
    assert last.startswith(f"{out}: 15 samples in ") and last.endswith("layout anomaly-shapenet")
    assert rest == [
        "in iv_samples.jsonl: subcategory, pose, parameters",
        "in meshes/: mesh",
        "left out: normals, displacement",
    ]
    assert "exporting: 15/15" in result.stderr
    assert len(find_scans("anomaly-shapenet", out)) == 15
    left = sorted(path.name for path in folder.iterdir() if path.name.startswith(out.name))
    assert left == [out.name]


def test_worker_processes_write_the_same(folder: Path) -> None:
    first, second = (folder / f"tree{jobs}" / "SHA256SUMS" for jobs in (1, 2))
    assert first.read_text() == second.read_text()


def test_json_and_quiet(file: Path, folder: Path) -> None:
    out = folder / "json"
    result = run(
        file, "--layout", "mvtec-like-folder", "--out", out, "--category", "vase2", "--json",
        "--quiet", "--jobs", 1,
    )  # fmt: skip
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert content["samples"] == 6 and content["left_out"] == []
    assert content["beside"]["the clouds"] == ["normals"]
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    assert content["files"] == len(files)
    assert content["bytes"] == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize("layout", [*WRITERS, "hf-parquet"])
def test_a_dry_run_checks_and_writes_nothing(layout: str, file: Path, folder: Path) -> None:
    before = set(folder.iterdir())
    words = (file, "--layout", layout, "--category", "vase2", "--dry-run")
    result = run(*words, "--out", folder / "dry")
    assert f"{folder / 'dry'}: 6 samples of vase2, layout {layout}" in result.stdout
    assert json.loads(run(*words, "--out", folder / "dry", "--json").stdout)["samples"] == 6
    assert set(folder.iterdir()) == before
    assert "holds other files" in refused(*words, "--out", folder)


def test_spelling_and_delimiter(file: Path, folder: Path) -> None:
    out = folder / "spaces"
    run(
        file, "--layout", "anomaly-shapenet", "--out", out, "--gt-delimiter", "space",
        "--spelling", "crack", "--jobs", 1,
    )  # fmt: skip
    truth = out / "dataset/pcd/night_stand/GT/night_stand_crack0.txt"
    assert len(truth.read_text().splitlines()[0].split(" ")) == 4
    record = json.loads((out / EXPORT_RECORD).read_text())
    assert (record["spelling"], record["delimiter"]) == ("crack", "space")


@pytest.mark.parametrize(
    "layout, option, value",
    [
        ("real3d-ad", "--gt-delimiter", "comma"),
        ("real3d-ad", "--spelling", "crak"),
        ("mvtec-like-folder", "--gt-delimiter", "comma"),
        ("hf-parquet", "--gt-delimiter", "space"),
        ("hf-parquet", "--spelling", "crack"),
    ],
)
def test_options_of_other_layouts_are_refused(
    layout: str, option: str, value: str, file: Path, folder: Path
) -> None:
    message = refused(file, "--layout", layout, "--out", folder / "no", option, value)
    assert option in message and layout in message
    assert not (folder / "no").exists()


@pytest.mark.parametrize(
    "layout, name, reader",
    [
        ("anomaly-shapenet", "latest", "R3D-AD and Simple3D"),
        ("anomaly-shapenet", "templates", "RIF"),
        ("anomaly-shapenet", "positives", "PO3AD, MC4AD and RIF"),
        ("real3d-ad", "goods", "Real3D-AD, ISMP and PO3AD"),
        ("real3d-ad", "temporary", "Real3D-AD and ISMP"),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_paths_that_break_readers_are_refused(
    layout: str, name: str, reader: str, above: bool, file: Path, folder: Path
) -> None:
    out = folder / name / "tree" if above else folder / name
    out.parent.mkdir(exist_ok=True)
    message = refused(file, "--layout", layout, "--out", out)
    assert reader in message and "export elsewhere and move the folder" in message
    run(file, "--layout", "mvtec-like-folder", "--out", out, "--jobs", 1)  # which has no such words


@pytest.mark.parametrize(
    "layout, name, category, word",
    [
        ("anomaly-shapenet", "pcd", "ball", "the path .*pcd contains `pcd`"),
        ("anomaly-shapenet", "goodies", "ball", "the path .*goodies contains `good`"),
        ("anomaly-shapenet", "cuts", "cutter", "the category cutter contains `cut`"),
        ("real3d-ad", "pcds", "ball", "the path .*pcds contains `pcd`"),
        ("real3d-ad", "plain1", "pcd_case", "the category pcd_case contains `pcd`"),
        ("real3d-ad", "plain2", "positive", "the category positive contains `positive`"),
    ],
)
def test_doubtful_paths_and_names_are_said(
    layout: str, name: str, category: str, word: str, folder: Path
) -> None:
    path = folder / f"doubt_{category}.h5"
    if not path.exists():
        one = Category(category, ("ball",), 1, 1, {"bulge": 1})
        make_dataset(path, Specification("some", "Some", (2048, 2048), (one,)))
    result = run(path, "--layout", layout, "--out", folder / name, "--jobs", 1, "--quiet")
    assert result.exit_code == 0 and re.search(word, result.stderr)


def test_only_where_the_path_leads_counts(file: Path, folder: Path) -> None:
    (folder / "latest").mkdir(exist_ok=True)
    out = folder / "latest" / ".." / "roundabout"
    run(file, "--layout", "anomaly-shapenet", "--out", out, "--jobs", 1, "--category", "vase2")
    assert (folder / "roundabout" / EXPORT_RECORD).exists()


def test_a_relative_path_counts_from_the_root(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "contest").mkdir()
    monkeypatch.chdir(folder / "contest")
    assert "contains `test`" in refused(file, "--layout", "anomaly-shapenet", "--out", "tree")


@pytest.mark.parametrize(
    "layout, category, message",
    [
        ("anomaly-shapenet", "testtube", "the category testtube contains `test`: R3D-AD"),
        ("anomaly-shapenet", "pcd_case", "the category pcd_case contains `pcd`: R3D-AD"),
        ("real3d-ad", "cutter", "the category cutter contains `cut`"),
        ("real3d-ad", "gt", "has the name of a folder"),
        ("mvtec-like-folder", "train", "has the name of a folder"),
    ],
)
def test_categories_that_break_readers_are_refused(
    layout: str, category: str, message: str, folder: Path
) -> None:
    path = folder / f"{category}.h5"
    if not path.exists():
        one = Category(category, ("ball",), 1, 1, {"bulge": 1})
        make_dataset(path, Specification("some", "Some", (2048, 2048), (one,)))
    assert message in refused(path, "--layout", layout, "--out", folder / "no")


def test_small_clouds_are_refused_where_readers_draw_points(folder: Path) -> None:
    path = make_dataset(folder / "small.h5")
    message = refused(path, "--layout", "anomaly-shapenet", "--out", folder / "no")
    assert "fewer than 2,048 points" in message and "ball_train_000" in message
    run(path, "--layout", "mvtec-like-folder", "--out", folder / "small", "--jobs", 1)


def test_what_is_there_is_not_replaced_unasked(file: Path, folder: Path) -> None:
    out = folder / "kept"
    arguments = (file, "--layout", "real3d-ad", "--out", out, "--jobs", 1, "--category", "vase2")
    run(*arguments)
    assert "replace it with --force" in refused(*arguments)
    (out / "Real3D-AD-PCD" / "my_notes.txt").write_text("x")
    truth = next(out.glob("Real3D-AD-PCD/vase2/gt/*.txt"))
    as_written = truth.read_bytes()
    truth.write_bytes(as_written.replace(b" 0", b" 1", 1))
    message = refused(*arguments, "--force")
    assert "my_notes.txt" in message and truth.name in message
    assert (out / "Real3D-AD-PCD" / "my_notes.txt").exists() and truth.read_bytes() != as_written
    truth.write_bytes(as_written)
    (out / "Real3D-AD-PCD" / "my_notes.txt").unlink()
    (out / "README.md").unlink()  # what is missing is nobody's loss
    run(*arguments, "--force")
    assert (out / "README.md").exists()

    mine = folder / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    arguments = (*arguments[:4], mine, "--force")
    assert "also not with --force" in refused(*arguments)
    assert (mine / "thesis.txt").exists()
    (folder / "plain").write_text("x")
    assert "there is a file" in refused(*arguments[:4], folder / "plain", "--force")
    assert "does not exist" in refused(*arguments[:4], folder / "nowhere" / "tree")


def test_nothing_is_left_of_an_export_that_fails(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "failed"
    out.mkdir()
    written = []

    def full(path: Path, name: str, content: bytes) -> None:
        written.append(name)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)

    monkeypatch.setattr(tree, "write_member", full)
    arguments = (file, "--layout", "mvtec-like-folder", "--out", out, "--jobs", 1)
    assert "cannot be written (No space left on device)" in refused(*arguments)
    assert not any(out.iterdir()) and not (folder / "failed.partial").exists()

    def interrupted(path: Path, name: str, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, "write_member", interrupted)
    with pytest.raises(IVError, match="interrupted; nothing was written"):
        run(*arguments)
    assert not any(out.iterdir()) and not (folder / "failed.partial").exists()


def test_what_a_killed_export_left_is_removed_and_nothing_else(file: Path, folder: Path) -> None:
    out, partial = folder / "again", folder / "again.partial"
    partial.mkdir()
    (partial / "notes.txt").write_text("x")
    arguments = (file, "--layout", "mvtec-like-folder", "--out", out, "--jobs", 1)
    assert "is in the way" in refused(*arguments)
    assert (partial / "notes.txt").exists()
    (partial / EXPORT_RECORD).write_text("{}")
    run(*arguments)
    assert not partial.exists() and not (out / "notes.txt").exists()


def test_two_at_once(file: Path, folder: Path) -> None:
    out = folder / "twice"
    with FileLock(folder / "twice.partial.lock"):
        message = refused(file, "--layout", "mvtec-like-folder", "--out", out)
    assert "another process is writing" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(file: Path, folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o500)
    message = refused(file, "--layout", "mvtec-like-folder", "--out", closed / "tree")
    assert "not writable" in message


def test_unknown_layouts_and_categories(file: Path, folder: Path) -> None:
    result = run(file, "--layout", "shapenet", "--out", folder / "no")
    assert result.exit_code == 2 and "anomaly-shapenet" in result.stderr
    with pytest.raises(InputError, match=r"--category cap: .* has night_stand, vase2"):
        run(file, "--layout", "real3d-ad", "--out", folder / "no", "--category", "cap")


def test_every_folder_layout_is_a_choice() -> None:
    help_text = run("--help").stdout
    for layout in (*WRITERS, "hf-parquet"):
        assert layout in help_text


def test_parquet(file: Path, folder: Path) -> None:
    pytest.importorskip("pyarrow")
    out = folder / "parquet"
    result = run(file, "--layout", "hf-parquet", "--out", out, "--quiet")
    assert result.stdout.splitlines()[0] == "left out: nothing"
    assert sorted(path.name for path in out.glob("data/vase2/*"))
