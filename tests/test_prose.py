# SPDX-License-Identifier: Apache-2.0
"""Prose for strangers: no sentence of a page, docstring or comment begins with "Of" or "What".

Such a sentence keeps its subject back. Questions may begin so, and headings, which others link to.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests import ROOT

FOLDERS = (
    "annotations", "benchmarks", "blender_scripts", "docs", "examples", "intravariance",
    "mc4ad_model", "tests", "tools",
)  # fmt: skip
# Such a sentence, up to its end: after another one, or first in a paragraph or an item.
START = re.compile(
    r"""(?:(?<=[.!?)"`*]\s)|(?<=\n\n)|\A)(?:[-*]\ |\d+\.\ )?(?:\*\*)?
    ((?:Of|What)\s[^.?!]*(?:[.?!](?!\s|\Z|["*)])[^.?!]*)*(?:[.?!]|\Z))""",
    re.VERBOSE,
)
COMMENT = re.compile(r"(?:^[ \t]*#[^\n]*\n)+", re.MULTILINE)
DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pieces(name: str, text: str) -> list[str]:
    """Return the prose of a file, without margins and marks of comments."""
    if name.endswith(".md"):
        without = re.sub(r"^#.*$", "", FENCED.sub("", text), flags=re.MULTILINE)
        return re.split(r"\n(?=\s*[-*] |\d+\. )|\n\n", without)
    comments = [
        re.sub(r"^[ \t]*# ?", "", found, flags=re.MULTILINE) for found in COMMENT.findall(text)
    ]
    return [*comments, *DOCSTRING.findall(text)]


def late_subjects(piece: str) -> list[str]:
    """Return the sentences of a piece of prose that begin with "Of" or "What"."""
    lines = re.sub(r"\n[ \t]+", "\n", piece.strip())
    found = [match.group(1) for match in START.finditer(lines)]
    return [" ".join(sentence.split()) for sentence in found if not sentence.endswith("?")]


def test_it_finds_such_sentences_and_lets_questions_be() -> None:
    assert late_subjects("It is so. Of two, one\n    stays. More.") == ["Of two, one stays."]
    assert late_subjects("What is `a.b`? Of course") == ["Of course"]
    assert late_subjects("One of what is left. The rest.") == []
    assert pieces("a.py", '"""What it is."""\n# Of it.\n') == ["Of it.\n", "What it is."]


def test_sentences_begin_with_their_subject() -> None:
    files = list(ROOT.glob("*.md"))
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")]
    found = {
        str(path.relative_to(ROOT)): sentences
        for path in files
        if path != Path(__file__)
        for piece in pieces(path.name, path.read_text(encoding="utf-8"))
        if (sentences := late_subjects(piece))
    }
    assert not found
