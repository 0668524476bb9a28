# SPDX-License-Identifier: Apache-2.0
"""Display in notebooks: a sample as its picture, a dataset as a table of its samples.

`import intravariance` registers both with IPython where that runs; nothing is imported before
something is shown.
"""

from __future__ import annotations

from collections import Counter
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from annotations.vocabulary import NORMAL, in_order
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError
from intravariance.looking.cloud import upright
from intravariance.looking.pictures import Colouring, paint, png
from intravariance.looking.pristine import surface_of, template_of
from intravariance.looking.viewpoint import view


def picture(record: Record, scores: ArrayLike | None = None, size: int = 320) -> Image.Image:
    """Draw a sample, upright, from where its defect shows most.

    Parameters
    ----------
    scores : (N,) of a detector, in the order of the record's points: they are the colours, from
        grey to dark red. Without them what is labelled anomalous is orange, dark red where a cut
        exposed it.
    size : pixels of a side

    Raises
    ------
    InputError
        There is not one finite score for each point.
    """
    values: NDArray[np.float32] | None = None
    if scores is not None:
        values = np.asarray(scores, dtype=np.float32)
        if values.shape != (record.n_points,) or not np.isfinite(values).all():
            raise InputError(
                f"scores of {record.id}: expected {record.n_points} finite numbers, one for each "
                f"point; found an array of shape {values.shape}"
            )
    colouring: Colouring = "labels" if values is None else "scores"
    with open_dataset(record.path) as dataset:
        cloud = upright(record, values, surface_of(template_of(dataset, record)))
        layer = 3 * float(dataset.metadata["identity"]["noise_sigma"])
    return Image.fromarray(paint(cloud, colouring, size, layer, view(cloud)))


def record_png(record: Record) -> bytes:
    """Return the picture of a sample as a PNG file of 256 colours, for notebooks keep it."""
    return png(picture(record).quantize())


def dataset_html(dataset: Dataset) -> str:
    """Return a table of HTML: how many samples there are of each category and kind."""
    counts = Counter((r.category, r.split, r.defect) for r in dataset)
    defects = in_order(r.defect for r in dataset if r.defect != NORMAL)
    kinds = [("train", NORMAL), ("test", NORMAL), *(("test", defect) for defect in defects)]
    heading = ["category", "templates", "test: normal", *defects]
    rows = [
        [category, *(str(counts[category, *kind]) for kind in kinds)]
        for category in dataset.categories
    ]
    lines = [_line("th", heading), *(_line("td", row) for row in rows)]
    return f"<p>{escape(repr(dataset))}</p><table>{''.join(lines)}</table>"


def _line(tag: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
