# SPDX-License-Identifier: Apache-2.0
"""Names: what may be one, and when two are the same.

Categories and subcategories have names in any script, with spaces, hyphens and capitals. They
become groups of the HDF5 file, the beginning of sample ids, and names of files and folders in
exports, so what breaks one of these is no name. Defect types are plain words: they are columns,
options and colours.
"""

from __future__ import annotations

import re
import unicodedata

PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")
LONGEST_NAME = 100  # bytes of UTF-8; file systems take 255, and an id, "_test_0001.ply" go behind
RESERVED = "samples"  # the file's table
_SEPARATORS = '/\\<>:"|?*'  # of paths; file systems and archives refuse the others
# Directions of writing: a name with one reads otherwise than it is.
_TURNS = {*map(chr, (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}


def name_problem(text: str) -> str:
    """Tell why a text cannot be the name of a category or subcategory; "" where it can."""
    if not text or text != unicodedata.normalize("NFC", text):
        return "it is empty" if not text else "its letters are not composed (Unicode NFC)"
    if text[0] in ".- " or text[-1] in ". ":
        return "it begins with a dot, hyphen or space, or ends with a dot or space"
    for letter in text:
        kind = unicodedata.category(letter)
        if letter in _SEPARATORS or letter in _TURNS or kind in ("Cc", "Cs", "Cn", "Zl", "Zp"):
            return f"it has {letter!r}"
    if len(text.encode()) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} bytes"
    return ""


def plain_name(text: str) -> str:
    """Return what two spellings of a name have in common: "Night-Stand" is night_stand."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return re.sub(r"[\s-]+", "_", folded)
