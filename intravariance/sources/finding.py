# SPDX-License-Identifier: Apache-2.0
"""Where the base meshes of a category lie in each kind of source.

    procedural        embedded designs, made with Blender
    folder:PATH       <category>/<file> or <category>/<subcategory>/<file>; off obj ply stl glb
    modelnet40:PATH   [ModelNet40/]<category>/{train,test}/<file>.off
    shapenet:PATH     [ShapeNetCore.v1/]<synset>/<id>/model.obj
                      [ShapeNetCore.v2/]<synset>/<id>/models/model_normalized.obj
                      or <synset>.zip files with either inside

Installed packages add others (module `added`).

PATH is a folder or a .zip file. Links to folders are not followed, links to files only where they
stay inside PATH; `--follow-links` follows all. Research-only terms apply to ModelNet40 and
ShapeNet, which this project neither has nor downloads.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from intravariance.dataset.specification import Category
from intravariance.errors import InputError
from intravariance.files.trees import FolderTree, Tree, ZipTree, open_tree
from intravariance.names import plain_name
from intravariance.sources.synsets import similar_names, synsets

Up = Literal["y", "z"]
FORMATS = ("off", "obj", "ply", "stl", "glb")

# Kinds of files that lie beside meshes and are no meshes: they are left out without a word.
COMPANIONS = {
    *("mtl", "png", "jpg", "jpeg", "bmp", "tga", "tif", "tiff", "gif", "webp", "dds", "hdr", "exr"),
    *("txt", "md", "json", "csv", "tsv", "xml", "yaml", "yml", "toml", "html", "pdf", "license"),
}


@dataclass(frozen=True)
class Candidate:
    """One mesh that a source offers.

    name : path inside the source, with "/". product : what the layout calls it, as a plain name:
    its folder in the category's, else the file's stem; ShapeNet's number of the model.
    """

    category: str
    product: str
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

    def left_out(self, category: Category) -> list[str]:
        """Tell of what is there for a category and is not read: links, files of other kinds."""

    def up_axis(self, name: str) -> Up:
        """Return which axis of a candidate's file points up."""

    def file_format(self, name: str) -> str:
        """Return the format of a candidate's file, one of FORMATS."""

    def read(self, name: str) -> bytes:
        """Read the file of a candidate. Raises InputError when it cannot or may not be read."""


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

    def left_out(self, category: Category) -> list[str]:
        return []

    def up_axis(self, name: str) -> Up:
        return "z"

    def file_format(self, name: str) -> str:
        raise InputError(f"{name}: an embedded design has no file")

    def read(self, name: str) -> bytes:
        raise InputError(f"{name}: an embedded design has no file")


@dataclass(frozen=True)
class Folder:
    """The user's own meshes, in a folder for each category."""

    path: Path
    up: Up | None = None
    follow_links: bool = False
    kind = "folder"

    @property
    def tree(self) -> Tree:
        """Return the tree of the folder or archive."""
        return open_tree(self.path, self.follow_links)

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.path.resolve().name}"

    def candidates(self, category: Category) -> list[Candidate]:
        tree = self.tree
        found = []
        for folder in category_folders(tree, category):
            for name in tree.files(folder):
                if PurePosixPath(name).suffix.lower().lstrip(".") in FORMATS:
                    inside = PurePosixPath(name).relative_to(folder).with_suffix("")
                    found.append(Candidate(category.name, plain_name(inside.parts[0]), name))
        return sorted(found, key=lambda candidate: candidate.name)

    def where(self, category: Category) -> str:
        return f"{self.path}/{category.name} (files {' '.join(FORMATS)})"

    def left_out(self, category: Category) -> list[str]:
        folders = category_folders(self.tree, category)
        kinds = Counter(
            PurePosixPath(name).suffix.lower() or "(no ending)"
            for folder in folders
            for name in self.tree.files(folder)
            if PurePosixPath(name).suffix.lower().lstrip(".") not in (*FORMATS, *COMPANIONS)
        )
        names = _names(category)
        links = _links(self.tree, folders, lambda name: plain_name(name) in names)
        return links + _unread_kinds(kinds)

    def up_axis(self, name: str) -> Up:
        return self.up or ("y" if name.lower().endswith(".glb") else "z")

    def file_format(self, name: str) -> str:
        return PurePosixPath(name).suffix.lower().lstrip(".")

    def read(self, name: str) -> bytes:
        return self.tree.read(name)


@dataclass(frozen=True)
class ModelNet40(Folder):
    """ModelNet40: OFF files in train and test folders; both are used alike."""

    kind = "modelnet40"

    def candidates(self, category: Category) -> list[Candidate]:
        tree = self.tree
        inside = re.compile(r".*/(train|test)/[^/]+\.off", re.IGNORECASE)
        return [
            Candidate(category.name, plain_name(PurePosixPath(name).stem), name)
            for folder in category_folders(tree, category)
            for name in tree.files(folder)
            if inside.fullmatch(name)
        ]

    def where(self, category: Category) -> str:
        return f"{self.path}/{category.name}/{{train,test}}/*.off"

    def left_out(self, category: Category) -> list[str]:
        folders = category_folders(self.tree, category)
        names = _names(category)
        return _links(self.tree, folders, lambda name: plain_name(name) in names)


