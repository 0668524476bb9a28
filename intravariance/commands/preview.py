# SPDX-License-Identifier: Apache-2.0
"""`iv preview`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from intravariance.commands.options import (
    categories_option,
    choose_categories,
    dataset_argument,
    force_option,
    jobs_option,
    json_option,
    quiet_option,
)
from intravariance.dataset.sharding.whole import DATASET_SUFFIXES, dataset_name, is_dataset
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.executors.processes import ProcessExecutor
from intravariance.files.atomic import check_target, write_file
from intravariance.files.urls import Url
from intravariance.looking.meshes import MESH_SUFFIXES, MeshTask, mesh_sheet
from intravariance.looking.pictures import Colouring, png
from intravariance.looking.preview import Drawing, contact_sheet
from intravariance.sources import Up


@click.command("preview")
@dataset_argument("files", "FILES...", nargs=-1)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Picture to write.  [default: NAME.png]"
)
@categories_option
@click.option(
    "--size",
    type=click.IntRange(64, 2048),
    default=320,
    show_default=True,
    help="Pixels of a cell.",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Columns for each defect type.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Every defective sample, type by type, no templates."
)
@click.option(
    "--colour",
    type=click.Choice(["labels", "displacement"]),
    default="labels",
    show_default=True,
    help="Paint labelled points, or paint them by how far they were moved.",
)
@click.option(
    "--noise-free",
    is_flag=True,
    help="Draw the surface that the points were drawn from, as far as the file tells it.",
)
@click.option(
    "--up",
    type=click.Choice(["y", "z"]),
    help="Axis that points up in meshes.  [default: y in glb, else z]",
)
@jobs_option
@force_option
@json_option
@quiet_option
def preview_command(
    files: tuple[Path, ...],
    out: Path | None,
    categories: tuple[str, ...],
    size: int,
    samples: int,
    everything: bool,
    colour: Colouring,
    noise_free: bool,
    up: Up | None,
    jobs: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw a contact sheet of a dataset file, or of meshes.

    FILES is one dataset file: one row a category, a template, then the median sample of each defect
    type by share of labelled points, each from the side from which the change shows most. Or it is
    meshes (.off .obj .ply .stl .glb) and folders of them, drawn as `iv build` would take them:
    closed and repaired. The same files always give the same picture.
    """
    one_dataset = len(files) == 1 and is_dataset(files[0])
    meshes = [] if one_dataset else _mesh_tasks(files, size, up)
    if out is None:
        name = "meshes" if len(files) > 1 else files[0].resolve().stem
        beside = Path() if isinstance(files[0], Url) else files[0].parent
        named = beside / f"{dataset_name(files[0])}.png"
        out = named if one_dataset else Path(f"{name}.png")
    if out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: expected a name ending in .png")
    check_target(out, force)
    with ProcessExecutor(jobs) as executor:
        if meshes:
            _refuse_for_meshes(categories, everything, noise_free)
            sheet = mesh_sheet(meshes, ", ".join(f.name or str(f) for f in files), executor, quiet)
        else:
            if up is not None:
                raise InputError(f"--up {up} is for meshes; {files[0]} is a dataset file")
            count = None if everything else samples
            with open_dataset(files[0]) as dataset:
                part = dataset.filter(category=choose_categories(dataset, categories))
                drawing = Drawing(size, colour, noise_free)
                sheet = contact_sheet(part, drawing, count, quiet, executor)
    write_file(out, png(sheet), force)
    click.echo(json.dumps({"path": str(out)}) if as_json else out)


def _mesh_tasks(files: tuple[Path, ...], size: int, up: Up | None) -> list[MeshTask]:
    """List the meshes that are named and those in the folders that are named, each once."""
    found: dict[Path, str] = {}
    for file in files:
        if file.is_dir():
            inside = sorted(
                path for path in file.rglob("*") if path.suffix.lower() in MESH_SUFFIXES
            )
            if not inside:
                raise InputError(f"{file}: no mesh in this folder ({' '.join(MESH_SUFFIXES)})")
            found |= {path: path.relative_to(file).as_posix() for path in inside}
        elif file.suffix.lower() in MESH_SUFFIXES:
            found.setdefault(file, file.name)
        elif is_dataset(file):
            raise InputError(f"{file}: a dataset file is drawn alone; name it alone")
        else:
            raise InputError(
                f"{file}: expected a dataset file ({' '.join(DATASET_SUFFIXES)}), a mesh "
                f"({' '.join(MESH_SUFFIXES)}) or a folder of meshes"
            )
    names = Counter(found.values())
    return [
        MeshTask(path, name if names[name] == 1 else str(path), size, up)
        for path, name in found.items()
    ]


def _refuse_for_meshes(categories: tuple[str, ...], everything: bool, noise_free: bool) -> None:
    given = {"--category": bool(categories), "--all": everything, "--noise-free": noise_free}
    if wrong := [name for name, value in given.items() if value]:
        raise InputError(f"{', '.join(wrong)}: for dataset files; meshes have no samples")
