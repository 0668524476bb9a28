# SPDX-License-Identifier: Apache-2.0
"""The makers of a file: versions, and hashes of this project's own code.

By the hashes, nothing that was made by other code is reused.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from intravariance.version import own_version


@lru_cache
def code_digest(*places: str) -> str:
    """Compute the SHA-256 hex digest over the Python and TOML files of packages, folders or files.

    places : package or module first, e.g. "annotations" or "blender_scripts/meshes.py".
    """
    digest = hashlib.sha256()
    for place in places:
        package, _, inside = place.partition("/")
        root = _root(package)
        for name, content in _sources(root / inside if inside else root, place):
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def software(*packages: str) -> dict[str, str]:
    """Return the versions of iv, of Python, and of the packages named, by name."""
    return {
        "iv": own_version(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def made_with() -> dict[str, str]:
    """Return what must be the same wherever samples of one file are made, by name.

    It is the versions of iv, Python, the numerical libraries and Blender's wheel (where it is
    installed), and the beginning of the digest of this project's own code.
    """
    found = software("numpy", "scipy", "h5py", "point-cloud-utils")
    with suppress(PackageNotFoundError):
        found |= software("bpy")
    return found | {"code": code_digest("annotations", "blender_scripts", "intravariance")[:12]}


def _root(package: str) -> Traversable:
    """Return the folder of a package or the file of a module; neither is imported."""
    spec = find_spec(package)
    places = spec.submodule_search_locations or [spec.origin or ""] if spec else []
    found = [path for path in map(Path, places) if path.exists()]
    return found[0] if found else files(package)  # in an archive


def _sources(entry: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    if entry.is_dir():
        for child in sorted(entry.iterdir(), key=lambda child: child.name):
            yield from _sources(child, f"{name}/{child.name}")
    elif entry.name.endswith((".py", ".toml")):
        yield name, entry.read_bytes()
