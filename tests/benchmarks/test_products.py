# SPDX-License-Identifier: Apache-2.0
"""The specification of all embedded designs, for `iv reproduce table5a`."""

import tomllib

from intravariance.building.plan import make_plan
from intravariance.dataset.specification_reader import load_specification
from tests import ROOT


def test_every_embedded_design_is_learnt_and_tested() -> None:
    specification = load_specification(ROOT / "benchmarks" / "products.toml")
    catalogue = tomllib.loads((ROOT / "blender_scripts/designs/catalogue.toml").read_text())
    assert {c.name: list(c.subcategories) for c in specification.categories} == catalogue
    plan = make_plan(specification, seed=0)
    counts: dict[tuple[str, str], int] = {}
    for job in plan:
        kind = job.split if job.defect == "normal" else "defective"
        counts[job.subcategory, kind] = counts.get((job.subcategory, kind), 0) + 1
    products = {name for names in catalogue.values() for name in names}
    assert len(products) == 50
    for kind, number in (("train", 1), ("test", 4), ("defective", 8)):
        assert {name: counts[name, kind] for name in products} == dict.fromkeys(products, number)
