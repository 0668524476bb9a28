# SPDX-License-Identifier: Apache-2.0
"""An import with the user's choices: what the file holds, and what it records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotations.vocabulary import NORMAL
from intravariance.cards.dataset_card import dataset_card
from intravariance.cloud_files import AnomalousLabels, ReadingChoices, write_ply, write_text
from intravariance.commands.info import describe
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.importing.run import ImportResult, ImportSettings, import_dataset
from intravariance.executors.serial import SerialExecutor
from intravariance.verification.verify import verify
from tests.support.foreign_trees import ball, write_tree

COUNT = 80
RNG = np.random.default_rng(0)
POINTS, LABELS = ball(COUNT, RNG, bump=0.3)
HOLES = np.arange(COUNT) % 5 == 2


def organised(points: np.ndarray, labels: np.ndarray, hole: tuple[float, ...]) -> bytes:
    """Put holes in the places of a grid where the sensor saw nothing."""
    rows = np.where(HOLES[:, None], np.array(hole), points)
    return write_text(rows, labels=labels, header=True)


def tree(hole: tuple[float, ...] = (np.nan,) * 3, mark: int = 1) -> dict[str, bytes]:
    plain = write_text(ball(COUNT, np.random.default_rng(1))[0])
    masked = organised(POINTS, LABELS, hole).replace(b" 1\n", f" {mark}\n".encode())
    return {"train/a.xyz": plain, "test/good/b.xyz": plain, "test/dent/c.xyz": masked}


def run(root: Path, out: Path, force: bool = False, **choices: object) -> ImportResult:
    settings = ImportSettings("folder", root, quiet=True, choices=ReadingChoices(**choices))
    return import_dataset(settings, out, SerialExecutor(), force)


@pytest.mark.parametrize(
    ("hole", "reason"),
    [((np.nan,) * 3, "16 of 80 points are no finite numbers"), ((0, 0, 0), "16 of 80 points are")],
)
def test_places_without_a_return(hole: tuple[float, ...], reason: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", tree(hole))
    with pytest.raises(InputError, match=rf"(?s)test/dent/c.xyz: .*{reason}.*--drop-no-return"):
        run(root, tmp_path / "f.h5")
    result = run(root, tmp_path / "f.h5", drop_no_return=True)  # carries on with the option
    assert result.dropped == {"test/dent/c": int(HOLES.sum())}
    with open_dataset(result.path) as dataset:
        (record,) = (record for record in dataset if record.defect == "dent")
        assert record.n_points == COUNT - HOLES.sum()
        np.testing.assert_array_equal(record.labels, LABELS[~HOLES])
        imported = record.parameters["imported"]
        back = record.points.astype(float) * imported["length"] + imported["centre"]
        np.testing.assert_allclose(back, POINTS[~HOLES], atol=1e-5)
        assert dataset.metadata["identity"]["imported"]["drop_no_return"] is True
        assert verify(dataset.path).passed
    assert not list(tmp_path.glob("*.partial"))


def test_masks_of_other_numbers(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", tree(tuple(POINTS[0]), mark=255))
    with pytest.raises(InputError, match=r"Found are 0 .*, 255 .*--anomalous-labels 255;"):
        run(root, tmp_path / "f.h5")
    with pytest.raises(InputError, match="none of its labels is as --anomalous-labels 254 says"):
        run(root, tmp_path / "f.h5", anomalous=AnomalousLabels.parse("254"))
    result = run(root, tmp_path / "f.h5", anomalous=AnomalousLabels.parse("255"))
    assert result.dropped == {}
    with open_dataset(result.path) as dataset:
        (record,) = (record for record in dataset if record.defect == "dent")
        np.testing.assert_array_equal(record.labels, LABELS)
        assert dataset.metadata["identity"]["imported"]["anomalous_labels"] == "255"


def test_samples_made_with_other_choices_are_made_again(tmp_path: Path) -> None:
    """The first attempt finishes all samples but the one that is refused."""
    files = tree((np.nan,) * 3)
    files["test/dent/d.xyz"] = write_text(POINTS, labels=LABELS, header=True)
    root = write_tree(tmp_path / "tree", files)
    with pytest.raises(InputError, match="1 of 4 clouds cannot be used"):
        run(root, tmp_path / "f.h5")
    inverse = AnomalousLabels.parse("0")
    result = run(root, tmp_path / "f.h5", drop_no_return=True, anomalous=inverse)
    with open_dataset(result.path) as dataset:
        scans = {record.parameters["imported"]["scan"]: record for record in dataset}
        np.testing.assert_array_equal(scans["test/dent/c"].labels, 1 - LABELS[~HOLES])
        np.testing.assert_array_equal(scans["test/dent/d"].labels, 1 - LABELS)


def test_what_is_left_out_is_in_the_file_its_card_and_its_description(tmp_path: Path) -> None:
    others = {"README.md": b"", "test/dent/c.bin": b"x", "test/dent/d.bin": b"x"}
    root = write_tree(tmp_path / "tree", tree(tuple(POINTS[0])) | others)
    result = run(root, tmp_path / "f.h5")
    assert result.left_out.count == 3
    with open_dataset(result.path) as dataset:
        record = dataset.metadata["left_out"]
        assert record["count"] == 3 and record["links"] == {"count": 0, "names": []}
        assert record["kinds"][".bin"] == {
            "count": 2,
            "files": ["test/dent/c.bin", "test/dent/d.bin"],
        }
        assert describe(dataset)["left_out"] == 3
    card = dataset_card(result.path)
    assert "lay 3 files that were not read: 2 `.bin`, 1 `.md`." in card
    for name in others:
        (root / name).unlink()
    again = run(root, tmp_path / "f.h5", force=True)
    assert again.digest == result.digest  # what is not read changes nothing of the data
    assert "not read" not in dataset_card(again.path)


def test_names_in_any_script_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled = write_ply(POINTS, labels=LABELS)
    plain = write_ply(ball(COUNT, RNG)[0])
    names = {"外殻": "欠け", "Gehäuse A [neu]": "Kratzer & Riss", "корпус": "Kratzer  & Riss"}
    files = {}
    for category, defect in names.items():
        files[f"{category}/train/一 [ok].ply"] = plain
        files[f"{category}/test/good/Teil 2.ply"] = plain
        files[f"{category}/test/{defect}/二.ply"] = labelled
    root = write_tree(tmp_path / "Prüfdaten 2025 (neu)", files)
    result = import_dataset(ImportSettings("folder", root), tmp_path / "f.h5", SerialExecutor())
    told = capsys.readouterr().err
    assert "name rewritten: 'Kratzer  & Riss' is 'Kratzer & Riss' in the file" in told
    assert told.count("name rewritten") == 1
    with open_dataset(result.path) as dataset:
        assert set(dataset.categories) == set(names)
        defects = {record.category: record.defect for record in dataset if record.defect != NORMAL}
        assert defects == names | {"корпус": "Kratzer & Riss"}
        assert dataset.specification.title == "Prüfdaten 2025 (neu)"
        assert verify(dataset.path).passed
    assert "欠け" in dataset_card(result.path)
