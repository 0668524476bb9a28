# SPDX-License-Identifier: Apache-2.0
"""Names in other scripts, with spaces, capitals and signs, from the specification to an import."""

from __future__ import annotations

from pathlib import Path

import pytest

from intravariance import load_specification, open_dataset
from intravariance.building.run import build
from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.executors.serial import SerialExecutor
from tests.conftest import run_iv
from tests.support.meshes_on_disk import write

CATEGORY = "Gehäuse A (neu)"
PRODUCTS = ["外殻-1", "mug, Left & [B]"]
SPECIFICATION = f"""
name = "names"
points = [2048, 2100]
[[category]]
name = "{CATEGORY}"
subcategories = {PRODUCTS}
templates = 2
positives = 1
defects = {{ bulge = 1 }}
"""


@pytest.fixture(scope="module")
def dataset_file(tmp_path_factory: pytest.TempPathFactory, needs_blender: None) -> Path:
    folder = tmp_path_factory.mktemp("names")
    (folder / "names.toml").write_text(SPECIFICATION, encoding="utf-8")
    write(folder / "meshes", *(f"{CATEGORY}/{product}.off" for product in PRODUCTS))
    specification = load_specification(folder / "names.toml")
    settings = BuildSettings(
        specification,
        SampleSettings(0, "so3", 0.01, 0.0, specification.points),
        f"folder:{folder}/meshes",
        folder / "cache",
        quiet=True,
    )
    build(settings, folder / "names.h5", SerialExecutor())
    return folder / "names.h5"


def names(path: Path) -> list[tuple[str, str, str]]:
    with open_dataset(path) as dataset:
        return sorted((record.category, record.subcategory, record.defect) for record in dataset)


def test_names_are_kept_in_the_file_and_each_mesh_is_its_own(dataset_file: Path) -> None:
    with open_dataset(dataset_file) as dataset:
        assert dataset.categories == [CATEGORY]
        assert {record.subcategory for record in dataset} == set(PRODUCTS)
        for record in dataset:
            origin = record.parameters["base_mesh"].partition(" sha256:")[0]
            assert origin == f"folder:{CATEGORY}/{record.subcategory}.off"


@pytest.mark.parametrize("layout", ["mvtec-like-folder", "hf-parquet"])
def test_names_come_back_from_an_export(dataset_file: Path, tmp_path: Path, layout: str) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back.h5"
    result = run_iv("export", dataset_file, "--layout", layout, "--out", tree, "--jobs", 1)
    assert result.returncode == 0, result.stderr
    result = run_iv("import", "auto", tree, "--out", back, "--jobs", 1)
    assert result.returncode == 0, result.stderr
    assert names(back) == names(dataset_file)


def test_names_stand_in_cards_and_pages(dataset_file: Path, tmp_path: Path) -> None:
    card = run_iv("card", dataset_file)
    assert f"| {CATEGORY} | 2 | 2 | 1 | 1 | 4 |" in card.stdout
    assert all(f"| {CATEGORY} | {product} |" in card.stdout for product in PRODUCTS)
    page = tmp_path / "page.html"
    shown = run_iv("view", f"{dataset_file}:{CATEGORY}/bulge", "--out", page)
    assert shown.returncode == 0, shown.stderr
    assert f"{CATEGORY}_test_" in page.read_text(encoding="utf-8")
