# SPDX-License-Identifier: Apache-2.0
"""The report of an inspection: what is in its folder.

    report.json                    what was inspected, with which options; written first
    page.html                      real defects and pseudo-anomalies side by side, to turn
    realism.md, .csv, .json        the figures (`intravariance.looking.realism.comparison`)
    realism.png                    their distributions
    sheets/<category>.png          contact sheet: a row for each defect type and generator
    panels/<category>_<kind>.png   one sample of each: template, surface, label, displacement

The same file, options and seed give the same bytes, whatever the number of processes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotations.vocabulary import NORMAL
from intravariance.dataset.provenance import software
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import IVError
from intravariance.executors import Executor
from intravariance.files.folders import write_member
from intravariance.looking.cloud import LabelledCloud, upright
from intravariance.looking.page import Note, page
from intravariance.looking.panels import panel
from intravariance.looking.pictures import png
from intravariance.looking.realism.comparison import (
    ALL,
    GeneratorComparison,
    MeasuredDefect,
    Realism,
    compare_generators,
    suspicious,
)
from intravariance.looking.realism.figure import figure
from intravariance.looking.realism.measures import QUANTITIES
from intravariance.looking.realism.tables import CSV_FIELDS, csv_rows, markdown, to_dict
from intravariance.looking.sheets import comparison_sheet
from intravariance.progress import say, track
from intravariance.seeds import generator
from mc4ad_model.reports.inspection import (
    SampleTask,
    Task,
    Tasks,
    examine_task,
    label,
    make,
    to_show,
)

RECORD, PAGE, FIGURE = "report.json", "page.html", "realism.png"
SHEETS, PANELS = "sheets", "panels"


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


@dataclass(frozen=True)
class Drawing:
    """samples : clouds of each kind to show. size : pixels of a picture. points : of a cloud on the
    page, at most."""

    samples: int
    size: int
    points: int


def write(
    folder: Path,
    about: dict[str, Any],
    dataset: Dataset,
    tasks: Tasks,
    drawing: Drawing,
    executor: Executor,
    quiet: bool,
) -> Realism:
    """Measure, compare and draw everything, into a new folder.

    Raises
    ------
    IVError
        A cloud cannot be made, measured or drawn.
    """
    write_member(folder, RECORD, (json.dumps(about, indent=1) + "\n").encode())
    layer = 3 * about["noise_sigma"]
    objects = measure_all(tasks, about["seed"], executor, quiet)
    say("comparing", quiet)
    result = compare_generators(objects, generator(about["seed"], "inspection", "realism"))
    write_member(folder, FIGURE, figure(objects))
    for name, content in tables(result, heading(about)).items():
        write_member(folder, name, content)
    for name, picture in draw_panels(tasks, drawing.size, layer, executor, quiet):
        write_member(folder, f"{PANELS}/{name}", picture)
    shown = []
    for part, sheet in look_at_all(dataset, tasks, drawing, layer, executor, quiet):
        write_member(folder, f"{SHEETS}/{part.category}.png", sheet)
        shown.append(part)
    title = f"{about['file']}: pseudo-anomalies and real defects"
    write_member(folder, PAGE, report_page(title, shown, result, drawing.points))
    return result


def kinds(tasks: Tasks) -> dict[str, list[Task]]:
    """Tasks by what they are examples of: real defects, then the others, in order of appearance."""
    found: dict[str, list[Task]] = {}
    for task in (*tasks.real, *tasks.pseudo):
        found.setdefault(label(task, tasks), []).append(task)
    return found


def measure_all(tasks: Tasks, seed: int, executor: Executor, quiet: bool) -> list[MeasuredDefect]:
    """Make and measure every cloud, in worker processes; sorted by name.

    Raises
    ------
    IVError
        A cloud cannot be made or measured: that of the first task that failed.
    """
    work = [(task, name, seed) for name, group in kinds(tasks).items() for task in group]
    objects = []
    for _, result in track(executor.run(examine_task, work), len(work), "measuring", quiet):
        if isinstance(result, IVError):
            raise result
        objects.append(result)
    return sorted(objects, key=lambda item: item.name)


def look_at_all(
    dataset: Dataset,
    tasks: Tasks,
    drawing: Drawing,
    layer: float,
    executor: Executor,
    quiet: bool,
) -> Iterator[tuple[Shown, bytes]]:
    """For each category, in the file's order: templates and some clouds of each kind, made again
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
        chosen = {name: tuple(to_show(group, drawing.samples)) for name, group in groups.items()}
        work.append(SheetTask(category, tuple(records), chosen, drawing.size, layer))
    done = {}
    for task, result in track(executor.run(look_at, work), len(work), "contact sheets", quiet):
        if isinstance(result, IVError):
            raise result
        done[task.category] = result
    for task in work:
        yield done[task.category]


