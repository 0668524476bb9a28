# SPDX-License-Identifier: Apache-2.0
"""Digest and metadata of an export's content: a whole dataset file, or some categories of it."""

from __future__ import annotations

from typing import Any

from intravariance.dataset.schema import content_digest
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError


def digest_and_metadata(dataset: Dataset) -> tuple[str, dict[str, Any]]:
    """Return the content digest of what `dataset` selects, and metadata of a file with that alone.

    Raises InputError when the dataset is a selection that cuts through a category.
    """
    metadata = dataset.metadata
    names = dataset.categories
    specification = dataset.specification.select(names) if names else dataset.specification
    if specification.total != len(dataset):
        raise InputError(
            f"{dataset.path}: {len(dataset)} samples of {', '.join(names) or 'no category'} are "
            f"chosen, and these categories have {specification.total}; choose whole categories"
        )
    if specification == dataset.specification:
        return dataset.digest, metadata
    metadata["identity"]["specification"] = specification.to_dict()
    digests = {record.id: record.digest for record in dataset}
    return content_digest(metadata["identity"], digests), metadata
