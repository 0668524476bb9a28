# SPDX-License-Identifier: Apache-2.0
"""The sizes of the networks: as published, or a share of that."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_PUBLISHED_POINTS = 1024


@dataclass(frozen=True)
class Sizes:
    """How large a network is.

    Parameters
    ----------
    points
        Points of a cloud; networks with centres choose a share of them, the same as in the papers.
    normals
        Whether the input has normals beside coordinates.
    width, attention, neighbours
        Shares of the channels of each layer, of those inside of the Point Transformer's attention,
        and of the points of a neighbourhood, that the papers have; 1.0 is as published.
    """

    points: int = 1024
    normals: bool = False
    width: float = 1.0
    attention: float = 1.0
    neighbours: float = 1.0

    @property
    def inside(self) -> int:
        """Channels of the input."""
        return 6 if self.normals else 3

    def channel(self, published: int) -> int:
        """Return the channels of a layer that has so many as published; 4 at least."""
        return max(round(published * self.width), 4)

    def channels(self, published: Iterable[int]) -> tuple[int, ...]:
        """Return the channels of several layers."""
        return tuple(self.channel(one) for one in published)

    def crowd(self, published: int) -> int:
        """Return the points of a neighbourhood that has so many as published; 4 at least."""
        return max(round(published * self.neighbours), 4)

    def radius(self, published: float) -> float:
        """Return a radius with about as many points in it as that which is published for 1,024.

        It is larger where a cloud has fewer points than that.
        """
        return published * math.sqrt(max(_PUBLISHED_POINTS / self.points, 1.0))
