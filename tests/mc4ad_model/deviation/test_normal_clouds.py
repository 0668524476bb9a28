# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from mc4ad_model.deviation.normal_clouds import registered_normal_clouds
from mc4ad_model.registration.poses import Registration
from tests.mc4ad_model.methods.mc4ad.test_training_samples import distance_to
from tests.support.deviations import NOISE, normal_cloud, toy_deviations


def sample(rng: np.random.Generator) -> np.ndarray:
    return normal_cloud(int(rng.integers(1000)))


def test_clouds_lie_on_their_template():
    rng = np.random.default_rng(0)
    brick = toy_deviations().ids.index("tall_brick")
    clouds = registered_normal_clouds(sample, toy_deviations().registration, brick, 4, rng)
    assert len(clouds) == 4
    for cloud in clouds:
        # the noise across the surface alone, and no more for the pose
        assert distance_to("tall_brick", cloud).mean() == pytest.approx(0.8 * NOISE, rel=0.15)


def test_the_clouds_depend_on_the_generator_alone():
    registration = toy_deviations().registration
    first, again, other = (
        registered_normal_clouds(sample, registration, 1, 2, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_clouds_that_register_to_another_template_stay_as_they_were_made():
    """Two templates of one shape: nothing registers to the second, whose clouds are needed too."""
    points = toy_deviations().points["tall_brick"]
    alike = Registration([points, points], NOISE)
    made: list[np.ndarray] = []

    def remembered(rng: np.random.Generator) -> np.ndarray:
        made.append(sample(rng))
        return made[-1]

    found = {
        index: registered_normal_clouds(remembered, alike, index, 2, np.random.default_rng(0))
        for index in (0, 1)
    }
    as_made = {
        index: sum(any(c is one for one in made) for c in clouds) for index, clouds in found.items()
    }
    assert sorted(as_made.values()) == [0, 2]
    assert len(found[0]) == len(found[1]) == 2
