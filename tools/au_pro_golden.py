# SPDX-License-Identifier: Apache-2.0
"""Compute AU-PRO with MVTec's own evaluation code: figures that a test compares ours with.

    python tools/au_pro_golden.py --official FOLDER --out tests/data/au_pro_official.json

FOLDER is the unpacked evaluation code of MVTec 3D-AD (the same as that of MVTec AD), which holds
`pro_curve_util.py` and `generic_util.py`; get it from MVTec's page of the data set. None of it is
part of this project. It works on images; the cases are images whose pixels are points of a grid.
Only NumPy's generator and this file decide what the cases are; a digest of them is written too.

The committed figures were made with the copies of both files in github.com/IHPCMember/IGAF, commit
df83d4503dc3; utils/au_pro_util.py of github.com/eliahuhorwitz/3D-ADS, commit 612eb7b3ef87, gives
the same figures with as many thresholds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEEDS = range(6)
LIMITS = (0.01, 0.05, 0.3, 1.0)
# Neighbours of a grid of this spacing, diagonal ones too, lie within our radius of 0.15; the next
# points do not. So our regions are the official code's connected components of pixels.
SPACING = 0.1

Images = list[NDArray[np.float64]]


def make_case(seed: int) -> tuple[Images, Images]:
    """Return truths and scores of four to six images of (H, W), the last one without a defect.

    Regions are rectangles, some touching at a corner only; no two scores of a case are equal.
    """
    rng = np.random.default_rng(seed)
    height, width = 24 + 4 * seed, 40
    truths, scores = [], []
    for number in range(4 + seed % 3):
        truth = np.zeros((height, width))
        for _ in range(2 + number):
            top, left = rng.integers(height - 6), rng.integers(width - 8)
            rows, columns = rng.integers(1, 6), rng.integers(1, 8)
            truth[top : top + rows, left : left + columns] = 1
        truth[:4, :4] = np.kron(np.eye(2), np.ones((2, 2)))  # two squares that share a corner
        truths.append(truth)
    truths[-1][:] = 0
    for truth in truths:
        easy = rng.random() * (0.5 + 0.1 * seed)  # defects of some images are easier to find
        scores.append(easy * truth + rng.random(truth.shape))
    return truths, scores


def digest(seed: int) -> str:
    """Return the SHA-256 of a case."""
    truths, scores = make_case(seed)
    return hashlib.sha256(b"".join(image.tobytes() for image in truths + scores)).hexdigest()


def main() -> None:
    """Write the official code's figures of every case as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--official", type=Path, required=True, help="folder of MVTec's code")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    chosen = parser.parse_args()
    sys.path.insert(0, str(chosen.official))
    compute_pro = import_module("pro_curve_util").compute_pro
    trapezoid = import_module("generic_util").trapezoid

    cases = []
    for seed in SEEDS:
        truths, scores = make_case(seed)
        normal = sum(int((truth == 0).sum()) for truth in truths)
        # a threshold at every normal pixel: the official code's curve at its finest
        rates, overlaps = compute_pro(scores, truths, normal)
        figures = {
            str(limit): float(trapezoid(rates, overlaps, x_max=limit) / limit) for limit in LIMITS
        }
        cases.append(
            {"seed": seed, "sha256": digest(seed), "normal_pixels": normal, "au_pro": figures}
        )
    chosen.out.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
