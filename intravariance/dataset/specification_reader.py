# SPDX-License-Identifier: Apache-2.0
"""Reading specifications: the shipped ones, a user's TOML file, and the form stored in a file.

Every key, type and range is checked here; `intravariance.dataset.specification` holds the result.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from annotations.vocabulary import DEFECT_TYPES, NORMAL, in_order
from intravariance.dataset.difficulty import MIXED, RANGES
from intravariance.dataset.scan import MOST_VIEWS, Scan
from intravariance.dataset.specification import PLAIN_NAME, Category, Specification
from intravariance.errors import InputError


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
        severity=_severity(reader),
        tolerance=reader.number("tolerance", float, 0.0, 0.05, default=0.0),
        scan=_scan(reader.take("scan", Mapping, default={}), f"{origin}: scan"),
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


def _severity(reader: _Reader) -> tuple[float, float]:
    """Take the range of severity, or the difficulty that is a name for one."""
    both = {"difficulty", "severity"} <= reader.left.keys()
    difficulty = reader.take("difficulty", str, default=MIXED)
    if difficulty not in RANGES:
        raise InputError(
            f"{reader.origin}: difficulty = {difficulty!r}, expected one of {', '.join(RANGES)}"
        )
    if both:
        raise InputError(
            f"{reader.origin}: difficulty and severity are both given; expected one of them: "
            f"{difficulty!r} is a name for severity = {list(RANGES[difficulty])}"
        )
    low, high = reader.range("severity", float, 0.0, 1.0, default=list(RANGES[difficulty]))
    return low, high


def _scan(content: Mapping[str, Any], origin: str) -> Scan:
    reader = _Reader(content, origin)
    scan = Scan(
        views=reader.number("views", int, 0, MOST_VIEWS, default=0),
        incidence_noise=reader.number("incidence_noise", float, 0.0, 1.0, default=0.0),
        density_variation=reader.number("density_variation", float, 0.0, 1.0, default=0.0),
        outliers=reader.number("outliers", float, 0.0, 0.2, default=0.0),
    )
    reader.finish()
    if scan.incidence_noise and not scan.views:
        raise InputError(
            f"{origin}: incidence_noise = {scan.incidence_noise}, expected 0 without viewpoints; "
            "ask for them with views = 1 or more"
        )
    return scan


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
