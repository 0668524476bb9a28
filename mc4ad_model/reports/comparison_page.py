# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: metrics on top, misses and false alarms in a table, all clouds to turn.

A row of the table opens its sample in both panes, by its scores on the left and by its labels on
the right.
"""

from __future__ import annotations

from collections.abc import Sequence

from intravariance.looking.colours import FALSE_ALARM_COLOUR, MISSED_COLOUR, Colour
from intravariance.looking.page import Cell, Figure, Heading, Listing, Note, Row, page
from mc4ad_model.evaluation.alarms import AlarmMetrics
from mc4ad_model.evaluation.category_metrics import CategoryMetrics
from mc4ad_model.evaluation.ranking import Judged, Verdict, verdicts
from mc4ad_model.reports.evaluation_report import MEANINGS, Compared

_COLUMNS = (
    Heading("sample"),
    Heading("defect"),
    Heading("verdict"),
    Heading("wrong side"),
    Heading("object score"),
    Heading("p-value", "ascending"),
    Heading("point AUROC", "ascending"),
    Heading("remarks"),
)
_MARKS: dict[Verdict, Colour] = {"missed": MISSED_COLOUR, "false alarm": FALSE_ALARM_COLOUR}
_LEFT_OUT_WHEN_EMPTY = ("p-value", "point AUROC", "remarks")


def comparison_page(compared: Sequence[Compared], display_points: int) -> bytes:
    """Return the page of all test samples of all categories, with their scores."""
    clouds = [cloud for one in compared for cloud in one.clouds.values()]
    dataset = compared[0].results.dataset
    methods = dict.fromkeys(_method(one) for one in compared)
    return page(
        f"{', '.join(methods)} on {dataset['file']}",
        clouds,
        [*_all_categories(compared), *map(_ranking, compared)],
        display_points=display_points,
        figures={one.category: _figures(one.results.evaluation.metrics) for one in compared},
        listing=_listing(compared),
        labels_beside=True,
    )


def _method(one: Compared) -> str:
    origin = one.results.origin
    preset = f" ({origin['preset']})" if origin.get("preset") else ""
    return f"{origin.get('method', 'evaluation')}{preset}"


def _figures(found: CategoryMetrics) -> list[Figure]:
    objects = "the chance that a defective object scores above a normal one, ties half"
    points = "the chance that a labelled point scores above another one, ties half"
    known = [
        ("O-AUROC", found.o_auroc, found.o_auroc_interval, f"Objects: {objects}"),
        ("P-AUROC", found.p_auroc, found.p_auroc_interval, f"Points of all objects: {points}"),
        ("O-AUPR", found.o_aupr, None, "Average precision of the objects' scores"),
        ("P-AUPR", found.p_aupr, None, "Average precision of the points' scores"),
        ("AU-PRO", found.au_pro, None, "Overlap with each defect, up to 30 % of false positives"),
    ]
    normal = found.objects - found.anomalous
    return [
        *(
            Figure(name, f"{value:.3f}", _interval(interval), meaning)
            for name, value, interval, meaning in known
            if value is not None
        ),
        *map(_alarm, found.alarms),
        Figure("test objects", f"{found.objects}", f"{found.anomalous} defective, {normal} normal"),
    ]


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _alarm(alarm: AlarmMetrics) -> Figure:
    return Figure(
        f"detected at {100 * alarm.rate:g} % false alarms",
        f"{100 * alarm.detection_rate:.1f} %",
        f"{alarm.false_alarms} of {alarm.normal} normal alarmed",
        f"Objects that score above {alarm.threshold:.4g}, the calibrated threshold",
    )


def _listing(compared: Sequence[Compared]) -> Listing:
    rows = [
        _row(judged)
        for one in compared
        for judged in verdicts(one.results.evaluation.rows, _threshold(one))
    ]
    kept = [
        i
        for i, heading in enumerate(_COLUMNS)
        if heading.title not in _LEFT_OUT_WHEN_EMPTY or any(row.cells[i].text for row in rows)
    ]
    return Listing(
        _text(compared),
        [_COLUMNS[i] for i in kept],
        [Row([row.cells[i] for i in kept], row.shows) for row in rows],
    )


def _threshold(one: Compared) -> float | None:
    """Return that of the first rate of false alarms that was asked for."""
    alarms = one.results.evaluation.metrics.alarms
    return alarms[0].threshold if alarms else None


def _row(judged: Judged) -> Row:
    row = judged.sample
    cells = (
        Cell(row.id),
        Cell(row.defect),
        Cell(judged.verdict, strong=not judged.right, mark=_MARKS.get(judged.verdict)),
        Cell(f"{100 * judged.wrong:.1f} %", judged.wrong),
        Cell(f"{row.object_score:.3g}", row.object_score),
        Cell("" if row.p_value is None else f"{row.p_value:.3g}", row.p_value),
        Cell("" if row.p_auroc is None else f"{row.p_auroc:.3f}", row.p_auroc),
        Cell(row.note or ""),
    )
    return Row(cells, row.id)


def _text(compared: Sequence[Compared]) -> str:
    alarms = compared[0].results.evaluation.metrics.alarms
    meant = (
        f"They are those of the calibrated threshold at a false-alarm rate of {alarms[0].rate:g}."
        if alarms
        else "Without a calibrated threshold a miss is a defect that a normal object outscores, "
        "and a false alarm a normal object that outscores a defect."
    )
    return (
        f"Misses and false alarms come first; a row opens its sample. {meant} Wrong side: the "
        "share of the objects of the other kind that outscore the defect, or that the normal "
        "object outscores."
    )


def _all_categories(compared: Sequence[Compared]) -> list[Note]:
    """Return the metrics of all categories as a table; nothing of one alone."""
    if len(compared) < 2:
        return []
    names = ("o_auroc", "p_auroc", "o_aupr", "p_aupr", "au_pro")
    rows = [
        (one.category, *(_text_of(getattr(one.results.evaluation.metrics, n)) for n in names))
        for one in compared
    ]
    titles = ("category", "O-AUROC", "P-AUROC", "O-AUPR", "P-AUPR", "AU-PRO")
    return [Note("All categories", columns=titles, rows=rows)]


def _text_of(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _ranking(one: Compared) -> Note:
    """Return the samples of the pictures beside the page."""
    return Note(
        title=f"{one.category}: what the pictures show",
        columns=("kind", "sample", "product", "defect", "object score", "value", "of"),
        rows=[
            (item.kind, *item.cells, f"{item.value:.3f}", MEANINGS[item.kind])
            for item in one.ranking
        ],
    )
