# SPDX-License-Identifier: Apache-2.0
"""LAS, LAZ and E57 files, as laspy and pye57 write them."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intravariance.cloud_files import AnomalousLabels, ReadingChoices, parse_cloud, scanner_files
from intravariance.errors import InputError

COUNT = 60
# Metres in a national grid: float32 would keep half a metre of the second coordinate.
PLACE = np.array([431_000.0, 5_410_000.0, 212.0])
POINTS = np.random.default_rng(0).normal(size=(COUNT, 3)) + PLACE
LABELS = (np.arange(COUNT) < 9).astype(np.uint8)
SCALE = 1e-4
CLASS_7 = ReadingChoices(anomalous=AnomalousLabels.parse("7"))
DROP = ReadingChoices(drop_no_return=True)


def las(packed: bool = False, version: str = "1.2", **dimensions: np.ndarray) -> bytes:
    laspy = pytest.importorskip("laspy", reason="pip install '.[scans]'")
    if packed:
        pytest.importorskip("lazrs", reason="pip install '.[scans]'")
    header = laspy.LasHeader(version=version, point_format=3 if version == "1.2" else 6)
    header.offsets, header.scales = PLACE, [SCALE] * 3
    for name, values in dimensions.items():
        if name != "classification":
            header.add_extra_dim(laspy.ExtraBytesParams(name=name, type=values.dtype))
    content = laspy.LasData(header)
    content.x, content.y, content.z = POINTS.T
    for name, values in dimensions.items():
        content[name] = values
    file = io.BytesIO()
    content.write(file, do_compress=packed)
    return file.getvalue()


@pytest.mark.parametrize(("packed", "version"), [(False, "1.2"), (True, "1.4")])
def test_las_coordinates_keep_scale_and_offset(packed: bool, version: str) -> None:
    name = "a.laz" if packed else "a.las"
    cloud = parse_cloud(las(packed, version, label=LABELS), name)
    assert cloud.points.dtype == np.float64
    np.testing.assert_allclose(cloud.points, POINTS, rtol=0, atol=SCALE / 2 * 1.001)
    np.testing.assert_array_equal(cloud.labels, LABELS)


def test_class_numbers_are_labels_where_they_are_told() -> None:
    data = las(classification=7 * LABELS)
    cloud = parse_cloud(data, "a.las")
    assert cloud.labels is None
    assert cloud.notes[0].startswith("classification not used: --anomalous-labels tells")
    np.testing.assert_array_equal(parse_cloud(data, "a.las", CLASS_7).labels, LABELS)


def changed(data: bytes, place: int, form: str, value: int) -> bytes:
    size = struct.calcsize(form)
    return data[:place] + struct.pack(form, value) + data[place + size :]


# place and form of a number in the header, what is put there, and what is said of it
DAMAGE: dict[str, tuple[int, str, int, str]] = {
    "more points than there are": (107, "<I", COUNT + 1, "it is cut off: 61 points of 34 bytes"),
    "4 billion points": (107, "<I", 2**32 - 1, "at most 10,000,000 are read"),
    "no points": (107, "<I", 0, "it has no points"),
    "points behind the end": (96, "<I", 2**31, "lies outside of the file"),
    "4 billion records": (100, "<I", 2**32 - 1, "lies outside of the file"),
    "a header behind the points": (94, "<H", 65_535, "lies outside of the file"),
    "records of no size": (105, "<H", 0, "lies outside of the file"),
    "an unknown format": (104, "<B", 77, "it cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_las_headers_are_refused_before_anything_is_made(name: str) -> None:
    place, form, value, reason = DAMAGE[name]
    with pytest.raises(InputError, match=rf"^a.las: .*{reason}"):
        parse_cloud(changed(las(), place, form, value), "a.las")


def test_cut_las_files_are_refused() -> None:
    data = las()
    for end in (4, 100, 226, 240, len(data) - 34, len(data) - 1):
        with pytest.raises(InputError, match=r"cut off|outside of the file"):
            parse_cloud(data[:end], "a.las")
    packed = las(packed=True)
    for end in (len(packed) // 2, len(packed) - 30):
        with pytest.raises(InputError, match=r"^a.laz: it cannot be read"):
            parse_cloud(packed[:end], "a.laz")
    with pytest.raises(InputError, match=r"bytes are unpacked"):
        parse_cloud(changed(changed(packed, 107, "<I", 9_999_999), 105, "<H", 60_000), "a.laz")


def e57(folder: Path, *scans: dict[str, Any]) -> bytes:
    pye57 = pytest.importorskip("pye57", reason="pip install '.[scans]'")
    path = folder / "made.e57"
    with pye57.E57(str(path), mode="w") as file:
        for scan in scans:
            points = scan.pop("points")
            columns = {f"cartesian{a}": points[:, n].copy() for n, a in enumerate("XYZ")}
            columns |= scan.pop("more", {})
            file.write_scan_raw(columns, **scan)
    return path.read_bytes()


def test_e57_scans_are_joined_by_their_poses_and_invalid_points_are_none(tmp_path: Path) -> None:
    points = POINTS - PLACE
    half = np.sqrt(0.5)  # a quarter turn about z
    pose = {"rotation": np.array([half, 0, 0, half]), "translation": np.array([10.0, 0, 0])}
    invalid = {"cartesianInvalidState": (np.arange(COUNT) < 5).astype(np.int8)}
    data = e57(tmp_path, {"points": points, "more": invalid, **pose}, {"points": points})
    with pytest.raises(InputError, match=r"a.e57: point 1: x is nan; 5 of 120 .*--drop-no-return"):
        parse_cloud(data, "a.e57")
    cloud = parse_cloud(data, "a.e57", DROP)
    turned = np.column_stack([-points[:, 1], points[:, 0], points[:, 2]]) + pose["translation"]
    wanted = np.concatenate([turned[5:], points])
    np.testing.assert_allclose(cloud.points, wanted, atol=1e-6)  # pye57 writes float32
    assert cloud.dropped == 5 and cloud.notes == ("2 scans joined by their poses",)


def test_cut_and_damaged_e57_files_are_refused(tmp_path: Path) -> None:
    data = e57(tmp_path, {"points": POINTS - PLACE})
    for end in (7, 40, len(data) - 1):
        with pytest.raises(InputError, match="cut off"):
            parse_cloud(data[:end], "a.e57")
    middle = len(data) // 2
    with pytest.raises(InputError, match=r"^a.e57: it cannot be read"):
        parse_cloud(data[:middle] + bytes(64) + data[middle + 64 :], "a.e57")


@pytest.mark.parametrize("name", ["a.las", "a.e57"])
def test_a_missing_library_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = las() if name == "a.las" else e57(tmp_path, {"points": POINTS})
    monkeypatch.setattr(scanner_files, "find_spec", lambda library: None)
    library = {"a.las": "laspy", "a.e57": "pye57"}[name]
    with pytest.raises(InputError, match=rf"files: {library} is not installed.*\[scans\]"):
        parse_cloud(data, name)
