# SPDX-License-Identifier: Apache-2.0
"""`iv view`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import SUFFIXES, read_cloud, read_labels
from intravariance.cloud_files.npy import parse_array
from intravariance.cloud_files.reading import read_bytes
from intravariance.cloud_files.text import parse_cells
from intravariance.commands.options import force_option
from intravariance.dataset.store import DATASET_SUFFIXES, Dataset, Record, open_dataset
from intravariance.errors import InputError
from intravariance.files.atomic import check_target, write_file
from intravariance.looking.cloud import LabelledCloud, upright
from intravariance.looking.page import Note, page
from intravariance.looking.panels import panel
from intravariance.looking.pictures import Colouring, png
from intravariance.looking.scans import UNLABELLED, scan_cloud

# Splats of more points than this only add to the time that a picture takes.
_PICTURE_POINTS = 200_000


@dataclass(frozen=True)
class _Sight:
    """What is to be seen: a cloud, a template to compare with, the noise, and remarks."""

    cloud: LabelledCloud
    template: LabelledCloud | None
    layer: float
    notes: list[str]


@click.command("view")
@click.argument("target", metavar="FILE[:SAMPLE]")
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
@force_option
def view_command(
    target: str,
    out: Path | None,
    size: int,
    colour: Colouring | None,
    labels: Path | None,
    scores: Path | None,
    force: bool,
) -> None:
    """Look at one point cloud: of a dataset file, or a file of your own.

    SAMPLE is a sample's name, CATEGORY or CATEGORY/DEFECT; without it, the first defective sample
    of the dataset. Your own clouds may be .ply .pcd .txt .xyz .asc .csv .npy or .obj; they are
    scaled to a radius of 1, and given normals when they have none.
    """
    if out is not None:
        _check_out(out, colour)
        check_target(out, force)
    path, sample = _split(target)
    if path.suffix.lower() in DATASET_SUFFIXES:
        if labels is not None:
            raise InputError(f"--labels {labels}: {path} has its own; leave the option out")
        sight = _from_dataset(path, sample, scores)
    else:
        if sample:
            raise InputError(
                f"{target}: {path.name} is one cloud and has no samples; name it alone"
            )
        sight = _from_cloud_file(path, labels, scores, html=out is not None and _is_page(out))
    if out is None:
        out = Path(f"{sight.cloud.name}.png")
        check_target(out, force)
    _check_colour(sight.cloud, colour)
    write_file(out, _page(sight) if _is_page(out) else _picture(sight, size, colour), force)
    click.echo(out)


def choose_sample(dataset: Dataset, sample: str) -> Record:
    """Find the record that `sample` means: a name, CATEGORY or CATEGORY/DEFECT; "" is the first
    defective one, of all or of the category. Raises InputError naming what comes close."""
    try:
        return dataset[sample]
    except KeyError:
        pass
    category, _, defect = sample.partition("/")
    found = [
        record
        for record in dataset
        if category in ("", record.category) and defect in ("", record.defect)
    ]
    if found:
        return next((record for record in found if record.defect != NORMAL), found[0])
    kinds = [f"{record.category}/{record.defect}" for record in dataset]
    names = [record.id for record in dataset]
    known = [*names, *dict.fromkeys([*dataset.categories, *kinds])]
    example = next((kind for kind in kinds if not kind.endswith(NORMAL)), kinds[0])
    close = difflib.get_close_matches(sample, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise InputError(
        f"{dataset.path}: no sample {sample}; {hint}Names are like {names[-1]}, and "
        f"{example} takes the first of a kind; `iv info {dataset.path}` counts what there is"
    )


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


def _split(target: str) -> tuple[Path, str]:
    """Split FILE:SAMPLE. An existing file whose name has a colon is taken as it is."""
    name, _, sample = target.rpartition(":")
    if not name or Path(target).exists():
        return Path(target), ""
    return Path(name), sample


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
    if colour == "labels" and cloud.defect == UNLABELLED:
        raise InputError("--colour labels: the cloud has none; give a file of them with --labels")


def _is_page(out: Path) -> bool:
    return out.suffix.lower() == ".html"


def _from_dataset(path: Path, sample: str, scores: Path | None) -> _Sight:
    with open_dataset(path) as dataset:
        record = choose_sample(dataset, sample)
        sigma = float(dataset.metadata["identity"]["noise_sigma"])
        found = None if scores is None else read_scores(scores, record.n_points)
        same = (record.category, record.subcategory, "train")
        templates = [r for r in dataset if (r.category, r.subcategory, r.split) == same]
        return _Sight(
            cloud=upright(record, found),
            template=upright(templates[0]) if templates and templates[0].id != record.id else None,
            layer=3 * sigma,
            notes=[
                "imported; noise and pose as in the data set"
                if dataset.imported
                else f"noise sigma {sigma:.4g}, pose undone; lengths in radii of the product"
            ],
        )


def _from_cloud_file(path: Path, labels: Path | None, scores: Path | None, html: bool) -> _Sight:

    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: expected a dataset file ({' '.join(DATASET_SUFFIXES)}) or a point cloud "
            f"({' '.join(SUFFIXES)})"
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
    if colour is None and sight.cloud.defect == UNLABELLED:
        shown = ["surface"] if sight.cloud.scores is None else ["surface", "scores"]
    template = sight.template if colour is None else None
    picture = panel(sight.cloud, template, size, sight.layer, shown=shown, lines=sight.notes)
    return png(picture)


def _page(sight: _Sight) -> bytes:
    clouds = [sight.cloud] if sight.template is None else [sight.cloud, sight.template]
    return page(sight.cloud.name, clouds, [Note("About this cloud", "\n".join(sight.notes))])
