# SPDX-License-Identifier: Apache-2.0
"""PO3AD and AF3AD as methods of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods import method_class
from mc4ad_model.methods.mc4ad.network import CFPNet
from tests.support.runs import cpu, tiny, toys

METHODS = {"po3ad": "norm_as", "af3ad": "af3ad"}


@pytest.mark.parametrize("name", METHODS)
def test_what_makes_the_method_is_in_both_presets(name: str) -> None:
    kind = method_class(name)
    small, large = kind.Settings.load(), kind.Settings.load(name)
    assert small.label == f"{name}_quick"
    for config in (small, large):
        assert config.network.out_channels == 3 and not config.network.mc_skip
        assert config.anomalies.generator == METHODS[name]
    assert (large.scoring.point, large.scoring.object) == ("l1", "mean")
    # PO3AD's released code has 37,858,901 parameters
    assert sum(p.numel() for p in CFPNet(large.network).parameters()) == 37_858_901


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_saves_and_scores(name: str, tmp_path: Path) -> None:
    kind = method_class(name)
    whole = kind.Settings.load()
    config = tiny("network.arch=po3ad", "network.width=0.25", "network.layers=4")
    config = kind.Settings.from_mapping(
        {
            **config.to_mapping(),
            "anomalies": vars(replace(whole.anomalies, patches=16, candidates=8, deformed=2)),
        },
        "test",
    )
    method, again = kind(config, cpu()), kind(config, cpu())
    method.fit(toys(), generator(0, "x"))
    method.save(tmp_path)
    again.load(tmp_path)
    cloud = toys().templates[0].points
    found, same = method.score(cloud), again.score(cloud)
    assert found.force is not None and np.isfinite(found.points).all()
    assert np.array_equal(found.points, same.points)


def test_presets_of_another_method_are_refused() -> None:
    kind = method_class("po3ad")
    for name in ("quick", "af3ad", "deviation"):
        with pytest.raises(InputError, match="another method's; expected po3ad, po3ad_quick"):
            kind.Settings.load(name)
