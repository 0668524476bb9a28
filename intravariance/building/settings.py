# SPDX-License-Identifier: Apache-2.0
"""The settings of a build: all that decides the content of a dataset, and where to work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intravariance.building.sample import SampleSettings
from intravariance.dataset.sharding.shards import Shard
from intravariance.dataset.specification import LARGEST_TOLERANCE, Specification
from intravariance.errors import InputError
from intravariance.lengths import UNITS, Length, parse_length
from intravariance.sources import BaseMesh, Up


@dataclass(frozen=True)
class BuildSettings:
    """Hold everything that decides the content of a dataset, and where to work.

    source : "procedural", "folder:PATH", "modelnet40:PATH", "shapenet:PATH", or the name of
    a source that an installed package adds.
    up : the axis that points up in the source's files, None for the layout's own. follow_links :
    whether links that lead out of the source's folder are followed.
    fill : take embedded designs where the source has too few meshes. skip_bad : leave out base
    meshes that cannot be used. blender : a Blender program, None for the bpy wheel.
    cache : folder for prepared base meshes. noise : in a unit of measure; `samples` has the number
    of radii where it is None. shard : the part of the dataset that is built; None for all of it.
    """

    specification: Specification
    samples: SampleSettings
    source: str
    cache: Path
    up: Up | None = None
    follow_links: bool = False
    fill: bool = False
    skip_bad: bool = False
    blender: Path | None = None
    quiet: bool = False
    noise: Length | None = None
    shard: Shard | None = None

    def identity(
        self, source_label: str, products: Mapping[tuple[str, str], SampleSettings]
    ) -> dict[str, Any]:
        """Return what decides the content, as JSON-able data.

        products : settings of each (category, subcategory). The file stores this identity, and its
        digest covers it. The base meshes themselves are named, with their hashes, by the samples'
        parameters. A length given in a unit of measure is another number of radii for each product:
        the identity has the largest number ("noise_sigmas" has the noise of each).
        """
        tolerance = max(product.tolerance for product in products.values())
        given = {} if self.noise is None else {"noise_sigma": str(self.noise)}
        specification = replace(
            self.specification,
            tolerance=tolerance,
            noise_sigma=None,
            given={k: v for k, v in self.specification.given.items() if k != "noise_sigma"} | given,
        )
        sigmas = {f"{c}/{s}": product.noise_sigma for (c, s), product in products.items()}
        return {
            "specification": specification.to_dict(),
            "source": source_label,
            "up": self.up,
            "seed": self.samples.seed,
            "pose": self.samples.pose,
            "noise_sigma": max(sigmas.values()),
            **({} if self.noise is None else {"noise_sigmas": sigmas}),
        }

    def check_units(self) -> None:
        """Raise InputError where a length has a unit of measure and a category's meshes have none.

        Embedded designs have none either.
        """
        given = {**self.specification.given}
        if self.noise is not None:
            given["noise_sigma"] = str(self.noise)
        lacking = [c.name for c in self.specification.categories if not c.unit]
        if given and (lacking or self.source == "procedural" or self.fill):
            lengths = ", ".join(f"{name} = {text}" for name, text in sorted(given.items()))
            raise InputError(
                f"{lengths}: in radii this is another number for each mesh, and "
                + (
                    f"nobody says which unit the mesh files of {', '.join(lacking)} have; give "
                    f'each [[category]] its unit = "mm" (or {", ".join(UNITS)})'
                    if lacking and self.source != "procedural"
                    else "embedded designs have no unit; give lengths in radii, and severity as "
                    "numbers from 0 to 1"
                )
            )

    def of_product(self, base: BaseMesh) -> SampleSettings:
        """Return the settings of a product's samples, with its own lengths in radii."""
        (unit,) = {c.unit for c in self.specification.categories if c.name == base.category}
        radius = base.unit_radius or math.nan
        settings = replace(self.samples, unit=unit)
        if self.noise is not None:
            settings = replace(settings, noise_sigma=self.noise.in_radii(radius, unit))
        if text := self.specification.given.get("tolerance"):
            tolerance = parse_length("tolerance", text)
            assert isinstance(tolerance, Length)
            amplitude = tolerance.in_radii(radius, unit)
            if amplitude > LARGEST_TOLERANCE:
                raise InputError(
                    f"tolerance = {text} is {amplitude:.3g} radii of {base.category}/"
                    f"{base.subcategory}, at most {LARGEST_TOLERANCE} are allowed"
                )
            settings = replace(settings, tolerance=amplitude)
        return settings
