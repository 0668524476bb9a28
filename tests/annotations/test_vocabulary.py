# SPDX-License-Identifier: Apache-2.0
"""The order of defects, ours and foreign."""

from __future__ import annotations

from annotations.vocabulary import DEFECT_TYPES, FOREIGN_DEFECT_TYPES, definition, in_order


def test_the_vocabulary_has_an_order() -> None:
    assert in_order(["zebra", "sink", "bulge", "apple", "bulge"]) == [
        "bulge", "sink", "apple", "zebra",
    ]  # fmt: skip
    assert in_order(reversed(list(DEFECT_TYPES))) == list(DEFECT_TYPES)
    assert not DEFECT_TYPES.keys() & FOREIGN_DEFECT_TYPES.keys()
    assert definition("sink") is FOREIGN_DEFECT_TYPES["sink"] and definition("zebra") is None
