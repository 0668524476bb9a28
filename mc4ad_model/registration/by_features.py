# SPDX-License-Identifier: Apache-2.0
"""Registration as most papers do it: FPFH features matched by RANSAC, then ICP or not, by Open3D.

A cloud is registered to each template of its category, and the template that its points come
nearest to is chosen. This registration is here for methods that are run as published, and as a
rival of `mc4ad_model.registration.poses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intravariance.looking.realism.two_sample import load_open3d
from mc4ad_model.registration.poses import Pose, check_points

_TRIALS, _CONFIDENCE = 100_000, 0.999
_NORMAL_NEIGHBOURS, _FEATURE_NEIGHBOURS = 30, 100
_ICP_STEPS = 30


@dataclass(frozen=True)
class FeatureMatching:
    """How features are matched; lengths in radii of the product.

    Parameters
    ----------
    voxel
        Edge of the voxels to which clouds are thinned before they are matched.
    normal_radius, feature_radius, match
        Neighbourhoods of normals and of features, and the largest distance of a match, in voxels.
    icp
        The largest distance of corresponding points in ICP, in voxels; None for no ICP.
    to_plane
        Whether ICP brings points to planes, and not to points.
    coarse
        "ransac", or "fast_global": Fast Global Registration.
    """

    voxel: float
    normal_radius: float
    feature_radius: float
    match: float
    icp: float | None
    to_plane: bool
    coarse: Literal["ransac", "fast_global"] = "ransac"


class FeatureRegistration:
    """Registers clouds to templates (S, 3) by their features.

    Raises
    ------
    BackendUnavailable
        Open3D is not installed.
    """

    def __init__(self, templates: Sequence[NDArray[Any]], matching: FeatureMatching) -> None:
        self._open3d, self._matching = load_open3d(), matching
        self._open3d.utility.set_verbosity_level(self._open3d.utility.VerbosityLevel.Error)
        self.templates = [np.asarray(template, dtype=np.float64) for template in templates]
        self._known = [self._described(template) for template in templates]

    def register(self, points: NDArray[Any]) -> Pose:
        """Find the pose of a cloud (N, 3), the same each time but for the last bits, since threads
        add up in any order.

        Its `log_likelihood` is less the mean squared distance from the template, in which no
        distance counts for more than that of ICP's corresponding points, or of a match without ICP.

        Raises
        ------
        InputError
            As `check_points`.
        """
        check_points(points)
        self._open3d.utility.random.seed(0)
        matching = self._matching
        reach = matching.voxel * (matching.match if matching.icp is None else matching.icp)
        cloud, best = self._described(points), None
        for number, known in enumerate(self._known):
            fine = self._matched(cloud[1:], known[1:])
            if matching.icp is not None:
                fine = self._refined(cloud[0], known[0], reach, fine.transformation)
            squared = fine.fitness * fine.inlier_rmse**2 + (1 - fine.fitness) * reach**2
            if best is None or -squared > best.log_likelihood:
                matrix = np.array(fine.transformation)
                best = Pose(number, matrix[:3, :3].T, matrix[:3, 3], -squared)
        assert best is not None
        return best

    def _refined(self, cloud: Any, template: Any, reach: float, found: Any) -> Any:
        tools = self._open3d.pipelines.registration
        kind = (
            tools.TransformationEstimationPointToPlane()
            if self._matching.to_plane
            else tools.TransformationEstimationPointToPoint(False)
        )
        criteria = tools.ICPConvergenceCriteria(max_iteration=_ICP_STEPS)
        return tools.registration_icp(cloud, template, reach, found, kind, criteria)

    def _matched(self, cloud: Any, template: Any) -> Any:
        tools, match = self._open3d.pipelines.registration, self._matching.match
        match *= self._matching.voxel
        (thin, features), (thin_template, template_features) = cloud, template
        if self._matching.coarse == "fast_global":
            return tools.registration_fgr_based_on_feature_matching(
                thin, thin_template, features, template_features,
                tools.FastGlobalRegistrationOption(maximum_correspondence_distance=match),
            )  # fmt: skip
        return tools.registration_ransac_based_on_feature_matching(
            thin, thin_template, features, template_features, True, match,
            tools.TransformationEstimationPointToPoint(False), 3,
            [
                tools.CorrespondenceCheckerBasedOnEdgeLength(0.9),
                tools.CorrespondenceCheckerBasedOnDistance(match),
            ],
            tools.RANSACConvergenceCriteria(_TRIALS, _CONFIDENCE),
        )  # fmt: skip

    def _described(self, points: NDArray[Any]) -> tuple[Any, Any, Any]:
        """Return a cloud with normals, a thinned one, and the features of that."""
        geometry, matching = self._open3d.geometry, self._matching
        vectors = self._open3d.utility.Vector3dVector(np.asarray(points, dtype=np.float64))
        whole = geometry.PointCloud(vectors)
        search = geometry.KDTreeSearchParamHybrid(
            matching.normal_radius * matching.voxel, _NORMAL_NEIGHBOURS
        )
        whole.estimate_normals(search)
        thin = whole.voxel_down_sample(matching.voxel)
        thin.estimate_normals(search)
        thin.orient_normals_towards_camera_location(thin.get_center())
        features = self._open3d.pipelines.registration.compute_fpfh_feature(
            thin,
            geometry.KDTreeSearchParamHybrid(
                matching.feature_radius * matching.voxel, _FEATURE_NEIGHBOURS
            ),
        )
        return whole, thin, features
