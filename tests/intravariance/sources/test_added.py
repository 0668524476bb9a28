# SPDX-License-Identifier: Apache-2.0
"""Sources that installed packages add: what they give, and what is refused."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from intravariance.errors import InputError
from intravariance.extensions import ExtensionError
from intravariance.sources import choose, parse_source, prepare
from intravariance.sources.formats.ply import read_ply
from tests.intravariance.sources.test_preparing import CubeMaker
from tests.support.extensions import package
from tests.support.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES, off_text, specification

BOWL = specification(bowl=["soup_bowl"])
MODULE = f"""
import numpy as np
VERTICES, FACES = np.array({CUBE_VERTICES}) * 0.1, np.array({CUBE_TRIANGLES})
def cube(category, product): return VERTICES, FACES
def lists(category, product): return VERTICES.tolist(), FACES.tolist()
def named(category, product): return VERTICES * [1, 1, len(product)], FACES
def raises(category, product): return VERTICES[product], FACES
def nothing(category, product): return None
def flat(category, product): return VERTICES.ravel(), FACES
def floats(category, product): return VERTICES, FACES * 1.0
def beyond(category, product): return VERTICES, FACES + 1
def negative(category, product): return VERTICES, FACES - 1
def sheet(category, product): return VERTICES, FACES[:0]
def nan(category, product): return VERTICES * np.nan, FACES
number = 3
"""
NAMES = re.findall(r"def (\w+)", MODULE)


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {name: f"added_meshes:{name}" for name in (*NAMES, "number")}
    entries |= {"away": "no_such_module:mesh", "folder": "added_meshes:cube"}
    site = package(tmp_path / "site", "intravariance.sources", entries, added_meshes=MODULE)
    monkeypatch.syspath_prepend(site)


def test_its_mesh_is_prepared_as_a_file_with_the_same_is(tmp_path: Path) -> None:
    folder = tmp_path / "meshes/bowl"
    folder.mkdir(parents=True)
    (folder / "soup_bowl.off").write_text(
        off_text((np.array(CUBE_VERTICES) * 0.1).tolist(), CUBE_TRIANGLES)
    )
    made = []
    for source in ("cube", "lists", f"folder:{tmp_path / 'meshes'}"):
        (choice,) = choose(BOWL, parse_source(source), 0)
        base, warnings = prepare(choice, tmp_path / "cache", False, CubeMaker())
        made.append((base.sha256, base.unit_radius, base.surface_error, base.repair, warnings))
    assert made[0] == made[1] == made[2]
    assert choice.origin == "folder:bowl/soup_bowl.off"


def test_coordinates_come_through_bit_for_bit() -> None:
    vertices, faces = read_ply(parse_source("cube").read("bowl/soup_bowl"))
    np.testing.assert_array_equal(vertices, np.array(CUBE_VERTICES) * 0.1)
    np.testing.assert_array_equal(faces, CUBE_TRIANGLES)


def test_it_is_asked_for_each_product_or_for_what_the_specification_names(tmp_path: Path) -> None:
    source = parse_source("named")
    (choice,) = choose(BOWL, source, 0)
    assert choice.origin == "named:bowl/soup_bowl" and not choice.dealt
    assert pickle.loads(pickle.dumps(choice)) == choice  # as worker processes get it
    (category,) = BOWL.categories
    category = replace(category, meshes={"soup_bowl": "bowl/deep"})
    (choice,) = choose(replace(BOWL, categories=(category,)), source, 0)
    assert choice.origin == "named:bowl/deep"
    assert read_ply(source.read("bowl/deep"))[0][:, 2].max() == pytest.approx(0.1 * 4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "raised IndexError: "),
        ("nothing", "found NoneType 'None'"),
        ("flat", "found an array (24,) of float64 and an array (12, 3) of int64"),
        ("floats", "an array (12, 3) of float64"),
        ("beyond", "found faces with 1 to 8, and 8 vertices"),
        ("negative", "found faces with -1 to 6, and 8 vertices"),
        ("number", "expected a function, found 3"),
        ("away", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_the_error_names_package_and_entry_point(name: str, said: str) -> None:
    with pytest.raises(ExtensionError) as raised:
        parse_source(name).read("bowl/soup_bowl")
    value = "no_such_module:mesh" if name == "away" else f"added_meshes:{name}"
    start = f"the source '{name}' of the package more-sources 1.5 (entry point {name} = {value})"
    assert str(raised.value).startswith(start) and said in str(raised.value)


@pytest.mark.parametrize("name", ["sheet", "nan"])
def test_a_mesh_that_a_file_may_not_have_is_refused_and_can_be_skipped(
    name: str, tmp_path: Path
) -> None:
    (choice,) = choose(BOWL, parse_source(name), 0, fill=True)
    with pytest.raises(InputError, match=f"{name}:bowl/soup_bowl: "):
        prepare(choice, tmp_path / "cache", False, CubeMaker())
    base, (warning,) = prepare(choice, tmp_path / "cache", True, CubeMaker())
    assert base.origin == "procedural:bowl/soup_bowl" and f"{name}:bowl/soup_bowl" in warning


def test_names_are_listed_and_ours_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    assert parse_source(f"folder:{tmp_path / 'meshes'}").kind == "folder"
    with pytest.raises(InputError, match=r"'folder' of the package more-sources.*has one of that"):
        parse_source("folder")
    with pytest.raises(InputError, match=r"expected one of procedural, .*, cube, lists"):
        parse_source("cubes")
    assert len(entry_points(group="intravariance.sources")) == len(NAMES) + 3
