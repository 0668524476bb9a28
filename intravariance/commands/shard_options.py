# SPDX-License-Identifier: Apache-2.0
"""The options of a build in parts."""

from __future__ import annotations

import click
from click.decorators import FC

from intravariance.dataset.sharding.shards import MOST_SHARDS


def shard_options(command: FC) -> FC:
    """Add --shard and --shards."""
    one = click.option(
        "--shard",
        metavar="I/N",
        help="Build part I of N alone, counted from 0, into NAME-0000I-of-0000N.h5; `iv merge` "
        "joins the parts.",
    )
    all_of_them = click.option(
        "--shards",
        type=click.IntRange(1, MOST_SHARDS),
        metavar="N",
        help="Build all N parts, and NAME.index.json, which every command takes in place of one "
        "file.",
    )
    return one(all_of_them(command))
