# SPDX-License-Identifier: Apache-2.0
"""The main job, whole: Group 2 with its defaults, from the embedded designs."""

import json
import re

from intravariance import open_dataset
from intravariance.dataset.specification_reader import load_group
from tests import ROOT
from tests.conftest import run_iv

DATASET_CARD = ROOT / "DATASET_CARD.md"
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
SOFTWARE = re.compile(r"^(\| software: \S+ \||- \*\*Made by:\*\* `iv` ).*$", re.MULTILINE)


def test_it_is_whole_to_specification_and_free_of_shortcuts(group2_file):
    result = run_iv("verify", group2_file, "--against-published", "--json")
    report = json.loads(result.stdout)
    *checks, published = report["checks"]
    failed = [c for c in checks + report["probes"] if not c["passed"]]
    assert not failed
    # the published bytes, unless another version of Blender, say, is installed here
    assert published["name"] == "published"
    assert published["passed"] or "it was made with" in published["message"]
    assert report["passed"] == (result.returncode == 0) == published["passed"]
    assert {probe["name"] for probe in report["probes"] if probe["blind"]} >= {
        "points",
        "spacing",
        "noise",
        "order",
        "raw distance",
        "stored centroid",
        "stored radius",
    }


def test_counts_are_those_of_table_8(group2_file):
    with open_dataset(group2_file) as dataset:
        assert len(dataset) == 454
        for category in load_group(2).select().categories:
            for (split, defect), count in category.counts().items():
                found = dataset.filter(category=category.name, split=split, defect=defect)
                assert len(found) == count, (category.name, split, defect)


def test_the_committed_card_is_the_generated_one(group2_file):
    # Digests and versions depend on what is installed; everything else must be the same.
    cards = run_iv("card", group2_file).stdout, DATASET_CARD.read_text(encoding="utf-8")
    assert all(DIGEST.search(card) and SOFTWARE.search(card) for card in cards)
    generated, committed = (SOFTWARE.sub(r"\1", DIGEST.sub("", card)) for card in cards)
    assert committed == generated, (
        "DATASET_CARD.md is out of date: build Group 2 and write it again with "
        "`iv card group2.h5 --out DATASET_CARD.md --force`"
    )
