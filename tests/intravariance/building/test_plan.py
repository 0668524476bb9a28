# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from intravariance.building.plan import make_plan
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.specification_reader import load_group


@pytest.mark.parametrize("group", [1, 2])
def test_counts_are_those_of_the_specification(group):
    specification = load_group(group).select()
    jobs = make_plan(specification, seed=0)
    assert len({job.id for job in jobs}) == len(jobs) == specification.total
    for category in specification.categories:
        mine = [job for job in jobs if job.category == category.name]
        assert Counter((job.split, job.defect) for job in mine) == category.counts()


@given(
    seed=st.integers(0, 2**63),
    subcategories=st.integers(1, 5),
    positives=st.integers(0, 40),
    bulges=st.integers(0, 20),
    cracks=st.integers(0, 20),
)
@settings(max_examples=50, deadline=None)
def test_every_label_is_spread_evenly(seed, subcategories, positives, bulges, cracks):
    category = Category(
        "vase",
        tuple(f"s{i}" for i in range(subcategories)),
        subcategories,
        positives,
        {"bulge": bulges, "crack": cracks},
    )
    jobs = make_plan(Specification("mine", "", (2000, 3000), (category,)), seed)
    for kinds in (["normal"], ["bulge"], ["crack"], ["bulge", "crack"]):
        counts = Counter(j.subcategory for j in jobs if j.split == "test" and j.defect in kinds)
        spread = [counts[s] for s in category.subcategories]
        assert max(spread) - min(spread) <= 1
    assert all(2000 <= job.n_points <= 3000 for job in jobs)
    assert all((job.severity is None) == (job.defect == "normal") for job in jobs)


def test_depends_on_the_seed_and_nothing_else():
    specification = load_group(2)
    assert make_plan(specification, 3) == make_plan(specification, 3)
    assert make_plan(specification, 3) != make_plan(specification, 4)


def test_a_category_alone_is_planned_as_in_the_whole_group():
    whole = [job for job in make_plan(load_group(2).select(), 0) if job.category == "vase"]
    assert make_plan(load_group(2).select(["vase"]), 0) == whole


def test_neither_points_nor_order_tell_the_label():
    specification = load_group(2).select()
    jobs = [j for seed in range(20) for j in make_plan(specification, seed) if j.split == "test"]
    defective = np.array([job.defect != "normal" for job in jobs])
    for statistic in ([j.n_points for j in jobs], [int(j.id[-3:]) for j in jobs]):
        values = np.array(statistic)
        p = mannwhitneyu(values[defective], values[~defective]).pvalue
        assert p > 1e-4


def test_every_kind_of_sample_is_spread_evenly_over_the_numbers_of_points():
    jobs = make_plan(load_group(2).select(["vase"]), 0)
    for kind, count in {"normal": 32, "missing": 12, "bulge": 8, "crack": 4, "twist": 8}.items():
        numbers = [j.n_points for j in jobs if j.split == "test" and j.defect == kind]
        stratum = (np.array(numbers) - 7000) * count // 5001
        assert sorted(stratum) == list(range(count))
