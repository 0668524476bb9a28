# SPDX-License-Identifier: Apache-2.0
"""Which mesh becomes which product."""

import shutil
from dataclasses import replace

import pytest

from intravariance.dataset.specification_reader import load_group
from intravariance.errors import InputError
from intravariance.sources import choice_notes, choose, parse_source
from tests.support.meshes_on_disk import specification, write

PRODUCTS = specification(bowl=["soup_bowl", "pet_bowl"], vase=["tall", "short", "round"])
BOWLS = [f"bowl/{letter}.off" for letter in "abcdefg"]
VASES = [f"vase/{letter}.off" for letter in "abcdefg"]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "meshes", *BOWLS, *VASES)


def offers(choices):
    return {
        choice.subcategory: [candidate.name for _, candidate in choice.offers] for choice in choices
    }


def named(path):
    bowl, vase = PRODUCTS.categories
    return replace(PRODUCTS, categories=(replace(bowl, meshes={"pet_bowl": path}), vase))


def test_every_mesh_is_offered_once_and_all_are_used(folder):
    offered = offers(choose(PRODUCTS, parse_source(f"folder:{folder}"), 0))
    assert list(offered) == ["soup_bowl", "pet_bowl", "tall", "short", "round"]
    assert sorted(offered["soup_bowl"] + offered["pet_bowl"]) == BOWLS
    assert sorted(offered["tall"] + offered["short"] + offered["round"]) == VASES


def test_the_seed_decides_and_nothing_else(folder, tmp_path):
    first = offers(choose(PRODUCTS, parse_source(f"folder:{folder}"), 0))
    elsewhere = write(tmp_path / "elsewhere", *reversed(VASES), *reversed(BOWLS))
    assert offers(choose(PRODUCTS, parse_source(f"folder:{elsewhere}"), 0)) == first
    others = [offers(choose(PRODUCTS, parse_source(f"folder:{folder}"), s)) for s in range(1, 5)]
    assert any(other != first for other in others)


def test_one_category_does_not_change_another(folder):
    first = offers(choose(PRODUCTS, parse_source(f"folder:{folder}"), 0))
    alone = offers(choose(PRODUCTS.select(["vase"]), parse_source(f"folder:{folder}"), 0))
    assert alone == {name: first[name] for name in ("tall", "short", "round")}


def test_a_folder_of_the_subcategory_comes_first(folder):
    write(folder, "vase/short/x.off", "vase/short/y.off", "vase/other/z.off")
    offered = offers(choose(PRODUCTS, parse_source(f"folder:{folder}"), 0))
    assert sorted(offered["short"]) == ["vase/short/x.off", "vase/short/y.off"]
    assert sorted(offered["tall"] + offered["round"]) == sorted([*VASES, "vase/other/z.off"])


def test_a_loose_file_of_the_subcategorys_name_is_its_mesh(folder):
    write(folder, "vase/Short.obj", "bowl/soup-bowl.ply", "bowl/soup_bowl.x/deep.off")
    source = parse_source(f"folder:{folder}")
    for seed in range(5):
        choices = choose(PRODUCTS, source, seed)
        offered = offers(choices)
        assert offered["short"] == ["vase/Short.obj"]
        assert offered["soup_bowl"] == ["bowl/soup-bowl.ply"]
        assert sorted(offered["pet_bowl"]) == [*BOWLS, "bowl/soup_bowl.x/deep.off"]
        assert [c.subcategory for c in choices if c.dealt] == ["pet_bowl", "tall", "round"]


def test_what_the_seed_dealt_is_told(folder):
    write(folder, "vase/short.obj")
    source = parse_source(f"folder:{folder}")
    choices = choose(named("bowl/c.off"), source, 0)
    told = choice_notes(named("bowl/c.off"), source, choices)
    assert [note.split(" is ")[0] for note in told] == ["bowl/soup_bowl", "vase/tall", "vase/round"]
    assert all(f" is {c.origin}: dealt by the seed" in "".join(told) for c in choices if c.dealt)
    designs = parse_source("procedural")
    assert choice_notes(load_group(2), designs, choose(load_group(2), designs, 0)) == []


def test_a_named_mesh_is_the_only_one_and_nobody_elses(folder):
    offered = offers(choose(named("bowl/c.off"), parse_source(f"folder:{folder}"), 0, fill=True))
    assert offered["pet_bowl"] == ["bowl/c.off"]
    assert "bowl/c.off" not in offered["soup_bowl"]


def test_a_named_mesh_that_is_missing_is_an_error(folder):
    with pytest.raises(InputError, match=r"meshes\.pet_bowl = 'bowl/zz\.off' is not among the 7"):
        choose(named("bowl/zz.off"), parse_source(f"folder:{folder}"), 0)


def test_all_shortages_are_listed_at_once(tmp_path):
    write(tmp_path / "few", "bowl/a.off", "vase/a.off")
    with pytest.raises(InputError) as error:
        choose(PRODUCTS, parse_source(f"folder:{tmp_path}/few"), 0)
    message = str(error.value)
    assert "bowl: 1 of 2 found, missing pet_bowl" in message
    assert "vase: 1 of 3 found, missing short, round" in message
    assert "few/vase" in message
    assert "--fill procedural" in message


def test_filling_takes_designs_for_what_is_missing_and_as_the_last_reserve(tmp_path):
    write(tmp_path / "few", "bowl/a.off")
    bowls = PRODUCTS.select(["bowl"])
    choices = choose(bowls, parse_source(f"folder:{tmp_path}/few"), 0, fill=True)
    assert offers(choices) == {
        "soup_bowl": ["bowl/a.off", "bowl/soup_bowl"],
        "pet_bowl": ["bowl/pet_bowl"],
    }
    assert [c.origin for c in choices] == ["folder:bowl/a.off", "procedural:bowl/pet_bowl"]


def test_filling_cannot_make_up_products_that_have_no_design(folder):
    shutil.rmtree(folder / "vase")
    with pytest.raises(InputError, match="vase: 0 of 3 found, missing tall, short, round"):
        choose(PRODUCTS, parse_source(f"folder:{folder}"), 0, fill=True)


@pytest.mark.parametrize("group", [1, 2])
def test_embedded_designs_cover_both_groups(group):
    choices = choose(load_group(group), parse_source("procedural"), 0)
    assert all(c.origin == f"procedural:{c.category}/{c.subcategory}" for c in choices)
    assert len(choices) == sum(len(c.subcategories) for c in load_group(group).categories)


def test_a_design_never_stands_for_another_product():
    with pytest.raises(InputError, match="bowl: 1 of 2 found, missing chipped_bowl"):
        choose(specification(bowl=["soup_bowl", "chipped_bowl"]), parse_source("procedural"), 0)


def test_shapenet_has_no_cones_and_says_so(tmp_path):
    with pytest.raises(InputError, match="ShapeNet has no class cone"):
        choose(specification(cone=["funnel"]), parse_source(f"shapenet:{tmp_path}"), 0)
