# SPDX-License-Identifier: Apache-2.0
import math
from pathlib import Path

import pytest

from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.dataset.published import (
    PublishedBuild,
    compare,
    identity_digest,
    published_builds,
)
from intravariance.dataset.specification_reader import load_group
from intravariance.geometry.sampling import NOISE_VARIANCE

IDENTITY = {"seed": 3, "source": "procedural"}
METADATA = {"identity": IDENTITY, "software": {"blender": "4.5.1", "numpy": "1.26.4"}}
BUILD = PublishedBuild(
    "Group 9, seed 3", "iv build", identity_digest(IDENTITY), "a" * 64, METADATA["software"]
)


def test_the_published_build_is_recognised():
    found = compare(METADATA, "a" * 64, [BUILD])
    assert found.same
    assert found.build is BUILD
    assert "Group 9, seed 3" in found.message


def test_other_software_is_named():
    metadata = METADATA | {"software": {"blender": "4.5.9", "numpy": "1.26.4"}}
    found = compare(metadata, "b" * 64, [BUILD])
    assert not found.same
    assert "blender 4.5.9 (published: 4.5.1)" in found.message
    assert "numpy" not in found.message


def test_other_bytes_from_the_same_software_are_a_fault():
    found = compare(METADATA, "b" * 64, [BUILD])
    assert not found.same
    assert "same software" in found.message


def test_other_settings_are_no_published_build():
    found = compare(METADATA | {"identity": IDENTITY | {"seed": 4}}, "a" * 64, [BUILD])
    assert found.build is None
    assert not found.same
    assert BUILD.title in found.message


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("sigma", [math.sqrt(NOISE_VARIANCE), 0.002])
def test_both_groups_are_published_at_both_noises(group, sigma):
    """With the specification as it is now: else run tools/publish_digests.py."""
    specification = load_group(group).select()
    samples = SampleSettings(
        seed=0,
        pose="so3",
        noise_sigma=sigma,
        tolerance=specification.tolerance,
        points=specification.points,
    )
    settings = BuildSettings(specification, samples, "procedural", Path("cache"))
    products = {(c.name, s): samples for c in specification.categories for s in c.subcategories}
    identity = settings.identity("procedural", products)
    build = next(
        build for build in published_builds() if build.identity == identity_digest(identity)
    )
    assert f"Group {group}, seed 0" in build.title
    assert len(build.digest) == 64
    assert build.software["blender"].startswith("4.5")
    assert compare({"identity": identity}, build.digest).same
