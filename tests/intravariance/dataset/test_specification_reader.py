# SPDX-License-Identifier: Apache-2.0
import json
import tomllib

import pytest

from annotations.vocabulary import DEFECT_TYPES
from intravariance.building.plan import make_plan
from intravariance.dataset.difficulty import BANDS, difficulty_of
from intravariance.dataset.scan import ALL_SIDES, Scan
from intravariance.dataset.specification import GROUPS
from intravariance.dataset.specification_reader import (
    load_group,
    load_specification,
    specification_from_dict,
)
from intravariance.errors import InputError

# The paper's Tables 7 and 8 as printed (a dash where it prints a backslash; "raido" is radio).
TABLE_7 = """
class subcategories template positive hole bulge concavity crack broken scratch bending total
bottle 2 4 30 2 14 14 1 2 - - 67
bowl 2 4 30 - 14 14 - - 8 - 70
bucket 2 4 30 4 14 14 4 4 2 - 76
cap 2 4 30 4 14 14 - 4 - 1 71
cup 2 4 30 - 14 14 - - - - 62
helmet 2 4 30 2 14 14 2 2 1 2 71
microphone 2 4 30 - 14 14 - - - - 62
tap 2 4 30 4 14 14 2 4 2 - 74
"""
TABLE_8 = """
class subcategories template positive missing bulge crack twist total
cone 4 4 25 11 7 4 8 59
bowl 4 4 25 10 7 3 7 56
door 4 4 21 2 4 3 7 41
keyboard 4 4 24 11 8 4 6 57
night_stand 4 4 31 5 6 3 6 55
raido 4 4 25 8 7 4 7 55
vase 4 4 32 12 8 4 8 68
xbox 4 4 29 11 8 3 8 63
"""

MINIMAL = """
name = "mine"
points = [2000, 3000]
[[category]]
name = "vase"
subcategories = ["tall"]
templates = 1
positives = 2
defects = { bulge = 1 }
"""


@pytest.mark.parametrize(("group", "table", "total"), [(1, TABLE_7, 553), (2, TABLE_8, 454)])
def test_groups_are_the_papers_tables(group, table, total):
    specification = load_group(group).select()
    header, *rows = (line.split() for line in table.strip().splitlines())
    assert [row[0] for row in rows] == [
        "raido" if c.name == "radio" else c.name for c in specification.categories
    ]
    for row, category in zip(rows, specification.categories, strict=True):
        printed = dict(zip(header[1:], row[1:], strict=True))
        found = {
            "subcategories": len(category.subcategories),
            "template": category.templates,
            "positive": category.positives,
            "total": category.total,
            **{defect: category.defects.get(defect, 0) for defect in header[4:-1]},
        }
        assert found == {k: 0 if v == "-" else int(v) for k, v in printed.items()}
    assert specification.total == total


def test_desk_is_an_extra_and_raido_an_alias():
    group = load_group(2)
    assert "desk" not in {c.name for c in group.select().categories}
    assert [c.name for c in group.select(["raido", "desk"]).categories] == ["radio", "desk"]
    with pytest.raises(InputError, match=r"bathtub.*has cone, bowl"):
        group.select(["bathtub"])


def test_a_difficulty_is_a_name_for_a_range_of_severity():
    def read(keys):
        return specification_from_dict(tomllib.loads(keys + MINIMAL), "mine.toml")

    assert read("").severity == read('difficulty = "mixed"').severity == (0, 1)
    for name, (low, high) in BANDS.items():
        specification = read(f'difficulty = "{name}"')
        assert specification.severity == (low, high)
        assert {
            difficulty_of(job.severity) for job in make_plan(specification, 0) if job.severity
        } == {name}
        assert specification_from_dict(specification.to_dict(), "again") == specification
    for keys, message in (
        ('difficulty = "awkward"', r"mine\.toml: difficulty = 'awkward', expected one of hard, "),
        ('difficulty = "hard"\nseverity = [0, 1]', r"both given.*'hard' is a name for severity"),
        ("difficulty = 1", "difficulty = 1, expected str"),
    ):
        with pytest.raises(InputError, match=message):
            read(keys)


def test_nothing_but_extras_is_an_error():
    content = tomllib.loads(MINIMAL)
    content["category"][0]["extra"] = True
    specification = specification_from_dict(content, "mine.toml")
    assert specification.select(["vase"]).total == 4
    with pytest.raises(InputError, match="--category: vase"):
        specification.select()


