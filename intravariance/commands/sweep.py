# SPDX-License-Identifier: Apache-2.0
"""`iv build --sweep`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from intravariance.building.settings import BuildSettings
from intravariance.building.sweep import SWEPT, build_sweep, parse_sweeps, plan_sweep
from intravariance.building.sweep_index import INDEX
from intravariance.errors import InputError, IVError
from intravariance.executors import Executor

sweep_option = click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Build a file for each value, all of the same geometry, into the folder --out with an "
    f"index {INDEX}; may be repeated for all combinations. Keys: {', '.join(SWEPT)}.",
)


def run_sweep(
    settings: BuildSettings,
    sweeps: Sequence[str],
    others: Mapping[str, object],
    out: Path | None,
    force: bool,
    executor: Executor,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build a sweep and print what was built, or with `dry_run` what would be.

    others : options that mean nothing, or something else, beside `--sweep`; InputError where one
    is given.
    """
    swept = parse_sweeps(sweeps)
    own = {"--shard", "--shards"} | (
        {"--noise-variance", "--noise-sigma"} if "noise_sigma" in swept else set()
    )
    if given := [name for name in others if name in own and others[name] is not None]:
        raise InputError(f"give --sweep or {given[0]}, not both")
    out = Path(f"{settings.specification.name}-sweep") if out is None else out
    members = plan_sweep(settings, swept, out)
    if dry_run:
        rows = [{"path": str(one.file), "values": dict(one.values)} for one in members]
        total = settings.specification.total
        if as_json:
            click.echo(json.dumps({"members": rows, "samples_each": total}))
            return
        for row in rows:
            click.echo(row["path"])
        click.echo(f"{total} samples in each; nothing was written (--dry-run)", err=True)
        return
    try:
        with executor as running:
            sweep, results = build_sweep(settings, swept, out, running, force)
    except KeyboardInterrupt:
        raise IVError("interrupted; the same command carries on from here") from None
    if as_json:
        content = [
            {
                "path": str(one.path),
                "values": dict(member.values),
                "content_digest": one.digest,
                "samples": one.samples,
            }
            for one, member in zip(results, sweep.members, strict=True)
        ]
        click.echo(json.dumps({"path": str(out / INDEX), "members": content}))
        return
    for one in results:
        path = click.format_filename(one.path)
        click.echo(f"{path}: {one.samples} samples, content digest {one.digest}")
    click.echo(f"{click.format_filename(out / INDEX)}: {len(results)} files of the same geometry")
