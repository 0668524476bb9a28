# SPDX-License-Identifier: Apache-2.0
"""How a specification's table `[scan]` asks for the products to be scanned."""

from __future__ import annotations

from dataclasses import dataclass

MOST_VIEWS = 64


@dataclass(frozen=True)
class Scan:
    """A scanner; the default one covers all of the surface evenly. `geometry.scanning` has details.

    views : number of viewpoints around each test sample. Only what they see is in the cloud, the
    more squarely the more densely; the number of points stays what the specification asks for.
    0 : all of the surface, also inside.
    incidence_noise : share of the growth of a ray's footprint, one over the cosine of the angle of
    incidence, by which noise grows; needs views.
    density_variation : standard deviation of the density over its mean, smooth over the surface.
    outliers : share of the points of a cloud that are stray. They lie on no surface: label 0,
    displacement 0, normal (0, 0, 0).
    """

    views: int = 0
    incidence_noise: float = 0.0
    density_variation: float = 0.0
    outliers: float = 0.0

    def sentences(self) -> list[str]:
        """Say what is asked for, in a sentence each; nothing for the default scanner."""
        lines = []
        if self.views:
            lines.append(
                f"Test samples hold what {self.views} viewpoint{'s' * (self.views > 1)} around the "
                "product see, the more densely the more squarely; training samples hold all sides."
            )
        if self.incidence_noise:
            lines.append(
                f"Noise grows by {self.incidence_noise:g} times the growth of one over the cosine "
                "of the angle of incidence."
            )
        if self.density_variation:
            lines.append(
                "The density varies smoothly over the surface, with a standard deviation of about "
                f"{self.density_variation:g} times its mean."
            )
        if self.outliers:
            lines.append(
                f"{self.outliers:.3g} of the points are stray: they lie on no surface, are "
                "labelled 0 and have the normal (0, 0, 0)."
            )
        return lines


# The default scanner: evenly from all sides.
ALL_SIDES = Scan()
