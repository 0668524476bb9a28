# SPDX-License-Identifier: Apache-2.0
"""Products without a defect, simulated from the templates as a file's test clouds are made.

Whatever is known of how test clouds come about is in them: number of points, pose, noise, and what
the specification says of manufacturing variation (`tolerance`) and of the scanner (`scan`). The
code is the one that makes test samples (`intravariance.building.sample`), with other seeds. Nothing
is taken from test samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.building.plan import SampleJob
from intravariance.building.sample import SampleSettings, make_sample
from intravariance.dataset.scan import ALL_SIDES, Scan
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.geometry.sampling import POSES, PoseKind
from intravariance.seeds import generator
from mc4ad_model.methods.templates import Templates, scan_noise

MESHES_NEEDED = (
    "products without a defect are simulated from meshes. That takes a run of `iv train --track "
    "meshes` on a file whose templates are meshes: one of `iv build`, or of `iv import "
    "--scan-noise` with a mesh of the product in train/. Without any, the scores of `iv predict` "
    "rank scans, and scans of products that you know to be good show which scores are normal"
)


@dataclass(frozen=True)
class Conditions:
    """How the test clouds of a file are made.

    Parameters
    ----------
    points
        Smallest and largest number of points, both included.
    pose
        Kind of pose.
    noise_sigma, tolerance
        Standard deviation of the noise on each coordinate, and largest smooth variation of a
        product, in the file's units.
    scan
        How products are scanned.
    """

    points: tuple[int, int]
    pose: PoseKind
    noise_sigma: float
    tolerance: float = 0.0
    scan: Scan = ALL_SIDES


def conditions_of(dataset: Dataset, category: str) -> Conditions:
    """Return how a file says that the test clouds of a category were made.

    Imported scans whose noise is known may lie anyhow.

    Raises
    ------
    InputError
        It does not say, because they were imported as they are.
    """
    identity, specification = dataset.metadata["identity"], dataset.specification
    pose, noise = identity.get("pose", "so3"), scan_noise(dataset, category)
    if noise is not None and pose not in POSES:
        pose = "so3"
    if pose not in POSES:
        raise InputError(
            f"{dataset.path}: its clouds were imported ({pose}), so that nothing says what noise "
            "and poses normal ones have, and none can be simulated. That takes a file that `iv "
            "build` made, or one imported with meshes as templates and `--scan-noise`."
        )
    return Conditions(
        points=specification.points,
        pose=cast("PoseKind", pose),
        noise_sigma=float(identity["noise_sigma"]) if noise is None else noise,
        tolerance=specification.tolerance,
        scan=specification.scan,
    )


def check_meshes(templates: Templates) -> None:
    """Raise InputError unless all templates have meshes to sample: their clouds are not enough.

    A stored cloud that is only turned has the noise that the method has seen already, and says
    nothing of how a fresh one scores.
    """
    if templates.track == "clouds":
        raise InputError(
            f"category {templates.category}: the run is of the track clouds; {MESHES_NEEDED}"
        )
    if bare := [template.id for template in templates.templates if template.mesh is None]:
        raise InputError(
            f"category {templates.category}: template {bare[0]} has no mesh; {MESHES_NEEDED}"
        )


def calibration_clouds(
    data: Templates, conditions: Conditions, count: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Make products without a defect (N, 3), stored frame.

    Each depends on the seed, the category and its number alone, so that the first ones are the
    same whatever the count.

    Parameters
    ----------
    data
        A category's templates, with meshes.
    conditions
        How test clouds are made.
    count
        How many; templates take turns.

    Raises
    ------
    InputError
        As `check_meshes`.
    """
    check_meshes(data)
    settings = SampleSettings(
        seed=seed,
        pose=conditions.pose,
        noise_sigma=conditions.noise_sigma,
        tolerance=conditions.tolerance,
        points=conditions.points,
        scan=conditions.scan,
    )
    for number in range(count):
        template = data.templates[number % len(data.templates)]
        assert template.mesh is not None
        identity = f"{data.category}_calibration_{number}"
        n_points = int(
            generator(seed, identity, "count").integers(*conditions.points, endpoint=True)
        )
        job = SampleJob(identity, data.category, template.id, "test", NORMAL, n_points)
        yield make_sample(job, template.mesh, template.id, settings, blender=None).points
