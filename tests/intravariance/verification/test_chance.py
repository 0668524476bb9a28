# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from intravariance.verification.chance import _ranks


@given(arrays(np.float64, st.integers(1, 40), elements=st.integers(-3, 3).map(float)))
def test_ranks_are_those_of_scipy(values: np.ndarray) -> None:
    np.testing.assert_array_equal(_ranks(values), rankdata(values))
