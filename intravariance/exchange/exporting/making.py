# SPDX-License-Identifier: Apache-2.0
"""How an export was made: the command that makes it again, from which dataset file."""

from __future__ import annotations

from collections.abc import Mapping

from intravariance.cards.dataset_card import build_command
from intravariance.dataset.provenance import software
from intravariance.dataset.store import Dataset
from intravariance.files.checksums import sha256_of
from intravariance.files.provenance import Making, Material
from intravariance.files.urls import Url


def making(
    dataset: Dataset, layout: str, options: Mapping[str, str], packages: Mapping[str, str]
) -> Making:
    """Describe how `iv export` writes a folder.

    dataset : what is exported, all of a file or whole categories. options : of the command, by
    name, besides --layout and --category. packages : versions of those that took part, besides iv
    and NumPy.
    """
    path, names = dataset.path, dataset.categories
    chosen = names if dataset.specification.select(names) != dataset.specification else []
    given = [("--layout", layout), *(("--category", name) for name in chosen), *options.items()]
    words = [word for pair in given for word in pair]
    made_by = "" if dataset.imported else build_command(dataset)
    materials = [
        Material(
            part.path.name,
            None if isinstance(part.path, Url) else sha256_of(part.path),
            part.digest,
            made_by,
        )
        for part in dataset.parts
    ]
    return Making(
        kind="export",
        command=["iv", "export", path.name, *words, "--out", "FOLDER"],
        options={"layout": layout, "category": chosen, **_plain(options)},
        materials=materials,
        software=software("numpy") | dict(packages),
    )


def _plain(options: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix("--").replace("-", "_"): value for name, value in options.items()}
