# SPDX-License-Identifier: Apache-2.0
"""Ways to register a cloud to the templates of its category, ours and Open3D's, behind one call.

A way is made of templates' points (noise-free, (S, 3) each) and the noise, and returns for a cloud
(N, 3) the number of a template and a motion, points @ rotation + shift, into its frame. Lengths of
Open3D's two are those of its documentation's example, for products of radius 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.registration.by_features import FeatureMatching, FeatureRegistration
from mc4ad_model.registration.poses import Registration

Floats = NDArray[np.float64]
Found = tuple[int, Floats, Floats]
Way = Callable[[NDArray[Any]], Found]

_RANSAC = FeatureMatching(
    voxel=0.05, normal_radius=2.4, feature_radius=5, match=1.5, icp=2, to_plane=True
)
_FAST_GLOBAL = FeatureMatching(0.05, 2.4, 5, 1.5, 2, True, "fast_global")


def _way(fitted: Registration | FeatureRegistration) -> Way:
    def register(cloud: NDArray[Any]) -> Found:
        pose = fitted.register(cloud)
        return pose.template, pose.rotation, pose.shift

    return register


def _ours(templates: Sequence[NDArray[Any]], noise: float) -> Way:
    return _way(Registration(templates, noise))


def _by_features(matching: FeatureMatching, templates: Sequence[NDArray[Any]], noise: float) -> Way:
    return _way(FeatureRegistration(templates, matching))


WAYS: dict[str, Callable[[Sequence[NDArray[Any]], float], Way]] = {
    "ours": _ours,
    "FPFH-RANSAC + ICP": partial(_by_features, _RANSAC),
    "FGR + ICP": partial(_by_features, _FAST_GLOBAL),
}
