# SPDX-License-Identifier: Apache-2.0
"""`iv build`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from intravariance.building.mesh_check import MeshCheck
from intravariance.building.mesh_check import check_meshes as run_checks
from intravariance.building.placing import build_at
from intravariance.building.plan import make_plan
from intravariance.building.run import BuildResult, default_cache
from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.commands.import_ import print_result
from intravariance.commands.mesh_check import as_json as checks_json
from intravariance.commands.mesh_check import table, unusable
from intravariance.commands.options import (
    DATASET_PATH,
    NumberRange,
    categories_option,
    chosen_executor,
    dry_run_option,
    executor_options,
    json_option,
    quiet_option,
)
from intravariance.commands.shard_options import shard_options
from intravariance.commands.sweep import run_sweep, sweep_option
from intravariance.dataset.sharding.shards import Shard, parse_shard
from intravariance.dataset.specification import GROUPS, Specification
from intravariance.dataset.specification_reader import (
    load_collation,
    load_group,
    load_specification,
)
from intravariance.errors import InputError, IVError
from intravariance.exchange.importing.collation import CollationSettings, plan_collation
from intravariance.exchange.importing.run import run_import
from intravariance.executors.processes import ProcessExecutor
from intravariance.files.atomic import check_target
from intravariance.geometry.sampling import NOISE_VARIANCE, PoseKind
from intravariance.lengths import Length, parse_length
from intravariance.progress import say
from intravariance.sources import Choice, Up, choice_notes, choose, parse_source

_COLLATION = "anomaly_shapenet:"


@click.command("build")
@click.option("--group", type=click.Choice([str(g) for g in GROUPS]), help="Group of the paper.")
@click.option("--spec", type=click.Path(path_type=Path), help="Your own specification (TOML).")
@categories_option
@click.option(
    "--source",
    default="procedural",
    show_default=True,
    help="Base meshes: procedural, folder:PATH, modelnet40:PATH or shapenet:PATH (a directory or "
    "a .zip), or the name of a source that an installed package adds. Or anomaly_shapenet:PATH: "
    "Group 1 is collated from its clouds.",
)
@click.option(
    "--up",
    type=click.Choice(["y", "z"]),
    help="Axis that points up in the source's files.  [default: y in ShapeNet and glb, else z]",
)
@click.option(
    "--follow-links",
    is_flag=True,
    help="Follow links that lead out of the source's folder (never done unasked).",
)
@click.option(
    "--fill",
    type=click.Choice(["procedural"]),
    help="Use embedded designs where the source has too few meshes.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out base meshes that cannot be used.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--pose",
    type=click.Choice(["canonical", "z", "so3"]),
    default="so3",
    show_default=True,
    help="Pose of test samples: as designed, turned about z, or turned freely.",
)
@click.option(
    "--noise-variance",
    type=NumberRange(min=0),
    help="Variance of the Gaussian noise on each coordinate.  [default: 0.002]",
)
@click.option(
    "--noise-sigma",
    help="Standard deviation of that noise instead (the paper's other reading: 0.002), in radii of "
    'each product, or with a unit, as "0.05 mm", where the specification tells that of the meshes.',
)
@click.option("--out", type=DATASET_PATH, help="File to write.  [default: NAME.h5]")
@shard_options
@sweep_option
@click.option("--force", is_flag=True, help="Replace an existing file or unfinished build.")
@executor_options
@click.option("--blender", type=click.Path(path_type=Path), help="Blender program to use.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for prepared base meshes.")
@dry_run_option
@click.option(
    "--check-meshes",
    is_flag=True,
    help="With --dry-run: read and repair each base mesh, and try its defects in Blender.",
)
@json_option
@quiet_option
def build_command(
    group: str | None,
    spec: Path | None,
    categories: tuple[str, ...],
    source: str,
    up: Up | None,
    follow_links: bool,
    fill: str | None,
    skip_bad: bool,
    seed: int,
    pose: PoseKind,
    noise_variance: float | None,
    noise_sigma: str | None,
    out: Path | None,
    shard: str | None,
    shards: int | None,
    sweeps: tuple[str, ...],
    force: bool,
    jobs: int | None,
    blender: Path | None,
    cache: Path | None,
    dry_run: bool,
    check_meshes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a dataset: base meshes, Blender defects, labelled point clouds, one HDF5 file.

    Killed at any moment, the same command carries on and ends with the same content digest.
    """
    if check_meshes and not dry_run:
        raise InputError("--check-meshes goes with --dry-run: it checks before a build")
    if source.startswith(_COLLATION):
        needless: dict[str, object] = {"--fill": fill, "--blender": blender, "--cache": cache}
        needless |= {"--shard": shard, "--shards": shards, "--sweep": sweeps or None}
        _refuse_needless(needless, source)
        specification = _collation(group, spec).select(categories)
        _collate(
            specification, source, up or "z", seed, pose,
            _in_radii(_noise(specification, noise_variance, noise_sigma)),
            skip_bad, out, force, jobs, dry_run, as_json, quiet,
        )  # fmt: skip
        return
    if shard is not None and shards is not None:
        raise InputError("give --shard I/N for one part or --shards N for all, not both")
    specification = _specification(group, spec).select(categories)
    noise = _noise(specification, noise_variance, noise_sigma)
    settings = BuildSettings(
        specification=specification,
        samples=_sample_settings(specification, seed, pose, noise),
        source=source,
        cache=default_cache() if cache is None else cache,
        up=up,
        follow_links=follow_links,
        fill=fill is not None,
        skip_bad=skip_bad,
        blender=blender,
        quiet=quiet,
        noise=noise if isinstance(noise, Length) else None,
        shard=None if shard is None else parse_shard(shard),
    )
    settings.check_units()
    if sweeps and not check_meshes:
        others: dict[str, object] = {"--shard": shard, "--shards": shards}
        others |= {"--noise-sigma": noise_sigma, "--noise-variance": noise_variance}
        run_sweep(
            settings, sweeps, others, out, force, chosen_executor(jobs, ProcessExecutor), dry_run,
            as_json,
        )  # fmt: skip
        return
    if dry_run:
        _dry_run(settings, check_meshes, jobs, as_json)
        return
    _build(settings, out, shards, force, jobs, as_json)


