# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, RIM_WIDTH
from intravariance.cards.dataset_card import dataset_card, rebuild_command, size_category
from intravariance.commands.build import build_command
from intravariance.commands.card import card_command
from intravariance.dataset.difficulty import BANDS
from intravariance.dataset.published import PublishedBuild, identity_digest
from intravariance.dataset.specification_reader import load_group
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from tests.support.samples import BALL, BEAD, UNEVEN, make_dataset


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("card") / "uneven.h5", UNEVEN, seed=7, sigma=0.002)


@pytest.fixture(scope="module")
def card(file: Path) -> str:
    return dataset_card(file)


def front_matter(card: str) -> dict:
    _, head, _ = card.split("---\n", 2)
    content = yaml.safe_load(head)
    assert isinstance(content, dict)
    return content


def tables(card: str) -> dict[str, list[list[str]]]:
    """Return rows of each table, by the text of its header's first cell."""
    found: dict[str, list[list[str]]] = {}
    for block in re.findall(r"(?:^\|.*\|\n)+", card, flags=re.MULTILINE):
        header, _, *rows = (
            [cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()
        )
        found[" ".join(header[:2])] = rows
    return found


def test_front_matter_is_what_the_hub_reads(card: str, file: Path) -> None:
    content = front_matter(card)
    assert content["pretty_name"] == "Uneven"
    assert content["license"] == "apache-2.0"
    assert {"3d", "point-cloud", "anomaly-detection", "industrial"} <= set(content["tags"])
    assert content["task_categories"] == ["other"]
    assert content["size_categories"] == ["n<1K"]
    assert content["source_datasets"] == ["original"]
    assert content["annotations_creators"] == ["machine-generated"]
    assert content["configs"] == [{"config_name": "uneven", "data_files": file.name}]


def test_every_count_is_the_files(card: str, file: Path) -> None:
    found = tables(card)
    assert found["class subcategories"] == [
        ["ball", "2", "2", "3", "3", "-", "8"],
        ["bead", "1", "1", "1", "1", "2", "5"],
        ["**all**", "3", "3", "4", "4", "2", "13"],
    ]
    with open_dataset(file) as dataset:
        records = list(dataset)
        assert f"{len(records)} labelled 3D point clouds" in card
        assert f"`{dataset.digest}`" in card
        for name, group in {
            "training, normal": [r for r in records if r.split == "train"],
            "test, normal": [r for r in records if r.split == "test" and r.defect == "normal"],
            "test, defective": [r for r in records if r.defect != "normal"],
        }.items():
            counts = sorted(r.points.shape[0] for r in group)
            row = next(row for row in found["samples count"] if row[0] == name)
            median = f"{np.median(counts):.0f}"
            assert row[1:] == [str(len(group)), str(counts[0]), median, str(counts[-1])]
        for defect in ("bulge", "missing"):
            group = [r for r in records if r.defect == defect]
            shares = sorted(100 * float(r.labels.mean()) for r in group)
            row = next(row for row in found["defect samples"] if row[0] == defect)
            spread = f"{shares[0]:.2f} / {np.median(shares):.2f} / {shares[-1]:.2f}"
            bands = Counter(r.difficulty for r in group)
            assert row[1:5] == [str(len(group)), *(str(bands[b] or "-") for b in BANDS)]
            assert row[5] == spread
            moved = [np.linalg.norm(r.displacement, axis=1) for r in group]
            largest = sorted(float(np.nanmax(m)) for m in moved)
            expected = f"{largest[0]:.3f} / {np.median(largest):.3f} / {largest[-1]:.3f}"
            assert row[6] == (expected if defect == "bulge" else "-")
            snr = sorted(r.snr for r in group)
            expected = f"{snr[0]:.2f} / {np.median(snr):.2f} / {snr[-1]:.2f}"
            assert row[7] == (expected if defect == "bulge" else "-")


def test_it_changes_with_the_file(card: str, tmp_path: Path) -> None:
    more = replace(UNEVEN, title="More", categories=(replace(BALL, positives=9), BEAD))
    other = dataset_card(make_dataset(tmp_path / "more.h5", more, sigma=0.05))
    assert tables(other)["class subcategories"][0] == ["ball", "2", "2", "9", "3", "-", "14"]
    assert front_matter(other)["pretty_name"] == "More"
    assert "standard deviation 0.05, variance 0.0025" in other
    assert "10 normal" in other and "4 normal" in card


@pytest.mark.parametrize(
    ("sigma", "text"),
    [
        (math.sqrt(0.002), "0.04472, variance 0.002; the first reading"),
        (0.002, "0.002, variance 4e-06; the second reading"),
        (0.01, "0.01, variance 0.0001; neither"),
    ],
)
def test_both_readings_of_the_noise_and_which_one_this_is(
    tmp_path: Path, sigma: float, text: str
) -> None:
    small = replace(UNEVEN, categories=(BEAD,))
    card = dataset_card(make_dataset(tmp_path / "noise.h5", small, sigma=sigma))
    assert text in card
    assert "deviation 0.0447 radii" in card and "deviation 0.002" in card


def test_labels_are_explained_with_the_constants_in_use(card: str) -> None:
    assert f"moved it by more than {DISPLACEMENT_THRESHOLD} radii" in card
    assert re.search(rf"within {RIM_WIDTH} radii of\s+the edge", card)


def test_the_structure_drawn_is_that_of_the_file(card: str, file: Path) -> None:
    drawn = set(re.findall(r"^/<category>/(?:<train\|test>|train)/<id>/(\S+)", card, re.MULTILINE))
    kept: set[str] = set()
    with h5py.File(file) as file:
        for category in ("ball", "bead"):
            for split in ("train", "test"):
                for sample in file[category][split].values():
                    sample.visititems(
                        lambda name, item: kept.add(name) if hasattr(item, "dtype") else None
                    )
        example = re.search(r'points = file\["(.+)"\]', card)
        assert example and file[example[1]].shape[1] == 3
    assert drawn == kept


def test_base_meshes_of_others_keep_their_licence(tmp_path: Path) -> None:
    small = replace(UNEVEN, categories=(BEAD,))
    path = make_dataset(tmp_path / "foreign.h5", small, source="folder:mine")
    content = front_matter(dataset_card(path))
    assert content["license"] == "other" and content["license_name"]
    assert content["source_datasets"] == ["extended"]
    assert "folder:mine:bead/pearl sha256:0" in dataset_card(path)


def test_discrepancies_of_the_paper_are_only_for_its_groups(card: str, tmp_path: Path) -> None:
    assert "raido" not in card
    bowl = load_group(2).select(["bowl"])
    other = replace(bowl, points=(100, 120))  # of the same name, but not the paper's
    assert "raido" not in dataset_card(make_dataset(tmp_path / "a.h5", other))
    group = dataset_card(make_dataset(tmp_path / "b.h5", bowl))
    assert "raido" in group and "0.036" in group and "ModelNet" in group
    assert "iv build --group 2 --category bowl" in group


@pytest.mark.parametrize("sigma", [math.sqrt(0.002), 0.002, 0.0])
@pytest.mark.parametrize("names", [(), ("bowl", "vase"), ("desk",)])
def test_the_command_that_makes_it_again_is_understood_by_build(
    sigma: float, names: tuple[str, ...]
) -> None:
    specification = load_group(2).select(names)
    identity = {"source": "folder:my meshes", "seed": 3, "pose": "z", "noise_sigma": sigma}
    words = shlex.split(rebuild_command(identity, specification, fill=True))
    assert words[:2] == ["iv", "build"]
    options = build_command.make_context("build", words[2:]).params
    assert load_group(int(options["group"])).select(options["categories"]) == specification
    assert (options["seed"], options["pose"]) == (3, "z")
    assert (options["source"], options["fill"]) == ("folder:my meshes", "procedural")
    if options["noise_sigma"] is None:
        assert math.sqrt(options["noise_variance"]) == sigma
    else:
        assert float(options["noise_sigma"]) == sigma


def test_the_command_for_ones_own_specification(card: str) -> None:
    assert "iv build --spec uneven.toml --source procedural --seed 7 --pose so3" in card


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K"), (10**6, "1M<n<10M")],
)
def test_size_category(count: int, name: str) -> None:
    assert size_category(count) == name


