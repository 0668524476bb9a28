# SPDX-License-Identifier: Apache-2.0
"""The make-up of a dataset: categories, subcategories, splits and exact counts, as data.

The two groups of the paper are `specifications/group1.toml` (Table 7) and
`specifications/group2.toml` (Table 8); `--spec FILE` reads a user's own file of the same form.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from annotations.vocabulary import DEFECT_TYPES, NORMAL, DefectType, in_order
from intravariance.dataset.added_defects import RecordedDefect
from intravariance.dataset.scan import ALL_SIDES, Scan
from intravariance.errors import InputError
from intravariance.lengths import Length, parse_span
from intravariance.names import plain_name

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
GROUPS = (1, 2)


LARGEST_TOLERANCE = 0.05  # radii


@dataclass(frozen=True)
class Category:
    """One class of the dataset; its subcategories are different products.

    templates : normal training samples, spread evenly over the subcategories.
    positives : normal test samples (the paper's word). defects : test samples of each type.
    aliases : other spellings accepted for the name. extra : built only when asked for by name.
    meshes : subcategory -> path inside the source, for who wants to choose base meshes by hand.
    unit : of the mesh files' coordinates, a key of `lengths.UNITS`; "" where nobody says.
    """

    name: str
    subcategories: tuple[str, ...]
    templates: int
    positives: int
    defects: Mapping[str, int]
    aliases: tuple[str, ...] = ()
    extra: bool = False
    meshes: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""

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
    severity : range in [0, 1] from which each defect's severity is drawn (0 slight, 1 severe);
    `difficulty` in a file is a name for one (see `intravariance.dataset.difficulty`). Where a file
    gives two lengths instead, they are in `given` as "0.5 mm to 2 mm", see `sizes`.
    tolerance : amplitude (unit-sphere radii) of the smooth manufacturing variation given to every
    test sample, normal or not; 0 switches it off. noise_sigma : standard deviation (radii) of the
    noise, None for what the command says. given : lengths in units of measure, as "0.05 mm" by the
    name of the field; a file's other figures of them are then the largest of its products.
    scan : how the products are scanned. added_defects : what is known of the defects in use that
    installed packages add.
    """

    name: str
    title: str
    points: tuple[int, int]
    categories: tuple[Category, ...]
    severity: tuple[float, float] = (0.0, 1.0)
    tolerance: float = 0.0
    noise_sigma: float | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    scan: Scan = ALL_SIDES
    added_defects: tuple[RecordedDefect, ...] = ()

    @property
    def total(self) -> int:
        """Number of samples."""
        return sum(category.total for category in self.categories)

    @property
    def sizes(self) -> tuple[Length, Length] | None:
        """The smallest and largest departure of a defect, where the severity is given as lengths.

        Departure is what the signal-to-noise has over the noise: of a deformation the root mean
        square distance of the labelled surface from the pristine surface, of a cut its depth.
        """
        text = self.given.get("severity")
        return None if text is None else parse_span("severity", text)

    def defect_types(self) -> list[str]:
        """List the defect types in use, in the order of the vocabulary."""
        return in_order(d for c in self.categories for d, n in c.defects.items() if n)

    def defect_type(self, name: str) -> DefectType | None:
        """Return what is known of a type of defect of this project, or that a package adds."""
        added = {known.name: known for known in self.added_defects}
        return DEFECT_TYPES.get(name) or added.get(name)

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
        known = {plain_name(n): c.name for c in self.categories for n in (c.name, *c.aliases)}
        unknown = sorted(name for name in set(wanted) if plain_name(name) not in known)
        if unknown:
            raise InputError(
                f"--category {', '.join(unknown)}: not in specification {self.name!r}, which has "
                f"{', '.join(c.name for c in self.categories)}"
            )
        chosen = {known[plain_name(name)] for name in wanted}
        categories = tuple(c for c in self.categories if c.name in chosen)
        used = {defect for category in categories for defect in category.defects}
        added = tuple(known for known in self.added_defects if known.name in used)
        return replace(self, categories=categories, added_defects=added)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form, which `specification_from_dict` reads back."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        content["category"] = content.pop("categories")
        for table in (content, *content["category"]):  # new keys leave old files' content as it is
            for key in ("noise_sigma", "given", "unit", "added_defects"):
                if table.get(key) in (None, "", {}, []):
                    table.pop(key, None)
        return content
