# SPDX-License-Identifier: Apache-2.0
"""Tables of numbers in text: .txt .xyz .asc .csv, and the v lines of .obj.

Columns are separated by spaces or tabs, commas or semicolons, the same in the whole file. Names
come from a header line (`x,y,z,label`, or a comment like CloudCompare's `//X Y Z label`). Without
names 3 columns are x y z, 4 have a label, 6 have normals, 7 have normals and a label (CloudCompare
writes the label before the normals: told by the lengths of these). Between header and table there
may be a line with the number of points, as CloudCompare writes it.

`numpy.loadtxt` parses (in C since NumPy 1.23: a million lines of four numbers in 0.49 s); why it
failed, and in which line, is found out afterwards.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.choices import AS_WRITTEN, ReadingChoices, returned
from intravariance.cloud_files.cloud import (
    AXES,
    LARGEST_COORDINATE,
    Floats,
    PointCloud,
    cloud_from_columns,
)
from intravariance.errors import InputError

_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)
_WITHOUT_NAMES = {
    3: AXES,
    4: (*AXES, "label"),
    6: (*AXES, "nx", "ny", "nz"),
    7: (*AXES, "nx", "ny", "nz", "label"),
}
# bytes; a point has a line of its own, of some thousands with the descriptors of a PCD file. The
# cells of a longer one would take 50 times its size.
LONGEST_LINE = 2**18
_CLOUDCOMPARE = (*AXES, "label", "nx", "ny", "nz")  # its order of 7 columns


def parse_text(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in a table. Raises InputError naming the line of what is wrong."""
    return _cloud_from_table(data, *_parse_table(data), choices)


