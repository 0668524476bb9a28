# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies that installed packages add: in the mixture, as a generator, and what is wrong.

The function is that of docs/extending.md.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from annotations.vocabulary import DISPLACEMENT_THRESHOLD
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.extensions import ExtensionError
from mc4ad_model.methods.mc4ad.anomalies import deform
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig, RunConfig
from mc4ad_model.methods.mc4ad.deviations.samples import DeviationSamples, Source
from mc4ad_model.methods.mc4ad.method import MC4AD
from mc4ad_model.pseudo_anomalies.mixture import MixtureConfig, make_sample
from mc4ad_model.pseudo_anomalies.names import KINDS
from mc4ad_model.pseudo_anomalies.product import Product
from mc4ad_model.reports.pseudo_samples import pseudo_counterpart, template_of
from tests import ROOT
from tests.support.deviations import deviating, toy_deviations, two_toys
from tests.support.extensions import files_of, package
from tests.support.runs import tiny, toys
from tests.support.samples import make_dataset, small_specification

MODULE = (
    files_of(ROOT / "docs/extending.md")["ripples.py"]
    + """
def shorter(points, normals, rng): return points[1:]
def words(points, normals, rng): return np.full(points.shape, "a")
def infinite(points, normals, rng): return points * np.nan
def raises(points, normals, rng): return points["x"]
def writes(points, normals, rng):
    points += normals
    return normals
nothing = None
"""
)
FAULTS = {
    "shorter": r"expected a displacement \(300, 3\) of numbers, found \(299, 3\) of float64",
    "words": r"found \(300, 3\) of <U1",
    "infinite": "expected finite numbers",
    "raises": "raised IndexError: ",
    "writes": "raised ValueError: output array is read-only",
    "nothing": "expected a function, found None",
    "away": "cannot be imported: ModuleNotFoundError",
}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {name: f"added_anomalies:{name}" for name in ("ripples", *FAULTS)}
    entries |= {"away": "no_such_module:mine", "bite": "added_anomalies:ripples"}
    group = "intravariance.pseudo_anomalies"
    site = package(tmp_path / "site", group, entries, added_anomalies=MODULE)
    monkeypatch.syspath_prepend(site)


def test_the_mixture_makes_it_as_often_as_is_said(product: Product) -> None:
    config = MixtureConfig(added=("ripples",), added_weight=0.5)  # others together: 1
    rng = np.random.default_rng(0)
    made = [make_sample(product, 400, config, rng) for _ in range(300)]
    counts = Counter(sample.kind for sample in made)
    assert set(counts) == {*KINDS, "ripples"}
    assert abs(counts["ripples"] / len(made) - 1 / 3) < 0.1
    for sample in made:
        if sample.kind == "ripples":
            length = np.linalg.norm(sample.displacement, axis=1)
            np.testing.assert_array_equal(sample.labels, length > DISPLACEMENT_THRESHOLD)
            # along the normals, no farther than the largest wave
            assert length.max() <= 0.08 and len(sample.removed) == 0
            across = np.cross(sample.displacement, sample.normals)
            assert np.abs(across).max() < 1e-12


def test_without_it_nothing_else_is_drawn(product: Product) -> None:
    for seed in range(3):
        plain, given = (
            make_sample(product, 200, config, np.random.default_rng(seed))
            for config in (MixtureConfig(), MixtureConfig(added_weight=7.0))
        )
        assert plain.kind == given.kind
        np.testing.assert_array_equal(plain.points, given.points)


def test_samples_on_deviations_learn_from_it() -> None:
    rest = tuple(f"mixture.{kind}=0" for kind in KINDS)
    config = deviating('mixture.added=["ripples"]', *rest, "training.repeats=2")
    assert [extension.name for extension in config.extensions] == ["ripples"]
    samples = DeviationSamples([Source(two_toys(), toy_deviations())], config, 0)
    made = [samples[number] for number in range(len(samples))]
    assert all(sample.defective and np.abs(sample.force).max() > 0.001 for sample in made)


def test_it_is_shown_beside_real_defects(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "d.h5", small_specification((900, 950), 1, 1), sigma=0.002)
    with open_dataset(data) as dataset:
        record = next(one for one in dataset if one.defect == "bulge")
        made = pseudo_counterpart(
            record, template_of(record, dataset), AnomalyConfig(), "ripples", 0.002, 0.0, 0
        )
    assert made.defect == "ripples" and len(made.points) == record.n_points
    assert 0 < made.labels.sum() < len(made.labels)
    length = np.linalg.norm(made.displacement, axis=1)
    np.testing.assert_array_equal(made.labels == 1, length > DISPLACEMENT_THRESHOLD)


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_found_before_a_training(name: str) -> None:
    for config in (
        tiny(f"anomalies.generator={name}"),
        RunConfig.load("deviation", [f'mixture.added=["{name}"]', "data.learn_from=[]"]),
    ):
        value = "no_such_module:mine" if name == "away" else f"added_anomalies:{name}"
        with pytest.raises(
            ExtensionError,
            match=f"^the pseudo-anomaly '{name}' of the package more-pseudo_anomalies 1.5 "
            rf"\(entry point {name} = {value}\).*{FAULTS[name]}",
        ):
            MC4AD(config).check(toys())


def test_names_that_nobody_adds_or_that_are_ours() -> None:
    with pytest.raises(InputError, match=r"generator = 'waves': expected one of .*, ripples"):
        tiny("anomalies.generator=waves")
    with pytest.raises(InputError, match=r"pseudo-anomaly 'waves'.*\(ripples, "):
        RunConfig.load("deviation", ['mixture.added=["waves"]'])
    with pytest.raises(InputError, match=r"'bite' of the package .* has one of that name"):
        RunConfig.load("deviation", ['mixture.added=["bite"]'])


def test_one_seed_gives_one_displacement() -> None:
    (template, _) = toys().templates
    points, normals = template.points.astype(np.float64), template.normals.astype(np.float64)
    config = tiny("anomalies.generator=ripples").anomalies
    first, again, other = (
        deform(points, normals, config, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