def look_at(task: SheetTask) -> tuple[Shown, bytes]:
    """Return the clouds of one category and their contact sheet; what worker processes run."""
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
    """Return the panel (PNG); what worker processes run."""
    what = task.task
    template = upright(what.template) if isinstance(what, SampleTask) and what.template else None
    return png(panel(make(what, task.label), template, task.size, task.layer))


def draw_panels(
    tasks: Tasks, size: int, layer: float, executor: Executor, quiet: bool
) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) as they are finished; IVError when one cannot be drawn."""
    names = {task: name for name, task in panel_tasks(tasks, size, layer).items()}
    for task, result in track(executor.run(draw_panel, names), len(names), "panels", quiet):
        if isinstance(result, IVError):
            raise result
        yield names[task], result


def report_page(title: str, shown: Sequence[Shown], result: Realism, display_points: int) -> bytes:
    """Return the page: clouds of all categories, and the tables below them."""
    clouds = [
        cloud
        for part in shown
        for group in (part.templates, *part.kinds.values())
        for cloud in group
    ]
    return page(title, clouds, notes(result), display_points=display_points)


def notes(result: Realism) -> list[Note]:
    """Return the two-sample test and the nearest generators, as tables."""
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
            "the same far from the defects, which should be about 0.5."
            + "".join(f"\nNote: {line}" for line in warnings(result)),
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


def record(
    dataset: Dataset, preset: str, changes: Sequence[str], real: str | None, seed: int
) -> dict[str, Any]:
    """Return what was inspected, for RECORD. real : name of the file or folder of real defects."""
    return {
        "format": "intravariance-inspection",
        "file": dataset.path.name,
        "digest": dataset.digest,
        "noise_sigma": float(dataset.metadata["identity"]["noise_sigma"]),
        "real": real,
        "preset": preset,
        "changes": list(changes),
        "seed": seed,
        "software": software("numpy", "open3d", "scikit-learn"),
    }


def heading(about: dict[str, Any]) -> str:
    """Return the beginning of realism.md, from a `record`."""
    against = about["real"] or "its own defects"
    options = [f"preset {about['preset']}", *about["changes"], f"seed {about['seed']}"]
    return (
        f"# {about['file']}: pseudo-anomalies against {against}\n\n"
        f"Content {about['digest'][:16]}, noise sigma {about['noise_sigma']:.4g}; "
        f"{', '.join(options)}; one patch is deformed in each pseudo-anomaly."
    )


def warnings(result: Realism) -> list[str]:
    """Return a line when controls say that more than the defects differs."""
    found = suspicious(result)
    if not found:
        return []
    return [
        "the control tells pseudo-anomalies and real defects apart far from the defects, by their "
        f"sampling, noise or products: {', '.join(item.generator for item in found)}. The "
        "two-sample test is of that as well."
    ]


def tables(result: Realism, heading: str) -> dict[str, bytes]:
    """File name -> content: realism.md, .csv and .json. heading : from `heading`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_rows(result))
    content = json.dumps(to_dict(result), indent=1, allow_nan=False) + "\n"
    return {
        "realism.md": "\n\n".join([heading, *warnings(result), markdown(result)]).encode(),
        "realism.csv": text.getvalue().encode(),
        "realism.json": content.encode(),
    }


def two_sample_rows(result: Realism) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table generator x defect type, for a terminal."""
    first = notes(result)[0]
    return list(first.columns), [[str(cell) for cell in row] for row in first.rows]


def _title(criterion: str) -> str:
    quantity = QUANTITIES.get(criterion)
    if quantity is None:
        return criterion
    return f"{quantity.title} [{quantity.unit}]" if quantity.unit else quantity.title


def _cell(item: GeneratorComparison) -> str:
    if item.two_sample is None:
        return "-"
    control = "-" if item.control is None else f"{item.control.auroc:.2f}"
    return f"{item.two_sample.auroc:.2f} [{control}]"
