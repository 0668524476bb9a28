# SPDX-License-Identifier: Apache-2.0
"""The report of an inspection: what is in its folder.

    page.html                      real defects and pseudo-anomalies side by side, to turn
    realism.md, .csv, .json        the figures (`intravariance.inspection.realism`)
    realism.png                    their distributions
    <category>.png                 contact sheet: a row for each defect type and generator
    panels/<category>_<kind>.png   one sample of each: template, surface, label, displacement

The same file, options and seed give the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from annotations.vocabulary import NORMAL
from intravariance.errors import IVError
from intravariance.executors import Processes
from intravariance.inspection.cloud import LabelledCloud, upright
from intravariance.inspection.measures import QUANTITIES
from intravariance.inspection.page import Note, page
from intravariance.inspection.panels import panel
from intravariance.inspection.realism import (
    ALL,
    CSV_FIELDS,
    Comparison,
    Object,
    Realism,
    csv_rows,
    markdown,
    realism,
    to_dict,
)
from intravariance.inspection.sheets import comparison_sheet
from intravariance.progress import track
from intravariance.seeds import generator
from intravariance.store import Dataset, Record
from mc4ad_model.inspection import Made, Task, Tasks, examine_task, label, make, to_show

PAGE, FIGURE = "page.html", "realism.png"
TABLES = ("realism.md", "realism.csv", "realism.json")
PANELS = "panels"


@dataclass(frozen=True)
class Shown:
    """Clouds of one category to look at: templates, then some of each kind."""

    category: str
    templates: list[LabelledCloud]
    kinds: dict[str, list[LabelledCloud]]


@dataclass(frozen=True, eq=False)
class SheetTask:
    """A contact sheet to draw: templates, and tasks by what they are examples of; pixels and layer
    of the pictures."""

    category: str
    templates: tuple[Record, ...]
    kinds: dict[str, tuple[Task, ...]]
    size: int
    layer: float


@dataclass(frozen=True)
class PanelTask:
    """A panel to draw: a task, what it is an example of, pixels and layer of the pictures."""

    task: Task
    label: str
    size: int
    layer: float


def kinds(tasks: Tasks) -> dict[str, list[Task]]:
    """Tasks by what they are examples of: real defects, then the others, in order of appearance."""
    found: dict[str, list[Task]] = {}
    for task in (*tasks.real, *tasks.pseudo):
        found.setdefault(label(task, tasks), []).append(task)
    return found


def measure_all(tasks: Tasks, seed: int, processes: Processes, quiet: bool) -> list[Object]:
    """Make and measure every cloud, in worker processes; sorted by name.

    Raises
    ------
    IVError
        A cloud cannot be made or measured: that of the first task that failed.
    """
    work = [(task, name, seed) for name, group in kinds(tasks).items() for task in group]
    objects = []
    for _, result in track(processes.run(examine_task, work), len(work), "measuring", quiet):
        if isinstance(result, IVError):
            raise result
        objects.append(result)
    return sorted(objects, key=lambda item: item.name)


def compare(objects: Sequence[Object], seed: int) -> Realism:
    """The tables."""
    return realism(objects, generator(seed, "inspection", "realism"))


def look_at_all(
    dataset: Dataset, tasks: Tasks, count: int, size: int, layer: float, processes: Processes,
    quiet: bool,
) -> Iterator[tuple[Shown, bytes]]:  # fmt: skip
    """For each category, in the file's order: templates and `count` clouds of each kind, made again
    in worker processes, and their contact sheet (PNG).

    Raises
    ------
    IVError
        A cloud cannot be made.
    """
    work = []
    for category in dict.fromkeys(task.category for task in tasks.pseudo):
        records = [r for r in dataset.filter(category=category) if r.split == "train"]
        groups = kinds(tasks.category(category))
        chosen = {name: tuple(to_show(group, count)) for name, group in groups.items()}
        work.append(SheetTask(category, tuple(records), chosen, size, layer))
    done = {}
    for task, result in track(processes.run(look_at, work), len(work), "contact sheets", quiet):
        if isinstance(result, IVError):
            raise result
        done[task.category] = result
    for task in work:
        yield done[task.category]


def look_at(task: SheetTask) -> tuple[Shown, bytes]:
    """The clouds of one category and their contact sheet; what worker processes run."""
    templates = [upright(record) for record in task.templates]
    clouds = {name: [make(one, name) for one in group] for name, group in task.kinds.items()}
    widest = max(4, *(len(group) for group in clouds.values()))
    picture = comparison_sheet(
        [(NORMAL, templates[:widest]), *clouds.items()],
        task.size,
        "displacement",
        task.layer,
        arrows=True,
        title=task.category,
    )
    return Shown(task.category, templates, clouds), png(picture)


def panel_tasks(tasks: Tasks, size: int, layer: float) -> dict[str, PanelTask]:
    """File name below PANELS -> panel: one for each category and kind."""
    found = {}
    for category in dict.fromkeys(task.category for task in (*tasks.real, *tasks.pseudo)):
        for name, group in kinds(tasks.category(category)).items():
            chosen = to_show(group, 1)[0]
            found[f"{category}_{name}.png"] = PanelTask(chosen, name, size, layer)
    return found


def draw_panel(task: PanelTask) -> bytes:
    """The panel (PNG); what worker processes run."""
    what = task.task
    template = upright(what.template) if isinstance(what, Made) else None
    return png(panel(make(what, task.label), template, task.size, task.layer))


def draw_panels(
    tasks: Tasks, size: int, layer: float, processes: Processes, quiet: bool
) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) as they are finished; IVError when one cannot be drawn."""
    names = {task: name for name, task in panel_tasks(tasks, size, layer).items()}
    for task, result in track(processes.run(draw_panel, names), len(names), "panels", quiet):
        if isinstance(result, IVError):
            raise result
        yield names[task], result


