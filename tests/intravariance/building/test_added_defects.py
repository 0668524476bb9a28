# SPDX-License-Identifier: Apache-2.0
"""Defects that installed packages add: made, checked, recorded and refused, in a real Blender.

The one that works is that of docs/extending.md.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import point_cloud_utils
import pytest
import trimesh

from annotations.vocabulary import DISPLACEMENT_THRESHOLD
from intravariance.building.blender import BlenderWorker, ImpossibleDefect
from intravariance.building.run import _check_added_defects, _code
from intravariance.dataset.added_defects import AddedDefect
from intravariance.dataset.provenance import code_digest
from intravariance.dataset.specification_reader import specification_from_dict
from intravariance.errors import InputError
from intravariance.extensions import ExtensionError
from intravariance.geometry.mesh import Mesh, mesh_from_arrays, to_unit_sphere
from tests import ROOT
from tests.support.extensions import files_of, package

# Bodies of faulty functions, by name, each with the message that it causes.
FAILING = {
    "odd_cut": (
        "from blender_scripts.shaping.result import Defective as D; "
        "return D(surface.vertices, surface.faces, 3, surface.areas > 0, [[0, 0, 0]])",
        "Traceback",
    ),
    "raises": ("return surface.no_such_name", "it raised AttributeError: 'Surface' object has no"),
    "shorter": ("return surface.vertices[1:]", "gave ndarray (2561, 3), expected the displacement"),
    "words": ("return 'a'", "gave str (), expected the displacement"),
    "writes": ("surface.vertices += 1", "raised ValueError: output array is read-only"),
    "no_cut": ("return surface.vertices", "gave ndarray, expected a Defective for a cut"),
}
REFUSED = {
    "nowhere": ("return None", "no room for it (100)"),
    "still": ("return 0 * surface.vertices", "0.00% of the area would be labelled"),
    "whole": ("return surface.vertices * 0.1", "100.00% of the area would be labelled"),
    "rough": (
        "return rng.normal(size=(len(surface.vertices), 1)) * 0.05 * "
        "(surface.vertices[:, 2:] > 0.7) * [0, 0, 1]",
        "neighbouring triangles are folded|triangles turn over",
    ),
    "jumps": ("return 0.2 * (surface.vertices[:, 2:] > 0.7) * [0, 0, 1]", "jumps"),
    "through": (
        "return -2.2 * np.clip(surface.vertices[:, 2:] - 0.3, 0, None) * [0, 0, 1]",
        "turn over|itself|inside out|stretched|jumps",
    ),
    "infinite": ("return surface.vertices * np.nan", "vertices that are not finite"),
}
WRONG = {  # of the entry, not of the function
    "number": ("3", "expected an intravariance.AddedDefect, found 3"),
    "other_kind": ("AddedDefect('scratch', 'x', 'a:b')", "kind = 'scratch': expected deformation"),
    "two_lines": ("AddedDefect('cut', 'x\\ny', 'a:b')", "description = 'x\\ny'"),
    "no_function": ("AddedDefect('cut', 'x', 'b')", "function = 'b': expected MODULE:FUNCTION"),
    "shares": ("AddedDefect('cut', 'x', 'a:b', least=0.5)", "least, most = 0.5, 0.4"),
}
MODULE = "import numpy as np\nfrom intravariance import AddedDefect\n" + "".join(
    f"{name.upper()} = AddedDefect('{'cut' if name.endswith('_cut') else 'deformation'}', 'fault', "
    f"'added_defects:{name}')\ndef {name}(surface, rng, severity): {body}\n"
    for name, (body, _) in (FAILING | REFUSED).items()
)
MODULE += "ABSENT = AddedDefect('cut', 'none', 'added_defects:no_such_function')\n"
SPECIFICATION = """
name = "s"
points = [2048, 2400]
[[category]]
name = "ball"
subcategories = ["ball"]
templates = 1
positives = 1
defects = { buckle = 2, bulge = 1 }
"""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    entries = {name: f"added_defects:{name.upper()}" for name in (*FAILING, *REFUSED, "absent")}
    entries |= {name: f"wrong_{name}:ENTRY" for name in WRONG}
    entries |= dict.fromkeys(("buckle", "crack", "sink"), "buckle:BUCKLE")
    modules = {
        f"wrong_{name}": f"from intravariance import AddedDefect\nENTRY = {text}\n"
        for name, (text, _) in WRONG.items()
    }
    modules |= {"added_defects": MODULE}
    modules["buckle"] = files_of(ROOT / "docs/extending.md")["buckle.py"]
    site = package(tmp_path / "site", "intravariance.defects", entries, **modules)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture(scope="module")
def blender(needs_blender: None) -> Iterator[BlenderWorker]:
    with BlenderWorker() as worker:
        yield worker


@pytest.fixture(scope="module")
def ball() -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions=4)
    return to_unit_sphere(mesh_from_arrays(np.asarray(shape.vertices) * [1, 1, 1.2], shape.faces))


def test_it_is_made_and_its_ground_truth_is_the_way_from_the_pristine_surface(
    blender: BlenderWorker, ball: Mesh
) -> None:
    made = [blender.defect("buckle", ball, [0, 1], severity) for severity in (0.1, 0.5, 0.9)]
    for one in made:
        size = np.linalg.norm(one.displacement, axis=1)
        assert 0.01 < (size > DISPLACEMENT_THRESHOLD).mean() < 0.3 and not one.cut.any()
        before = (one.mesh.vertices - one.displacement).astype(np.float64)
        distance, _, _ = point_cloud_utils.closest_points_on_mesh(
            before, ball.vertices.astype(np.float64), ball.faces.astype(np.int64)
        )
        assert distance.max() < 1e-6
    departures = [one.parameters["departure"] for one in made]
    assert departures == sorted(departures)  # the severity is one
    again = blender.defect("buckle", ball, [0, 1], 0.5)
    np.testing.assert_array_equal(again.mesh.vertices, made[1].mesh.vertices)


def test_a_size_in_radii_is_met_as_that_of_ours_is(blender: BlenderWorker, ball: Mesh) -> None:
    made = blender.defect("buckle", ball, [0, 2], None, size=0.02)
    assert made.parameters["departure"] == pytest.approx(0.02, rel=0.1)
    assert made.severity is not None and 0 < made.severity < 1
    with pytest.raises(ImpossibleDefect, match=r"of a size of 0\.3 radii there is none"):
        blender.defect("buckle", ball, [0, 2], None, size=0.3)


@pytest.mark.parametrize("name", REFUSED)
def test_the_checks_are_those_of_every_defect(name: str, blender: BlenderWorker, ball: Mesh):
    with pytest.raises(ImpossibleDefect, match=f"no {name} after 100 attempts: ") as raised:
        blender.defect(name, ball, [0], 0.5)
    assert any(part in str(raised.value) for part in REFUSED[name][1].split("|")), raised.value


@pytest.mark.parametrize("name", FAILING)
def test_what_its_function_does_wrong_names_the_package(
    name: str, blender: BlenderWorker, ball: Mesh
) -> None:
    restarts = blender.restarts
    with pytest.raises(ExtensionError) as raised:
        blender.defect(name, ball, [0], 0.5)
    said = str(raised.value)
    assert said.startswith(
        f"the defect '{name}' of the package more-defects 1.5 (entry point {name} = "
        f"added_defects:{name.upper()})"
    )
    assert FAILING[name][1] in said and blender.restarts == restarts


def test_a_function_that_is_not_there(blender: BlenderWorker, ball: Mesh) -> None:
    with pytest.raises(ExtensionError, match="there is no added_defects:no_such_function: "):
        blender.defect("absent", ball, [0], 0.5)


@pytest.mark.parametrize("name", WRONG)
def test_an_entry_that_is_none_is_refused_where_it_is_used(name: str) -> None:
    content = tomllib.loads(SPECIFICATION.replace("buckle", name))
    with pytest.raises(ExtensionError) as raised:
        specification_from_dict(content, "s.toml")
    assert f"the defect '{name}' of the package more-defects 1.5" in str(raised.value)
    assert WRONG[name][1] in str(raised.value)


def test_names_of_ours_are_not_taken() -> None:
    for name in ("crack", "sink"):
        with pytest.raises(ExtensionError, match=f"'{name}' of the package more-defects"):
            specification_from_dict(tomllib.loads(SPECIFICATION.replace("buckle", name)), "s")


def test_a_specification_keeps_what_is_known_and_needs_the_package_no_more(
    monkeypatch: pytest.MonkeyPatch, site: Path
) -> None:
    content = tomllib.loads(SPECIFICATION.replace(", bulge = 1", ""))
    specification = specification_from_dict(content, "s.toml")
    (known,) = specification.added_defects
    assert (known.name, known.kind, known.package) == ("buckle", "deformation", "more-defects")
    _check_added_defects(specification)
    stored = json.loads(json.dumps(specification.to_dict()))
    with monkeypatch.context() as without:
        without.setattr(sys, "path", [path for path in sys.path if path != str(site)])
        again = specification_from_dict(stored, "file")
        assert again == specification and again.defect_type("buckle") == known
        with pytest.raises(InputError, match=r"of more-defects 1\.5, and no package with it is"):
            _check_added_defects(again)
        with pytest.raises(InputError, match="unknown defect 'buckle'; known: bulge"):
            specification_from_dict(content, "s.toml")
    other = replace(known, version="1.4")
    with pytest.raises(InputError, match=r"1\.4, and more-defects 1\.5 is installed"):
        _check_added_defects(replace(specification, added_defects=(other,)))


def test_a_build_carries_on_with_the_same_code_alone(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "buckle", raising=False)  # of an earlier test's folder
    content = tomllib.loads(SPECIFICATION.replace(", bulge = 1", ""))
    specification = specification_from_dict(content, "s.toml")
    before = _code(specification)
    assert before == _code(specification) != _code(replace(specification, added_defects=()))
    code_digest.cache_clear()
    (site / "buckle.py").write_text((site / "buckle.py").read_text() + "# changed\n")
    assert _code(specification) != before
    code_digest.cache_clear()


def test_others_are_as_before() -> None:
    content = tomllib.loads(SPECIFICATION.replace("buckle = 2, bulge = 1", "twist = 1"))
    assert "added_defects" not in specification_from_dict(content, "s.toml").to_dict()


def test_limits_of_an_entry() -> None:
    with pytest.raises(ValueError, match=r"stretch, slope = 1\.0, 1\.3"):
        AddedDefect("deformation", "x", "a:b", stretch=1.0)
