# SPDX-License-Identifier: Apache-2.0
"""Source and licence through export and import, once and again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intravariance.cards.dataset_card import dataset_card
from intravariance.cards.terms import spdx, terms_of
from intravariance.commands.info import describe
from intravariance.dataset.store import Dataset, content_digest, open_dataset
from intravariance.errors import InputError
from intravariance.exchange.exporting.tree_card import README
from intravariance.exchange.importing.exported_from import exported_from
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from intravariance.exchange.parquet.writing import write_parquet
from intravariance.executors.serial import SerialExecutor
from intravariance.files.trees import open_tree
from tests.support.exporting_samples import export_to
from tests.support.foreign_trees import shapenet_class, write_tree
from tests.support.samples import UNEVEN, make_dataset


def imported(root: Path, out: Path) -> Dataset:
    import_dataset(ImportSettings("auto", root, quiet=True), out, SerialExecutor())
    return open_dataset(out)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("own")
    return open_dataset(make_dataset(folder / "own.h5", UNEVEN, seed=7, sigma=0.002))


@pytest.fixture(scope="module")
def tree(own: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tree") / "chain"
    export_to(own, "mvtec-like-folder", out)
    return out


def test_the_licence_of_a_public_data_set_survives_any_number_of_hops(tmp_path: Path) -> None:
    files = shapenet_class("cap0", {"bulge": 2, "crak": 1})
    dataset = imported(write_tree(tmp_path / "tree", files), tmp_path / "0.h5")
    for hop in (1, 2, 3):
        previous = dataset
        written = export_to(dataset, "mvtec-like-folder", tmp_path / f"chain{hop}")
        assert "mesh" not in written.holds and written.holds["displacement"]
        readme = (tmp_path / f"chain{hop}" / README).read_text()
        assert "CC BY 4.0" in readme and "@inproceedings{li2024anomalyshapenet" in readme
        dataset = imported(tmp_path / f"chain{hop}", tmp_path / f"{hop}.h5")
        exported = dataset.metadata["identity"]["imported"]["exported_from"]
        assert exported["content_digest"] == previous.digest
        assert exported["origin"]["source"] == "anomaly-shapenet:tree"
        assert exported["origin"]["imported"]["layout"] == "anomaly-shapenet"
        terms = terms_of(dataset_card(dataset.path))
        assert terms == terms_of(dataset_card(previous.path))
        assert terms.address() == spdx("CC-BY-4.0")
        assert describe(dataset)["imported_noise_sigma"] is None
    write_parquet(dataset, tmp_path / "parquet")
    croissant = json.loads((tmp_path / "parquet" / "croissant.json").read_text())
    assert croissant["license"] == spdx("CC-BY-4.0") and "li2024" in croissant["citeAs"]


def test_our_own_data_comes_back_with_what_is_known_of_it(
    own: Dataset, tree: Path, tmp_path: Path
) -> None:
    dataset = imported(tree, tmp_path / "back.h5")
    content = describe(dataset)
    assert content["imported_noise_sigma"] == 0.002
    origin = content["exported_from"]["origin"]
    assert origin == {"source": "procedural", "seed": 7, "pose": "so3", "noise_sigma": 0.002}
    card = dataset_card(dataset.path)
    assert terms_of(card) == terms_of(dataset_card(own.path))
    assert "liang2025mc4ad" in card and "deviation 0.002" in card and own.digest in card
    for phrase in ("somebody else", "unknown.\n\n**Left out", "If it is Anomaly-ShapeNet"):
        assert phrase not in card


def test_the_record_of_a_part_is_of_the_part(own: Dataset, tmp_path: Path) -> None:
    part = own.filter(category="bead")
    export_to(part, "mvtec-like-folder", tmp_path / "part")
    record = json.loads((tmp_path / "part" / EXPORT_RECORD).read_text())
    names = [category["name"] for category in record["identity"]["specification"]["category"]]
    assert names == ["bead"] and record["part_of"] == own.digest
    digests = {sample.id: sample.digest for sample in part}
    assert record["content_digest"] == content_digest(record["identity"], digests) != own.digest
    with pytest.raises(InputError, match="choose whole categories"):
        export_to(own.filter(split="test"), "mvtec-like-folder", tmp_path / "half")


def _set(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("identity", value=[]),
        _set("identity", "seed", value="0"),
        _set("identity", "noise_sigma", value=None),
        _set("identity", "source", value="a\n## Licence\n\nCC0"),
        _set("identity", "imported", value={"layout": 1}),
        _set("identity", "labels", value={"rule": "mine"}),
        _set("content_digest", value=None),
        _set("terms", value=None),
        _set("terms", "licence", value="x" * 5000),
        _set("terms", "front", value={"license": "cc0\nviewer: true"}),
        _set("terms", "front", value={"viewer": "true"}),
    ],
)
def test_damaged_records_are_named(
    tree: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    content = json.loads((tree / EXPORT_RECORD).read_text())
    assert exported_from(open_tree(tmp_path)) == {}
    change(content)
    (tmp_path / EXPORT_RECORD).write_text(json.dumps(content))
    with pytest.raises(InputError, match=EXPORT_RECORD):
        exported_from(open_tree(tmp_path))