@pytest.mark.parametrize("group", GROUPS)
def test_survives_json(group):
    specification = load_group(group)
    again = specification_from_dict(json.loads(json.dumps(specification.to_dict())), "json")
    assert again == specification


def test_the_scan_survives_json_and_is_all_sides_unless_asked_for(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    assert load_specification(path).scan == ALL_SIDES
    assert not ALL_SIDES.sentences()
    options = "views = 2\nincidence_noise = 0.3\ndensity_variation = 0.2\noutliers = 0.01\n"
    path.write_text(MINIMAL.replace("[[category]]", f"[scan]\n{options}[[category]]", 1))
    specification = load_specification(path)
    assert specification.scan == Scan(2, 0.3, 0.2, 0.01)
    assert len(specification.scan.sentences()) == 4
    assert specification_from_dict(specification.to_dict(), "json") == specification


def test_reads_a_users_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    specification = load_specification(path)
    assert specification.total == 4
    assert specification.categories[0].counts() == {
        ("train", "normal"): 1,
        ("test", "normal"): 2,
        ("test", "bulge"): 1,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "mine"', 'nmae = "mine"'), "'name' is missing"),
        (("points", "pionts"), "'points' is missing"),
        (("templates = 1", "templates = 1\nsize = 3"), "unknown key 'size'; allowed: .*templates"),
        (("[[category]]", "[scan]\nviews = -1\n[[category]]"), "scan: views = -1, expected int"),
        (("[[category]]", "[scan]\nview = 1\n[[category]]"), "unknown key 'view'; .*views"),
        (("[[category]]", "[scan]\noutliers = 0.5\n[[category]]"), "scan: outliers = 0.5"),
        (
            ("[[category]]", "[scan]\nincidence_noise = 0.5\n[[category]]"),
            "incidence_noise = 0.5, expected 0 without viewpoints",
        ),
        (("templates = 1", "templates = 0"), "templates = 0, expected int from 1"),
        (("templates = 1", "templates = true"), "templates = True"),
        (("positives = 2", "positives = 2.5"), "positives = 2.5, expected int"),
        (("bulge = 1", "bulg = 1"), f"unknown defect 'bulg'; known: {', '.join(DEFECT_TYPES)}"),
        (("bulge = 1", "bulge = -1"), "defects.bulge = -1"),
        (("[2000, 3000]", "[3000, 2000]"), "smallest is above largest"),
        (("[2000, 3000]", "[3000]"), r"expected \[smallest, largest\]"),
        (('["tall"]', '["tall", "tall"]'), "subcategories must differ, found twice: tall"),
        (('["tall"]', '["night-stand", "Night Stand"]'), "found twice: Night Stand, night-stand"),
        (('["tall"]', '["Tall\\nOne"]'), r"which is no name: it has '\\n'"),
        (('name = "mine"', 'name = "Mine"'), "lower-case letters"),
        (('["tall"]', '["tall", "wide"]'), "at least one for each of the 2 subcategories"),
        (("templates = 1", 'templates = 1\nmeshes = { wide = "a.off" }'), "meshes.wide"),
        (('name = "vase"', 'name = "../vase"'), "is no name: it begins with a dot"),
        (('name = "vase"', 'name = "Samples"'), "'Samples' is taken"),
        (
            (
                '["tall"]\ntemplates = 1',
                '["tall", "low"]\ntemplates = 2\nmeshes = { tall = "a.off", low = "a.off" }',
            ),
            "a different file for each",
        ),
        (("points", "tolerance = 0.5\npoints"), "tolerance = 0.5, expected float from 0.0 to 0.05"),
    ],
)
def test_a_wrong_file_is_named_with_key_and_remedy(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL.replace(*change))
    with pytest.raises(InputError, match=message) as caught:
        load_specification(path)
    assert "mine.toml" in str(caught.value)


def test_categories_must_differ(tmp_path):
    content = tomllib.loads(MINIMAL)
    content["category"] *= 2
    with pytest.raises(InputError, match="names must differ, found twice: vase"):
        specification_from_dict(content, "mine.toml")


@pytest.mark.parametrize(
    "content",
    [b"name = ", b"\xff\xfe", b"points = [" + 4301 * b"9" + b", 5]"],
)
def test_unreadable_files(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a TOML file"):
        load_specification(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_specification(tmp_path / "absent.toml")
