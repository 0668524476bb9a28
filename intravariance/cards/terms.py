# SPDX-License-Identifier: Apache-2.0
"""Licence and citation of a dataset: read from its card, and carried along with its exports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_FRONT = re.compile(r"^(license|license_name|license_link): *(\S+)$", re.MULTILINE)
_SECTION = r"^## {}\n+(.*?)\n*(?=^## |\Z)"
_WORD = re.compile(r"[\w.:/+-]+")
_BIBTEX = re.compile(r"^```bibtex\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_COMMON = {"apache-2.0": "Apache-2.0", "cc-by-4.0": "CC-BY-4.0"}
_LONGEST = 4000


@dataclass(frozen=True)
class Terms:
    """front : the card's license, license_name and license_link, as far as it has them. licence,
    citation : its sections, Markdown."""

    front: Mapping[str, str]
    licence: str
    citation: str

    def front_matter(self) -> str:
        """Return the lines of a card's front matter, from the value of `license` on."""
        others = (f"\n{key}: {value}" for key, value in self.front.items() if key != "license")
        return self.front.get("license", "other") + "".join(others)

    def address(self) -> str | None:
        """Return where the licence is to be read, or its name where no address is known."""
        licence = self.front.get("license", "other")
        if licence == "other":
            return self.front.get("license_link", self.front.get("license_name"))
        known = _COMMON.get(licence)
        return spdx(known) if known else licence

    def bibtex(self) -> str | None:
        """Return what is to be cited, without the words around it."""
        found = _BIBTEX.search(self.citation)
        return found[1] if found else None

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON; `terms_from` reads it."""
        return asdict(self)


def spdx(identifier: str) -> str:
    """Return the address of a licence, e.g. of "CC-BY-4.0"."""
    return f"https://spdx.org/licenses/{identifier}.html"


def terms_of(card: str) -> Terms:
    """Read the terms that a dataset card states."""
    return Terms(dict(_FRONT.findall(card)), _section(card, "Licence"), _section(card, "Citation"))


def terms_from(content: Any) -> Terms:
    """Read terms from JSON that is not trusted. Raises ValueError when it does not hold any."""
    if not isinstance(content, dict) or not isinstance(content.get("front"), dict):
        raise ValueError("no terms")
    front = content["front"]
    words = [word for item in front.items() for word in item]
    texts = [content.get("licence"), content.get("citation")]
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in [*words, *texts]):
        raise ValueError("terms that are no short texts")
    if not all(_WORD.fullmatch(word) for word in words) or any(
        key not in ("license", "license_name", "license_link") for key in front
    ):
        raise ValueError("a licence that is no name")
    return Terms(front, content["licence"], content["citation"])


def _section(card: str, title: str) -> str:
    found = re.search(_SECTION.format(title), card, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""
