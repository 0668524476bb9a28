# SPDX-License-Identifier: Apache-2.0
"""AU-PRO against the figures that MVTec's own evaluation code gave (tools/au_pro_golden.py).

The official curve joins the overlaps at every normal pixel's threshold by straight lines; ours has
a step there, as the ROC curve has. For n normal points and no equal scores the official area is
therefore above ours, by at most half a step: 1 / (2 n limit). Where scores are equal the official
curve is a staircase and ours a line (a constant score gets 0 there and limit / 2 here), so the
cases have none.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mc4ad_model.evaluation import metrics
from tests import ROOT
from tools.au_pro_golden import SPACING, digest, make_case

pytest.importorskip("sklearn")

CASES = json.loads((ROOT / "tests/data/au_pro_official.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed{case['seed']}")
def test_it_is_the_official_figure(case: dict[str, Any]) -> None:
    assert digest(case["seed"]) == case["sha256"], "other images: run tools/au_pro_golden.py again"
    truths, scores = make_case(case["seed"])
    regions, count = [], 0
    for truth in truths:
        rows, columns = np.indices(truth.shape).reshape(2, -1)
        points = SPACING * np.stack([columns, rows, 0 * rows], axis=1)
        found = metrics.anomalous_regions(points, truth.ravel())
        regions.append(np.where(found, found + count, 0))
        count += found.max()
    assert count >= 10
    for limit, official in case["au_pro"].items():
        ours = metrics.au_pro(np.concatenate(regions), np.ravel(scores), float(limit))
        half_step = 1 / (2 * case["normal_pixels"] * float(limit))
        assert -1e-12 <= official - ours <= half_step


def test_the_cases_are_neither_trivial_nor_alike() -> None:
    figures = [case["au_pro"]["0.3"] for case in CASES]
    assert 0.2 < min(figures) < max(figures) < 0.95
    assert len({round(figure, 2) for figure in figures}) > 3
