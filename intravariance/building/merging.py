# SPDX-License-Identifier: Apache-2.0
"""Shards of a build joined to the dataset file that one process would have built, or listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intravariance.dataset.assembly.sample_files import assemble_shards
from intravariance.dataset.assembly.work_folder import (
    claim,
    finish,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.sharding.index import Index, IndexedShard, is_index
from intravariance.dataset.store import Dataset, open_shards
from intravariance.errors import InputError
from intravariance.files.atomic import check_target
from intravariance.files.uploading import write_place
from intravariance.files.urls import size_of
from intravariance.verification.verify import failures


def merge(shards: Sequence[Path], out: Path, force: bool = False, quiet: bool = False) -> str:
    """Join all shards of a build, in any order, into the file `out`; return the content digest.

    It is that of a build in one go. The shards are kept. Where `out` is called NAME.index.json,
    they are not joined but listed there.

    Raises
    ------
    InputError
        A file is no shard, shards are of different builds, missing or there twice; `out` exists
        (without `force`), cannot be written, or is being built; an index would not lie beside its
        shards.
    IntegrityError
        A shard is damaged, or the joined file does not verify.
    """
    if is_index(out):
        with open_shards(shards) as whole:
            write_index(out, whole, force)
            return whole.digest
    check_target(out, force)
    with open_shards(shards) as whole:
        metadata = whole.metadata
        with plain_disk_errors(out), locked_folder(out) as partial:
            claim(partial, metadata, out, force, work="merge")
            return finish(
                partial, [], metadata, out, failures, force, quiet,
                lambda path, _, content: assemble_shards(path, whole, content),
            )  # fmt: skip


def write_index(out: Path, whole: Dataset, force: bool = False) -> None:
    """Write the index of a whole beside its shards.

    Raises InputError where one lies in another folder, or `out` exists (without `force`).
    """
    shards = whole.parts
    for shard in shards:
        if shard.path.parent.resolve() != out.parent.resolve():
            raise InputError(
                f"--out {out}: an index lies beside its shards, and {shard.path} is in another "
                "folder"
            )
    listed = [
        IndexedShard(
            shard.path.name,
            size_of(shard.path),
            shard.digest,
            {record.id: record.digest for record in shard},
        )
        for shard in shards
    ]
    write_place(out, Index(whole.digest, tuple(listed)).to_bytes(), force)
