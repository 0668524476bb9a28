# SPDX-License-Identifier: Apache-2.0
"""A build where the user wants it: one file or shards, on this machine or in an object store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from intravariance.building.in_shards import build_shards
from intravariance.building.run import BuildResult, build
from intravariance.building.settings import BuildSettings
from intravariance.dataset.sharding.index import index_path
from intravariance.dataset.store import open_dataset
from intravariance.executors import Executor
from intravariance.files.uploading import check_destination, made_here, upload


def build_at(
    settings: BuildSettings, out: Path, shards: int | None, executor: Executor, force: bool = False
) -> BuildResult:
    """Build `out`, or so many shards beside it and their index.

    Files for a store are built on this machine, verified, and sent; the index comes last. Where
    something stops the build, the same call carries on. Raises as `build` and `build_shards`, and
    InputError where the store does not let us write.
    """
    check_destination(out if shards is None else index_path(out), force)
    with made_here(out) as here:
        if here == out:
            if shards is None:
                return build(settings, out, executor, force)
            return build_shards(settings, out, shards, executor, force)
        if shards is None:
            result = build(settings, here, executor, force=True, keep=True)
        else:
            result = build_shards(settings, here, shards, executor, force=True)
        with open_dataset(result.path) as made:
            files = dict.fromkeys([*made.files, result.path])
        upload([*files], out, settings.quiet)
        return replace(result, path=out.with_name(result.path.name))
