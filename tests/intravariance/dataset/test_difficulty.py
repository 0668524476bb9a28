# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from intravariance.dataset.difficulty import BANDS, described, difficulty_of, signal_to_noise


def test_bands_cover_all_severities_without_gap_or_overlap():
    assert list(BANDS) == ["hard", "medium", "easy"]
    ends = [end for band in BANDS.values() for end in band]
    assert ends == sorted(ends) and ends[0] == 0 and ends[-1] == 1
    assert ends[1::2][:-1] == ends[2::2]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [(0, "hard"), (0.33, "hard"), (1 / 3, "medium"), (0.6, "medium"), (2 / 3, "easy"), (1, "easy")],
)
def test_difficulty_is_the_band_of_the_severity(severity, expected):
    assert difficulty_of(severity) == expected


def test_signal_to_noise_is_a_ratio_where_there_is_noise():
    assert signal_to_noise(0.0894, 0.0447) == 2.0
    assert signal_to_noise(0.1, 0.003) == 33.3333
    assert signal_to_noise(0.1, 0.0) is None


def test_what_parameters_do_not_say_is_not_known():
    known = {"difficulty": "hard", "snr": 1.5, "unit_radius": 40}
    assert described(known | {"severity": 0.1}) == known
    for parameters in ({}, {"difficulty": "awkward", "snr": "1", "unit_radius": True}):
        found = described(parameters)
        assert found["difficulty"] == ""
        assert math.isnan(found["snr"]) and math.isnan(found["unit_radius"])
