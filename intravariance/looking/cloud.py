# SPDX-License-Identifier: Apache-2.0
"""The cloud that is looked at and what is known of its defect, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Record, Sample
from intravariance.geometry.sampling import rotate

# "dataset": made in Blender, from a dataset file; "generator": a pseudo-anomaly; "scan": from a
# file of the user's.
CloudSource = Literal["dataset", "generator", "scan"]


@dataclass(frozen=True, eq=False)
class PristineSurface:
    """A product without a defect, sampled densely, in the frame of the clouds.

    points, normals : (S, 3) float64. tree : k-d tree of both together (see `pristine`).
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    tree: Any


@dataclass(frozen=True, eq=False)
class LabelledCloud:
    """A point cloud with its ground truth, upright: z is up, the front looks towards -y.

    Parameters
    ----------
    name
        Unique among the clouds that are shown together.
    category, subcategory
    defect
        A defect type, a generator's name, or "normal".
    source
    points
        (N, 3) float32, in radii of the product's bounding sphere (scans: as given, or normalised).
    normals
        (N, 3) float32, length 1.
    labels
        (N,) uint8, 1 = anomalous; all 0 where there are none (see labelled).
    displacement
        (N, 3) float32 from the pristine surface, 0 on normal points, NaN on surface that a cut
        exposed; None when nothing is known of it, as of scans.
    scores
        (N,) float32 of a detector, higher is more anomalous; None without one.
    force
        (N, 3) float32 of a detector: what displaced each point from the pristine surface, in the
        unit of the points; None without one that predicts it.
    pristine
        The product without the defect; None where it is unknown.
    labelled
        Whether anybody says which points are anomalous.
    whole
        Number of points of the cloud that these were drawn from; None where they are all of it.
    noise
        Standard deviation of the noise on each coordinate, in the unit of the points; 0 where
        there is none or nobody knows.
    """

    name: str
    category: str
    subcategory: str
    defect: str
    source: CloudSource
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    labels: NDArray[np.uint8]
    displacement: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    force: NDArray[np.float32] | None = None
    pristine: PristineSurface | None = None
    labelled: bool = True
    whole: int | None = None
    noise: float = 0.0

    @property
    def normal(self) -> bool:
        """Tell whether it has no defect."""
        return self.defect == NORMAL

    @property
    def exposed(self) -> NDArray[np.bool_]:
        """Return (N,) points on surface that a cut exposed; none where that is unknown."""
        if self.displacement is None:
            return np.zeros(len(self.points), dtype=bool)
        return np.asarray(np.isnan(self.displacement).any(axis=1))

    @property
    def moved(self) -> NDArray[np.float64]:
        """Return the (N,) length of the displacement; NaN on exposed surface, and where unknown."""
        if self.displacement is None:
            return np.full(len(self.points), np.nan)
        return np.asarray(np.linalg.norm(self.displacement.astype(np.float64), axis=1))

    def thinned(self, count: int) -> LabelledCloud:
        """Return the cloud with at most `count` points, taken evenly from their order."""
        if len(self.points) <= count:
            return self
        keep = np.linspace(0, len(self.points) - 1, count).astype(int)
        arrays = ("points", "normals", "labels", "displacement", "scores", "force")
        values = {name: getattr(self, name) for name in arrays}
        return replace(self, **{k: v[keep] for k, v in values.items() if v is not None})


def upright(
    record: Record,
    scores: NDArray[np.float32] | None = None,
    pristine: PristineSurface | None = None,
    noise: float = 0.0,
) -> LabelledCloud:
    """Load a sample of a dataset file with its pose undone, in the unit-sphere frame.

    scores : (N,) of a detector, in the file's order of points. pristine : of its template. noise :
    of the file, its "noise_sigma".
    """
    sample = record.load()
    turn_back = np.eye(4)
    turn_back[:3, :3] = sample.pose[:3, :3].T

    def turned(vectors: NDArray[np.float64] | NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(rotate(vectors, turn_back), dtype=np.float32)

    return LabelledCloud(
        name=sample.id,
        category=sample.category,
        subcategory=sample.subcategory,
        defect=sample.defect,
        source="dataset",
        points=turned(sample.points - sample.pose[:3, 3]),
        normals=turned(sample.normals),
        labels=sample.labels if sample.labelled else np.zeros_like(sample.labels),
        displacement=turned(sample.displacement) if _displacement_known(sample) else None,
        scores=scores,
        pristine=pristine,
        labelled=sample.labelled,
        noise=noise,
    )


def _displacement_known(sample: Sample) -> bool:
    """Tell whether displacements are known: not of samples imported with labels alone."""
    imported = sample.parameters.get("imported")
    return not isinstance(imported, dict) or imported.get("displacement") == "of the file"
