# SPDX-License-Identifier: Apache-2.0
"""Base meshes: embedded designs, the user's files, ModelNet40 and ShapeNet, or added sources.

`parse_source` says where to look, `choose` decides which mesh becomes which product, `prepare`
makes it a closed mesh in the unit sphere and keeps it in a cache.
"""

from intravariance.sources.choosing import Choice, choice_notes, choose, parse_source
from intravariance.sources.finding import Candidate, Source, Up
from intravariance.sources.preparing import (
    BaseMesh,
    keep_prepared,
    load_base_mesh,
    prepare,
)

__all__ = [
    "BaseMesh",
    "Candidate",
    "Choice",
    "Source",
    "Up",
    "choice_notes",
    "choose",
    "keep_prepared",
    "load_base_mesh",
    "parse_source",
    "prepare",
]
