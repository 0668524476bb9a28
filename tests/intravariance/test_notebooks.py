# SPDX-License-Identifier: Apache-2.0
"""Views of a dataset and of its samples in a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intravariance import Dataset, InputError, open_dataset, picture
from intravariance.notebooks import dataset_html, record_png
from tests.support.samples import BALL, make_dataset, small_specification


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks")
    return make_dataset(folder / "a<b.h5", small_specification((1500, 1600), 2, 1), sigma=0.002)


@pytest.fixture(scope="module")
def dataset(path: Path) -> Dataset:
    return open_dataset(path)


def warm(image: Image.Image) -> int:
    """Count the pixels that are clearly more red than blue; surfaces are of a bluish grey."""
    red, _, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(int), -1, 0)
    return int((red - blue > 60).sum())


def test_a_defect_shows_in_colour_and_a_normal_sample_has_none(dataset: Dataset) -> None:
    assert warm(picture(dataset.filter(category="ball", defect="bulge")[0])) > 100
    assert warm(picture(dataset.filter(category="ball", split="train")[0])) == 0


def test_scores_are_the_colours_where_they_are_given(dataset: Dataset) -> None:
    record = dataset.filter(category="ball", split="train")[0]
    scores = record.points[:, 2] > np.median(record.points[:, 2])  # half of the points
    assert warm(picture(record, scores=scores, size=100)) > 500
    assert picture(record, scores=scores, size=100).size == (100, 100)


@pytest.mark.parametrize("scores", [[1.0], None])
def test_scores_must_be_a_finite_number_for_each_point(
    dataset: Dataset, scores: list[float] | None
) -> None:
    record = dataset[0]
    wrong = np.full(record.n_points, np.nan) if scores is None else scores
    with pytest.raises(InputError, match=rf"{record.id}: expected {record.n_points} finite"):
        picture(record, scores=wrong)


def test_a_record_is_shown_as_the_same_small_picture_each_time(dataset: Dataset) -> None:
    record = dataset.filter(defect="bulge")[0]
    shown = record_png(record)
    assert shown == record_png(record)
    assert len(shown) < 60_000
    assert warm(Image.open(BytesIO(shown))) == pytest.approx(warm(picture(record)), rel=0.2)


def test_a_dataset_is_a_table_of_its_samples(dataset: Dataset) -> None:
    html = dataset_html(dataset)
    assert "a&lt;b.h5" in html and "a<b" not in html
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", html)]
    assert rows == [
        ["category", "templates", "test: normal", "bulge", "missing"],
        ["ball", "2", "2", "1", "1"],
        ["brick", "2", "2", "1", "1"],
    ]
    assert "brick" not in dataset_html(dataset.filter(category=BALL.name))


@pytest.mark.skipif(find_spec("IPython") is None, reason="IPython is not installed")
def test_ipython_shows_them_and_imports_nothing_before(path: Path) -> None:
    script = f"""
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import intravariance
assert "numpy" not in sys.modules
dataset = intravariance.open_dataset({str(path)!r})
data, _ = shell.display_formatter.format(dataset)
assert data["text/html"].count("<tr>") == 3 and "text/plain" in data
data, _ = shell.display_formatter.format(dataset[0])
assert data["image/png"][:4] == b"\\x89PNG"
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={"IPYTHONDIR": str(path.parent), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
