# SPDX-License-Identifier: Apache-2.0
"""The frame in which clouds are compared with the bank: their own, or that of a template.

- "own": the frame in which a cloud is stored, with its centroid on 0. Test clouds have any pose in
  it.
- "first": every cloud, those of the templates too, is registered to the stored cloud of the first
  template by FPFH and RANSAC, without ICP, as Real3D-AD does. In a category of several products
  that template is another product for most clouds, which then have a note.
- "registered": the cloud is registered to the best of its category's templates
  (`mc4ad_model.registration`) and compared in that template's frame. No paper does this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from mc4ad_model.methods.templates import Templates, registration_points
from mc4ad_model.registration.by_features import FeatureMatching, FeatureRegistration
from mc4ad_model.registration.fits import check_cloud_scale, size_of
from mc4ad_model.registration.placing import Placing
from mc4ad_model.registration.poses import Registration

Frame = Literal["own", "first", "registered"]
UnregisteredFrame = Literal["own", "registered"]  # of methods whose papers register nothing
Floats = NDArray[np.float64]


# Real3D-AD's lengths are in the unit of its clouds, which are 17.7 times as large as ours.
_FIRST = FeatureMatching(
    voxel=0.0282, normal_radius=2, feature_radius=5, match=1.5, icp=None, to_plane=False
)


class Frames:
    """Brings the clouds of a category into the frame in which they are compared.

    Parameters
    ----------
    frame
        "own", "first" or "registered".
    templates
        (S, 3) float32 points of each template, by its id, the first id being the first template: of
        its surface for "registered", else the stored ones.
    noise_sigma
        Standard deviation of the clouds' noise on each coordinate, beyond that of the templates'
        points.
    """

    def __init__(
        self, frame: Frame, templates: Mapping[str, NDArray[np.float32]], noise_sigma: float
    ) -> None:
        self.frame, self.templates, self.noise_sigma = frame, dict(templates), noise_sigma
        points = [self.templates[name] for name in sorted(self.templates)]
        self._placing: Placing | None = None
        if frame == "registered":
            self._placing = Placing.ready(Registration(points, noise_sigma), noise_sigma)
        elif frame == "first":
            registration = FeatureRegistration(points[:1], _FIRST)
            self._placing = Placing.ready(registration, noise_sigma, points)
        self._sizes = [size_of(template) for template in points]

    @classmethod
    def fit(cls, frame: Frame, templates: Templates, seed: int) -> Frames:
        """Take up the templates of a category."""
        if frame == "registered":
            points = registration_points(templates, seed)
            return cls(frame, points, templates.registration_noise)
        return cls(frame, {one.id: one.points for one in templates.templates}, noise_sigma=0.0)

    def training_clouds(self, templates: Templates) -> list[Floats]:
        """Give the stored cloud (N, 3) of each template in the frame."""
        clouds = {one.id: one.points.astype(np.float64) for one in templates.templates}
        if self.frame == "registered":
            return list(clouds.values())
        unmoved = min(clouds) if self.frame == "first" else None
        return [c if name == unmoved else self.place(c)[0] for name, c in clouds.items()]

    def place(self, points: NDArray[Any]) -> tuple[Floats, str | None]:
        """Bring a cloud (N, 3), finite, into the frame; with a note where its pose is in doubt.

        Raises
        ------
        InputError
            It is much smaller or larger than the templates; the factor is named.
        """
        if self._placing is not None:
            placed = self._placing.place(points)
            return placed.points, placed.note
        check_cloud_scale(points, self._sizes)
        return _centred(points.astype(np.float64)), None


def check_cloud(points: NDArray[Any], fewest: int, what: str = "point cloud") -> None:
    """Check that a cloud can be described at all.

    Parameters
    ----------
    fewest
        Points of the largest neighbourhood.
    what
        The cloud, for the message.

    Raises
    ------
    InputError
        It has fewer points, or a coordinate is not finite.
    """
    if len(points) < fewest:
        raise InputError(
            f"{what}: expected at least {fewest} points, as many as a neighbourhood has, found "
            f"{len(points)}. Set smaller neighbourhoods (--set), or leave the cloud out."
        )
    if not np.isfinite(points).all():
        raise InputError(f"{what}: expected finite coordinates, found NaN or infinity")


def _centred(points: Floats) -> Floats:
    return np.asarray(points - points.mean(axis=0))
