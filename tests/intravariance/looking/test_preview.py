# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from intravariance.commands.preview import preview_command
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.executors.processes import ProcessExecutor
from intravariance.looking.preview import Drawing, choose_samples, contact_sheet
from tests.intravariance.looking.test_rendering import is_blank, is_orange
from tests.support.samples import UNEVEN, make_dataset

SIZE = 96


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("preview") / "small.h5", UNEVEN, sigma=0.002)


def run(*arguments: object) -> tuple[int, str]:
    """Return exit code and stdout; InputError goes through, as to the `iv` group."""
    result = CliRunner().invoke(
        preview_command, [str(a) for a in arguments], catch_exceptions=False
    )
    return result.exit_code, result.stdout


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


def cells(sheet: Image.Image, rows: int, columns: int) -> list[list[np.ndarray]]:
    """Cut out the pictures of the sheet, without headings and captions."""
    pixels = np.asarray(sheet)
    assert pixels.shape[1] == columns * SIZE
    caption = 3 * 11 + 4
    top = pixels.shape[0] - rows * (SIZE + caption)
    starts = [top + row * (SIZE + caption) for row in range(rows)]
    return [
        [pixels[y : y + SIZE, c * SIZE : (c + 1) * SIZE] for c in range(columns)] for y in starts
    ]


def test_a_row_each_category_and_labels_only_on_defects(file: Path) -> None:
    with open_dataset(file) as dataset:
        sheet = contact_sheet(dataset, Drawing(SIZE))
    ball, bead = cells(sheet, rows=2, columns=3)  # template, bulge, missing
    for template in (ball[0], bead[0]):
        assert (template < 250).any() and not is_orange(template).any()
    for defect in (ball[1], bead[1], bead[2]):
        assert is_orange(defect).mean() > 0.05
    assert (ball[2] == 255).all()  # ball has no "missing"


def test_samples_columns_and_category_filter(file: Path) -> None:
    with open_dataset(file) as dataset:
        sheet = contact_sheet(dataset.filter(category="bead"), Drawing(SIZE), samples=2)
    ((template, bulge, empty, missing, other),) = cells(sheet, rows=1, columns=5)
    assert not is_orange(template).any()
    assert is_orange(bulge).any() and is_orange(missing).any() and is_orange(other).any()
    assert (empty == 255).all()  # one bulge only
    assert not np.array_equal(missing, other)


def test_displacement_colours_are_a_scale_on_a_bulge_and_dark_red_where_cut(file: Path) -> None:
    with open_dataset(file) as dataset:
        sheet = contact_sheet(dataset.filter(category="bead"), Drawing(SIZE, "displacement"))
    ((_, bulge, missing),) = cells(sheet, rows=1, columns=3)
    # moved most is violet (little green), exposed surface is dark red (little blue)
    red, green, blue = np.moveaxis(bulge.astype(int), 2, 0)
    assert ((blue - green > 15) & (red - green > 0)).any()
    assert is_orange(missing).any()


def test_the_same_file_gives_the_same_picture_in_any_number_of_processes(file: Path) -> None:
    pictures = []
    for executor in (None, ProcessExecutor(1)):
        with open_dataset(file) as dataset:
            part = dataset.filter(category="bead")
            pictures.append(contact_sheet(part, Drawing(SIZE), executor=executor).tobytes())
    assert pictures[0] == pictures[1]


def test_all_samples_have_a_row_each_category_and_type(file: Path) -> None:
    with open_dataset(file) as dataset:
        sheet = contact_sheet(dataset, Drawing(SIZE), samples=None)
        counts = Counter((r.category, r.defect) for r in dataset if r.defect != "normal")
    pixels = np.asarray(sheet)
    assert pixels.shape[1] == max(counts.values()) * SIZE
    row = 14 + 10 + SIZE + 3 * 11 + 4  # heading, tile, caption
    top = pixels.shape[0] - len(counts) * row
    shown = [
        sum(
            bool(is_orange(pixels[y + 24 : y + 24 + SIZE, x : x + SIZE]).any())
            for x in range(0, pixels.shape[1], SIZE)
        )
        for y in range(top, pixels.shape[0], row)
    ]
    rows = [("ball", "bulge"), ("bead", "bulge"), ("bead", "missing")]
    assert shown == [counts[row] for row in rows]


def test_noise_free_pictures_show_the_products_outline(tmp_path: Path) -> None:
    noisy = make_dataset(tmp_path / "noisy.h5", UNEVEN, sigma=0.0447)
    rough = []
    for noise_free in (False, True):
        with open_dataset(noisy) as dataset:
            part = dataset.filter(category="bead")  # a ball
            sheet = contact_sheet(part, Drawing(SIZE, noise_free=noise_free))
        template = ~is_blank(cells(sheet, rows=1, columns=3)[0][0])
        y, x = np.nonzero(template)
        radius = np.sqrt(len(y) / np.pi)  # of the disc of the same area
        away = np.hypot(y - y.mean(), x - x.mean())
        rough.append(away.max() / radius)
    assert rough[1] < 1.04 < rough[0]


def test_choose_samples_takes_the_median_or_spreads_evenly() -> None:
    records = [
        SimpleNamespace(id=str(i), n_anomalous=share, n_points=100)
        for i, share in enumerate([30, 10, 50, 20, 40])
    ]

    def shares(count: int) -> list[int]:
        return [record.n_anomalous for record in choose_samples(records, count)]  # type: ignore

    assert shares(1) == [30]
    assert shares(2) == [20, 40]
    assert shares(5) == shares(9) == [10, 20, 30, 40, 50]
    assert choose_samples([], 3) == []


def test_command_writes_the_picture_and_prints_its_path(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert run(file, "--out", out, "--size", 64, "--quiet") == (0, f"{out}\n")
    assert width(out) == 3 * 64
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"sheet\.png exists.*--force"):
        run(file, "--out", out, "--size", 80, "--quiet")
    assert out.read_bytes() == before
    run(file, "--out", out, "--size", 80, "--quiet", "--force", "--category", "bead")
    assert width(out) == 3 * 80
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_command_refuses_what_it_cannot_use(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ending in \.png"):
        run(file, "--out", tmp_path / "sheet.jpg")
    with pytest.raises(InputError, match="existing folder"):
        run(file, "--out", tmp_path / "nowhere" / "sheet.png")
    with pytest.raises(InputError, match=r"--category cube.*ball, bead"):
        run(file, "--out", tmp_path / "sheet.png", "--category", "cube")
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "missing.h5")
    with pytest.raises(InputError, match=r"part\.doc: expected a dataset file"):
        run(tmp_path / "part.doc")
    with pytest.raises(InputError, match="drawn alone"):
        run(file, file)
    with pytest.raises(InputError, match="--up y is for meshes"):
        run(file, "--out", tmp_path / "sheet.png", "--up", "y")
    with pytest.raises(InputError, match="--category, --all: for dataset files"):
        run("part.stl", "--out", tmp_path / "sheet.png", "--category", "ball", "--all")
    assert list(tmp_path.iterdir()) == []
