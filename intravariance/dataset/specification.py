# SPDX-License-Identifier: Apache-2.0
"""The make-up of a dataset: categories, subcategories, splits and exact counts, as data.

The two groups of the paper are `specifications/group1.toml` (Table 7) and
`specifications/group2.toml` (Table 8); `--spec FILE` reads a user's own file of the same form.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from annotations.vocabulary import DEFECT_TYPES, NORMAL, in_order
from intravariance.errors import InputError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
GROUPS = (1, 2)
# Names of categories, subcategories, defects and samples.
PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Category:
    """One class of the dataset; its subcategories are different products.

    templates : normal training samples, spread evenly over the subcategories.
    positives : normal test samples (the paper's word). defects : test samples of each type.
    aliases : other spellings accepted for the name. extra : built only when asked for by name.
    meshes : subcategory -> path inside the source, for who wants to choose base meshes by hand.
    """

    name: str
    subcategories: tuple[str, ...]
    templates: int
    positives: int
    defects: Mapping[str, int]
    aliases: tuple[str, ...] = ()
    extra: bool = False
    meshes: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of samples: templates, positives and defects."""
        return self.templates + self.positives + sum(self.defects.values())

    def counts(self) -> dict[tuple[Split, str], int]:
        """Count the samples for each (split, defect or "normal")."""
        counts: dict[tuple[Split, str], int] = {
            ("train", NORMAL): self.templates,
            ("test", NORMAL): self.positives,
        }
        return counts | {("test", name): n for name, n in self.defects.items()}


@dataclass(frozen=True)
class Specification:
    """A whole dataset.

    points : inclusive range of the number of points of a sample.
    severity : range in [0, 1] from which each defect's severity is drawn (0 slight, 1 severe).
    tolerance : amplitude (unit-sphere radii) of the smooth manufacturing variation given to every
    test sample, normal or not; 0 switches it off.
    """

    name: str
    title: str
    points: tuple[int, int]
    categories: tuple[Category, ...]
    severity: tuple[float, float] = (0.0, 1.0)
    tolerance: float = 0.0

    @property
    def total(self) -> int:
        """Number of samples."""
        return sum(category.total for category in self.categories)

    def defect_types(self) -> list[str]:
        """List the defect types in use, in the order of the vocabulary."""
        return in_order(d for c in self.categories for d, n in c.defects.items() if n)

    def select(self, names: Iterable[str] = ()) -> Specification:
        """Choose the categories named (names or aliases); none named: all that are not extra."""
        wanted = list(names)
        if not wanted:
            wanted = [c.name for c in self.categories if not c.extra]
            if not wanted:
                raise InputError(
                    f"every category of specification {self.name!r} is an extra; name those to "
                    f"build with --category: {', '.join(c.name for c in self.categories)}"
                )
        known = {n: c.name for c in self.categories for n in (c.name, *c.aliases)}
        unknown = sorted(set(wanted) - known.keys())
        if unknown:
            raise InputError(
                f"--category {', '.join(unknown)}: not in specification {self.name!r}, which has "
                f"{', '.join(c.name for c in self.categories)}"
            )
        chosen = {known[name] for name in wanted}
        return replace(self, categories=tuple(c for c in self.categories if c.name in chosen))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form, which `specification_from_dict` reads back."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        content["category"] = content.pop("categories")
        return content


def load_group(number: int) -> Specification:
    """Load Group 1 (paper, Table 7) or Group 2 (Table 8), extra categories included."""
    return _load_shipped(f"group{number}.toml")


def load_collation() -> Specification:
    """Load Group 1 with classes of Anomaly-ShapeNet as its subcategories."""
    return _load_shipped("group1_anomaly_shapenet.toml")


def _load_shipped(name: str) -> Specification:
    resource = files("intravariance.dataset") / "specifications" / name
    return specification_from_dict(tomllib.loads(resource.read_text(encoding="utf-8")), name)


def load_specification(path: Path) -> Specification:
    """Load a user's own specification; InputError names the file, the key and what is allowed."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--spec {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"--spec {path}: not a TOML file: {error}") from error
    return specification_from_dict(content, str(path))


def specification_from_dict(
    content: Mapping[str, Any], origin: str, imported: bool = False
) -> Specification:
    """Check every key, type and range of a parsed TOML file (or of `to_dict`).

    imported : of data that somebody else made. Defects may then have any name but "normal", and
    there may be fewer templates than subcategories, or none.
    Raises InputError naming `origin`, the key, the value and what is allowed.
    """
    reader = _Reader(content, origin)
    tables = reader.take("category", list, required=True)
    if not tables:
        raise InputError(f"{origin}: needs at least one [[category]]")
    specification = Specification(
        name=reader.name("name"),
        title=reader.take("title", str, default=""),
        points=reader.range("points", int, 16, 10_000_000),
        severity=reader.range("severity", float, 0.0, 1.0, default=[0.0, 1.0]),
        tolerance=reader.number("tolerance", float, 0.0, 0.05, default=0.0),
        categories=tuple(
            _category(table, f"{origin}: category {number}", imported)
            for number, table in enumerate(tables, start=1)
        ),
    )
    reader.finish()
    names = [n for c in specification.categories for n in (c.name, *c.aliases)]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise InputError(f"{origin}: category names must differ, found twice: {repeated}")
    return specification


def _category(content: Any, origin: str, imported: bool) -> Category:
    if not isinstance(content, Mapping):
        raise InputError(f"{origin}: expected a [[category]] table, found {content!r}")
    reader = _Reader(content, origin)
    name = reader.name("name")
    if name == "samples":
        raise InputError(f"{origin}: name = 'samples' is taken: the file's table has it")
    reader.origin = f"{origin} ({name})"
    subcategories = reader.names("subcategories", required=True)
    defects = reader.take("defects", Mapping, default={})
    for defect, count in defects.items():
        if not imported and defect not in DEFECT_TYPES:
            raise InputError(
                f"{reader.origin}: unknown defect {defect!r}; known: {', '.join(DEFECT_TYPES)}"
            )
        if not PLAIN_NAME.fullmatch(defect) or defect == NORMAL:
            raise InputError(
                f"{reader.origin}: {defect!r} is no name of a defect; expected are lower-case "
                f"letters, digits and underscores, a letter first, and not {NORMAL!r}"
            )
        _check_number(f"{reader.origin}: defects.{defect}", count, int, 0, 100_000)
    meshes = reader.take("meshes", Mapping, default={})
    for subcategory, path in meshes.items():
        if subcategory not in subcategories or not isinstance(path, str):
            raise InputError(
                f"{reader.origin}: meshes.{subcategory}: expected one of the subcategories "
                f"{', '.join(subcategories)} and a path inside the source"
            )
    if len(set(meshes.values())) < len(meshes):
        raise InputError(
            f"{reader.origin}: meshes = {dict(meshes)}, expected a different file for each "
            "subcategory: they are different products"
        )
    category = Category(
        name=name,
        subcategories=subcategories,
        templates=reader.number("templates", int, 0 if imported else 1, 100_000),
        positives=reader.number("positives", int, 0, 100_000),
        defects={d: defects[d] for d in in_order(defects) if defects[d]},
        aliases=reader.names("aliases"),
        extra=reader.take("extra", bool, default=False),
        meshes=dict(meshes),
    )
    reader.finish()
    if category.templates < len(subcategories) and not imported:
        raise InputError(
            f"{reader.origin}: templates = {category.templates}, expected at least one for each "
            f"of the {len(subcategories)} subcategories"
        )
    return category


class _Reader:
    """Takes keys out of a table one by one, so that what is left over is unknown."""

    def __init__(self, content: Mapping[str, Any], origin: str) -> None:
        self.left = dict(content)
        self.taken: list[str] = []
        self.origin = origin

    def take(self, key: str, kind: type, default: Any = None, required: bool = False) -> Any:
        self.taken.append(key)
        if key not in self.left:
            if required or default is None:
                raise InputError(f"{self.origin}: the key {key!r} is missing")
            return default
        value = self.left.pop(key)
        if not isinstance(value, kind):
            raise InputError(f"{self.origin}: {key} = {value!r}, expected {kind.__name__.lower()}")
        return value

    def name(self, key: str) -> str:
        value: str = self.take(key, str, required=True)
        if not PLAIN_NAME.fullmatch(value):
            raise InputError(
                f"{self.origin}: {key} = {value!r}, expected lower-case letters, digits and "
                "underscores, a letter first"
            )
        return value

    def names(self, key: str, required: bool = False) -> tuple[str, ...]:
        values = self.take(key, list, default=[], required=required)
        for value in values:
            if not isinstance(value, str) or not PLAIN_NAME.fullmatch(value):
                raise InputError(
                    f"{self.origin}: {key} has {value!r}, expected names in lower-case letters, "
                    "digits and underscores"
                )
        if len(set(values)) != len(values) or (required and not values):
            raise InputError(f"{self.origin}: {key} = {list(values)}, expected different names")
        return tuple(values)

    def number(self, key: str, kind: type, low: float, high: float, default: Any = None) -> Any:
        value = self.take(key, object, default=default)
        return _check_number(f"{self.origin}: {key}", value, kind, low, high)

    def range(
        self, key: str, kind: type, low: float, high: float, default: Any = None
    ) -> tuple[Any, Any]:
        value = self.take(key, list, default=default)
        if len(value) != 2:
            raise InputError(f"{self.origin}: {key} = {value!r}, expected [smallest, largest]")
        first, last = (_check_number(f"{self.origin}: {key}", v, kind, low, high) for v in value)
        if first > last:
            raise InputError(f"{self.origin}: {key} = {value!r}, smallest is above largest")
        return first, last

    def finish(self) -> None:
        if self.left:
            raise InputError(
                f"{self.origin}: unknown key {', '.join(map(repr, sorted(self.left)))}; "
                f"allowed: {', '.join(sorted(self.taken))}"
            )


def _check_number(what: str, value: Any, kind: type, low: float, high: float) -> Any:
    numeric = int if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, numeric) or not low <= value <= high:
        raise InputError(f"{what} = {value!r}, expected {kind.__name__} from {low} to {high}")
    return kind(value)
