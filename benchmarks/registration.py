# SPDX-License-Identifier: Apache-2.0
"""How often registration finds the template and the pose, and how long it takes, with rivals.

    OMP_NUM_THREADS=1 python benchmarks/registration.py group2.h5
    python benchmarks/registration.py group2.h5 --categories door,vase --limit 10 --markdown
    python benchmarks/registration.py group2.h5 --ways ours --failures

Every test cloud is registered to the templates of its category. The pose found is compared with the
one that the file says, up to the symmetries of the product (`product_symmetries`): rotation within
3 degrees and shift within 0.02 is right. The template is right when it is of the cloud's own
subcategory; a cloud with a wrong template has no right pose, and counts in no median.

"undecided" is the share of clouds with a wrong template or pose for which what was found is at
least as likely as the truth, all points of the cloud taken, or less likely by under three nats. The
noise hides the difference there, or a defect moved so much that the rest of the product does not
decide. A wrong pose that is less likely than the true one was not found for want of search.

Times are of one cloud, all templates of its category tried; what is done once for a category is
left out. "processor" counts all threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from product_symmetries import Motions, Product
from registration_rivals import WAYS, Way

from annotations.vocabulary import in_order
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.progress import track
from intravariance.seeds import generator
from intravariance.tables import Cell, markdown_table, text_table
from mc4ad_model.methods.templates import read_templates, registration_points
from mc4ad_model.registration.poses import Pose, Registration

DEGREES, SHIFT = 3.0, 0.02
_NATS = 3.0

HEADING = ["", "clouds", "template", "pose", "degrees", "shift", "undecided", "ms", "processor ms"]


@dataclass(frozen=True)
class Trial:
    """The registration of one cloud by one of the ways.

    degrees, shift : from the nearest pose in which the product looks as in the true one; None for a
    wrong template. nats : log-likelihood of all points there, less that in the true pose. seconds,
    processor : time that it took, by the clock and of the processor.
    """

    id: str
    category: str
    defect: str
    way: str
    truth: str
    template: str
    degrees: float | None
    shift: float | None
    nats: float
    seconds: float
    processor: float

    @property
    def right(self) -> bool:
        """Whether the pose is right."""
        return (
            self.degrees is not None
            and self.shift is not None
            and self.degrees <= DEGREES
            and self.shift <= SHIFT
        )


def main() -> None:
    """Register a file's test clouds and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="dataset file with templates' meshes")
    parser.add_argument("--categories", help="these, with commas between them; all by default")
    parser.add_argument("--limit", type=int, help="clouds of a category, evenly spread")
    parser.add_argument("--ways", default=",".join(WAYS), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of points of the templates")
    parser.add_argument("--failures", action="store_true", help="list what is wrong")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    ways = options.ways.split(",")
    if unknown := [way for way in ways if way not in WAYS]:
        parser.error(f"--ways: {', '.join(unknown)}: expected some of {', '.join(WAYS)}")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit {options.limit}: expected 1 or more")
    try:
        with open_dataset(options.file) as dataset:
            categories = options.categories.split(",") if options.categories else dataset.categories
            trials = [
                trial
                for category in categories
                for trial in trials_of(dataset, category, ways, options.limit, options.seed)
            ]
            digest = dataset.digest
    except IVError as error:
        parser.exit(error.exit_code, f"registration.py: error: {error}\n")
    table = markdown_table if options.markdown else text_table
    print(f"{options.file}, content digest {digest}")
    for way in ways:
        own = [trial for trial in trials if trial.way == way]
        print(f"\n{way}\n")
        print(table(HEADING, rows(own)))
    print(f"\nmean of categories\n\n{table(HEADING, comparison(trials, ways))}")
    if options.failures:
        print(f"\nwrong\n\n{table(*failures(trials))}")


def trials_of(
    dataset: Dataset, category: str, ways: Sequence[str], limit: int | None, seed: int
) -> Iterator[Trial]:
    """Register the test clouds of a category in each way."""
    templates = read_templates(dataset, category)
    points = registration_points(templates, seed)
    names = {r.id: r.subcategory for r in dataset.filter(category=category, split="train")}
    products = dict[str, Product]()
    for template in templates.templates:
        if template.mesh is None:
            raise InputError(
                f"{dataset.path}: template {template.id} has no mesh; expected a file made by "
                "`iv build`, which knows true poses and has the meshes of its templates"
            )
        rng = generator(seed, "symmetries", template.id)
        products[names[template.id]] = Product(template.mesh, rng)
    ids = sorted(points)
    of_templates = [names[i] for i in ids]
    referee = Registration([points[i] for i in ids], templates.noise_sigma)
    made = {way: WAYS[way]([points[i] for i in ids], templates.noise_sigma) for way in ways}
    records = list(dataset.filter(category=category, split="test"))
    if limit is not None and limit < len(records):
        records = [records[i] for i in np.linspace(0, len(records) - 1, limit).round().astype(int)]
    for record in track(records, len(records), category):
        for way in ways:
            yield trial_of(record, way, made[way], of_templates, products, referee)


def trial_of(
    record: Record,
    name: str,
    way: Way,
    of_templates: Sequence[str],
    products: dict[str, Product],
    referee: Registration,
) -> Trial:
    """Register a cloud and compare with the truth.

    of_templates : subcategory of each template. products : by subcategory.
    """
    cloud, pose = record.points, record.pose
    start, busy = time.perf_counter(), time.process_time()
    template, rotation, shift = way(cloud)
    seconds, processor = time.perf_counter() - start, time.process_time() - busy
    # stored = points @ turn.T + move, so points = stored @ turn - move @ turn
    turn, move = pose[:3, :3], pose[:3, 3]
    found = of_templates[template]
    off: tuple[float, float] | tuple[None, None] = (None, None)
    if found == record.subcategory:
        motion = Motions((turn.T @ rotation)[None], (move @ rotation + shift)[None])
        off = products[found].error(motion)
    true = of_templates.index(record.subcategory)
    likelihoods = [
        referee.log_likelihood(cloud, Pose(t, r, s, 0.0))
        for t, r, s in ((template, rotation, shift), (true, turn, -move @ turn))
    ]
    return Trial(
        record.id, record.category, record.defect, name, record.subcategory, found,
        *off, len(cloud) * (likelihoods[0] - likelihoods[1]), seconds, processor,
    )  # fmt: skip


def rows(trials: Sequence[Trial]) -> list[list[Cell]]:
    """Return a row for each category, for each defect type, and for all."""
    table = [
        [c, *figures([t for t in trials if t.category == c])]
        for c in dict.fromkeys(t.category for t in trials)
    ]
    table += [
        [d, *figures([t for t in trials if t.defect == d])]
        for d in in_order({t.defect for t in trials})
    ]
    return [*table, ["all", *figures(trials)]]


def figures(trials: Sequence[Trial]) -> list[Cell]:
    """Return what HEADING says of some clouds."""
    known = [t for t in trials if t.degrees is not None]
    undecided = [not t.right and t.nats > -_NATS for t in trials]
    return [
        len(trials),
        len(known) / len(trials),
        float(np.mean([t.right for t in trials])),
        _median(np.array([t.degrees for t in known], dtype=float)),
        _median(np.array([t.shift for t in known], dtype=float), 4),
        float(np.mean(undecided)),
        f"{1e3 * np.mean([t.seconds for t in trials]):.0f}",
        f"{1e3 * np.mean([t.processor for t in trials]):.0f}",
    ]


def _median(values: NDArray[np.float64], digits: int = 2) -> str | None:
    return f"{np.median(values):.{digits}f}" if len(values) else None


def comparison(trials: Sequence[Trial], ways: Sequence[str]) -> list[list[Cell]]:
    """Return a row for each way: means over categories; times also as ratios to the first way."""
    categories = dict.fromkeys(t.category for t in trials)
    first, table = None, list[list[Cell]]()
    for way in ways:
        own = [[t for t in trials if (t.way, t.category) == (way, c)] for c in categories]
        each = [[np.nan if v is None else float(v) for v in figures(group)] for group in own]
        means = np.mean(each, axis=0)
        first = means[6:] if first is None else first
        times = [f"{m:.0f} ({m / f:.2g} x)" for m, f in zip(means[6:], first, strict=True)]
        degrees, shift = f"{means[3]:.2f}", f"{means[4]:.4f}"
        shares = [float(v) for v in means[[1, 2, 5]]]
        table.append([way, sum(map(len, own)), *shares[:2], degrees, shift, shares[2], *times])
    return table


def failures(trials: Sequence[Trial]) -> tuple[list[str], list[list[Cell]]]:
    """Make a table of the wrong ones: heading and rows."""
    heading = ["cloud", "way", "defect", "product", "template", "degrees", "shift", "nats"]
    return heading, [
        [
            t.id, t.way, t.defect, t.truth, t.template,
            None if t.degrees is None else f"{t.degrees:.1f}", t.shift, f"{t.nats:.0f}",
        ]
        for t in trials if not t.right
    ]  # fmt: skip


if __name__ == "__main__":
    main()
