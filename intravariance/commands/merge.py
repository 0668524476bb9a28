# SPDX-License-Identifier: Apache-2.0
"""`iv merge`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from intravariance.building.merging import merge
from intravariance.commands.options import DATASET_PATH, json_option, quiet_option
from intravariance.dataset.sharding.index import is_index
from intravariance.errors import IVError
from intravariance.files.uploading import check_destination, made_here, upload


@click.command("merge")
@click.argument("shards", nargs=-1, required=True, type=DATASET_PATH)
@click.option(
    "--out",
    type=DATASET_PATH,
    required=True,
    help="File to write: NAME.h5 joins the shards; NAME.index.json lists them, where they are.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@json_option
@quiet_option
def merge_command(
    shards: tuple[Path, ...], out: Path, force: bool, as_json: bool, quiet: bool
) -> None:
    """Join all SHARDS of `iv build --shard I/N` into the file of a build in one go.

    They must be of one build, all of them; the content digest is the one that `iv build` without
    --shard ends with. SHARDS may be their index, or a pattern in quotation marks. With an index as
    --out, they stay as they are, and every command takes the index for the one file.
    """
    try:
        check_destination(out, force)
        with made_here(out) as here:
            if is_index(out) or here == out:
                digest = merge(shards, out, force, quiet)
            else:
                digest = merge(shards, here, force=True, quiet=quiet)
                upload([here], out, quiet)
    except KeyboardInterrupt:
        raise IVError("interrupted; the shards are as they were") from None
    if as_json:
        click.echo(json.dumps({"path": str(out), "content_digest": digest}))
    else:
        click.echo(f"{click.format_filename(out)}: content digest {digest}")
