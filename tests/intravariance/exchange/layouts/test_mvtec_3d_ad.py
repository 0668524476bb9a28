# SPDX-License-Identifier: Apache-2.0
"""MVTec 3D-AD's tree and its TIFF images, made small, with a table under the product."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from intravariance.errors import InputError
from intravariance.exchange.layouts import detect_layout, find_scans
from intravariance.exchange.layouts.mvtec_3d_ad import fit_plane, largest_parts, product_pixels
from intravariance.exchange.layouts.tiff import read_tiff
from tests.support.foreign_trees import write_tree

LAYOUT = "mvtec-3d-ad"
SIDE = 100  # pixels, 2 mm apart


def tiff_bytes(
    image: np.ndarray, order: str = "<", rows: int = 16, compression: int = 1, channels: int = 3
) -> bytes:
    """Make a TIFF of float channels in strips, as other programs write it."""
    kind = np.dtype(f"{order}f{image.dtype.itemsize}")
    height, width = image.shape[:2]
    strips = [
        image[start : start + rows].astype(kind).tobytes() for start in range(0, height, rows)
    ]
    if compression != 1:
        strips = [zlib.compress(strip) for strip in strips]
    count = len(strips)
    places = 8 + np.cumsum([0, *map(len, strips)])
    tables = int(places[-1])
    directory = tables + 8 * count + 6
    bits = 8 * image.dtype.itemsize
    entries = [
        (256, 4, 1, width), (257, 4, 1, height),
        (258, 3, 3, directory - 6), (259, 3, 1, compression),
        (273, 4, count, tables if count > 1 else int(places[0])), (277, 3, 1, channels),
        (278, 4, 1, rows), (279, 4, count, tables + 4 * count if count > 1 else len(strips[0])),
        (339, 3, 1, 3),
    ]  # fmt: skip
    out = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", directory)
    out += b"".join(strips)
    out += struct.pack(f"{order}{count}I", *places[:-1].tolist())
    out += struct.pack(f"{order}{count}I", *map(len, strips))
    out += struct.pack(f"{order}3H", bits, bits, bits) + struct.pack(f"{order}H", len(entries))
    for tag, code, length, value in entries:
        short = code == 3 and length == 1
        packed = struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
        out += struct.pack(f"{order}HHI", tag, code, length) + packed
    return out + bytes(4)


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (H, W, 3) a tilted table with a block on it, a crumb, and missing pixels; what is
    block, and a part of it that is anomalous.
    """
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    height = 0.5 + 0.1 * column * 0.002 + rng.normal(0, 3e-4, (SIDE, SIDE))
    block = (abs(row - 50) < 20) & (abs(column - 45) < 15)
    height[block] -= 0.03  # towards the camera
    height[3:6, 60:63] -= 0.05  # a crumb: far too small for a part
    grid = np.stack([column * 0.002, row * 0.002, height], axis=2).astype(np.float32)
    grid[rng.random((SIDE, SIDE)) < 0.05] = 0
    grid[:8, :30] = 0
    return grid, block, block & (abs(row - 50) < 4) & (abs(column - 45) < 4)


def png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def tree() -> dict[str, bytes]:
    grid, _, mark = scene()
    image, empty = tiff_bytes(grid), png(np.zeros_like(mark))
    return {
        "bagel/train/good/xyz/000.tiff": image,
        "bagel/train/good/rgb/000.png": b"not read",
        "bagel/validation/good/xyz/000.tiff": image,
        "bagel/test/good/xyz/000.tiff": image,
        "bagel/test/good/gt/000.png": empty,
        "bagel/test/Crack/xyz/000.tiff": image,
        "bagel/test/Crack/gt/000.png": png(mark),
        "bagel/test/hole/xyz/010.tiff": image,
        "bagel/test/hole/gt/010.png": png(mark),
        "bagel/test/hole/xyz/009.tiff": image,
        "bagel/test/hole/gt/009.png": png(mark),
        "bagel/calibration/camera_parameters.json": b"{}",
    }


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("rows, compression", [(16, 1), (7, 8), (1000, 32946), (1000, 1)])
def test_tiff(order: str, kind: str, rows: int, compression: int) -> None:
    image = np.random.default_rng(0).normal(size=(33, 21, 3)).astype(kind)
    data = tiff_bytes(image, order, min(rows, 33), compression)
    np.testing.assert_array_equal(read_tiff(data), image)


