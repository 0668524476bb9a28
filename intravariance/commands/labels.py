# SPDX-License-Identifier: Apache-2.0
"""`iv labels export`, `iv labels import`, `iv labels compare`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from annotations.merging import RULES, Rule
from intravariance.commands import options
from intravariance.commands.options import PATH, choose_categories, path_option
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError, IVError, first_of
from intravariance.files.folders import check_folder
from intravariance.labelling.comparing import FIGURES, LabelAgreement, compare_labels, summary
from intravariance.labelling.giving_out import CloudFormat, give_out
from intravariance.labelling.manifest import MANIFEST, CloudFrame
from intravariance.labelling.relabelling import Relabelling, relabel
from intravariance.progress import say
from intravariance.tables import Cell, table_in

_COUNTS = ("matched", "missing", "extra", "repeated", "ambiguous", "added", "removed")


@click.group("labels")
def labels_command() -> None:
    """Give clouds out to CloudCompare for labels by hand, take them back, measure agreement."""


@labels_command.command("export")
@options.file_argument
@path_option("--out", "Folder to make.", required=True)
@options.categories_option
@click.option("--sample", "samples", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["ply", "txt"]),
    default="ply",
    help="Binary PLY, or text with a header line.",
)
@click.option(
    "--frame",
    type=click.Choice(["upright", "stored"]),
    default="upright",
    help="Undo the pose of each sample, or leave it.",
)
@click.option("--unlabelled", is_flag=True, help="Only samples whose points have no labels.")
@click.option("--blind", is_flag=True, help="All labels 0: the annotator must not see ours.")
@click.option("--force", is_flag=True, help="Replace a folder in which nothing was edited.")
@options.quiet_option
@options.json_option
def export_command(
    file: Path,
    out: Path,
    categories: tuple[str, ...],
    samples: tuple[str, ...],
    kind: CloudFormat,
    frame: CloudFrame,
    unlabelled: bool,
    blind: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the clouds of a dataset file into a folder that CloudCompare opens.

    One file a sample, with the scalar field `label`, and manifest.json. Edit the label, save over
    the file, and take the folder back with `iv labels import`.
    """
    check_folder(out, MANIFEST, force)
    with open_dataset(file) as dataset, _interruptible(out):
        records = _chosen(dataset, categories, samples)
        if unlabelled:
            records = [record for record in records if not record.labelled]
            if not records:
                raise InputError(f"--unlabelled: all points of these samples of {file} have labels")
        manifest = give_out(records, dataset.digest, out, frame, kind, blind, force, quiet)
    if as_json:
        click.echo(manifest.to_bytes().decode().rstrip())
    else:
        click.echo(f"{click.format_filename(out)}: {len(records)} clouds to label")


