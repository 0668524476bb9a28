# SPDX-License-Identifier: Apache-2.0
"""Build what is published, and write the digests: Groups 1 and 2, seed 0, at both noises.

    python tools/publish_digests.py [--builds FOLDER] [--jobs N]

Writes intravariance/dataset/specifications/published_digests.toml. Run it on a machine with the
versions to be published, after every change that changes data; `iv verify --against-published` and
`iv card` then compare with what it wrote. FOLDER keeps the four files; those that are there with
the settings asked for are taken as they are, so make sure that the present code made them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from intravariance import Dataset, open_dataset
from intravariance.dataset.published import DECISIVE, identity_digest

TARGET = Path(__file__).resolve().parents[1] / (
    "intravariance/dataset/specifications/published_digests.toml"
)
NOISES = {
    "noise variance 0.002": ["--noise-variance", "0.002"],
    "noise sigma 0.002": ["--noise-sigma", "0.002"],
}
BUILDS = {
    f"Group {group}, seed 0, {noise}": ["--group", group, "--seed", "0", *option]
    for group in ("1", "2")
    for noise, option in NOISES.items()
}
HEADER = """# SPDX-License-Identifier: Apache-2.0
# The published builds, which every x86-64 processor makes alike with this software. Written by
# tools/publish_digests.py, read by intravariance/dataset/published.py.
"""


def entry(title: str, options: list[str], dataset: Dataset) -> str:
    """Return the [[build]] table of a file."""
    software = dataset.metadata["software"]
    values = {
        "title": title,
        "command": " ".join(["iv build", *options]),
        "identity": identity_digest(dataset.metadata["identity"]),
        "digest": dataset.digest,
    }
    lines = ["[[build]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    versions = ", ".join(f'"{name}" = {json.dumps(software[name])}' for name in DECISIVE)
    return "\n".join([*lines, f"software = {{ {versions} }}"])


def main() -> None:
    """Build, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--builds", type=Path, help="Folder for the files, which is kept")
    parser.add_argument("--jobs", help="Worker processes of a build")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.builds or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for title, arguments in BUILDS.items():
            out = folder / (title.lower().replace(", ", "-").replace(" ", "_") + ".h5")
            if not out.exists():
                command = [sys.executable, "-c", "from intravariance.cli import main; main()"]
                command += ["build", *arguments, "--out", str(out), "--quiet"]
                command += ["--jobs", options.jobs] if options.jobs else []
                subprocess.run(command, check=True)
            with open_dataset(out) as dataset:
                entries.append(entry(title, arguments, dataset))
                print(f"{title}: {dataset.digest}", flush=True)
    TARGET.write_text("\n\n".join([HEADER.rstrip(), *entries]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