def test_an_independent_program_writes_the_same_tiff(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(40, 30, 3)).astype("f4")
    for options in ({}, {"compression": "zlib"}, {"byteorder": ">"}):
        tifffile.imwrite(tmp_path / "a.tiff", image, photometric="rgb", **options)
        np.testing.assert_array_equal(read_tiff((tmp_path / "a.tiff").read_bytes()), image)


IMAGE = np.ones((20, 10, 3), dtype=np.float32)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"\x89PNG", "not a TIFF"),
        (tiff_bytes(IMAGE)[:300], "directory is damaged"),
        (tiff_bytes(IMAGE, channels=1), "found 1 channels"),
        (tiff_bytes(IMAGE, compression=5), "compression 5"),
        (tiff_bytes(IMAGE).replace(struct.pack("<HHII", 257, 4, 1, 20),
                                   struct.pack("<HHII", 257, 4, 1, 10**9)), "size is|strips"),
        (tiff_bytes(IMAGE).replace(struct.pack("<HHII", 256, 4, 1, 10),
                                   struct.pack("<HHII", 256, 4, 1, 19_000)), "cut off"),
    ],
)  # fmt: skip
def test_other_images_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_tiff(data)


def many_strips(height: int, width: int, shared: bool) -> bytes:
    """Make a TIFF with one row a strip, deflated; all strips may be the same bytes of the file."""
    packed = zlib.compress(bytes(12 * width), 9)
    data = tiff_bytes(np.zeros((height, 1, 3), dtype="f4"), rows=1, compression=8)
    directory = struct.unpack_from("<I", data, 4)[0]
    tables = directory - 6 - 8 * height
    places = np.full(height, len(data), dtype="<u4")
    if not shared:
        places += np.arange(height, dtype="<u4") * np.uint32(len(packed))
    sizes = np.full(height, len(packed), dtype="<u4")
    data = data[:tables] + places.tobytes() + sizes.tobytes() + data[tables + 8 * height :]
    data = data.replace(struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, width))
    return data + packed * (1 if shared else height)


def test_images_that_expand_a_thousand_times_are_refused_before_they_are_decoded() -> None:
    assert not read_tiff(many_strips(50, 40, shared=False)).any()
    with pytest.raises(InputError, match="its strips overlap"):
        read_tiff(many_strips(50, 40, shared=True))
    with pytest.raises(InputError, match=r"20000 x 20000; at most are 20,000,000 pixels"):
        read_tiff(many_strips(20_000, 20_000, shared=False))


def test_a_strip_is_unpacked_no_further_than_its_pixels_need() -> None:
    """A strip of 100 MB of zeros is 97 kB in the file; the image has 9,600 bytes."""
    image = np.zeros((20, 20, 3), dtype="f4")
    packed = zlib.compress(bytes(10**8), 9)
    data = tiff_bytes(image, rows=20, compression=8)
    own = zlib.compress(image.tobytes())
    entries = (
        (struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, 1, len(data))),
        (struct.pack("<HHII", 279, 4, 1, len(own)), struct.pack("<HHII", 279, 4, 1, len(packed))),
    )
    for old, new in entries:
        assert data.count(old) == 1
        data = data.replace(old, new)
    tracemalloc.start()
    try:
        assert read_tiff(data + packed).shape == (20, 20, 3)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_directory_of_entries_as_long_as_the_file_takes_no_time() -> None:
    """Read in full, 4,000 entries would take 4,000 times the file."""
    data = tiff_bytes(np.ones((100, 100, 3), dtype="f4"))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    own = data[start + 2 : start + 2 + 12 * count]

    def with_entries(tags: Iterable[int]) -> bytes:
        more = [struct.pack("<HHII", tag, 1, len(data), 0) for tag in tags]
        packed = struct.pack("<H", count + len(more)) + own + b"".join(more)
        return data[:4] + struct.pack("<I", len(data)) + data[8:] + packed

    began = time.process_time()
    for tags in (range(1000, 5000), [339] * 4000):
        assert read_tiff(with_entries(tags)).shape == (100, 100, 3)
    with pytest.raises(InputError, match="suspicious number of tags"):
        read_tiff(with_entries(range(1000, 21_000)))
    assert time.process_time() - began < 2


