# SPDX-License-Identifier: Apache-2.0
"""Names: what may be one, and when two are the same.

Categories, subcategories and defects of imported clouds have names in any script, with spaces,
hyphens and capitals. They become groups of the HDF5 file, the beginning of sample ids, and names of
files and folders in exports, so what breaks one of these is no name. The project's own defect types
and names of datasets are plain words.
"""

from __future__ import annotations

import re
import unicodedata

PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")
LONGEST_NAME = 100  # bytes of UTF-8; file systems take 255, and exports put more behind a name
LONGEST_ID = LONGEST_NAME + 50
RESERVED = "samples"  # the file's table
_SEPARATORS = '/\\<>:"|?*'  # of paths; file systems and archives refuse the others
# Directions of writing: a name with one reads otherwise than it is.
_TURNS = {*map(chr, (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}


def composed(text: str) -> str:
    """Return the text in Unicode's composed form (NFC): one spelling for what looks the same."""
    return unicodedata.normalize("NFC", text)


def name_problem(text: str, longest: int = LONGEST_NAME) -> str:
    """Tell why a text cannot be the name of a category or subcategory; "" where it can.

    longest : in bytes of UTF-8; a sample's id may have LONGEST_ID.
    """
    if not text or text != composed(text):
        return "it is empty" if not text else "its letters are not composed (Unicode NFC)"
    if text[0] in ".- " or text[-1] in ". ":
        return "it begins with a dot, hyphen or space, or ends with a dot or space"
    for letter in text:
        kind = unicodedata.category(letter)
        if letter in _SEPARATORS or letter in _TURNS or kind in ("Cc", "Cs", "Cn", "Zl", "Zp"):
            return f"it has {letter!r}"
    if len(text.encode()) > longest:
        return f"it is longer than {longest} bytes of UTF-8"
    return ""


def as_name(text: str) -> str:
    """Return the text with what no name may have replaced by "_"; "" where nothing is left."""
    letters = (
        "_" if letter not in " .-" and name_problem(letter) else letter for letter in composed(text)
    )
    name = "".join(letters).lstrip(".- ").encode()[:LONGEST_NAME].decode(errors="ignore")
    name = name.rstrip(". ")
    return "" if name_problem(name) or not name.strip("_") else name


def plain_name(text: str) -> str:
    """Return what two spellings of a name have in common: "Night-Stand" is night_stand."""
    return re.sub(r"[\s-]+", "_", composed(composed(text).casefold()))