@labels_command.command("import")
@click.argument("folder", type=PATH)
@options.dataset_argument("data", help="The dataset file that was given out")
@path_option("--out", "Dataset file to write (.h5).", required=True)
@click.option(
    "--rule",
    type=click.Choice(list(RULES)),
    default="hand",
    help="Which labels count where both are known.",
)
@click.option("--annotator", help="Who labelled; recorded in the file.")
@click.option("--skip-bad", is_flag=True, help="Leave out files that cannot be used.")
@options.force_option
@options.quiet_option
@options.json_option
def import_command(
    folder: Path,
    data: Path,
    out: Path,
    rule: Rule,
    annotator: str | None,
    skip_bad: bool,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Take hand labels back: a new dataset file with labels merged by a rule.

    Points are found again by their coordinates, in any order. Points that an edited file lacks keep
    their construction label, whatever the rule.
    """
    if annotator is not None and not (annotator.isascii() and annotator.isprintable()):
        raise InputError(f"--annotator {annotator!r}: expected plain ASCII")
    with _interruptible(out):
        result = relabel(folder, data, out, rule, annotator, skip_bad, force, quiet)
    if as_json:
        click.echo(json.dumps(asdict(result), default=str))
    else:
        _print_relabelling(result)


@labels_command.command("compare")
@click.argument("source", metavar="FOLDER_OR_FILE", type=options.DATASET_PATH)
@options.dataset_argument("data", help="Dataset file with construction labels")
@options.csv_option
@options.json_option
@options.markdown_option
@options.quiet_option
@click.pass_context
def compare_command(
    ctx: click.Context,
    source: Path,
    data: Path,
    as_csv: bool,
    as_json: bool,
    markdown: bool,
    quiet: bool,
) -> None:
    """Measure agreement of hand labels with construction: IoU, Cohen's kappa, precision, recall.

    FOLDER_OR_FILE is an edited folder of `iv labels export`, or a file of `iv labels import`. Ends
    with exit code 1 when a file could not be compared.
    """
    result = compare_labels(source, data, quiet)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
    elif as_csv:
        click.echo(result.to_csv(), nl=False)
    else:
        _print_comparison(result, markdown)
    for id, why in result.failed.items():
        say(f"not compared: {id}: {why}")
    ctx.exit(1 if result.failed else 0)


@contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise IVError(f"interrupted; nothing was written to {out}") from None


def _chosen(
    dataset: Dataset, categories: tuple[str, ...], samples: tuple[str, ...]
) -> list[Record]:
    """Return the samples of these categories and names; InputError when a name is unknown."""
    records = list(dataset.filter(category=choose_categories(dataset, categories)))
    if not samples:
        return records
    unknown = sorted(set(samples) - {record.id for record in records})
    if unknown:
        raise InputError(
            f"--sample {', '.join(unknown)}: not in {dataset.path}"
            f"{' in these categories' if categories else ''}; names are like {records[-1].id}"
        )
    return [record for record in records if record.id in samples]


def _print_relabelling(result: Relabelling) -> None:
    sums = {name: sum(o.labels[name] for o in result.outcomes) for name in _COUNTS}
    click.echo(
        f"{len(result.outcomes)} of {result.samples} samples with hand labels, "
        f"rule {result.rule}; the others keep theirs"
    )
    click.echo(
        f"points: {sums['matched']:,} matched, {sums['missing']:,} missing (they keep their "
        f"construction label), {sums['ambiguous']:,} of the matched ambiguous; rows: "
        f"{sums['extra']:,} extra, {sums['repeated']:,} repeated"
    )
    click.echo(
        f"labels that are not the construction's: {sums['added']:,} added, "
        f"{sums['removed']:,} removed"
    )
    for outcome in result.outcomes:
        lost = [f"{outcome.labels[n]:,} {n}" for n in _COUNTS[1:5] if outcome.labels[n]]
        lost += ["shifted as a whole"] if any(outcome.labels["shift"]) else []
        if lost or outcome.notes:
            click.echo(f"  {outcome.id}: {', '.join([*lost, *outcome.notes])}")
    for id, why in result.skipped.items():
        click.echo(f"  left out: {id}: {why}")
    _print_names("given out, not edited", result.unchanged)
    _print_names("taken away", result.absent)
    _print_names("files that are no sample's, not used", result.unused)
    click.echo(f"{click.format_filename(result.path)}: content digest {result.digest}")


def _print_names(what: str, names: list[str]) -> None:
    if names:
        click.echo(f"{what}: {len(names)} ({first_of(names, 5)})")


def _print_comparison(result: LabelAgreement, markdown: bool) -> None:
    for kind, groups in result.groups().items():
        rows: list[list[Cell]] = []
        for name, members in groups.items():
            row = summary(members)
            means = [row[figure]["mean"] for figure in FIGURES]
            rows.append([name, row["objects"], row["marked"], *means, f"{row['unmatched']:,}"])
        heading = [kind, "objects", "marked", *FIGURES, "unmatched"]
        click.echo(f"{table_in(markdown)(heading, rows)}\n")
    click.echo(
        "Means over the objects where a figure is defined (kappa and IoU are not where nobody "
        "labelled a point). Marked: objects with any hand label. Unmatched: points without a row "
        "in the hand's file."
    )
    if result.unlabelled:
        click.echo(f"{result.unlabelled} samples have no hand labels and are not counted.")
    if result.without:
        click.echo(f"{result.without} samples had no labels before the hand's: nothing to compare.")
    _print_names("files that are no sample's, not used", list(result.unused))
    if result.blind is None:
        click.echo(
            "These are the labels in a dataset file, after its merging rule; points without a hand "
            "label count as agreeing. Compare the folder to judge the hand alone."
        )
    elif not result.blind:
        click.echo(
            "The hand could see the construction labels, so agreement is no independent figure: "
            "give clouds out with --blind for that."
        )
