# SPDX-License-Identifier: Apache-2.0
"""Names of defects that a layout does not take are rewritten, and different ones stay different."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from intravariance.exchange.layouts.entries import Rules, defect_words

LETTERS = Rules(letters=True, name_words={"cut": "it marks variants"})


def words(*defects: str, rules: Rules = LETTERS) -> dict[str, str]:
    records: list[Any] = [SimpleNamespace(defect=defect) for defect in defects]
    return defect_words(rules, records)


def test_letters_are_kept_and_accents_taken_off() -> None:
    assert words("normal", "bulge", "Kratzer & Riss", "Délaminage", "wrong_part") == {
        "Kratzer & Riss": "kratzerriss",
        "Délaminage": "delaminage",
        "wrong_part": "wrongpart",
    }
    assert words("欠け", "割れ", "defecta") == {"欠け": "defect", "割れ": "defectb"}
    assert words("Cut", "CUT", "cu t") == {"Cut": "cuta", "CUT": "cutb", "cu t": "cutc"}
    assert words("欠け", "Kratzer & Riss", rules=Rules()) == {}


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=60))
def test_different_defects_stay_different_letters(defects: list[str]) -> None:
    found = words(*defects)
    on_disk = [found.get(defect, defect) for defect in defects]
    assert len(set(on_disk)) == len(defects)
    assert all(re.fullmatch("[a-z]+", word) for word in on_disk)