DAMAGED = {code: tiff_bytes(IMAGE, compression=code) for code in (1, 8)}


@settings(max_examples=200, deadline=None)
@given(
    compression=st.sampled_from([1, 8]),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
    end=st.integers(0, 10**6),
)
def test_damaged_tiff(compression: int, changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(DAMAGED[compression])
    tail = len(data) - 140  # the directory, where damage matters
    for place, value in changes:
        data[tail + place % 140] = value
    try:
        image = read_tiff(bytes(data[: len(data) - end % 40 if end % 3 == 0 else len(data)]))
    except InputError:
        return
    assert image.ndim == 3 and image.shape[2] == 3


def test_the_plane_under_outliers() -> None:
    rng = np.random.default_rng(0)
    flat = np.column_stack([rng.uniform(-1, 1, (700, 2)), rng.normal(0.25, 5e-4, 700)])
    points = np.vstack([flat, rng.uniform(-1, 1, (300, 3))])
    normal, offset = fit_plane(points, np.random.default_rng(1))
    assert abs(normal[2]) == pytest.approx(1, abs=1e-4)
    assert offset * np.sign(normal[2]) == pytest.approx(0.25, abs=2e-4)


def test_points_in_a_line_and_equal_points_do_no_harm() -> None:
    line = np.outer(np.linspace(0, 1, 60), [1, 2, 3])
    normal, offset = fit_plane(line, np.random.default_rng(0))
    assert np.abs(line @ normal - offset).max() < 1e-9
    normal, offset = fit_plane(np.ones((60, 3)), np.random.default_rng(0))
    assert np.isfinite(normal).all()


def test_the_product_is_what_is_left() -> None:
    grid, block, _ = scene()
    present = (grid != 0).any(axis=2)
    kept = product_pixels(grid.astype(float), present, np.random.default_rng(0))
    np.testing.assert_array_equal(kept, block & present)


def test_small_parts_go_and_large_ones_stay() -> None:
    row, column = np.mgrid[:40, :40]
    grid = np.stack([column * 0.002, row * 0.002, np.zeros((40, 40))], axis=2)
    kept = np.zeros((40, 40), dtype=bool)
    kept[:20, :20] = kept[30:39, 30:38] = kept[25:27, 2:4] = True  # 400, 72 and 4 pixels
    kept[10:12] = False  # 4 mm of missing pixels part nothing
    expected = kept.copy()
    expected[25:27, 2:4] = False
    np.testing.assert_array_equal(largest_parts(grid[kept]), expected[kept])
    assert not len(largest_parts(np.zeros((0, 3))))


def test_parts_are_those_of_dbscan() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(0)
    centres = np.array([(0, 0, 0), (0.05, 0, 0), (0, 0.06, 0.02)])
    sizes = (900, 600, 40)  # the last is less than a tenth of the first
    clouds = [rng.normal(0, 0.004, (size, 3)) for size in sizes]
    points = np.vstack([c + cloud for c, cloud in zip(centres, clouds, strict=True)])
    group = cluster.DBSCAN(eps=0.006, min_samples=1).fit_predict(points)
    counts = np.bincount(group)
    expected = (counts >= 0.1 * counts.max())[group]
    assert 1400 < expected.sum() < 1540
    # They may differ in single points at the rims, where cells are coarser than distances.
    assert (largest_parts(points) != expected).mean() < 0.005


def test_listing(tmp_path: Path) -> None:
    root = write_tree(tmp_path, tree())
    assert detect_layout(root) == LAYOUT
    scans = find_scans(LAYOUT, root)
    assert [(scan.id, scan.split, scan.defect) for scan in scans] == [
        ("bagel/train/good/000", "train", "normal"),
        ("bagel/test/Crack/000", "test", "crack"),
        ("bagel/test/good/000", "test", "normal"),
        ("bagel/test/hole/009", "test", "hole"),
        ("bagel/test/hole/010", "test", "hole"),
    ]
    assert {scan.category for scan in scans} == {"bagel"}


def test_loading(tmp_path: Path) -> None:
    grid, block, mark = scene()
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, tree()))}
    cloud = scans["bagel/test/Crack/000"].load()
    kept = block & (grid != 0).any(axis=2)
    np.testing.assert_array_equal(cloud.points, grid[kept])
    np.testing.assert_array_equal(cloud.labels, mark[kept])
    assert "background removed" in cloud.notes[0] and len(cloud.notes) == 1
    again = scans["bagel/test/Crack/000"].load()
    np.testing.assert_array_equal(again.points, cloud.points)
    for name in ("bagel/train/good/000", "bagel/test/good/000"):
        labels = scans[name].load().labels
        assert labels is not None and not labels.any()


