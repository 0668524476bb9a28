# SPDX-License-Identifier: Apache-2.0
"""Texts that may be names, and names that are the same."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravariance.names import LONGEST_NAME, as_name, name_problem, plain_name

NAMES = ["bowl", "Gehäuse A", "外殻", "ケース-2", "Kratzer & Riss [neu]", "03001627", "قدح", "कप",
         "mug (left), v1.2", "naïve", "a" * LONGEST_NAME, "x_y-z", "🏺"]  # fmt: skip
BROKEN = ["", "a/b", "a\\b", ".hidden", "..", "-x", " a", "a ", "a.", "a\nb", "a\0b", "C:", "what?",
          "a*", "<b>", "a|b", 'a"b', "a\u202eb", "a\ud800", "a\u2028", "x" * 101, "茶" * 34,
          unicodedata.normalize("NFD", "Gehäuse")]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_script_are_names_and_are_kept(name):
    assert name_problem(name) == ""
    assert as_name(name) == name


@pytest.mark.parametrize("text", BROKEN)
def test_what_breaks_paths_files_or_pages_is_no_name(text):
    assert name_problem(text)
    rewritten = as_name(text)
    assert rewritten == "" or name_problem(rewritten) == ""


@given(st.text(max_size=120))
def test_any_text_becomes_a_name_or_nothing(text):
    name = as_name(text)
    assert name == "" or name_problem(name) == ""
    assert as_name(name) == name


def test_spellings_of_one_name():
    assert plain_name("Night-Stand") == plain_name("night_stand") == plain_name("NIGHT  stand")
    assert plain_name("STRASSE") == plain_name("straße")
    assert plain_name(unicodedata.normalize("NFD", "Gehäuse")) == plain_name("GEHÄUSE")
    assert plain_name("外殻") != plain_name("外壳")


def test_rewriting_changes_no_more_than_it_must():
    assert as_name("a/b: c?") == "a_b_ c_"
    assert as_name("..x") == "x"
    assert as_name("_x_") == "_x_"
    assert as_name("???") == ""
