# SPDX-License-Identifier: Apache-2.0
"""Small mesh files that tests write themselves."""

from __future__ import annotations

import zipfile
from pathlib import Path

from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.specification_reader import specification_from_dict

# A cube of side 2: corners in binary order of (x, y, z), faces outward.
CUBE_VERTICES = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
CUBE_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
CUBE_TRIANGLES = [t for a, b, c, d in CUBE_QUADS for t in ((a, b, c), (a, c, d))]


def off_text(vertices=CUBE_VERTICES, faces=CUBE_TRIANGLES, header="OFF\n") -> str:
    lines = [f"{header}{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(map(str, vertex)) for vertex in vertices]
    lines += [" ".join(map(str, (len(face), *face))) for face in faces]
    return "\n".join(lines) + "\n"


def obj_text(vertices=CUBE_VERTICES, faces=CUBE_TRIANGLES) -> str:
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    lines += ["f " + " ".join(str(index + 1) for index in face) for face in faces]
    return "\n".join(lines) + "\n"


def box_off(width: float) -> str:
    """Return a box of its own width, so that every file differs."""
    return off_text([(x * width, y, z) for x, y, z in CUBE_VERTICES])


def write(folder: Path, *names: str) -> Path:
    """Write OFF boxes, each different, under these names in `folder`."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(box_off(1 + number / 10))
    return folder


def write_zip(path: Path, *names: str) -> Path:
    """Do the same as `write`, in an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, box_off(1 + number / 10))
    return path


def specification(**subcategories: list[str]) -> Specification:
    """Return a specification of these categories and subcategories."""
    tables = [
        {"name": name, "subcategories": names, "templates": len(names), "positives": 0}
        for name, names in subcategories.items()
    ]
    return specification_from_dict(
        {"name": "tried", "points": [100, 200], "category": tables}, "tried.toml"
    )


def category(name: str, *subcategories: str) -> Category:
    return specification(**{name: list(subcategories or ("one",))}).categories[0]