def _build(
    settings: BuildSettings,
    out: Path | None,
    shards: int | None,
    force: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Build, and print what was built."""
    out = Path(f"{settings.specification.name}.h5") if out is None else out
    out = out if settings.shard is None else settings.shard.path(out)
    try:
        with chosen_executor(jobs, ProcessExecutor) as executor:
            result = build_at(settings, out, shards, executor, force)
    except KeyboardInterrupt:
        raise IVError("interrupted; the same command carries on from here") from None
    _print_build(result, as_json)


def _sample_settings(
    specification: Specification, seed: int, pose: PoseKind, noise: float | Length
) -> SampleSettings:
    return SampleSettings(
        seed=seed,
        pose=pose,
        noise_sigma=math.nan if isinstance(noise, Length) else noise,
        tolerance=specification.tolerance,
        points=specification.points,
        scan=specification.scan,
    )


def _refuse_needless(options: Mapping[str, object], source: str) -> None:
    """Raise InputError where an option is given that has no use without meshes."""
    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(f"{given[0]} is of no use with --source {source}: there are no meshes")


def _dry_run(settings: BuildSettings, check_meshes: bool, jobs: int | None, as_json: bool) -> None:
    """Print the plan of a build, or what its base meshes are and which defects fit."""
    specification, seed = settings.specification, settings.samples.seed
    choices = _choices(
        specification, settings.source, settings.up, settings.follow_links, seed, settings.fill
    )
    if not check_meshes:
        _print_plan(specification, choices, seed, settings.shard, as_json)
        return
    with chosen_executor(jobs, ProcessExecutor) as executor:
        checks = run_checks(
            specification, choices, seed, settings.cache, settings.skip_bad, settings.blender,
            executor, settings.quiet,
        )  # fmt: skip
    _print_checks(checks, as_json)


def _print_build(result: BuildResult, as_json: bool) -> None:
    if as_json:
        content = {
            "path": str(result.path),
            "content_digest": result.digest,
            "samples": result.samples,
            "rejected_draws": result.rejections,
        }
        click.echo(json.dumps(content))
        return
    rejected = ", ".join(f"{defect} {n}" for defect, n in sorted(result.rejections.items()))
    path = click.format_filename(result.path)
    click.echo(f"{path}: {result.samples} samples, content digest {result.digest}")
    click.echo(f"draws of defect parameters refused and repeated: {rejected or 'none'}")


def _specification(group: str | None, spec: Path | None) -> Specification:
    if (group is None) == (spec is None):
        raise InputError("give either --group 1, --group 2 or --spec FILE")
    return load_specification(spec) if spec is not None else load_group(int(group or 0))


def _collation(group: str | None, spec: Path | None) -> Specification:
    if group == "2":
        raise InputError(
            f"--group 2 --source {_COLLATION}PATH: only Group 1 can be collated from its clouds"
        )
    return load_collation() if group is not None and spec is None else _specification(group, spec)


def _collate(
    specification: Specification,
    source: str,
    up: Up,
    seed: int,
    pose: PoseKind,
    sigma: float,
    skip_bad: bool,
    out: Path | None,
    force: bool,
    jobs: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:

    location = source.removeprefix(_COLLATION)
    if not location:
        raise InputError(f"--source {source}: expected {_COLLATION}PATH, a folder or a .zip file")
    path = Path(os.path.expanduser(location))
    out = Path(f"{specification.name}.h5") if out is None else out
    if not dry_run:
        check_target(out, force)
    plan = plan_collation(CollationSettings(specification, path, seed, pose, sigma, up, skip_bad))
    if dry_run:
        content = [
            {"id": job.id, "subcategory": job.subcategory, "defect": job.defect,
             "scan": job.scan.id, "n_points": job.treatment.n_points}
            for job in plan.jobs
        ]  # fmt: skip
        if as_json:
            click.echo(json.dumps({"samples": content}))
        for row in [] if as_json else content:
            click.echo("sample  " + "  ".join(str(value) for value in row.values()) + " points")
        click.echo(f"{len(content)} samples; nothing was written (--dry-run)", err=True)
    for difference in plan.identity["imported"]["collated"]["differences"]:
        say(f"differs: {difference}", quiet)
    if dry_run:
        return
    try:
        with chosen_executor(jobs, ProcessExecutor) as executor:
            result = run_import(plan, out, executor, skip_bad, quiet, force)
    except KeyboardInterrupt:
        raise IVError("interrupted; the same command carries on from here") from None
    print_result(result, as_json)


def _noise(
    specification: Specification, variance: float | None, sigma: str | None
) -> float | Length:
    """Return the standard deviation that options, specification or the default ask for."""
    if variance is not None and sigma is not None:
        raise InputError("give --noise-variance or --noise-sigma, not both")
    if variance is not None:
        return math.sqrt(variance)
    if sigma is not None:
        return parse_length("--noise-sigma", sigma)
    if text := specification.given.get("noise_sigma"):
        return parse_length("noise_sigma", text)
    if specification.noise_sigma is not None:
        return specification.noise_sigma
    return math.sqrt(NOISE_VARIANCE)


def _in_radii(noise: float | Length) -> float:
    if isinstance(noise, Length):
        raise InputError(f"noise of {noise}: clouds have no unit; give a number of radii")
    return noise


def _choices(
    specification: Specification,
    source: str,
    up: Up | None,
    follow_links: bool,
    seed: int,
    fill: bool,
) -> list[Choice]:
    """Choose the base meshes, and tell how."""
    found = parse_source(source, up, follow_links)
    choices = choose(specification, found, seed, fill)
    for note in choice_notes(specification, found, choices):
        say(f"base meshes: {note}")
    return choices


def _print_checks(checks: list[MeshCheck], as_json: bool) -> None:
    """Print what was found; raises InputError where a build would stop."""
    click.echo(json.dumps({"base_meshes": checks_json(checks)}) if as_json else table(checks))
    if problems := unusable(checks):
        raise InputError("a build would stop at these base meshes:\n  " + "\n  ".join(problems))


def _print_plan(
    specification: Specification,
    choices: list[Choice],
    seed: int,
    shard: Shard | None,
    as_json: bool,
) -> None:
    jobs = make_plan(specification, seed)
    jobs = jobs if shard is None else shard.part(jobs)
    meshes = {f"{c.category}/{c.subcategory}": c.origin for c in choices}
    if as_json:
        click.echo(json.dumps({"base_meshes": meshes, "samples": [asdict(job) for job in jobs]}))
        return
    for name, origin in meshes.items():
        click.echo(f"base mesh  {name}  {origin}")
    for job in jobs:
        severity = "" if job.severity is None else f"  severity {job.severity:.2f}"
        severity = severity if job.size is None else f"  size {job.size}"
        click.echo(
            f"sample  {job.id}  {job.subcategory}  {job.defect}  {job.n_points} points{severity}"
        )
    click.echo(f"{len(jobs)} samples; nothing was written (--dry-run)", err=True)
