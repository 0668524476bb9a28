# SPDX-License-Identifier: Apache-2.0
"""The dataset card of a folder of Parquet files: that of the dataset file, with other sections
about files and how to read them. `templates/parquet_structure.md` is their prose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from intravariance.cards.dataset_card import dataset_card
from intravariance.dataset.specification import SPLITS
from intravariance.dataset.store import Dataset, Record
from intravariance.exchange.parquet.table import defect_names

_CONFIGS = re.compile(r"^configs:\n.*?(?=^---$)", re.MULTILINE | re.DOTALL)
_STRUCTURE = re.compile(r"^## Dataset Structure\n.*?(?=^## )", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# .*\n", re.MULTILINE)


def parquet_card(
    dataset: Dataset, digest: str, written: Mapping[str, Sequence[Record]], folder: Path
) -> str:
    """Write the card (Markdown, UTF-8).

    digest : of the content of the folder. written : the records in each file of `folder`, whose
    sizes the card lists. The card of a selection is that of its file, and says so.
    """
    names = dataset.categories
    everything = name_of_all(names)
    rows = (
        f"| `{name}` | {len(records)} | {(folder / name).stat().st_size} |"
        for name, records in written.items()
    )
    template = (files("intravariance.cards") / "templates" / "parquet_structure.md").read_text(
        "utf-8"
    )
    structure = Template(template.split("\n", 1)[1]).substitute(
        defects=", ".join(defect_names(dataset)),
        example=f'"{names[0]}"',
        everything=f'"{everything}"',
        files="\n".join(rows),
    )
    card = dataset_card(dataset.path)
    card = _replaced(_CONFIGS, card, _configs(everything, names, written))
    card = _replaced(_STRUCTURE, card, structure)
    title = _TITLE.search(card)
    return _replaced(_TITLE, card, (title[0] if title else "") + "\n" + _folder(dataset, digest))


def name_of_all(categories: Sequence[str]) -> str:
    """Name the configuration with all categories: "all", unless a category has that name."""
    return "all" if "all" not in categories else "all_categories"


def _folder(dataset: Dataset, digest: str) -> str:
    text = (
        f"This folder holds Parquet files that `iv export --layout hf-parquet` made from the "
        f"dataset file `{dataset.path.name}`, without loss.\n"
    )
    if digest != dataset.digest:
        text += (
            f"\n**It holds a part of that file alone: {', '.join(dataset.categories)}, "
            f"{len(dataset)} samples, content digest `{digest}`.** All other numbers below are "
            "those of the whole file.\n"
        )
    return text


def _configs(
    everything: str, categories: Sequence[str], written: Mapping[str, Sequence[Record]]
) -> str:
    """Write the front matter (YAML) that names the configurations, with splits that have files."""
    lines = ["configs:"]
    for name in (everything, *categories):
        folder = "*" if name == everything else name
        lines += [f"- config_name: {json.dumps(name)}"]
        lines += ["  default: true"] if name == everything else []
        lines += ["  data_files:"]
        for split in SPLITS:
            parts = [n.split("/")[1] for n in written if n.split("/")[2].startswith(f"{split}-")]
            if folder in ("*", *parts) and parts:
                lines += [f"  - split: {split}", f"    path: data/{folder}/{split}-*.parquet"]
    return "\n".join(lines) + "\n"


def _replaced(pattern: re.Pattern[str], text: str, by: str) -> str:
    """Return `text` with the first match replaced; ValueError when there is none."""
    changed, count = pattern.subn(lambda _: by, text, count=1)
    if not count:
        raise ValueError(f"the dataset card has nothing that matches {pattern.pattern!r}")
    return changed
