# SPDX-License-Identifier: Apache-2.0
"""Shards of a build joined to the dataset file that one process would have built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intravariance.dataset.assembly.sample_files import assemble_shards
from intravariance.dataset.assembly.shards import shard_of, whole_metadata
from intravariance.dataset.assembly.work_folder import (
    claim,
    finish,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.files.atomic import check_target
from intravariance.verification.verify import failures


def merge(shards: Sequence[Path], out: Path, force: bool = False, quiet: bool = False) -> str:
    """Join all shards of a build, in any order, into the file `out`; return the content digest.

    It is that of a build in one go. The shards are kept.

    Raises
    ------
    InputError
        A file is no shard, shards are of different builds, missing or there twice; `out` exists
        (without `force`), cannot be written, or is being built.
    IntegrityError
        A shard is damaged, or the joined file does not verify.
    """
    check_target(out, force)
    numbered: dict[int, Dataset] = {}
    described = []
    for path in shards:
        with open_dataset(path) as dataset:
            described.append((path, dataset.metadata))
        shard = shard_of(dataset.metadata)
        numbered[-1 if shard is None else shard.number] = dataset
    metadata = whole_metadata(described)
    with plain_disk_errors(out), locked_folder(out) as partial:
        claim(partial, metadata, out, force, work="merge")
        return finish(
            partial, [], metadata, out, failures, force, quiet,
            lambda path, _, content: assemble_shards(
                path, [numbered[number] for number in sorted(numbered)], content
            ),
        )  # fmt: skip
