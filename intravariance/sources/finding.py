# SPDX-License-Identifier: Apache-2.0
"""Where the base meshes of a category lie in each kind of source.

    procedural        embedded designs, made with Blender
    folder:PATH       <category>/<file> or <category>/<subcategory>/<file>; off obj ply stl glb
    modelnet40:PATH   [ModelNet40/]<category>/{train,test}/<file>.off
    shapenet:PATH     [ShapeNetCore.v1/]<synset>/<id>/model.obj
                      [ShapeNetCore.v2/]<synset>/<id>/models/model_normalized.obj
                      or <synset>.zip files with either inside

PATH is a folder or a .zip file. Links to folders are not followed, links to files only where they
stay inside PATH. Research-only terms apply to ModelNet40 and ShapeNet, which this
project neither has nor downloads.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from intravariance.dataset.specification import Category
from intravariance.errors import InputError
from intravariance.files.trees import FolderTree, Tree, ZipTree, open_tree

Up = Literal["y", "z"]
FORMATS = ("off", "obj", "ply", "stl", "glb")
FORMS = "procedural, folder:PATH, modelnet40:PATH, shapenet:PATH (PATH is a folder or a .zip file)"

# ShapeNetCore's 55 classes have these of ours. It has mugs for cups and faucets for taps; buckets,
# vases, radios, night stands, desks, cones, doors and consoles are no classes of their own there.
SYNSETS = {
    "bottle": "02876657",
    "bowl": "02880940",
    "cap": "02954340",
    "cup": "03797390",
    "helmet": "03513137",
    "keyboard": "03085013",
    "microphone": "03759954",
    "tap": "03325088",
}


@dataclass(frozen=True)
class Candidate:
    """One mesh that a source offers.

    subcategory : None where the layout has none. name : path inside the source, with "/".
    """

    category: str
    subcategory: str | None
    name: str


class Source(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def label(self) -> str:
        """Return what to record of the source: its kind and base name, no path of this machine."""

    def candidates(self, category: Category) -> list[Candidate]:
        """List the meshes of a category, sorted by name."""

    def where(self, category: Category) -> str:
        """Return where the meshes of a category are looked for, for error messages."""

    def up_axis(self, name: str) -> Up:
        """Return which axis of a candidate's file points up."""

    def read(self, name: str) -> bytes:
        """Read the file of a candidate. Raises InputError when it cannot or may not be read."""


def parse_source(text: str, up: Up | None = None) -> Source:
    """Return the source that `--source` names. Raises InputError for other forms and missing paths.

    up : the axis that points up in the files; None takes the layout's own: y in ShapeNet and in
    glb files (both by their specification), z elsewhere.
    """
    if text == "procedural":
        if up is not None:
            raise InputError(f"--up {up} is for files; --source procedural has none")
        return Procedural()
    kind, _, location = text.partition(":")
    if kind == "anomaly_shapenet":
        raise InputError(
            f"--source {text}: Anomaly-ShapeNet has clouds, not meshes; Group 1 is collated from "
            "it, and it can make no other dataset"
        )
    if kind not in _KINDS or not location:
        raise InputError(f"--source {text}: expected one of {FORMS}")
    path = Path(os.path.expanduser(location))  # Path.expanduser raises where there is no such user
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".zip"):
        found = "a file of another kind" if path.exists() else "nothing"
        raise InputError(f"--source {text}: expected a folder or a .zip file, found {found}")
    return _KINDS[kind](path, up)


@dataclass(frozen=True)
class Procedural:
    """The embedded designs, by category and subcategory."""

    kind: str = "procedural"
    label: str = "procedural"

    def candidates(self, category: Category) -> list[Candidate]:
        catalogue = files("blender_scripts") / "designs" / "catalogue.toml"
        designs = tomllib.loads(catalogue.read_text(encoding="utf-8")).get(category.name, [])
        return [
            Candidate(category.name, name, f"{category.name}/{name}") for name in sorted(designs)
        ]

    def where(self, category: Category) -> str:
        return f"the embedded designs of {category.name}"

    def up_axis(self, name: str) -> Up:
        return "z"

    def read(self, name: str) -> bytes:
        raise InputError(f"{name}: an embedded design has no file")


