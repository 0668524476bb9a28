# SPDX-License-Identifier: Apache-2.0
"""A build in several files: all its shards, one after another, and the index that names them.

Each shard is a dataset file of its own, with a folder of its own while it is made. One that is
finished is kept when the same command is given again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from intravariance.building.merging import write_index
from intravariance.building.run import BuildResult, build
from intravariance.building.settings import BuildSettings
from intravariance.dataset.sharding.index import index_path, is_index
from intravariance.dataset.sharding.shards import Shard
from intravariance.dataset.sharding.whole import dataset_name
from intravariance.dataset.store import open_shards
from intravariance.executors import Executor
from intravariance.files.atomic import check_target
from intravariance.progress import say


def build_shards(
    settings: BuildSettings, out: Path, of: int, executor: Executor, force: bool = False
) -> BuildResult:
    """Build `of` shards beside `out` (group2.h5), and their index (group2.index.json).

    The content digest is that of the one file, whatever `of` is. Shards that are finished are read
    through and kept.

    Raises
    ------
    InputError
        The index exists (without `force`); so does a file in a shard's place that is damaged or of
        another build; there are fewer samples than shards; or as `build`.
    """
    if is_index(out):
        out = out.with_name(f"{dataset_name(out)}.h5")
    index = index_path(out)
    check_target(index, force)
    Shard(of - 1, of).part(range(settings.specification.total))
    paths, refused = [], Counter[str]()
    for shard in (Shard(number, of) for number in range(of)):
        paths.append(shard.path(out))
        say(f"{shard}: {paths[-1]}", settings.quiet)
        result = build(replace(settings, shard=shard), paths[-1], executor, force, keep=True)
        refused.update(result.rejections)
    with open_shards(paths) as whole:
        write_index(index, whole, force)
        return BuildResult(index, whole.digest, len(whole), dict(refused))
