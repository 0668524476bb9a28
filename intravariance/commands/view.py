# SPDX-License-Identifier: Apache-2.0
"""`iv view`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import SUFFIXES, read_cloud, read_labels
from intravariance.cloud_files.npy import parse_array
from intravariance.cloud_files.reading import read_bytes
from intravariance.cloud_files.text import parse_cells
from intravariance.commands.options import FilePart, dataset_argument, force_option, json_option
from intravariance.dataset.sample_names import choose_sample, split_target
from intravariance.dataset.sharding.whole import DATASET_SUFFIXES, is_dataset
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.files.atomic import check_target, write_file
from intravariance.looking.cloud import LabelledCloud, upright
from intravariance.looking.meshes import MESH_SUFFIXES, is_mesh, mesh_cloud
from intravariance.looking.page import Note, page
from intravariance.looking.panels import panel
from intravariance.looking.pictures import Colouring, png
from intravariance.looking.pristine import (
    NOISE_FREE_LAYER,
    surface_of,
    template_of,
    without_noise,
)
from intravariance.looking.scans import scan_cloud
from intravariance.looking.splats import Floats
from intravariance.looking.viewpoint import view
from intravariance.sources import Up

# Splats of more points than this only add to the time that a picture takes.
_PICTURE_POINTS = 200_000


@dataclass(frozen=True)
class _Sight:
    """All that is to be seen: a cloud, a template to compare with, the noise, remarks, a camera."""

    cloud: LabelledCloud
    template: LabelledCloud | None
    layer: float
    notes: list[str]
    camera: Floats | None = None


@click.command("view")
@dataset_argument("target", "FILE[:SAMPLE]", kind=FilePart())
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Picture (.png) or page (.html) to write.  [default: NAME.png in this folder]",
)
@click.option(
    "--size",
    type=click.IntRange(64, 2048),
    default=360,
    show_default=True,
    help="Pixels of a picture.",
)
@click.option(
    "--colour",
    type=click.Choice(["labels", "displacement", "scores"]),
    help="One picture in these colours.  [default: all pictures side by side]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Labels of a cloud file: .txt, .csv or .npy, one for each point or rows x y z label.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="Anomaly scores: .txt, .csv or .npy, one for each point in the order of FILE.",
)
@click.option(
    "--noise-free",
    is_flag=True,
    help="Draw the surface that a dataset's sample was drawn from, as far as the file tells it.",
)
@click.option(
    "--up",
    type=click.Choice(["y", "z"]),
    help="Axis that points up in a mesh.  [default: y in glb, else z]",
)
@force_option
@json_option
def view_command(
    target: str,
    out: Path | None,
    size: int,
    colour: Colouring | None,
    labels: Path | None,
    scores: Path | None,
    noise_free: bool,
    up: Up | None,
    force: bool,
    as_json: bool,
) -> None:
    """Look at one point cloud or mesh: of a dataset file, or a file of your own.

    SAMPLE is a sample's name, CATEGORY or CATEGORY/DEFECT; without it, the first defective sample
    of the dataset. Your own clouds may be .ply .pcd .txt .xyz .asc .csv .npy or .obj; they are
    scaled to a radius of 1, and given normals when they have none. Meshes (.stl .off .glb, and .ply
    and .obj with faces) are shown as `iv build` takes them: closed and repaired. A sample is seen
    from the side from which its defect shows most.
    """
    if out is not None:
        _check_out(out, colour)
        check_target(out, force)
    path, sample = split_target(target)
    if is_dataset(path):
        if labels is not None:
            raise InputError(f"--labels {labels}: {path} has its own; leave the option out")
        if up is not None:
            raise InputError(f"--up {up} is for meshes; {path} is a dataset file")
        sight = _from_dataset(path, sample, scores, noise_free)
    else:
        if noise_free:
            raise InputError(f"--noise-free: nothing is known of the noise in {path}")
        if sample:
            raise InputError(
                f"{target}: {path.name} is one cloud and has no samples; name it alone"
            )
        if labels is None and scores is None and is_mesh(path):
            cloud, notes = mesh_cloud(path, path.stem, up)
            sight = _Sight(cloud, None, 0.0, notes)
        elif up is not None:
            raise InputError(f"--up {up} is for meshes; {path} is read as a cloud")
        else:
            sight = _from_cloud_file(path, labels, scores, html=out is not None and _is_page(out))
    if out is None:
        out = Path(f"{sight.cloud.name}.png")
        check_target(out, force)
    _check_colour(sight.cloud, colour)
    write_file(out, _page(sight) if _is_page(out) else _picture(sight, size, colour), force)
    click.echo(json.dumps({"path": str(out)}) if as_json else out)


def read_scores(path: Path, count: int) -> NDArray[np.float32]:
    """Read (count,) float32 scores, one finite number for each point, from a text or .npy file."""
    data = read_bytes(path)
    try:
        values = parse_array(data) if path.suffix.lower() == ".npy" else parse_cells(data)[0]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if values.size != count or values.shape not in ((count,), (count, 1)):
        raise InputError(
            f"--scores {path}: expected one number for each of {count:,} points, "
            f"found an array of shape {values.shape}"
        )
    numbers = values.reshape(-1).astype(np.float64)
    if not (np.abs(numbers) < 1e30).all():
        bad = int(np.flatnonzero(~(np.abs(numbers) < 1e30))[0])
        raise InputError(f"--scores {path}: number {bad + 1} is {numbers[bad]}, expected a score")
    return numbers.astype(np.float32)


def _check_out(out: Path, colour: str | None) -> None:
    if out.suffix.lower() not in (".png", ".html"):
        raise InputError(f"--out {out}: expected a name ending in .png or .html")
    if colour is not None and _is_page(out):
        raise InputError(
            f"--colour {colour}: a page has buttons for all colours; leave the option out"
        )


def _check_colour(cloud: LabelledCloud, colour: str | None) -> None:
    """Raise InputError when nothing is known of what shall be shown."""
    if colour == "scores" and cloud.scores is None:
        raise InputError("--colour scores: there are none; give a file of them with --scores")
    if colour == "displacement" and cloud.displacement is None:
        raise InputError("--colour displacement: it is known of samples alone that iv built")
    if colour == "labels" and not cloud.labelled:
        way = "give a file of them with --labels"
        if cloud.source == "dataset":
            way = "label it with `iv labels`"
        raise InputError(f"--colour labels: the cloud has none; {way}")


def _is_page(out: Path) -> bool:
    return out.suffix.lower() == ".html"


def _from_dataset(path: Path, sample: str, scores: Path | None, noise_free: bool) -> _Sight:
    if noise_free and scores is not None:
        raise InputError("--noise-free, --scores: scores are of the points; leave one out")
    with open_dataset(path) as dataset:
        record = choose_sample(dataset, sample)
        sigma = float(dataset.metadata["identity"]["noise_sigma"])
        found = None if scores is None else read_scores(scores, record.n_points)
        template = template_of(dataset, record)
        surface = surface_of(template)
        clouds = [upright(record, found, surface, sigma)]
        if template is not None and template.id != record.id:
            clouds.append(upright(template, pristine=surface, noise=sigma))
        layer, noise = 3 * sigma, f"noise sigma {sigma:.4g}"
        camera = view(clouds[0])
        if noise_free:
            clouds, layer = [without_noise(cloud) for cloud in clouds], NOISE_FREE_LAYER
            labelled = "not labelled"
            if record.labelled:
                share = 100 * record.n_anomalous / record.n_points
                labelled = f"{share:.1f} % of them labelled"
            noise += f", drawn without it; {record.n_points:,} points in the file, {labelled}"
        note = f"{noise}, pose undone; lengths in radii of the product"
        if dataset.imported:
            note = "imported; noise and pose as in the data set"
            note += ", the noise averaged away" if noise_free else ""
        return _Sight(clouds[0], clouds[1] if clouds[1:] else None, layer, [note], camera)


def _from_cloud_file(path: Path, labels: Path | None, scores: Path | None, html: bool) -> _Sight:

    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: expected a dataset file ({' '.join(DATASET_SUFFIXES)}), a point cloud "
            f"({' '.join(SUFFIXES)}) or a mesh ({' '.join(MESH_SUFFIXES)})"
        )
    scan = read_cloud(path)
    if labels is not None:
        scan = replace(scan, labels=read_labels(labels, scan.points))
    found = None if scores is None else read_scores(scores, len(scan.points))
    # a page thins for itself, and says so
    cloud, notes = scan_cloud(scan, path.stem, path.name, None if html else _PICTURE_POINTS, found)
    return _Sight(cloud, None, 0.0, [*notes, *scan.notes])


def _picture(sight: _Sight, size: int, colour: Colouring | None) -> bytes:
    shown: Sequence[Colouring] | None = None if colour is None else [colour]
    plain = not sight.cloud.labelled or sight.cloud.displacement is None
    if colour is None and plain and not sight.cloud.labels.any():
        shown = ["surface"] if sight.cloud.scores is None else ["surface", "scores"]
    template = sight.template if colour is None else None
    picture = panel(sight.cloud, template, size, sight.layer, sight.camera, shown, sight.notes)
    return png(picture)


def _page(sight: _Sight) -> bytes:
    clouds = [sight.cloud] if sight.template is None else [sight.cloud, sight.template]
    return page(sight.cloud.name, clouds, [Note("About this cloud", "\n".join(sight.notes))])
