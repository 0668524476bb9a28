# SPDX-License-Identifier: Apache-2.0
"""`iv_samples.jsonl`: what the names in a tree that `iv export` wrote cannot say.

One JSON object a line, at the root of the tree, for each cloud: `file` (its name in the tree), and
what it is: category, subcategory, and more that `iv` does not read back. Trees of others have none.
Clouds that it lists are all there, and no others: an incomplete copy is no dataset.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from intravariance.errors import InputError
from intravariance.exchange.layouts.scan import Scan, in_order, shown_problems
from intravariance.files.trees import Tree
from intravariance.names import name_problem

SIDE_FILE = "iv_samples.jsonl"


def with_side_file(scans: list[Scan], tree: Tree, skipped: list[str] | None = None) -> list[Scan]:
    """Return the scans with category and subcategory as the side file has them, where there is one.

    skipped : scans that it does not list are left out, and added to this list as "<file>: <reason>"
    together with clouds that it lists and that are missing. Raises InputError naming the line when
    it is damaged, and (without `skipped`) with all these.
    """
    present = set(tree.files(""))
    if SIDE_FILE not in present:
        return scans
    path = tree.path / SIDE_FILE
    products = _read(tree, path)
    unlisted = [scan.cloud for scan in scans if scan.cloud not in products]
    problems = [f"{tree.path / name}: it is not listed in {SIDE_FILE}" for name in unlisted]
    problems += [
        f"{tree.path / name}: it is missing, and listed in {SIDE_FILE}"
        for name in products
        if name not in present
    ]
    if skipped is not None:
        skipped += problems
    elif problems:
        raise InputError(
            f"{path} lists the clouds that were exported, and the tree has others. Get the tree "
            "again, or leave them out with --skip-bad; or remove the list, and products are told "
            "by folders alone:\n  " + shown_problems(problems)
        )
    found: list[Scan] = []
    for scan in scans:
        if scan.cloud in products:
            category, subcategory = products[scan.cloud]
            found.append(replace(scan, category=category, subcategory=subcategory))
    return in_order(found)


def _read(tree: Tree, path: Path) -> dict[str, tuple[str, str]]:
    """Return (category, subcategory) by the name of the cloud."""
    products = {}
    for number, line in enumerate(tree.read(SIDE_FILE).splitlines(), 1):
        try:
            row = json.loads(line)
            names = [row[key] for key in ("file", "category", "subcategory")]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: line {number} is no JSON object with file, category and subcategory "
                f"({type(error).__name__}: {error})"
            ) from error
        if not all(isinstance(name, str) for name in names) or any(map(name_problem, names[1:])):
            raise InputError(f"{path}: line {number} has a category or subcategory that is no name")
        products[names[0]] = (names[1], names[2])
    return products
