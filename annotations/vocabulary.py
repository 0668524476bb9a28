# SPDX-License-Identifier: Apache-2.0
"""The defect vocabulary of Anomaly-IntraVariance (paper, Tables 7 and 8) and what is labelled.

A label says which points differ from the pristine product. It comes from construction: from the
displacement that the defect gave each surface point, or from the surface that a cut exposed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NORMAL = "normal"

# A point is anomalous when the defect moved it by more than this, in units of the unit-sphere
# radius: small beside every noise level in use (0.0447 by default, 0.002 in the other reading of
# the paper), so that the points left unlabelled are pristine for every purpose.
DISPLACEMENT_THRESHOLD = 0.002

# Points of the untouched surface within this distance of a cut's edge are anomalous too: about
# one point spacing of a 10,000-point cloud. An annotator marks the edge of a hole, and on a thin
# wall the cut faces alone carry almost no points.
RIM_WIDTH = 0.03


@dataclass(frozen=True)
class DefectType:
    """name; kind: "deformation" moves surface, "cut" removes material; description."""

    name: str
    kind: Literal["deformation", "cut"]
    description: str


DEFECT_TYPES: dict[str, DefectType] = {
    item.name: item
    for item in (
        DefectType("bulge", "deformation", "a smooth local swelling of the surface outwards"),
        DefectType("concavity", "deformation", "a smooth local dent, the opposite of a bulge"),
        DefectType("hole", "cut", "a round hole drilled along the surface normal"),
        DefectType("missing", "cut", "a part bitten off the product"),
        DefectType("crack", "cut", "a thin, jagged, open fissure along the surface"),
        DefectType("broken", "cut", "an end of the product snapped off along a rough surface"),
        DefectType("scratch", "deformation", "a long shallow groove along the surface"),
        DefectType("bending", "deformation", "one portion of the product bent to the side"),
        DefectType("twist", "deformation", "one portion of the product wrung about an axis"),
    )
}