def test_what_is_missing_or_does_not_fit(tmp_path: Path) -> None:
    files = tree()
    del files["bagel/test/hole/gt/009.png"]
    with pytest.raises(InputError, match=r"009\.tiff: its ground truth is missing"):
        find_scans(LAYOUT, write_tree(tmp_path / "a", files))
    files["bagel/test/hole/gt/009.png"] = png(np.zeros((5, 6), dtype=bool))
    files["bagel/test/hole/gt/010.png"] = b"\x89PNG"
    files["bagel/train/good/xyz/000.tiff"] = tiff_bytes(0 * IMAGE)
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path / "b", files))}
    with pytest.raises(
        InputError, match=r"009\.png: its size is 6 x 5, that of the scan 100 x 100"
    ):
        scans["bagel/test/hole/009"].load()
    with pytest.raises(InputError, match=r"010\.png: it is not a readable PNG"):
        scans["bagel/test/hole/010"].load()
    with pytest.raises(InputError, match=r"000\.tiff: it has no points"):
        scans["bagel/train/good/000"].load()
    with pytest.raises(InputError, match="there are no files <class>"):
        find_scans(LAYOUT, write_tree(tmp_path / "c", {"a/b.txt": b"1 2 3"}))


def test_of_two_images_for_a_scan_the_first_stays(tmp_path: Path) -> None:
    files = tree()
    files["bagel/test/hole/xyz/010.tif"] = files["bagel/test/hole/xyz/010.tiff"]
    root = write_tree(tmp_path, files)
    skipped: list[str] = []
    scans = find_scans(LAYOUT, root, skipped)
    assert scans[-1].cloud == "bagel/test/hole/xyz/010.tif"
    (problem,) = skipped
    assert problem.startswith(f"{root / 'bagel/test/hole/xyz/010.tiff'}: there is")


def test_a_mask_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    files = tree()
    files["bagel/test/hole/gt/010.png"] = png(np.zeros((5000, 4001), dtype=bool))
    scans = find_scans(LAYOUT, write_tree(tmp_path, files))
    with pytest.raises(InputError, match=r"010\.png: its size is 4001 x 5000; at most"):
        scans[-1].load()


def test_anomalous_points_in_the_background_are_counted(tmp_path: Path) -> None:
    files = tree()
    mark = np.zeros((SIDE, SIDE), dtype=bool)
    mark[80:90, 80:90] = True
    mark[50, 45] = True
    files["bagel/test/hole/gt/009.png"] = png(mark)
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, files))}
    assert (
        "anomalous points lie in the removed background"
        in scans["bagel/test/hole/009"].load().notes[1]
    )
