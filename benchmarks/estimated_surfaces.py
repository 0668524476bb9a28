# SPDX-License-Identifier: Apache-2.0
"""How far surfaces that are estimated from stored clouds are from the templates' meshes.

    OMP_NUM_THREADS=1 python benchmarks/estimated_surfaces.py group2.h5

For each category: the noise of the file, estimated from all templates' clouds, and for the points
of the clouds and for their feet on the estimated surface the root mean square distance from the
mesh; the share of the feet whose normal points to the side of the mesh's, and of the neighbouring
feet that agree on a side. Lengths are in unit-sphere radii.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IVError
from intravariance.geometry.sampling import sample_surface
from intravariance.progress import track
from intravariance.tables import Cell, markdown_table
from mc4ad_model.methods.templates import Templates, read_templates

_ON_MESH = 100_000  # points that stand for the mesh
_NEIGHBOURS = 12
_CLEAR = 0.5  # cosine, up or down, from which on two normals are of one sheet


def main() -> None:
    """Estimate the surfaces of a file's templates and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    rows: list[list[Cell]] = []
    try:
        with open_dataset(options.file) as dataset:
            for category in track(dataset.categories, len(dataset.categories), "categories"):
                known = read_templates(dataset, category, track="meshes")
                clouds = read_templates(dataset, category, track="clouds")
                rows.append([category, clouds.noise_sigma, *measured(known, clouds)])
            noise = known.noise_sigma
    except IVError as error:
        parser.exit(error.exit_code, f"estimated_surfaces.py: error: {error}\n")
    heading = ["category", f"noise ({noise:.4f})", "points", "feet", "right side", "one side"]
    print(markdown_table(heading, rows))


def measured(known: Templates, clouds: Templates) -> list[Cell]:
    """Compare the estimated surfaces of a category with the meshes: means over the templates."""
    found = []
    for template in known.templates:
        if template.mesh is None:
            raise InputError(f"template {template.id} has no mesh to compare with")
        surface = clouds.surfaces[template.id]
        on_mesh = sample_surface(template.mesh, _ON_MESH, np.random.default_rng(0))
        tree = cKDTree(on_mesh.points)
        distance, nearest = tree.query(surface.points)
        of_points, _ = tree.query(template.points)
        side = np.einsum("ni,ni->n", surface.normals, on_mesh.normals[nearest]) > 0
        near = surface.tree.query(surface.points, k=_NEIGHBOURS)[1]
        cosine = np.einsum("nkd,nd->nk", surface.normals[near], surface.normals)
        agree = cosine[np.abs(cosine) > _CLEAR] > 0
        found.append([_size(of_points), _size(distance), side.mean(), agree.mean()])
    return [float(value) for value in np.mean(found, axis=0)]


def _size(distance: np.ndarray) -> float:
    return float(np.sqrt((distance**2).mean()))


if __name__ == "__main__":
    main()
