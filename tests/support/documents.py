# SPDX-License-Identifier: Apache-2.0
"""Code blocks of README and docs, and small stand-ins for the files that they speak of."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from intravariance.cli import main
from intravariance.cloud_files import read_cloud, write_ply
from intravariance.dataset.sharding.whole import dataset_name, is_there, is_whole
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import open_dataset
from intravariance.files.uploading import send
from intravariance.files.urls import Url, parse_place
from tests import ROOT
from tests.support.foreign_trees import ball, real3d_tree, write_tree
from tests.support.samples import make_dataset, sphere_points, split_dataset

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "DATASET_CARD.md",
    *sorted((ROOT / "annotations").glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_NOT_RUN = re.compile(r"<!-- not run: *(.*?) *-->")


@dataclass(frozen=True)
class Block:
    """A fenced block. not_run : the reason in a comment `<!-- not run: ... -->` above the fence."""

    line: int
    language: str
    text: str
    not_run: str | None


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a Markdown text, in order."""
    lines, found, start = text.splitlines(), [], None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
        else:
            above = _NOT_RUN.fullmatch(lines[start - 1].strip()) if start else None
            code = "\n".join(lines[start + 1 : number])
            found.append(Block(start + 1, lines[start][3:].strip(), code, above and above[1]))
            start = None
    assert start is None, f"the block of line {start} has no end"
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command of a shell block, without comments and redirections."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # of its environment
            words.pop(0)
        ends = [i for i, word in enumerate(words) if word in ("|", "||", "&&", ";", ">", "2>")]
        if words := words[: min(ends, default=len(words))]:
            yield words


def parse_iv(words: list[str]) -> None:
    """Check the arguments of `iv` as the command itself does, without running it.

    Raises
    ------
    click.UsageError
        There is no such command or option, or a value is none of those allowed.
    """
    command: click.Command = main
    while isinstance(command, click.Group):
        name, *words = words or [""]
        if name.startswith("-"):
            return
        inner = command.get_command(click.Context(command), name)
        if inner is None:
            raise click.UsageError(f"there is no command {name!r}")
        command = inner
    command.make_context(command.name, words)


# One product a category, so that files are small; vase has as many samples as documents name.
_NAMES = ("bowl", "cone", "cup")
_FEW = [Category(name, (f"{name}_ball",), 1, 1, {"bulge": 1, "missing": 1}) for name in _NAMES]
_VASE = Category("vase", ("long_ball", "flat_brick"), 2, 10, {"bulge": 8, "missing": 8})
_SPECIFICATION = Specification("group2", "Group 2", (2048, 2100), (_VASE, *_FEW))


class Stock:
    """Stand-ins: a dataset file, a cloud, scans, a public data set; and a run, once it is made."""

    def __init__(self, folder: Path) -> None:
        self.dataset = make_dataset(folder / "stock.h5", _SPECIFICATION, sigma=0.01)
        self.run = folder / "run"
        self._cloud = folder / "part.ply"
        self._cloud.write_bytes(write_ply(sphere_points(2000, np.random.default_rng(0))))
        self._scans = folder / "scans"
        for number in range(6):
            points, labels = ball(1500, np.random.default_rng(number), bump=0.3 * (number > 0))
            kind = ("train", "test/good", "test/dent")[min(number, 2)]
            path = self._scans / "bowl" / kind / f"part_{number}.ply"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(write_ply(points, labels=labels if number > 1 else None))
        self._public = write_tree(folder / "public", real3d_tree())

    def provide(self, word: str) -> None:
        """Put a stand-in where an argument names something that is not in the current folder."""
        path = parse_place(word.partition(".h5:")[0] + ".h5" if ".h5:" in word else word)
        if isinstance(path, Url) and not str(path).startswith("memory:"):
            return  # of a scheduler or a service
        outside = path.is_absolute() and not path.is_relative_to(Path.cwd())
        if outside or path.exists() or is_there(path):
            return
        if isinstance(path, Url):
            with TemporaryDirectory() as folder:
                self._make(Path(folder) / path.name)
                for file in Path(folder).iterdir():
                    send(file, path.with_name(file.name), quiet=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make(path)

    def _make(self, path: Path) -> None:
        """Write a stand-in of this name, or nothing where there is none."""
        if is_whole(path):
            of = re.search(r"-of-(\d+)", path.name)
            whole = path.with_name(f"{dataset_name(path)}.h5")
            shutil.copy(self.dataset, whole)
            split_dataset(whole, int(of[1]) if of else 8)
        elif path.suffix == ".h5":
            shutil.copy(self.dataset, path)
        elif path.suffix == ".ply":
            shutil.copy(self._cloud, path)
        elif path.name.endswith("scans"):
            shutil.copytree(self._scans, path)
        elif path.name.startswith("Real3D-AD"):
            shutil.copytree(self._public, path)
        elif path.parent.name == "runs" and self.run.exists():
            shutil.copytree(self.run, path)


def label_by_hand(folder: Path, dataset: Path) -> None:
    """Save the clouds given out in a folder as an annotator would who misses a point of each."""
    with open_dataset(dataset) as records:
        for path in folder.glob("*.ply"):
            labels = np.array(records[path.stem].labels)
            if labels.any():
                labels[np.flatnonzero(labels)[0]] = 0
                points = read_cloud(path).points
                path.write_bytes(write_ply(points, None, labels, "scalar_label", "float"))