def report_page(title: str, shown: Sequence[Shown], result: Realism, display_points: int) -> bytes:
    """The page: clouds of all categories, and the tables below them."""
    clouds = [
        cloud
        for part in shown
        for group in (part.templates, *part.kinds.values())
        for cloud in group
    ]
    return page(title, clouds, notes(result), display_points=display_points)


def notes(result: Realism) -> list[Note]:
    """The two-sample test and the nearest generators, as tables."""
    defects = list(dict.fromkeys(item.defect for item in result.comparisons))
    rows = []
    for name in dict.fromkeys(item.generator for item in result.comparisons):
        found = {item.defect: item for item in result.comparisons if item.generator == name}
        rows.append([name, *(_cell(found[defect]) for defect in defects)])
    best = [item for item in result.nearest if item.defect == ALL]
    return [
        Note(
            "Can a classifier tell them apart?",
            "AUROC of a classifier on local shape (FPFH), of held-out objects: 0.5 means that it "
            "cannot tell a pseudo-anomaly from a real defect, 1 that it always can. In brackets: "
            "the same far from the defects, which should be 0.5.",
            ("", *defects),
            rows,
        ),
        Note(
            "Nearest to all real defects",
            "By each measure; * where the interval lies below those of all others. All figures are "
            "in realism.md and realism.csv.",
            ("measure", "generator", "AUROC or distance"),
            [
                [_title(item.criterion), item.generator + ("*" if item.clear else ""), item.value]
                for item in best
            ],
        ),
    ]


def tables(result: Realism, heading: str) -> dict[str, bytes]:
    """File name -> content, of TABLES. heading : what was inspected, a line of Markdown."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_rows(result))
    content = json.dumps(to_dict(result), indent=1, allow_nan=False) + "\n"
    return {
        "realism.md": f"{heading}\n\n{markdown(result)}".encode(),
        "realism.csv": text.getvalue().encode(),
        "realism.json": content.encode(),
    }


def two_sample_rows(result: Realism) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table generator x defect type, for a terminal."""
    first = notes(result)[0]
    return list(first.columns), [[str(cell) for cell in row] for row in first.rows]


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _title(criterion: str) -> str:
    quantity = QUANTITIES.get(criterion)
    if quantity is None:
        return criterion
    return f"{quantity.title} [{quantity.unit}]" if quantity.unit else quantity.title


def _cell(item: Comparison) -> str:
    if item.two_sample is None:
        return "-"
    control = "-" if item.control is None else f"{item.control.auroc:.2f}"
    return f"{item.two_sample.auroc:.2f} [{control}]"