@dataclass(frozen=True)
class ShapeNet(Folder):
    """ShapeNetCore, version 1 or 2, unpacked or as one .zip file for each synset."""

    kind = "shapenet"

    def candidates(self, category: Category) -> list[Candidate]:
        model = re.compile(r".+/([^/]+)/(model\.obj|models/model_normalized\.obj)")
        names = sorted(name for synset in _synsets(category) for name in self._files(synset))
        found = [match for match in map(model.fullmatch, names) if match]
        return [Candidate(category.name, plain_name(match[1]), match[0]) for match in found]

    def _files(self, synset: str) -> list[str]:
        names = [name for root in _roots(self.tree) for name in self.tree.files(f"{root}{synset}")]
        archive = self.path / f"{synset}.zip"
        unpacked = bool(names)  # with the archive still beside it: the same models
        folder = FolderTree(self.path, self.follow_links)
        if not unpacked and archive.is_file() and folder.contains(archive):
            names = [f"{archive.name}/{name}" for name in ZipTree(archive).files("")]
        return names

    def where(self, category: Category) -> str:
        found = _synsets(category)
        if not found:
            similar = ", ".join(similar_names(category.name)) or "none"
            return (
                f"{self.path}: ShapeNet has no class {category.name} (similar: {similar}); a "
                "synset's number, for example 03001627, is taken as a name or alias too"
            )
        return f"{self.path}/{' '.join(found)} (ShapeNet's class for {category.name})"

    def left_out(self, category: Category) -> list[str]:
        synsets = _synsets(category)
        folders = [f"{root}{synset}" for root in _roots(self.tree) for synset in synsets]
        return _links(self.tree, folders, lambda name: name.removesuffix(".zip") in synsets)

    def up_axis(self, name: str) -> Up:
        return self.up or "y"

    def read(self, name: str) -> bytes:
        archive, _, member = name.partition(".zip/")
        if member and self.path.is_dir():
            return ZipTree(self.path / f"{archive}.zip").read(member)
        return super().read(name)


@dataclass(frozen=True)
class Carried:
    """A mesh of another source, with the content of its file, for a machine without the file.

    content : the bytes, or why they cannot be read.
    """

    kind: str
    up: Up
    format: str
    content: bytes | InputError

    @classmethod
    def of(cls, source: Folder, name: str) -> Carried:
        """Take a candidate's file along."""
        content: bytes | InputError
        try:
            content = source.read(name)
        except InputError as error:
            content = error
        return cls(source.kind, source.up_axis(name), source.file_format(name), content)

    @property
    def label(self) -> str:
        return self.kind

    def candidates(self, category: Category) -> list[Candidate]:
        return []

    def where(self, category: Category) -> str:
        return self.kind

    def left_out(self, category: Category) -> list[str]:
        return []

    def up_axis(self, name: str) -> Up:
        return self.up

    def file_format(self, name: str) -> str:
        return self.format

    def read(self, name: str) -> bytes:
        if isinstance(self.content, InputError):
            raise self.content
        return self.content


FILE_SOURCES = {"folder": Folder, "modelnet40": ModelNet40, "shapenet": ShapeNet}


def category_folders(tree: Tree, category: Category) -> list[str]:
    """List the folders named like the category or an alias, at the root or in its only folder."""
    names = _names(category)
    for root in _roots(tree):
        folders = [f for f in tree.folders(root.rstrip("/")) if plain_name(f) in names]
        if folders:  # what lies below is a subcategory, also when it has the same name
            return [f"{root}{folder}" for folder in folders]
    return []


def _roots(tree: Tree) -> list[str]:
    """Return the root, and the one folder that archives often have around everything."""
    folders = tree.folders("")
    return ["", f"{folders[0]}/"] if len(folders) == 1 else [""]


def _names(category: Category) -> set[str]:
    return {plain_name(name) for name in (category.name, *category.aliases)}


def _synsets(category: Category) -> list[str]:
    return synsets(plain_name(name) for name in (category.name, *category.aliases))


def _links(tree: Tree, folders: list[str], wanted: Callable[[str], bool]) -> list[str]:
    """Tell of links that are not followed: beside a category's folders, and in them."""
    beside = [
        link
        for root in _roots(tree)
        for link in tree.links_left_out(root.rstrip("/"), below=False)
        if wanted(PurePosixPath(link.partition(" -> ")[0]).name)
    ]
    links = [*beside, *(link for folder in folders for link in tree.links_left_out(folder))]
    if not links:
        return []
    shown = ", ".join(links[:3]) + (", ..." if len(links) > 3 else "")
    return [
        f"not followed: {len(links)} {'link' if len(links) == 1 else 'links'} to folders or out of "
        f"{tree.path} ({shown}); --follow-links follows them"
    ]


def _unread_kinds(kinds: Counter[str]) -> list[str]:
    if not kinds:
        return []
    counted = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return [f"files of kinds that are not read: {counted} (read are {' '.join(FORMATS)})"]
