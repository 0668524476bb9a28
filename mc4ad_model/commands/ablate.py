# SPDX-License-Identifier: Apache-2.0
"""`iv ablate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import open_dataset
from intravariance.progress import say
from intravariance.tables import Cell, table_in
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.saved_files import write_json
from mc4ad_model.paper.ablation import GRIDS, MEASURED, Ablation, Plan, plan_grid, run_ablation
from mc4ad_model.runs.experiments import parse_seeds


@click.command("ablate")
@click.argument("grid", metavar="GRID", type=click.Choice(list(GRIDS)))
@options.data_argument
@options.preset_option
@options.changes_option
@common.categories_option
@options.seeds_option
@common.path_option(
    "--out",
    "Folder for the runs; grids of one preset and dataset may share it.  "
    "[default: runs/ablation-NAME-PRESET]",
)
@common.dry_run_option
@common.json_option
@common.markdown_option
@options.training_options
def ablate_command(
    grid: str,
    data: Path,
    preset: str,
    changes: tuple[str, ...],
    categories: tuple[str, ...],
    seeds: str,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Train and evaluate the variants of GRID and compare them with the paper's.

    GRID is one of losses, architecture (Table 3), patches, normal-share, attenuation, magnitude
    (Table 9), accept (Table 10: quality control in two stages), generators, or deviation (with
    --preset deviation), which the paper does not have.

    Killed at any moment, the same command carries on.
    """
    plan, numbers = plan_grid(grid, preset, changes), parse_seeds(seeds)
    with open_dataset(data) as dataset:
        chosen = choose_categories(dataset, categories)
        name = f"ablation-{dataset.specification.name}-{Path(preset).stem}"
        folder = out or Path("runs", name)
        if dry_run:
            text = _planned(plan, chosen, numbers, folder, as_json, markdown)
            common.print_tables(text, markdown)
            return
        found = run_ablation(plan, dataset, chosen, numbers, folder, machine)
    content, table = found.to_dict(), folder / f"{grid}-table.json"
    text = json.dumps(content, allow_nan=False) if as_json else _as_text(found, markdown)
    common.print_tables(text, markdown)
    write_json(table, content)
    say(f"table: {table}", machine.quiet)


def _planned(
    plan: Plan,
    categories: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    as_json: bool,
    markdown: bool,
) -> str:
    """Return the runs, and which are trained already."""
    runs, last = [], method_class("mc4ad").files[0]
    for variant in plan.variants:
        for seed in seeds:
            path = folder / variant.folder / f"seed-{seed}"
            done = sum((path / name / last).is_file() for name in categories)
            run = {"variant": variant.name, "changes": list(variant.changes), "seed": seed}
            run |= {"folder": str(path), "categories": list(categories), "trained": done}
            runs.append(run)
    if as_json:
        return json.dumps({"grid": plan.grid, "remarks": list(plan.remarks), "runs": runs})
    rows: list[list[Cell]] = [
        [str(run["variant"]), str(run["seed"]), f"{run['trained']}/{len(categories)}",
         str(run["folder"])]
        for run in runs
    ]  # fmt: skip
    different = {run["folder"] for run in runs}
    trainings = len(different) * len(categories)
    parts = [
        table_in(markdown)(["variant", "seed", "trained", "folder"], rows),
        *plan.remarks,
        f"{trainings} trainings in all (--dry-run: none was started)",
    ]
    return "\n".join(parts)


def _as_text(found: Ablation, markdown: bool) -> str:
    printed = dict(found.published.rows) if found.published else {}
    heading = ["variant", "O-AUROC", "P-AUROC", "mean rank", "FPS", "parameters"]
    if printed:
        heading += ["paper: O-AUROC", "P-AUROC", "FPS"]
    rows: list[list[Cell]] = []
    for line, rank in zip(found.lines, found.mean_ranks(), strict=True):
        o_auroc, p_auroc, fps = map(line.spread, MEASURED.values())
        row: list[Cell] = [line.variant, str(o_auroc), str(p_auroc), f"{rank:.2f}"]
        row += [f"{fps.mean:.1f}", f"{line.parameters:,}" if line.parameters else None]
        if printed:
            theirs = printed.get(line.variant)
            row += [theirs.o_auroc, theirs.p_auroc] if theirs else [None, None]
            row.append(f"{theirs.fps:.1f}" if theirs and theirs.fps else None)
        rows.append(row)
    table = table_in(markdown)(heading, rows)
    return "\n".join([_caption(found), "", table, "", *_notes(found)])


def _caption(found: Ablation) -> str:
    count, seeds = len(found.categories), len(found.seeds)
    spread = f", ± standard deviation over {seeds} seeds" if seeds > 1 else ", one seed"
    categories = f"{count} categories" if count > 1 else found.categories[0]
    return (
        f"{found.plan.grid}, preset {found.preset}, {found.dataset['specification']} "
        f"({categories}): mean over categories{spread}"
    )


def _notes(found: Ablation) -> list[str]:
    notes = [f"- {remark}" for remark in found.plan.remarks]
    if found.published:
        notes.append(
            f"- the paper's figures (Table {found.published.number}) are of "
            f"{found.published.data}, ours of {found.dataset['file']}: compare the order of the "
            "variants, not the numbers"
        )
        notes += [f"- {note}" for note in found.published.notes]
    return notes
