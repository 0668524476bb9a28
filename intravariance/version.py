# SPDX-License-Identifier: Apache-2.0
"""The version of iv that runs: that of a release, or of a commit."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution


def own_version() -> str:
    """Return the version of iv, "source tree" where it runs without being installed.

    An editable installation knows the commit that it was made at, and its sources may have changed
    since: it says so after the version.
    """
    try:
        installed = distribution("intravariance")
    except PackageNotFoundError:
        return "source tree"
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    editable = origin.get("dir_info", {}).get("editable", False)
    return f"{installed.version} (editable)" if editable else installed.version
