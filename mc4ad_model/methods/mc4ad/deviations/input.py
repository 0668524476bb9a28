# SPDX-License-Identifier: Apache-2.0
"""Input of a network on deviations: the voxels of a template, and the cloud's deviation there.

A voxel has the means over the template's places (anchors) in it. Its channels:

    0-5    narrow z-scores: count, mean height, spread of heights in each of two cylinders
    6-11   wide z-scores: the same over the neighbourhood
    12-14  mean offset from the surface in the wider cylinder, beyond what is usual, along the
           template's normal, in quarters of the noise
    15-17  the same over the neighbourhood, in tenths of the noise
    18-20  normal of the template
    21-23  place in the template's frame, radii
    24     logarithm of the number of places, less 0.5
    25-27  usual count, mean height and spread in the wider cylinder

They form the groups of `network.given`: z-scores of counts, z-scores of heights, offsets, and what
is known of the product without the cloud.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.deviation.statistics import point_scores
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.template_deviations import TemplateDeviation

Floats = NDArray[np.float64]

_GROUPS: dict[str, list[int]] = {
    "counts": [0, 3, 6, 9],
    "heights": [1, 2, 4, 5, 7, 8, 10, 11],
    "offsets": list(range(12, 18)),
    "product": list(range(18, 28)),
}

_LARGEST_SCORE, _LARGEST_OFFSET = 10.0, 8.0
_OFFSET_UNITS = 4.0, 10.0  # offsets in parts of the noise, narrow and wide
_USUAL_UNITS = (0.05, 10.0, 10.0)  # bring usual counts and heights near 1
_MEAN_HEIGHT = 4  # column of the mean height in the wider cylinder
_SMALLEST_NOISE = 0.005  # of a file without noise, as the unit of offsets


class TemplateVoxels:
    """The voxels of one template, for a network of that configuration.

    Attributes
    ----------
    coordinates : (V, 3) int32, in voxels; normals : (V, 3), means of the surface's
    """

    def __init__(
        self, deviation: TemplateDeviation, config: NetworkConfig, noise_sigma: float
    ) -> None:
        self.deviation = deviation
        self._hidden = [c for name, channels in _GROUPS.items() if name not in config.given
                        for c in channels]  # fmt: skip
        self._noise = max(noise_sigma, _SMALLEST_NOISE)
        anchors = deviation.anchors
        cells = np.floor(anchors.points / config.voxel_size).astype(np.int32)
        self.coordinates, voxel, count = np.unique(
            cells, axis=0, return_inverse=True, return_counts=True
        )
        self.voxel_of_anchor = voxel.ravel()
        self._count = count[:, None].astype(np.float64)
        self.normals = self.mean(anchors.normals)
        usual = np.nan_to_num(deviation.narrow.mean[:, 3:]) * _USUAL_UNITS
        self._fixed = np.column_stack(
            [self.normals, self.mean(anchors.points), np.log(count) - 0.5,
             self.mean(usual)]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.coordinates)

    def mean(self, values: Floats) -> Floats:
        """Average values (A, C) at the anchors over each voxel: (V, C)."""
        sums = [np.bincount(self.voxel_of_anchor, column, len(self)) for column in values.T]
        return np.asarray(np.column_stack(sums) / self._count)

    def features(self, narrow: Floats) -> NDArray[np.float32]:
        """Describe a cloud by its narrow z-scores at the anchors, (A, 6): (V, 28), see the
        module."""
        deviation = self.deviation
        wide = deviation.wide_scores(narrow)
        height = narrow[:, _MEAN_HEIGHT] * deviation.narrow.spread[:, _MEAN_HEIGHT] / self._noise
        offset = height[:, None] * deviation.anchors.normals
        around = deviation.neighbourhoods.mean(offset)
        scores = np.clip(np.column_stack([narrow, wide]), -_LARGEST_SCORE, _LARGEST_SCORE)
        offsets = [unit * o for unit, o in zip(_OFFSET_UNITS, (offset, around), strict=True)]
        moved = np.clip(np.column_stack(offsets), -_LARGEST_OFFSET, _LARGEST_OFFSET)
        own = self.mean(np.column_stack([scores, moved]))
        features = np.column_stack([own, self._fixed]).astype(np.float32)
        features[:, self._hidden] = 0
        return features

    def at_points(self, values: Floats, nearest: NDArray[np.intp]) -> Floats:
        """Give each point the mean of values (V, ...) at the anchors nearest to it, (N, K)."""
        return point_scores(values[self.voxel_of_anchor], nearest)

    def nearest(self, cloud: Floats) -> NDArray[np.intp]:
        """Find the voxel of the anchor nearest to each point (N, 3)."""
        found: NDArray[np.intp] = self.voxel_of_anchor[self.deviation.anchors.tree.query(cloud)[1]]
        return found
