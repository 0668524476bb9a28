# SPDX-License-Identifier: Apache-2.0
"""`iv verify`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from intravariance.commands.options import (
    file_argument,
    jobs_option,
    json_option,
    quiet_option,
)
from intravariance.errors import InputError
from intravariance.executors.processes import ProcessExecutor
from intravariance.verification.folder import verify_folder
from intravariance.verification.verify import Report, verify


@click.command("verify")
@file_argument
@click.option(
    "--against-published",
    is_flag=True,
    help="Check too that it is a published build of Group 1 or 2, byte for byte.",
)
@jobs_option
@json_option
@quiet_option
@click.pass_context
def verify_command(
    ctx: click.Context,
    file: Path,
    against_published: bool,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check a dataset file: whole, to specification, true to its geometry, free of shortcuts.

    If FILE is a folder that `iv` wrote, the command checks each file in it against SHA256SUMS and
    provenance.json. It ends with exit code 1 when a check fails.
    """
    if file.is_dir():
        if against_published:
            raise InputError(f"--against-published: {file} is a folder, expected a dataset file")
        report = verify_folder(file)
    else:
        # one job is a worker too: here NumPy would take all cores for its small matrix products
        with ProcessExecutor(jobs) as executor:
            report = verify(
                file, against_published=against_published, quiet=quiet, executor=executor
            )
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        _print(report)
    ctx.exit(0 if report.passed else 1)


def _print(report: Report) -> None:
    click.echo(report.path + (f": content digest {report.digest}\n" if report.digest else "\n"))
    width = max(len(check.name) for check in report.checks)
    for check in report.checks:
        verdict = "ok" if check.passed else "FAILED"
        if not check.applies:
            click.echo(f"{check.name:{width}}  {'-':6}  not applicable: {check.message}")
            continue
        click.echo(f"{check.name:{width}}  {verdict:6}  {check.message}")
    if report.probes:
        click.echo("\nCan it tell normal from defective? AUROC (99 % interval), 0.5 = not at all")
        if not any(probe.blind for probe in report.probes):
            click.echo("Measured, not judged: the data is as its makers left it.")
        elif not all(probe.blind for probe in report.probes):
            click.echo("A probe with - sees the defect itself: it is shown, not judged.")
        width = max(len(probe.name) for probe in report.probes)
        for probe in report.probes:
            verdict = ("ok" if probe.passed else "FAILED") if probe.blind else "-"
            click.echo(
                f"{probe.name:{width}}  {verdict:6}  {probe.auroc:.3f} "
                f"({probe.low:.3f} to {probe.high:.3f})  {probe.description}"
                + (f" [{probe.reason}]" if probe.reason else "")
            )
    count = len(report.failures())
    click.echo("\nall passed" if not count else f"\n{count} failed")
