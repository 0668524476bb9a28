# SPDX-License-Identifier: Apache-2.0
"""Rows of a leaderboard."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from mc4ad_model.leaderboard.rows import (
    CONTROLS,
    DEFAULT_ROWS,
    choose_rows,
    default_rows,
    read_row,
    split_rows,
    unencoded_rows,
)
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import METHODS
from mc4ad_model.methods.controls import Constant
from mc4ad_model.methods.point_mae.encoders import save_encoder
from mc4ad_model.methods.settings import Settings
from tests.support.encoders import untrained
from tests.support.extensions import package


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("btf", "btf"),
        ("btf[features=fpfh]", "btf"),
        (" btf[ frame=registered , features=raw ]", "btf[features=raw,frame=registered]"),
        ("registered_distance[neighbours=40]", "registered_distance"),
        ("registered_distance[neighbours=1]", "registered_distance[neighbours=1]"),
        ("simple3d[feature_neighbours=[40,80]]", "simple3d[feature_neighbours=[40,80]]"),
        ("mc4ad[preset=deviation]", "mc4ad"),
        ("mc4ad[preset=quick,training.epochs=3]", "mc4ad[preset=quick,training.epochs=3]"),
    ],
)
def test_a_row_has_one_name_which_reads_back(text: str, name: str) -> None:
    row = read_row(text)
    assert row.name == name
    assert read_row(row.name) == row


def test_settings_of_a_row_are_those_that_set_takes() -> None:
    row = read_row("btf[features=raw,frame=registered]")
    assert row.method == "btf"
    assert row.settings.to_mapping()["features"] == "raw"
    assert row.settings.label == "btf-raw-registered"
    assert row.folder == "btf,features=raw,frame=registered"


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("btf", "own"),
        ("btf[frame=registered]", "registered"),
        ("signed_distance", "ransac"),
        ("reg3d_ad", "registered"),
        ("mc4ad", "registered"),
        ("po3ad[data.frame=own]", "own"),
        ("calibrated_deviation", "registered"),
        ("area", "registered"),
        ("random", ""),
    ],
)
def test_the_frame_is_a_setting_of_a_method_or_its_own(text: str, frame: str) -> None:
    assert read_row(text).frame == frame


def test_rows_that_lack_an_encoder_are_told_where_all_methods_were_asked_for(
    tmp_path: Path,
) -> None:
    assert "m3dm[encoder=FOLDER]" in unencoded_rows(choose_rows(()))
    assert unencoded_rows(choose_rows(["btf"])) == []
    save_encoder(tmp_path, untrained())
    assert unencoded_rows(choose_rows((), tmp_path)) == []


def test_folders_are_plain_and_differ() -> None:
    rows = [
        read_row(f"mc4ad[preset=quick,anomalies.magnitude=[{low},0.1]]") for low in (0.05, 0.06)
    ]
    folders = {row.folder for row in rows}
    assert len(folders) == 2
    assert not any(set(folder) & set("[]/ '\"*?") for folder in folders)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nosuch", "expected one of mc4ad"),
        ("btf[feature=raw]", "unknown feature"),
        ("btf[features=colour]", "features = 'colour'"),
        ("btf[features]", "expected KEY=VALUE"),
        ("btf[preset=quick]", "no presets"),
        ("btf[features=raw", "separated by commas"),
        ("btf,,constant", "separated by commas"),
        ("btf]x[", "btf"),
    ],
)
def test_what_is_no_row_is_named(text: str, named: str) -> None:
    with pytest.raises(InputError, match="--methods") as error:
        choose_rows([text])
    assert named in str(error.value)


def test_rows_are_split_outside_of_brackets() -> None:
    assert split_rows("a, b[c=1,d=[2,3]],e") == ["a", "b[c=1,d=[2,3]]", "e"]


def test_the_controls_are_rows_of_every_leaderboard_and_no_row_comes_twice() -> None:
    names = [row.name for row in choose_rows(["btf,constant", "btf[features=fpfh]"])]
    assert names == [*CONTROLS, "btf"]


def test_by_default_every_method_has_a_row_that_needs_no_encoder() -> None:
    rows = choose_rows([])
    assert [row.name for row in rows][: len(CONTROLS)] == list(CONTROLS)
    encoded = {"m3dm", "reg3d_ad", "imrnet", "ismp"}
    assert {row.method for row in rows} >= set(METHODS) - encoded
    assert default_rows()[: len(DEFAULT_ROWS)] == list(DEFAULT_ROWS)


def test_an_encoder_adds_the_rows_that_need_one(tmp_path: Path) -> None:
    encoder = tmp_path / "an encoder, the second"
    encoder.mkdir()
    save_encoder(encoder, untrained())
    rows = choose_rows([], encoder)
    added = rows[len(choose_rows([])) :]
    assert {row.method for row in rows} >= set(METHODS)
    assert sum("point_mae" in row.name or row.method == "m3dm" for row in rows) == 4
    assert len({row.folder for row in rows}) == len(rows) == len(choose_rows([])) + 10
    assert all(row.method != "constant" for row in added)
    with pytest.raises(InputError, match="--encoder goes without --methods"):
        choose_rows(["btf"], encoder)
    with pytest.raises(InputError, match="nowhere"):
        choose_rows([], tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "seeded"),
    [
        ("constant", False), ("random", True), ("point_count", False), ("radius", False),
        ("area", True),
        ("btf", False), ("btf[frame=registered]", True), ("simple3d", False), ("patchcore", True),
        ("mc4ad", True), ("cpmf", True), ("cpmf[backbone=a.pth]", False),
    ],
)  # fmt: skip
def test_a_row_says_whether_its_scores_depend_on_the_seed(name: str, seeded: bool) -> None:
    assert read_row(name).seeded is seeded


class Unmade(Constant):
    title = "unmade"

    def __init__(self, settings: Settings, machine: Machine | None = None) -> None:
        raise RuntimeError("made by nobody")


def test_a_method_that_cannot_be_made_is_taken_as_seeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {"unmade": f"{__name__}:Unmade"}
    monkeypatch.syspath_prepend(package(tmp_path, "intravariance.methods", entries))
    assert read_row("unmade").seeded is True
