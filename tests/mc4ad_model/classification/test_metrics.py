# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from mc4ad_model.classification.metrics import accuracy, cloud_ious, mean_ious


def test_intersection_over_union_by_hand() -> None:
    parts = np.array([[0, 0, 0, 1], [2, 2, 2, 2], [0, 1, 1, 1]])
    found = np.array([[0, 0, 1, 1], [2, 2, 2, 3], [0, 1, 1, 1]])
    categories, of = np.array([0, 1, 0]), ((0, 1), (2, 3, 4))
    each = cloud_ious(found, parts, categories, of)
    # part 4 is neither there nor found, which counts as 1
    assert each == pytest.approx([(2 / 3 + 1 / 2) / 2, (3 / 4 + 0 + 1) / 3, 1])
    instance, category = mean_ious(each, categories)
    assert instance == pytest.approx(each.mean())
    assert category == pytest.approx(((each[0] + each[2]) / 2 + each[1]) / 2)


def test_accuracy() -> None:
    assert accuracy(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 0.75