@dataclass(frozen=True)
class Folder:
    """The user's own meshes, in a folder for each category."""

    path: Path
    up: Up | None = None
    kind = "folder"

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.path.resolve().name}"

    def candidates(self, category: Category) -> list[Candidate]:
        tree = open_tree(self.path)
        found = []
        for folder in category_folders(tree, category):
            for name in tree.files(folder):
                if PurePosixPath(name).suffix.lower().lstrip(".") in FORMATS:
                    parents = PurePosixPath(name).relative_to(folder).parts[:-1]
                    subcategory = plain_name(parents[0]) if parents else None
                    found.append(Candidate(category.name, subcategory, name))
        return sorted(found, key=lambda candidate: candidate.name)

    def where(self, category: Category) -> str:
        return f"{self.path}/{category.name} (files {' '.join(FORMATS)})"

    def up_axis(self, name: str) -> Up:
        return self.up or ("y" if name.lower().endswith(".glb") else "z")

    def read(self, name: str) -> bytes:
        return open_tree(self.path).read(name)


@dataclass(frozen=True)
class ModelNet40(Folder):
    """ModelNet40: OFF files in train and test folders; both are used alike."""

    kind = "modelnet40"

    def candidates(self, category: Category) -> list[Candidate]:
        tree = open_tree(self.path)
        inside = re.compile(r".*/(train|test)/[^/]+\.off", re.IGNORECASE)
        return [
            Candidate(category.name, None, name)
            for folder in category_folders(tree, category)
            for name in tree.files(folder)
            if inside.fullmatch(name)
        ]

    def where(self, category: Category) -> str:
        return f"{self.path}/{category.name}/{{train,test}}/*.off"


@dataclass(frozen=True)
class ShapeNet(Folder):
    """ShapeNetCore, version 1 or 2, unpacked or as one .zip file for each synset."""

    kind = "shapenet"

    def candidates(self, category: Category) -> list[Candidate]:
        synset = SYNSETS.get(category.name)
        if synset is None:
            return []
        tree = open_tree(self.path)
        names = [name for root in _roots(tree) for name in tree.files(f"{root}{synset}")]
        archive = self.path / f"{synset}.zip"
        unpacked = bool(names)  # with the archive still beside it: the same models
        if not unpacked and archive.is_file() and FolderTree(self.path).contains(archive):
            names = [f"{archive.name}/{name}" for name in ZipTree(archive).files("")]
        model = re.compile(r".+/(model\.obj|models/model_normalized\.obj)")
        return [Candidate(category.name, None, n) for n in sorted(names) if model.fullmatch(n)]

    def where(self, category: Category) -> str:
        synset = SYNSETS.get(category.name)
        if synset is None:
            return f"ShapeNet has no class {category.name}"
        return f"{self.path}/{synset} (ShapeNet's class for {category.name})"

    def up_axis(self, name: str) -> Up:
        return self.up or "y"

    def read(self, name: str) -> bytes:
        archive, _, member = name.partition(".zip/")
        if member and self.path.is_dir():
            return ZipTree(self.path / f"{archive}.zip").read(member)
        return super().read(name)


_KINDS = {"folder": Folder, "modelnet40": ModelNet40, "shapenet": ShapeNet}


def plain_name(text: str) -> str:
    """Write a folder's name as the specification writes names: "Night-Stand" is night_stand."""
    return re.sub(r"[\s-]+", "_", text.casefold())


def category_folders(tree: Tree, category: Category) -> list[str]:
    """List the folders named like the category or an alias, at the root or in its only folder."""
    names = {category.name, *category.aliases}
    for root in _roots(tree):
        folders = [f for f in tree.folders(root.rstrip("/")) if plain_name(f) in names]
        if folders:  # what lies below is a subcategory, also when it has the same name
            return [f"{root}{folder}" for folder in folders]
    return []


def _roots(tree: Tree) -> list[str]:
    """Return the root, and the one folder that archives often have around everything."""
    folders = tree.folders("")
    return ["", f"{folders[0]}/"] if len(folders) == 1 else [""]
