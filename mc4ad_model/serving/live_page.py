# SPDX-License-Identifier: Apache-2.0
"""The page of the service: scans are dropped on it, and looked at as in predictions.html."""

from __future__ import annotations

import importlib.resources

from intravariance.looking.page import Heading, Listing, page

_COLUMNS = ("scan", "object score", "p-value", "anomalous", "points", "remarks")


def live_page(category: str) -> bytes:
    """Make the page (UTF-8). Raises BackendUnavailable without the viewer library."""
    folder = importlib.resources.files("mc4ad_model.serving") / "page_assets"
    script = (folder / "drop.js").read_text(encoding="utf-8")
    listing = Listing("", [Heading(name) for name in _COLUMNS])
    return page(f"{category}: score scans", [], listing=listing, live=script)
