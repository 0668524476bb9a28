# SPDX-License-Identifier: Apache-2.0
"""Defects in any script, in layouts whose readers take letters alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intravariance.cloud_files import write_ply
from intravariance.dataset.store import open_dataset
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.executors.serial import SerialExecutor
from tests.support.exporting_samples import export_to, plain_folder
from tests.support.foreign_trees import ball, write_tree


def test_only_what_the_layout_forbids_is_rewritten_and_it_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(0)
    plain = write_ply(ball(2048, rng)[0])
    points, labels = ball(2048, rng, bump=0.3)
    defects = {"bulge": "bulge", "Kratzer & Riss": "kratzerriss", "欠け": "defect"}
    files = {f"外殻/test/{name}/a.ply": write_ply(points, labels=labels) for name in defects}
    files |= {"外殻/train/a.ply": plain, "外殻/test/good/a.ply": plain}
    with plain_folder() as folder:
        root = write_tree(folder / "scans", files)
        settings = ImportSettings("folder", root, quiet=True)
        result = import_dataset(settings, folder / "f.h5", SerialExecutor())
        capsys.readouterr()
        with open_dataset(result.path) as dataset:
            export_to(dataset, "anomaly-shapenet", folder / "letters")
            told = capsys.readouterr().err
            export_to(dataset, "mvtec-like-folder", folder / "as_they_are")
        lines = [line for line in told.splitlines() if line.startswith("name rewritten")]
        assert sorted(lines) == [
            f"name rewritten: the defect {name!r} is {word!r} in {folder / 'letters'}"
            for name, word in defects.items()
            if name != word
        ]
        assert "name rewritten" not in capsys.readouterr().err
        clouds = {path.stem for path in (folder / "letters").glob("dataset/pcd/外殻/test/*.pcd")}
        assert clouds == {"外殻_positive0", *(f"外殻_{word}0" for word in defects.values())}
        rows = map(json.loads, (folder / "letters" / SIDE_FILE).read_text().splitlines())
        assert {row["defect"] for row in rows} == {"normal", *defects}
        record = json.loads((folder / "letters" / EXPORT_RECORD).read_text())
        assert record["renamed"] == {n: w for n, w in defects.items() if n != w}
        kept = {path.name for path in (folder / "as_they_are" / "外殻" / "test").iterdir()}
        assert kept == {"good", *defects}
