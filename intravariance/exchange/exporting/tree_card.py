# SPDX-License-Identifier: Apache-2.0
"""README.md of an exported tree: what it is, its licence, and what to cite.

It lies at the root, where no reader of the layouts looks for clouds.
"""

from __future__ import annotations

from intravariance.cards.terms import Terms
from intravariance.dataset.store import Dataset
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from intravariance.exchange.layouts.side_file import SIDE_FILE

README = "README.md"


def tree_card(
    dataset: Dataset, layout: str, digest: str, terms: Terms, described: str = SIDE_FILE
) -> bytes:
    """Write the file (Markdown, UTF-8).

    digest : of the content of the tree. described : the file, or its ending, that describes clouds.
    """
    specification = dataset.specification
    part = ""
    if digest != dataset.digest:
        part = (
            f" It is a part ({', '.join(dataset.categories)}) of a dataset whose content digest is "
            f"`{dataset.digest}`."
        )
    text = (
        f"# {specification.title or specification.name}\n\n"
        f"{len(dataset)} labelled 3D point clouds for anomaly detection, written by `iv export` in "
        f"the layout {layout}. Content digest `{digest}`.{part}\n\n"
        f"`{EXPORT_RECORD}` says how the data was made, `{described}` what each cloud is; "
        "`sha256sum --check SHA256SUMS` checks the files.\n\n"
        f"## Licence\n\n{terms.licence}\n\n"
        f"## Citation\n\n{terms.citation}\n"
    )
    return text.encode()
