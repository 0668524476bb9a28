# SPDX-License-Identifier: Apache-2.0
"""`iv serve`."""

from __future__ import annotations

from pathlib import Path

import click

from intravariance.commands import options as common
from intravariance.progress import say
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.serving.desk import Desk
from mc4ad_model.serving.live_page import live_page
from mc4ad_model.serving.worker import Opening, Worker


@click.command("serve")
@common.path_option("--run", "Folder that `iv train` or `iv export-detector` wrote.", required=True)
@options.run_category_option
@options.false_alarms_option
@options.length_option
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to listen at. There is no authentication: any other than this machine's own "
    "lets everybody in who reaches it.",
)
@common.number_option("--port", 8000, 0, 65535, "0 takes a free one, and prints it.")
@common.number_option("--jobs", 1, 1, 64, "Processes that score; each holds the network.")
@common.number_option(
    "--queue", 8, 0, 1000, "Requests that may wait; more are told to come again (503)."
)
@common.number_option("--max-mb", 64, 1, 1024, "Size of a file in MB; larger ones are refused.")
@common.number_option("--max-points", 2_000_000, 16, 10_000_000, "Points of a cloud at most.")
@common.number_option(
    "--timeout", 60, 1, 3600, "Seconds for an upload, and for the scoring of one cloud."
)
@options.scoring_options
def serve_command(
    run: Path,
    category: str | None,
    false_alarms: float | None,
    length: float | None,
    host: str,
    port: int,
    jobs: int,
    queue: int,
    max_mb: int,
    max_points: int,
    timeout: int,
    machine: Machine,
) -> None:
    """Score clouds that are sent over HTTP, with a trained run.

    POST /score takes a cloud and gives its scores as JSON or PLY; / is a page to drop scans on;
    /health and /metrics tell how the service is. Ends at Ctrl-C or SIGTERM, with code 0.
    """
    from mc4ad_model.serving import app as service  # noqa: PLC0415 - weight
    from mc4ad_model.serving import server as http  # noqa: PLC0415 - weight

    opening = Opening(run, category, false_alarms, length, machine)
    listening = http.listen(host, port)
    workers = [Worker(opening, jobs) for _ in range(jobs)]
    desk = Desk(workers, queue, timeout)
    try:
        say("starting", machine.quiet)
        found = {worker.start() for worker in workers}.pop()
        names = http.local_names(listening, host)
        limits = service.Limits(max_mb * 10**6, max_points, timeout)
        app = service.make_app(desk, limits, live_page(found), {"category": found}, names)
        if names is None:
            say(f"note: without authentication, for everybody who reaches {host}")
        click.echo(f"{found}: {http.address_of(listening)}")
        http.serve(app, listening, timeout)
    finally:
        desk.close()
        listening.close()
    say("stopped", machine.quiet)
