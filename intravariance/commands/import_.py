# SPDX-License-Identifier: Apache-2.0
"""`iv import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from intravariance.cloud_files import AnomalousLabels, ReadingChoices
from intravariance.cloud_files.choices import ANOMALOUS_LABELS, DROP_NO_RETURN
from intravariance.commands import options
from intravariance.commands.scan_options import drop_no_return_option
from intravariance.errors import IVError, first_of
from intravariance.exchange.importing.mesh_templates import MESH_RULES, MeshRule, MeshTemplates
from intravariance.exchange.importing.run import (
    ImportPlan,
    ImportResult,
    ImportSettings,
    import_dataset,
    no_use,
    plan_import,
    restores,
)
from intravariance.exchange.importing.sample import FEWEST_POINTS
from intravariance.exchange.importing.thinning import Thinning
from intravariance.exchange.layouts import layout_names
from intravariance.executors.processes import local_executor
from intravariance.files.atomic import check_target


def _layouts(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in layout_names() if name.startswith(incomplete)]


@click.command("import")
@click.argument("layout", shell_complete=_layouts)
@click.argument("path", type=options.PATH)
@options.path_option("--out", "File to write (.h5).", required=True)
@click.option(
    "--name",
    default="",
    show_default=False,
    help="Name of the dataset.  [default: that of the folder]",
)
@click.option(
    "--normalise",
    type=click.Choice(["auto", "none"]),
    default="auto",
    help="auto: clouds of a category whose training clouds do not fill the unit ball about 0 are "
    "centred, and divided by one length. none: all coordinates are kept.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out clouds that cannot be used.")
@click.option(
    "--follow-links",
    is_flag=True,
    help="Follow links to folders and out of PATH (never done unasked).",
)
@click.option(
    "--unlabelled",
    is_flag=True,
    help="Nothing is known of scans in PATH, scans/, test/ or <category>/scans/: neither whether "
    "they have a defect nor where.",
)
@click.option(
    "--mesh-templates",
    "mesh_rule",
    type=click.Choice(list(MESH_RULES)),
    default="auto",
    help="Training files that are meshes. sample: points are drawn on them, and the mesh is kept. "
    "vertices: these are the points. auto: vertices where they are half as many as a scan's points "
    "or more, as of a triangulated scan.",
)
@click.option(
    "--template-points",
    type=click.IntRange(FEWEST_POINTS),
    help="Points that are drawn on a mesh.  [default: the median of the category's scans]",
)
@click.option(
    "--scan-noise",
    type=options.NumberRange(min=0),
    help="Standard deviation of the scans' noise on each coordinate, in the unit of the files: for "
    "templates that are meshes, and for `iv calibrate`.",
)
@click.option(
    "--voxel",
    type=options.NumberRange(min=0, min_open=True),
    help="Keep one point of each voxel of this size, in the unit of the files.",
)
@click.option(
    "--max-points",
    type=click.IntRange(FEWEST_POINTS),
    help="Keep so many points of a cloud at most, drawn at random.",
)
@drop_no_return_option
@click.option(
    ANOMALOUS_LABELS,
    metavar="NUMBERS",
    default="",
    show_default=False,
    help="Which numbers of a mask are anomalous: 255, a range 1-3, several 1,4-6, or nonzero; all "
    "others are normal.  [default: 1, and nothing but 0 and 1 is taken]",
)
@click.option(
    "--train-cut",
    is_flag=True,
    help="real3d-ad: train on the clouds in folders train_cut, not on those in train.",
)
@click.option("--force", is_flag=True, help="Replace an existing file or unfinished import.")
@options.executor_options
@options.dry_run_option
@options.json_option
@options.quiet_option
def import_command(
    out: Path, force: bool, jobs: int | None, dry_run: bool, as_json: bool, **given: Any
) -> None:
    """Make a dataset file of clouds in another layout, your own or a public data set's.

    LAYOUT is auto, anomaly-shapenet, real3d-ad, mulsen-ad, mvtec-3d-ad, hf-parquet or folder. PATH
    is a folder or a .zip file; of hf-parquet a folder, from which the file comes back as it was, so
    that only --force, --json and --quiet apply. Everything works on the file that works on a built
    one: verify, info, preview, train, evaluate. Defective clouds without labels of their points are
    kept so, and figures of points leave them out; `iv labels` fills them in. Killed at any moment,
    the same command carries on; of hf-parquet it begins again.
    """
    settings = _settings(**given)
    if restores(settings) and (jobs not in (None, 1) or dry_run or options.uses_dask()):
        raise no_use("--dry-run" if dry_run else "--executor" if options.uses_dask() else "--jobs")
    if dry_run:
        check_target(out, force)
        _print_plan(plan_import(settings), as_json)
        return
    try:
        with options.chosen_executor(jobs, local_executor) as executor:
            result = import_dataset(settings, out, executor, force)
    except KeyboardInterrupt:
        raise IVError("interrupted; run the same command again") from None
    print_result(result, as_json)


def _settings(
    *,
    mesh_rule: MeshRule,
    template_points: int | None,
    voxel: float | None,
    max_points: int | None,
    drop_no_return: bool,
    anomalous_labels: str,
    **named: Any,
) -> ImportSettings:
    """Make the settings of an import. named : its fields that are options themselves."""
    anomalous = AnomalousLabels.parse(anomalous_labels) if anomalous_labels else None
    return ImportSettings(
        meshes=MeshTemplates(mesh_rule, template_points),
        thinning=Thinning(voxel, max_points),
        choices=ReadingChoices(drop_no_return, anomalous),
        **named,
    )


def _print_plan(plan: ImportPlan, as_json: bool) -> None:
    """Print the samples that would be made, a line for each; or JSON. Their clouds are not read."""
    samples = [
        {
            "id": job.id,
            "category": job.category,
            "subcategory": job.subcategory,
            "split": job.scan.split,
            "defect": job.defect,
            "cloud": job.scan.cloud,
        }
        for job in plan.jobs
    ]
    if as_json:
        left_out = plan.left_out.to_dict()
        content = {"samples": samples, "skipped": plan.skipped, "left_out": left_out}
        click.echo(json.dumps(content))
        return
    for reason in plan.skipped.values():
        click.echo(f"skipped  {reason}", err=True)
    for sample in samples:
        click.echo("sample  " + "  ".join(sample.values()))
    click.echo(f"{len(samples)} samples; nothing was written (--dry-run)", err=True)


def print_result(result: ImportResult, as_json: bool) -> None:
    """Print one line, and one on stderr for each cloud that was left out; or JSON."""
    if as_json:
        content = {
            "path": str(result.path),
            "content_digest": result.digest,
            "samples": result.specification.total,
            "specification": result.specification.to_dict(),
            "skipped": result.skipped,
            "unlabelled": result.unlabelled,
            "left_out": result.left_out.to_dict(),
            "dropped": result.dropped,
        }
        click.echo(json.dumps(content))
        return
    for reason in result.skipped.values():
        click.echo(f"skipped  {reason}", err=True)
    if result.unlabelled:
        click.echo(
            f"{result.unlabelled} samples have no labels of their points: figures of points leave "
            "them out. Label them with `iv labels export --unlabelled` and `iv labels import`."
        )
    if result.dropped:
        most = sorted(result.dropped.items(), key=lambda item: -item[1])
        shown = first_of((f"{name} {count:,}" for name, count in most), 5)
        click.echo(
            f"{DROP_NO_RETURN} left out {sum(result.dropped.values()):,} points of "
            f"{len(most)} clouds ({shown})",
            err=True,
        )
    left_out = f", {len(result.skipped)} skipped" if result.skipped else ""
    path = click.format_filename(result.path)
    click.echo(
        f"{path}: {result.specification.total} samples{left_out}, content digest {result.digest}"
    )
