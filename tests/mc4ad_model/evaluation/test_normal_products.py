# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotations.vocabulary import NORMAL
from intravariance.dataset.scan import Scan
from intravariance.dataset.specification import Specification
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from mc4ad_model.evaluation.normal_products import (
    Conditions,
    calibration_clouds,
    check_meshes,
    conditions_of,
)
from mc4ad_model.methods.templates import Templates, read_templates
from tests.support import samples
from tests.support.runs import toys
from tests.support.samples import UNEVEN, make_dataset

EXACT = Conditions((300, 300), "canonical", 0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_dataset(tmp_path_factory.mktemp("products") / "small.h5"))


def made(data: Templates, conditions: Conditions, count: int, seed: int = 0) -> list[np.ndarray]:
    return list(calibration_clouds(data, conditions, count, seed))


def spreads(clouds: list[np.ndarray]) -> np.ndarray:
    """Mean distance from the centroid: changed by noise and shape, not by pose."""
    return np.array([np.linalg.norm(c - c.mean(axis=0), axis=1).mean() for c in clouds])


def test_they_look_like_normal_test_objects(dataset: Dataset) -> None:
    normal = [r.points for r in dataset.filter(category="ball", split="test", defect=NORMAL)]
    clouds = made(read_templates(dataset, "ball"), conditions_of(dataset, "ball"), 12)
    low, high = dataset.specification.points
    assert all(low <= len(cloud) <= high and cloud.dtype == np.float32 for cloud in clouds)
    assert len({len(cloud) for cloud in clouds}) > 4
    # both products of the category, alternating
    assert np.ptp(spreads(clouds[::2])) < 0.05 < np.ptp(spreads(clouds))
    assert spreads(normal).min() == pytest.approx(spreads(clouds).min(), abs=0.03)
    assert spreads(normal).max() == pytest.approx(spreads(clouds).max(), abs=0.03)
    # and stand as test objects do: anywhere, a little off the centre
    centres = np.array([cloud.mean(axis=0) for cloud in clouds])
    assert 0.02 < np.linalg.norm(centres, axis=1).max() < 0.3


def test_each_depends_on_the_seed_and_its_number_alone() -> None:
    data, conditions = toys(), Conditions((200, 300), "so3", 0.02)
    first, more, other = (made(data, conditions, n, seed) for n, seed in ((3, 0), (5, 0), (3, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(first, more, strict=False))
    assert not any(
        len(a) == len(b) and np.allclose(a, b) for a, b in zip(first, other, strict=True)
    )


def test_tolerance_and_scanner_are_those_of_the_file() -> None:
    ball = toys("round_ball")

    def radii(conditions: Conditions) -> np.ndarray:
        return np.linalg.norm(np.concatenate(made(ball, conditions, 3)), axis=1)

    assert np.ptp(radii(EXACT)) < 0.02  # a ball of flat triangles
    varied = radii(replace(EXACT, tolerance=0.05))
    assert 0.01 < np.abs(varied - 1).max() < 0.07
    # one viewpoint sees less than half of a ball, which the points' mean then points to
    (seen,) = made(ball, replace(EXACT, scan=Scan(views=1)), 1)
    towards = seen.mean(axis=0) / np.linalg.norm(seen.mean(axis=0))
    assert (seen @ towards).min() > 0
    (whole,) = made(ball, EXACT, 1)
    assert np.linalg.norm(whole.mean(axis=0)) < 0.2 < np.linalg.norm(seen.mean(axis=0))
    (stray,) = made(ball, replace(EXACT, scan=Scan(outliers=0.1)), 1)
    assert (np.abs(np.linalg.norm(stray, axis=1) - 1) > 0.02).sum() > 20


def test_what_says_nothing_of_its_test_clouds_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(specification: Specification, *_: object) -> dict[str, Any]:
        identity = {"pose": "as given", "noise_sigma": 0.0, "source": "folder", "seed": 0}
        return {"identity": identity | {"specification": specification.to_dict()}, "software": {}}

    monkeypatch.setattr(samples, "metadata", imported)  # as `iv import` writes
    scans = open_dataset(make_dataset(tmp_path / "scans.h5", UNEVEN))
    with pytest.raises(InputError, match=r"scans\.h5.*simulated.*meshes as.*--scan-noise"):
        conditions_of(scans, "ball")
    scans.close()


def test_stored_clouds_are_not_enough() -> None:
    data = toys()
    bare = replace(data, templates=(data.templates[0], replace(data.templates[1], mesh=None)))
    for refused in (check_meshes, lambda bare: made(bare, EXACT, 1)):
        with pytest.raises(InputError, match="flat_brick has no mesh"):
            refused(bare)
    check_meshes(data)
    with pytest.raises(InputError, match=r"track clouds.*--track meshes.*--scan-noise"):
        check_meshes(replace(bare, track="clouds"))
