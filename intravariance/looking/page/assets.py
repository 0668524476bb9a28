# SPDX-License-Identifier: Apache-2.0
"""Parts of pages: the files of page_assets/, and templates that are filled in."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
from collections.abc import Mapping


def asset(name: str) -> str:
    """Return the text of a file of page_assets/."""
    folder = importlib.resources.files("intravariance.looking.page") / "page_assets"
    return (folder / name).read_text(encoding="utf-8")


def script(name: str) -> str:
    """Return a script of page_assets/ without indents and lines that are comments alone.

    Each of its template strings has to end on the line that it begins on.
    """
    return re.sub(r"^[ ]+|^[ ]*//.*\n|^\n", "", asset(name), flags=re.MULTILINE)


def style() -> str:
    """Return the style that pages share."""
    return asset("style.css")


def script_hash(script: str) -> str:
    """Return the name of a script in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put the values into a template's {{places}}, in one pass: what is put in is not searched."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], template)
