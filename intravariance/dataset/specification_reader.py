# SPDX-License-Identifier: Apache-2.0
"""Reading specifications: the shipped ones, a user's TOML file, and the form stored in a file.

Every key, type and range is checked here; `intravariance.dataset.specification` holds the result.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from annotations.vocabulary import DEFECT_TYPES, NORMAL, WRONG_PART, in_order
from intravariance.dataset.added_defects import (
    RecordedDefect,
    added_defect_names,
    find_defect,
    recorded,
)
from intravariance.dataset.difficulty import MIXED, RANGES
from intravariance.dataset.scan import MOST_VIEWS, Scan
from intravariance.dataset.specification import LARGEST_TOLERANCE, Category, Specification
from intravariance.errors import InputError
from intravariance.lengths import UNITS, Length, parse_length, parse_span
from intravariance.names import (
    PLAIN_NAME,
    RESERVED,
    composed,
    name_problem,
    plain_name,
)

_ABSENT = object()
_RECORDED = ("name", "kind", "description", "package", "version")


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
    except ValueError as error:  # an integer of thousands of digits is one too
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
    added = _added_defects(reader)
    given: dict[str, str] = {}
    tolerance = reader.length("tolerance", LARGEST_TOLERANCE, given)
    noise_sigma = reader.length("noise_sigma", 1.0, given)
    severity = _severity(reader, given)
    specification = Specification(
        name=reader.plain("name"),
        title=reader.take("title", str, default=""),
        points=reader.range("points", int, 16, 10_000_000),
        severity=severity,
        tolerance=tolerance or 0.0,
        noise_sigma=noise_sigma,
        given=_given(reader) | given,
        scan=_scan(reader.take("scan", Mapping, default={}), f"{origin}: scan"),
        categories=tuple(
            _category(table, f"{origin}: category {number}", imported, added)
            for number, table in enumerate(tables, start=1)
        ),
    )
    reader.finish()
    used = {defect for category in specification.categories for defect in category.defects}
    specification = replace(
        specification, added_defects=tuple(added[name] for name in sorted(used & added.keys()))
    )
    names = [n for c in specification.categories for n in (c.name, *c.aliases)]
    _check_different(f"{origin}: category names", names)
    return specification


def _check_different(what: str, names: Sequence[str]) -> None:
    """Raise InputError where two names differ in capitals, spaces or hyphens alone, or not."""
    spellings: dict[str, list[str]] = {}
    for name in names:
        spellings.setdefault(plain_name(name), []).append(name)
    if same := [", ".join(sorted(set(found))) for found in spellings.values() if len(found) > 1]:
        raise InputError(f"{what} must differ, found twice: {'; '.join(same)}")


def _severity(reader: _Reader, given: dict[str, str]) -> tuple[float, float]:
    """Take the range of severity, or the difficulty that is a name for one.

    Two lengths, as ["0.5 mm", "2 mm"], go into `given`.
    """
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
    ends = reader.left.get("severity")
    if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, str) for end in ends):
        reader.take("severity", list)
        given["severity"] = " to ".join(
            str(length) for length in parse_span(f"{reader.origin}: severity", " to ".join(ends))
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


def _added_defects(reader: _Reader) -> dict[str, RecordedDefect]:
    """Take what a stored specification records of defects that packages add, by name."""
    found = {}
    for table in reader.take("added_defects", list, default=[]):
        inner = _Reader(table if isinstance(table, Mapping) else {}, f"{reader.origin}: defects")
        values = {key: inner.take(key, str) for key in _RECORDED}
        inner.finish()
        if values["kind"] not in ("deformation", "cut") or values["name"] in DEFECT_TYPES:
            raise InputError(f"{reader.origin}: added_defects has {values}, which is no defect")
        found[values["name"]] = RecordedDefect(**values)
    return found


def _defects(
    reader: _Reader, imported: bool, added: dict[str, RecordedDefect]
) -> Mapping[str, int]:
    """Read the number of samples of each defect type; what packages add of them goes to `added`."""
    defects: Mapping[str, int] = reader.take("defects", Mapping, default={})
    for defect, count in defects.items():
        if not imported and defect not in added and (extension := find_defect(defect)):
            added[defect] = recorded(extension)
        if not imported and defect not in (*DEFECT_TYPES, *added):
            known = ", ".join((*DEFECT_TYPES, *added_defect_names()))
            raise InputError(f"{reader.origin}: unknown defect {defect!r}; known: {known}")
        if defect == NORMAL or name_problem(defect):
            raise InputError(
                f"{reader.origin}: {defect!r} is no name of a defect: "
                f"{name_problem(defect) or 'it is the word for clouds without one'}"
            )
        _check_number(f"{reader.origin}: defects.{defect}", count, int, 0, 100_000)
    return defects


def _category(
    content: Any, origin: str, imported: bool, added: dict[str, RecordedDefect]
) -> Category:
    if not isinstance(content, Mapping):
        raise InputError(f"{origin}: expected a [[category]] table, found {content!r}")
    reader = _Reader(content, origin)
    name = reader.name("name")
    if plain_name(name) == RESERVED:
        raise InputError(f"{origin}: name = {name!r} is taken: the file's table has it")
    reader.origin = f"{origin} ({name})"
    subcategories = reader.names("subcategories", required=True)
    defects = _defects(reader, imported, added)
    meshes = {composed(n): p for n, p in reader.take("meshes", Mapping, default={}).items()}
    for subcategory, path in meshes.items():
        if subcategory not in subcategories or not isinstance(path, str):
            raise InputError(
                f"{reader.origin}: meshes.{subcategory}: expected one of the subcategories "
                f"{', '.join(subcategories)} and a path inside the source"
            )
    if len(set(meshes.values())) < len(meshes):
        raise InputError(
            f"{reader.origin}: meshes = {meshes}, expected a different file for each "
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
        meshes=meshes,
        unit=_unit(reader),
    )
    reader.finish()
    if category.defects.get(WRONG_PART) and len(subcategories) < 2 and not imported:
        raise InputError(
            f"{reader.origin}: defects.{WRONG_PART} = {category.defects[WRONG_PART]}, expected at "
            f"least two subcategories and not {subcategories[0]} alone: the part comes from "
            "another product of the category"
        )
    if category.templates < len(subcategories) and not imported:
        raise InputError(
            f"{reader.origin}: templates = {category.templates}, expected at least one for each "
            f"of the {len(subcategories)} subcategories"
        )
    return category


def _given(reader: _Reader) -> dict[str, str]:
    """Take the lengths that a stored specification has from units of measure."""
    table = reader.take("given", Mapping, default={})
    for name, text in table.items():
        if name not in ("noise_sigma", "tolerance", "severity") or not isinstance(text, str):
            raise InputError(f"{reader.origin}: given.{name} = {text!r} is no length in a unit")
        parse = parse_span if name == "severity" else parse_length
        parse(f"{reader.origin}: given.{name}", text)
    return dict(table)


def _unit(reader: _Reader) -> str:
    unit: str = reader.take("unit", str, default="")
    if unit not in ("", *UNITS):
        raise InputError(f"{reader.origin}: unit = {unit!r}, expected one of {', '.join(UNITS)}")
    return unit


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

    def plain(self, key: str) -> str:
        value: str = self.take(key, str, required=True)
        if not PLAIN_NAME.fullmatch(value):
            raise InputError(
                f"{self.origin}: {key} = {value!r}, expected lower-case letters, digits and "
                "underscores, a letter first"
            )
        return value

    def name(self, key: str) -> str:
        return self._checked(key, self.take(key, str, required=True))

    def names(self, key: str, required: bool = False) -> tuple[str, ...]:
        values = self.take(key, list, default=[], required=required)
        names = tuple(self._checked(key, value) for value in values)
        if required and not values:
            raise InputError(f"{self.origin}: {key} = [], expected at least one name")
        _check_different(f"{self.origin}: {key}", names)
        return names

    def _checked(self, key: str, value: Any) -> str:
        name = composed(value) if isinstance(value, str) else ""
        if problem := name_problem(name):
            raise InputError(
                f"{self.origin}: {key} has {value!r}, which is no name: {problem}; expected are "
                "letters of any script, digits, spaces, hyphens and other signs that files may have"
            )
        return name

    def number(self, key: str, kind: type, low: float, high: float, default: Any = None) -> Any:
        value = self.take(key, object, default=default)
        return _check_number(f"{self.origin}: {key}", value, kind, low, high)

    def length(self, key: str, high: float, given: dict[str, str]) -> float | None:
        """Take a number of radii, or put a text like "0.05 mm" into `given`; None for neither."""
        value = self.take(key, object, default=_ABSENT)
        if value is _ABSENT:
            return None
        if isinstance(value, str):
            length = parse_length(f"{self.origin}: {key}", value)
            if isinstance(length, Length):
                given[key] = str(length)
                return None
            value = length
        number: float = _check_number(f"{self.origin}: {key}", value, float, 0.0, high)
        return number

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
