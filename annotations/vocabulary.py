# SPDX-License-Identifier: Apache-2.0
"""The defect vocabulary of Anomaly-IntraVariance (paper, Tables 7 and 8) and what is labelled.

The last two, misaligned and wrong_part, are not in the paper's tables: they are for specifications
of one's own.

A label says which points differ from the pristine product. It comes from construction: from the
displacement that the defect gave each surface point, or from the surface that a cut exposed.

Other data sets have words of their own. Those are listed too, with what is labelled there, so that
imported files can be described; nothing here makes such defects. Their labels are their authors'.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

NORMAL = "normal"
# Stands in the place of a defect where nobody says whether the object has one.
UNLABELLED = "unlabelled"
# A defect of a kind that nobody names.
UNNAMED_DEFECT = "anomaly"
# The label of every point of an object where nobody says which of them are anomalous. It is no
# number that a metric or a mask takes for a label.
UNKNOWN_LABEL = 255
# The defect that takes something from another product of the category.
WRONG_PART = "wrong_part"

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
    """name; kind: "deformation" moves surface, "cut" removes material, "other" is neither or both;
    description."""

    name: str
    kind: Literal["deformation", "cut", "other"]
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
        DefectType(
            "misaligned", "other", "a part shifted or turned against the rest of the product"
        ),
        DefectType(
            WRONG_PART, "other", "a part of another product of the class in the place of its own"
        ),
    )
}

# The defect types of other data sets, without those that share a name with ours.
# Real3D-AD marked its points by hand, sticking material on toys or taking it off; MVTec 3D-AD
# marked the pixels of its scans by hand, of colour too, which the geometry does not show.
FOREIGN_DEFECT_TYPES: dict[str, DefectType] = {
    item.name: item
    for item in (
        DefectType("sink", "deformation", "Real3D-AD: one place pressed or carved in, as a dent"),
        DefectType("bulges", "deformation", "Real3D-AD: several bulges, all labelled"),
        DefectType("sinks", "deformation", "Real3D-AD: several sinks, all labelled"),
        DefectType("hybrid", "deformation", "Real3D-AD: bulges and sinks on one object"),
        DefectType("bent", "deformation", "MVTec 3D-AD: a part bent; the bent part is labelled"),
        DefectType("cut", "cut", "MVTec 3D-AD: a notch cut into the product, or a piece cut off"),
        DefectType("open", "other", "MVTec 3D-AD: a rope that comes apart; the loose strands"),
        DefectType("thread", "other", "MVTec 3D-AD: a thread of other material on the product"),
        DefectType("contamination", "other", "MVTec 3D-AD: other material lying on the product"),
        DefectType("color", "other", "MVTec 3D-AD: a stain, seen in colour; geometry is as it was"),
        DefectType("combined", "other", "MVTec 3D-AD: several kinds of defects on one product"),
        DefectType(UNNAMED_DEFECT, "other", "a defect of a kind that its data set does not name"),
    )
}


def definition(name: str) -> DefectType | None:
    """Return what is known of a defect, ours or foreign; None for a word of somebody's own."""
    return DEFECT_TYPES.get(name) or FOREIGN_DEFECT_TYPES.get(name)


def in_order(names: Iterable[str]) -> list[str]:
    """Return each name of a defect once: in the order listed here, then other words by name."""
    known = [*DEFECT_TYPES, *FOREIGN_DEFECT_TYPES]
    wanted = set(names)
    return [name for name in known if name in wanted] + sorted(wanted - set(known))
