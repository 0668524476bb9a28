# SPDX-License-Identifier: Apache-2.0
"""Ways to register a cloud to the templates of its category, ours and Open3D's, behind one call.

A way is made of templates' points (noise-free, (S, 3) each) and the noise, and returns for a cloud
(N, 3) the number of a template and a motion, points @ rotation + shift, into its frame.

Open3D's two are made as its documentation does it: cloud and templates are thinned to a grid, FPFH
features are compared, RANSAC or Fast Global Registration finds a pose, and point-to-plane ICP
refines it with the whole template. Each is tried on every template, and the pose with the smallest
mean squared distance from its template is taken, distances over `_REACH` counting as that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open3d
from numpy.typing import NDArray

from mc4ad_model.registration.poses import Registration

Floats = NDArray[np.float64]
Found = tuple[int, Floats, Floats]
Way = Callable[[NDArray[Any]], Found]

_GRID = 0.05
_NORMALS = 0.12  # radius of the neighbourhoods for normals, and for features
_FEATURES = 0.25
_REACH = 0.1  # of corresponding points
_MATCH = 1.5 * _GRID
_TRIALS, _CONFIDENCE = 100_000, 0.999

open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
registration = open3d.pipelines.registration


def ours(templates: Sequence[NDArray[Any]], noise: float) -> Way:
    """Return this project's registration."""
    fitted = Registration(templates, noise)

    def register(cloud: NDArray[Any]) -> Found:
        pose = fitted.register(cloud)
        return pose.template, pose.rotation, pose.shift

    return register


def ransac(templates: Sequence[NDArray[Any]], noise: float) -> Way:
    """Return RANSAC on FPFH features, then ICP."""
    return _features(templates, _by_ransac)


def fast_global(templates: Sequence[NDArray[Any]], noise: float) -> Way:
    """Return Fast Global Registration on FPFH features, then ICP."""
    return _features(templates, _by_fast_global)


WAYS: dict[str, Callable[[Sequence[NDArray[Any]], float], Way]] = {
    "ours": ours,
    "FPFH-RANSAC + ICP": ransac,
    "FGR + ICP": fast_global,
}


def _features(templates: Sequence[NDArray[Any]], coarse: Callable[..., Any]) -> Way:
    known = [_prepared(template) for template in templates]

    def register(cloud: NDArray[Any]) -> Found:
        open3d.utility.random.seed(0)
        whole, thin, features = _prepared(cloud)
        best, found = np.inf, None
        for number, (target, thin_target, target_features) in enumerate(known):
            start = coarse(thin, thin_target, features, target_features).transformation
            fine = registration.registration_icp(
                whole, target, _REACH, start,
                registration.TransformationEstimationPointToPlane(),
                registration.ICPConvergenceCriteria(max_iteration=30),
            )  # fmt: skip
            squared = fine.fitness * fine.inlier_rmse**2 + (1 - fine.fitness) * _REACH**2
            if squared < best:
                best, found = squared, (number, np.asarray(fine.transformation))
        assert found is not None
        number, matrix = found
        return number, matrix[:3, :3].T, matrix[:3, 3]

    return register


def _prepared(points: NDArray[Any]) -> tuple[Any, Any, Any]:
    """Return a cloud with normals, a thinned one, and the features of that."""
    whole = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.astype(np.float64)))
    search = open3d.geometry.KDTreeSearchParamHybrid(_NORMALS, 30)
    whole.estimate_normals(search)
    thin = whole.voxel_down_sample(_GRID)
    thin.estimate_normals(search)
    thin.orient_normals_towards_camera_location(thin.get_center())
    features = registration.compute_fpfh_feature(
        thin, open3d.geometry.KDTreeSearchParamHybrid(_FEATURES, 100)
    )
    return whole, thin, features


def _by_ransac(source: Any, target: Any, features: Any, target_features: Any) -> Any:
    return registration.registration_ransac_based_on_feature_matching(
        source, target, features, target_features, True, _MATCH,
        registration.TransformationEstimationPointToPoint(False), 3,
        [
            registration.CorrespondenceCheckerBasedOnEdgeLength(0.9),
            registration.CorrespondenceCheckerBasedOnDistance(_MATCH),
        ],
        registration.RANSACConvergenceCriteria(_TRIALS, _CONFIDENCE),
    )  # fmt: skip


def _by_fast_global(source: Any, target: Any, features: Any, target_features: Any) -> Any:
    return registration.registration_fgr_based_on_feature_matching(
        source, target, features, target_features,
        registration.FastGlobalRegistrationOption(maximum_correspondence_distance=_MATCH),
    )  # fmt: skip
