# SPDX-License-Identifier: Apache-2.0
"""Self-contained HTML pages: clouds to turn, tables to sort, numbers and notes.

`page` makes one with a viewer; what it is given, and what other pages are made of, is named here.
"""

from intravariance.looking.page.assets import fill, script_hash, style
from intravariance.looking.page.document import DISPLAY_POINTS, page
from intravariance.looking.page.notes import Figure, Note
from intravariance.looking.page.packing import display_choice, pack_cloud
from intravariance.looking.page.sortable import (
    Cell,
    Heading,
    Listing,
    Row,
    sort_script,
    sortable_table,
)

__all__ = [
    "DISPLAY_POINTS",
    "Cell",
    "Figure",
    "Heading",
    "Listing",
    "Note",
    "Row",
    "display_choice",
    "fill",
    "pack_cloud",
    "page",
    "script_hash",
    "sort_script",
    "sortable_table",
    "style",
]
