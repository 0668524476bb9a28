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

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

from annotations.vocabulary import NORMAL
from intravariance.dataset.assembly.sample_files import carried
from intravariance.dataset.provenance import software
from intravariance.dataset.store import Dataset, Record
from intravariance.executors import Executor, Portable, run_all
from intravariance.files.folders import write_member
from intravariance.looking.cloud import LabelledCloud, upright
from intravariance.looking.page import Note, page
from intravariance.looking.panels import panel
from intravariance.looking.pictures import png
from intravariance.looking.realism.comparison import (
    ALL,
    MeasuredDefect,
    Realism,
    compare_generators,
    suspicious,
)
from intravariance.looking.realism.figure import figure
from intravariance.looking.realism.measures import QUANTITIES
from intravariance.looking.realism.sheets import comparison_sheet
from intravariance.looking.realism.tables import CSV_FIELDS, csv_rows, markdown, two_sample_table
from intravariance.progress import say
from intravariance.seeds import generator
from intravariance.tables import csv_table
from mc4ad_model.reports.inspection import (
    SampleTask,
    Task,
    Tasks,
    examine_task,
    label,
    make,
    to_examine,
    to_show,
)

RECORD, PAGE, FIGURE = "report.json", "page.html", "realism.png"
SHEETS, PANELS = "sheets", "panels"


@dataclass(frozen=True)
class Drawing:
    """samples : clouds of each kind to show. size : pixels of a picture. points : of a cloud on the
    page, at most. layer : of the pictures."""

    samples: int
    size: int
    points: int
    layer: float


@dataclass(frozen=True, eq=False)
class SheetTask(Portable):
    """A contact sheet to draw: templates, and tasks by what they are examples of."""

    category: str
    templates: tuple[Record, ...]
    kinds: dict[str, tuple[Task, ...]]
    drawing: Drawing

    @property
    def title(self) -> str:
        return self.category

    def packed(self) -> SheetTask:
        kinds = {name: tuple(one.carried() for one in group) for name, group in self.kinds.items()}
        return replace(self, templates=tuple(map(carried, self.templates)), kinds=kinds)


@dataclass(frozen=True)
class PanelTask(Portable):
    """A panel to draw: its file's name, a task, and what that is an example of."""

    name: str
    task: Task
    label: str
    drawing: Drawing

    @property
    def title(self) -> str:
        return self.name

    def packed(self) -> PanelTask:
        return replace(self, task=self.task.carried())


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
        A cloud cannot be made, measured or drawn: that of the first task that failed.
    """
    write_member(folder, RECORD, (json.dumps(about, indent=1) + "\n").encode())
    objects = measure_all(tasks, about["seed"], executor, quiet)
    comparison: Future[tuple[Realism, dict[str, bytes]]] = Future()
    # while worker processes draw; a command that is interrupted does not wait for it
    Thread(target=_compare_into, args=(comparison, objects, about), daemon=True).start()
    shown = _draw_all(folder, dataset, tasks, drawing, executor, quiet)
    say("comparing", quiet)
    result, figures = comparison.result()
    for name, content in figures.items():
        write_member(folder, name, content)
    title = f"{about['file']}: pseudo-anomalies and real defects"
    write_member(folder, PAGE, page(title, shown, notes(result), display_points=drawing.points))
    return result


def compare(
    objects: Sequence[MeasuredDefect], about: dict[str, Any]
) -> tuple[Realism, dict[str, bytes]]:
    """Return the comparison of what was measured, and the files that hold it, by name."""
    result = compare_generators(objects, generator(about["seed"], "inspection", "realism"))
    return result, {FIGURE: figure(objects), **tables(result, heading(about))}


def _compare_into(
    future: Future[tuple[Realism, dict[str, bytes]]],
    objects: Sequence[MeasuredDefect],
    about: dict[str, Any],
) -> None:
    try:
        future.set_result(compare(objects, about))
    except BaseException as error:  # whoever waits raises it
        future.set_exception(error)


def _draw_all(
    folder: Path,
    dataset: Dataset,
    tasks: Tasks,
    drawing: Drawing,
    executor: Executor,
    quiet: bool,
) -> list[LabelledCloud]:
    """Draw the sheets and panels into the folder; return the clouds of the sheets, for the page."""
    sheets = sheet_tasks(dataset, tasks, drawing)
    shown: dict[str, list[LabelledCloud]] = {sheet.category: [] for sheet in sheets}
    # a sheet takes the longest: begun first, the others are drawn meanwhile
    work: list[SheetTask | PanelTask] = [*sheets, *panel_tasks(tasks, drawing)]
    for task, (clouds, picture) in run_all(executor, draw, work, "drawing", quiet):
        if isinstance(task, SheetTask):
            shown[task.category] = clouds
            write_member(folder, f"{SHEETS}/{task.category}.png", picture)
        else:
            write_member(folder, f"{PANELS}/{task.name}", picture)
    return [cloud for category in shown.values() for cloud in category]


def draw(task: SheetTask | PanelTask) -> tuple[list[LabelledCloud], bytes]:
    """Return the picture of a task, with the clouds of a sheet; what worker processes run."""
    return draw_sheet(task) if isinstance(task, SheetTask) else ([], draw_panel(task))


def kinds(tasks: Tasks) -> dict[str, list[Task]]:
    """Tasks by what they are examples of: real defects, then the others, in order of appearance."""
    found: dict[str, list[Task]] = {}
    for task in (*tasks.real, *tasks.pseudo):
        found.setdefault(label(task, tasks), []).append(task)
    return found


def measure_all(tasks: Tasks, seed: int, executor: Executor, quiet: bool) -> list[MeasuredDefect]:
    """Make and measure every cloud, in worker processes; sorted by name. Errors as of `write`."""
    work = to_examine(tasks, seed)
    found = run_all(executor, examine_task, work, "measuring", quiet)
    return sorted((one for _, some in found for one in some), key=lambda item: item.name)


def sheet_tasks(dataset: Dataset, tasks: Tasks, drawing: Drawing) -> list[SheetTask]:
    """List a sheet for each category, in the file's order: templates, some clouds of each kind."""
    found = []
    for category in dict.fromkeys(task.category for task in tasks.pseudo):
        records = [r for r in dataset.filter(category=category) if r.split == "train"]
        groups = kinds(tasks.category(category))
        chosen = {name: tuple(to_show(group, drawing.samples)) for name, group in groups.items()}
        found.append(SheetTask(category, tuple(records), chosen, drawing))
    return found


