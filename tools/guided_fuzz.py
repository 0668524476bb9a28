# SPDX-License-Identifier: Apache-2.0
"""Searches for files that our own parsers fail on, guided by which lines each file reaches.

    pip install atheris
    python -m tools.guided_fuzz "ply cloud" -max_total_time=60

The formats, and what counts as a failure, are those of `hostile_campaign`: the search stops at the
first exception that is not ours, and leaves the file in the current folder (crash-...). All
arguments behind the format are options of libFuzzer. atheris has wheels for Linux, and is no
dependency.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["intravariance"]):
    from tools.hostile_campaign import tried
    from tools.hostile_formats import FORMATS


def main() -> None:
    """Search until an option of libFuzzer ends it."""
    name, *options = sys.argv[1:]

    def one(data: bytes) -> None:
        what = tried(name, data)
        if what not in ("read", "refused"):
            raise RuntimeError(what)

    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(FORMATS[name].files()):
            (Path(corpus) / str(number)).write_bytes(data)
        # a cloud of some points shows all that a parser does
        atheris.Setup([sys.argv[0], "-max_len=4096", *options, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
