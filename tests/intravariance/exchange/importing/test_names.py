# SPDX-License-Identifier: Apache-2.0
"""Names and ids of what is imported."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravariance.exchange.importing.names import _different, name_scans, tree_name, valid_name
from intravariance.exchange.layouts import find_scans
from intravariance.names import as_name, plain_name
from tests.support.foreign_trees import shapenet_class, write_tree


@given(st.text(max_size=90))
def test_valid_names(text: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", valid_name(text, "objects"))


@given(st.sets(st.text(alphabet="aAbé-_ 2", max_size=4), max_size=20))
def test_different_names_stay_different(names: set[str]) -> None:
    for rule in (lambda name: valid_name(name, "x"), lambda name: as_name(name) or "x"):
        new = _different(names, rule, {"normal"})
        assert new.keys() == names and len(set(map(plain_name, new.values()))) == len(names)
        assert "normal" not in new.values()


def test_names() -> None:
    assert valid_name("Night-Stand", "") == "night_stand"
    assert valid_name("400 mm", "") == "n400_mm"
    assert valid_name("Lötstelle", "") == "lotstelle"
    assert valid_name("茶碗", "objects") == "objects"
    assert valid_name("crack", "") == "crack"


def test_ids_say_nothing_of_the_label(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "t", shapenet_class("cap0", {"bulge": 20}, positives=20, count=0))
    scans = find_scans("anomaly-shapenet", root)
    jobs, renamed = name_scans(scans, "t")
    assert not renamed
    test = [job for job in jobs if job.scan.split == "test"]
    assert [job.id for job in test] == [f"cap_test_{number:03d}" for number in range(40)]
    ranks = [place for place, job in enumerate(test) if job.defect == "bulge"]
    assert abs(np.mean(ranks) - 19.5) < 6  # in the order of names, bulges come first
    again, _ = name_scans(scans, "t")
    assert [job.scan.id for job in again] == [job.scan.id for job in jobs]


def test_tree_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My.Data").mkdir()
    monkeypatch.chdir(tmp_path / "My.Data")
    assert tree_name(Path()) == "My.Data"
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "My.Data")
    assert tree_name(tmp_path / "packed.zip") == "packed"