def draw_sheet(task: SheetTask) -> tuple[list[LabelledCloud], bytes]:
    """Return the clouds of one category and their contact sheet; what worker processes run."""
    noise = task.drawing.layer / 3
    templates = [upright(record, noise=noise) for record in task.templates]
    clouds = {name: [make(one, name) for one in group] for name, group in task.kinds.items()}
    widest = max(4, *(len(group) for group in clouds.values()))
    picture = comparison_sheet(
        [(NORMAL, templates[:widest]), *clouds.items()],
        task.drawing.size,
        "displacement",
        task.drawing.layer,
        arrows=True,
        title=task.category,
    )
    return [cloud for group in (templates, *clouds.values()) for cloud in group], png(picture)


def panel_tasks(tasks: Tasks, drawing: Drawing) -> list[PanelTask]:
    """List a panel for each category and kind."""
    return [
        PanelTask(f"{category}_{name}.png", to_show(group, 1)[0], name, drawing)
        for category in dict.fromkeys(task.category for task in (*tasks.real, *tasks.pseudo))
        for name, group in kinds(tasks.category(category)).items()
    ]


def draw_panel(task: PanelTask) -> bytes:
    """Return the panel (PNG); what worker processes run."""
    what, drawing = task.task, task.drawing
    template = upright(what.template) if isinstance(what, SampleTask) and what.template else None
    return png(panel(make(what, task.label), template, drawing.size, drawing.layer))


def notes(result: Realism) -> list[Note]:
    """Return the two-sample test and the nearest generators, as tables."""
    titles = {name: quantity.label for name, quantity in QUANTITIES.items()}
    return [
        Note(
            "Can a classifier tell them apart?",
            "AUROC of a classifier on local shape (FPFH), of held-out objects: 0.5 means that it "
            "cannot tell a pseudo-anomaly from a real defect, 1 that it always can. In brackets: "
            "the same far from the defects, which should be about 0.5."
            + "".join(f"\nNote: {line}" for line in warnings(result)),
            *two_sample_table(result),
        ),
        Note(
            "Nearest to all real defects",
            "By each measure; * where the interval lies below those of all others. All figures are "
            "in realism.md and realism.csv.",
            ("measure", "generator", "AUROC or distance"),
            [
                [
                    titles.get(item.criterion, item.criterion),
                    item.generator + ("*" if item.clear else ""),
                    item.value,
                ]
                for item in result.nearest
                if item.defect == ALL
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
        "software": software("numpy", "open3d"),
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
    rows = csv_table(CSV_FIELDS, (row.values() for row in csv_rows(result)))
    content = json.dumps(asdict(result), indent=1, allow_nan=False) + "\n"
    return {
        "realism.md": "\n\n".join([heading, *warnings(result), markdown(result)]).encode(),
        "realism.csv": rows.encode(),
        "realism.json": content.encode(),
    }