def test_nothing_is_left_to_fill_in_and_nothing_tells_of_this_machine(
    card: str, file: Path
) -> None:
    assert "$" not in card and "None" not in card
    assert str(file.parent) not in card


def test_command_prints_or_writes(card: str, file: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        words = [str(argument) for argument in arguments]
        result = CliRunner().invoke(card_command, words, catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    assert run(file) == card
    out = tmp_path / "DATASET_CARD.md"
    assert run(file, "--out", out) == f"{out}\n"
    assert out.read_text(encoding="utf-8") == card
    with pytest.raises(InputError, match="exists"):
        run(file, "--out", out)
    run(file, "--out", out, "--force")
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "missing.h5")


def test_the_card_says_whether_the_file_is_the_published_build(
    file: Path, card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Published build" not in card, "nothing is published for these settings"
    with open_dataset(file) as dataset:
        identity, digest = identity_digest(dataset.metadata["identity"]), dataset.digest
    build = PublishedBuild("Group 9", "iv build", identity, digest, {"blender": "4.5.1"})
    for published, sentence in (
        (build, "this file is it (Group 9)"),
        (
            replace(build, digest="c" * 64),
            f"this file is not it. Group 9 has the digest `{'c' * 64}`",
        ),
    ):
        monkeypatch.setattr(
            "intravariance.dataset.published.published_builds",
            lambda known=published: (known,),
        )
        lines = [line for line in dataset_card(file).splitlines() if "Published build" in line]
        assert len(lines) == 1
        assert sentence in lines[0]
        assert "blender 4.5.1" in lines[0]
