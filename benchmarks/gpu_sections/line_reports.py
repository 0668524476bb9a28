# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin: a line of JSON for each test as soon as it ends, so that none is lost."""

from __future__ import annotations

import json
import os
from typing import Any

LINES = "IV_TEST_LINES"  # the environment variable that names the file


def pytest_runtest_logreport(report: Any) -> None:
    """Write the test's name, its outcome, and the properties that it recorded."""
    if report.when == "call" or report.outcome != "passed":
        line = {"test": report.nodeid.rpartition("::")[2], "outcome": report.outcome}
        line |= dict(report.user_properties)
        with open(os.environ[LINES], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