def parse_pts(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in a PTS file, which Leica's scanners write: x y z intensity r g b.

    Without names a fourth column is a label only where it holds 0 and 1 alone, or `choices` tell
    what labels mean; a table of 7 columns that has neither normals nor labels has colours.
    """
    values, names, where = _parse_table(data)
    width = values.shape[1]
    if names or choices.anomalous is not None or width not in (4, 7):
        return _cloud_from_table(data, values, names, where, choices)
    telling = _telling(values, choices)
    if _is_binary(telling[:, 3 if width == 4 else 6]) or _is_cloudcompare(telling):
        return _cloud_from_table(data, values, names, where, choices)
    cloud = cloud_from_rows(values[:, :3], where, choices=choices)
    what = "column 4 not used: it is" if width == 4 else "columns 4 to 7 not used: they are"
    return replace(cloud, notes=(*cloud.notes, f"{what} intensity{' and colours' * (width == 7)}"))


def _cloud_from_table(
    data: bytes,
    values: Floats,
    names: list[str],
    where: Callable[[int], str],
    choices: ReadingChoices,
) -> PointCloud:
    if not names and b"," in data and _are_decimals(values):
        raise InputError(
            f"{where(0)}: {values.shape[1]} columns of whole numbers may be three numbers with "
            "decimal commas, which are not read. Write them with points, or name the columns in a "
            "header line"
        )
    return cloud_from_rows(values, where, names, choices)


def parse_cells(data: bytes) -> tuple[Floats, Callable[[int], str]]:
    """Return (N, C) numbers of a table that need not be a cloud, and how errors name a row."""
    values, _, where = _parse_table(data, counted=False)
    return values, where


def _parse_table(
    data: bytes, counted: bool = True
) -> tuple[Floats, list[str], Callable[[int], str]]:
    """Return rows, names of columns (may be []) and of rows. counted : a point count may come."""
    data, names, skipped, count = _split_header(_plain_lines(data), counted)
    values = parse_rows(data, skipped)
    if count is not None and count != len(values):
        raise InputError(f"it declares {count:,} points and has {len(values):,}: is it cut off?")
    return values, names, line_names(data, skipped)


def cloud_from_rows(
    values: Floats,
    where: Callable[[int], str],
    names: Sequence[str] = (),
    choices: ReadingChoices = AS_WRITTEN,
) -> PointCloud:
    """Make the cloud in (N, C) rows. names : of the columns; () takes them by their number.

    Without names columns 4 to 6 of 6 or 7 may be colours as well: they are normals where their
    lengths are 1, up to rounding, and are left out with a note otherwise.
    """
    width = values.shape[1]
    if names and len(names) != width:
        raise InputError(
            f"the header names {len(names)} columns ({' '.join(names)}), {where(0)} has {width}"
        )
    if not names and width not in _WITHOUT_NAMES:
        raise InputError(
            f"it has {width} columns without names. Without a header line 3 columns are x y z, 4 "
            "have a label, 6 have normals, 7 both; name the columns of other files in a first line"
        )
    telling = values if names else _telling(values, choices)
    if not names and width == 7 and _is_cloudcompare(telling):
        names = _CLOUDCOMPARE
    known = names or _WITHOUT_NAMES[width]
    if len({name.casefold() for name in known}) < width:
        raise InputError(f"the header names a column twice: {' '.join(known)}")
    columns = dict(zip(known, values.T, strict=True))
    if names or width < 6 or _are_directions(telling[:, 3:6]):
        return cloud_from_columns(columns, where, choices)
    for name in ("nx", "ny", "nz"):
        del columns[name]
    note = "columns 4 to 6 not used: their lengths are not 1, so they are no normals"
    cloud = cloud_from_columns(columns, where, choices)
    return replace(cloud, notes=(*cloud.notes, note))


def parse_obj(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the vertices (v lines) of an OBJ file; everything else is left out."""
    vertices = io.BytesIO()
    for line in _lines(_plain_lines(data)):
        row = line.lstrip().partition(b"#")[0].rstrip(b"\n")
        # Other lines become blank, so that the numbers of lines stay true.
        vertices.write((row[2:] if row[:2] in (b"v ", b"v\t") else b"") + b"\n")
    data = vertices.getvalue()
    if not data.strip():
        raise InputError("it has no points (no line begins with v)")
    values = parse_rows(data)
    if values.shape[1] not in (3, 4, 6, 7):  # with a weight, with colours
        raise InputError(f"its v lines have {values.shape[1]} numbers; expected are 3")
    columns = dict(zip(AXES, values.T, strict=False))
    return cloud_from_columns(columns, line_names(data), choices)


def parse_rows(data: bytes, lines_before: int = 0, rows: int | None = None) -> Floats:
    """Return (N, C) of lines of numbers, line breaks `\\n`; blank lines are skipped.

    Empty last fields of all lines, as a comma at the end makes them, are left out.
    lines_before : added to the numbers of lines in errors. rows : read no more than these. Raises
    InputError when there is no line, or one is of another length or not of numbers.
    """
    filled = ((n, line) for n, line in enumerate(_lines(data), 1 + lines_before) if line.strip())
    number, first = next(filled, (0, b""))
    if not first:
        raise InputError("it has no points")
    if problem := _too_long(number, first):
        raise InputError(problem)
    mark = next((mark for mark in (";", ",") if mark.encode() in first), None)
    if mark and first.rstrip().endswith(mark.encode()):
        data, first = _without_last_marks(data, mark, lines_before), _without_last(first, mark)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = np.loadtxt(
                io.BytesIO(data), delimiter=mark, comments=None, ndmin=2, max_rows=rows,
                encoding="latin-1",
            )  # fmt: skip
    except (ValueError, IndexError, OverflowError) as error:
        width = len(_cells(first, mark))
        raise InputError(_reason(data, mark, width, lines_before) or f"({error})") from error
    return np.asarray(values, dtype=np.float64)


def line_names(data: bytes, lines_before: int = 0) -> Callable[[int], str]:
    """Return how errors name a row of `parse_rows(data, lines_before)`."""

    def where(row: int) -> str:
        filled = (n for n, line in enumerate(_lines(data), 1 + lines_before) if line.strip())
        number = next(islice(filled, row, None), None)
        return f"point {row + 1}" if number is None else f"line {number}"

    return where


def _plain_lines(data: bytes) -> bytes:
    """Return the text without byte order mark, every line break `\\n`. Raises InputError for what
    is not text.
    """
    if b"\0" in data:
        raise InputError(f"byte {data.index(0)} is 0: it is no plain text (UTF-16, or binary)")
    return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _split_header(data: bytes, counted: bool) -> tuple[bytes, list[str], int, int | None]:
    """Return the table, the names of its columns, the lines before it and the declared points."""
    names: list[str] = []
    start = skipped = 0
    count = None
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        line = data[start:end].strip()
        if problem := _too_long(skipped + 1, line):
            raise InputError(problem)
        # with commas a name may have spaces: CloudCompare's "Scalar field"
        mark = rb"[,;]" if b"," in line or b";" in line else rb"\s"
        cells = [cell.strip() for cell in re.split(mark, line.lstrip(b"#/")) if cell.strip()]
        if line.startswith((b"#", b"//")):
            found = [cell.decode("latin-1").strip("\"'") for cell in cells]
            if set(AXES) <= {name.casefold() for name in found}:
                names = found
        elif len(cells) == 1 and cells[0].isdigit() and counted and count is None:
            count = int(cells[0][:18])
        elif line and not names and not any(_NUMBER.fullmatch(cell) for cell in cells):
            names = [cell.decode("latin-1").strip("\"'") for cell in cells]
        elif line:
            break
        start, skipped = end, skipped + 1
    return data[start:], names, skipped, count


def _lines(data: bytes) -> Iterator[bytes]:
    return iter(io.BytesIO(data))


def _too_long(number: int, line: bytes) -> str:
    """Say that a line has more than LONGEST_LINE bytes; "" where it has not."""
    if len(line) <= LONGEST_LINE:
        return ""
    return f"line {number} has {len(line):,} bytes; a point has a line of at most {LONGEST_LINE:,}"


def _cells(line: bytes, mark: str | None) -> list[bytes]:
    return [cell.strip() for cell in (line.split(mark.encode()) if mark else line.split())]


def _without_last_marks(data: bytes, mark: str, lines_before: int) -> bytes:
    """Leave out the marks at the ends of lines. Raises InputError where a line has none."""
    for number, line in enumerate(_lines(data), 1 + lines_before):
        if line.strip() and not line.rstrip().endswith(mark.encode()):
            raise InputError(
                f"line {number} does not end with {mark!r}, and the first line does: is it cut off?"
            )
    kept = io.BytesIO()
    for line in _lines(data):
        kept.write(_without_last(line, mark) + b"\n")
    return kept.getvalue()


def _without_last(line: bytes, mark: str) -> bytes:
    return line.rstrip(mark.encode() + b" \t\r\n")


def _reason(data: bytes, mark: str | None, width: int, lines_before: int) -> str:
    """Find the first line that is wrong and why; "" when none is found."""
    kind = {",": "commas", ";": "semicolons", None: "spaces or tabs"}[mark]
    for number, line in enumerate(_lines(data), 1 + lines_before):
        if not line.strip():
            continue
        if problem := _too_long(number, line):
            return problem
        cells = _cells(line, mark)
        shown = line.strip()[:60].decode("latin-1")
        if len(cells) != width:
            return (
                f"line {number}: expected are {width} numbers with {kind} between them, as in the "
                f"first line, found {shown!r}"
            )
        wrong = next((cell for cell in cells if not _NUMBER.fullmatch(cell)), None)
        if wrong is not None:
            comma = b"," in wrong or (mark == "," and b" " in wrong)
            hint = " (decimal commas and mixed delimiters are not read)" if comma else ""
            return f"line {number}: {wrong[:30].decode('latin-1')!r} is not a number{hint}"
    return ""


def _telling(values: Floats, choices: ReadingChoices) -> Floats:
    """Return the rows whose columns tell what they are: not those that are no points."""
    if not choices.drop_no_return:
        return values
    rows = values[returned(values[:, :3], LARGEST_COORDINATE)]
    return rows if len(rows) else values


def _is_cloudcompare(values: Floats) -> bool:
    """Tell whether 7 columns are x y z label nx ny nz."""
    return (
        values.shape[1] == 7
        and _is_binary(values[:, 3])
        and _are_directions(values[:, 4:])
        and not _are_directions(values[:, 3:6])
    )


def _is_binary(values: NDArray[Any]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _are_decimals(values: Floats) -> bool:
    """Tell whether 6 or 7 columns may be x y z whose decimal commas were taken for separators."""
    parts = values[:, :6]
    return bool(
        values.shape[1] in (6, 7)
        and (parts == np.trunc(parts)).all()
        and (parts[:, 1::2] >= 0).all()
        and not _are_directions(values[:, 3:6])
        and not _is_cloudcompare(values)
    )


def _are_directions(vectors: NDArray[Any]) -> bool:
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    # Ten per cent: integers and short decimals are rounded. A few may have no length.
    return bool((np.abs(lengths - 1) < 0.1).mean() > 0.9)
