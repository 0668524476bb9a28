# SPDX-License-Identifier: Apache-2.0
"""`iv pretrain`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from intravariance.commands import options as common
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.progress import say
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.saved_files import writing
from mc4ad_model.methods.templates import Templates, read_templates

# Steps, clouds of a step and the learning rate; the paper's are 300 epochs over 41,952 clouds.
_PRESETS = {"small": (600, 16, 5e-3), "paper": (98_400, 128, 1e-3)}
_OURS = re.compile(r"(encoder|checkpoint-\d{8})\.(json|safetensors)")


@click.command("pretrain")
@common.dataset_argument(
    "data", "[FILE]", required=False, help="Dataset file whose templates are learnt from"
)
@common.path_option("--out", "Folder for the encoder.", required=True)
@common.path_option(
    "--checkpoint",
    "Published Point-MAE checkpoint (.pth) to read instead of training; it is read as tensors "
    "alone, and its SHA-256 is printed and kept.",
)
@click.option(
    "--preset",
    type=click.Choice(list(_PRESETS)),
    default="small",
    help="small: minutes on a CPU. paper: the paper's sizes, for a GPU.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps.  [default: the preset's]")
@click.option("--batch", type=click.IntRange(min=2), help="Clouds a step.  [default: the preset's]")
@common.number_option("--seed", 0, 0)
@click.option("--force", is_flag=True, help="Start anew where there is an encoder.")
@common.dry_run_option
@common.json_option
@options.machine_options("device", "quiet")
def pretrain_command(
    data: Path | None,
    out: Path,
    checkpoint: Path | None,
    preset: str,
    steps: int | None,
    batch: int | None,
    seed: int,
    force: bool,
    dry_run: bool,
    as_json: bool,
    machine: Machine,
) -> None:
    """Make the Point-MAE encoder that m3dm, imrnet and others take: --set encoder=FOLDER.

    It is trained by masked reconstruction on the templates of all categories of a file; test
    samples are not read. Killed at any moment, the same command carries on. Or it is read from a
    published checkpoint.
    """
    from mc4ad_model.methods.point_mae.encoders import (  # noqa: PLC0415 - weight
        origin_label,
        read_published,
        save_encoder,
    )

    if (data is None) == (checkpoint is None):
        raise InputError("expected either a dataset FILE to train on, or --checkpoint FILE to read")
    if _already(out, force):
        raise InputError(f"--out {out}: holds an encoder; choose another folder, or --force")
    if checkpoint is not None:
        encoder = read_published(checkpoint)
        planned = encoder.origin
    else:
        assert data is not None
        run, sources = _planned(data, (preset, steps, batch, seed))
        planned = run.identity
    if dry_run:
        content = {"encoder": str(out), "planned": planned}
        click.echo(json.dumps(content, indent=None if as_json else 2))
        return
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if checkpoint is None:
        encoder = _trained(run, sources, out, force, machine)
    save_encoder(out, encoder)
    for path in out.glob("checkpoint-*"):
        path.unlink()
    _print(out, encoder.origin, encoder.parameters, as_json)
    say(f"{out}: {origin_label(encoder.origin)}", machine.quiet)


def _already(out: Path, force: bool) -> bool:
    """Say whether an encoder is in the way; refuse a folder that is something else's."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise InputError(f"--out {out}: is no folder; choose another name")
    names = [path.name for path in out.iterdir() if path.suffix != ".partial"]
    strange = [n for n in names if not _OURS.fullmatch(n) or (out / n).is_dir()]
    if strange:
        raise InputError(
            f"--out {out}: holds {strange[0]}, which is no encoder; choose another folder"
        )
    # the JSON file is written last: a table alone is half of an encoder, or somebody else's
    half = "encoder.safetensors" in names and not any(n.startswith("checkpoint-") for n in names)
    return ("encoder.json" in names or half) and not force


def _planned(
    data: Path, choices: tuple[str, int | None, int | None, int]
) -> tuple[Any, list[Templates]]:
    """Return the `Pretraining` and the templates of all categories, checked."""
    from mc4ad_model.methods.point_mae.network import PAPER, SMALL  # noqa: PLC0415 - weight
    from mc4ad_model.methods.point_mae.pretraining import (  # noqa: PLC0415 - weight
        Pretraining,
        check_sources,
    )

    preset, steps, batch, seed = choices
    usual_steps, usual_batch, learning_rate = _PRESETS[preset]
    with open_dataset(data) as dataset:
        sources = [read_templates(dataset, name) for name in sorted(dataset.categories)]
        run = Pretraining(
            network=PAPER if preset == "paper" else SMALL,
            steps=steps or usual_steps,
            batch=batch or usual_batch,
            learning_rate=learning_rate,
            seed=seed,
            data_digest=dataset.digest,
        )
    check_sources(run, sources)
    return run, sources


def _trained(
    run: Any, sources: Sequence[Templates], out: Path, force: bool, machine: Machine
) -> Any:
    from mc4ad_model.methods.point_mae.pretraining import pretrain  # noqa: PLC0415 - weight

    if force:
        for path in (*out.glob("checkpoint-*"), *out.glob("encoder.*")):
            path.unlink()
    return pretrain(run, sources, out, machine)


def _print(out: Path, origin: dict[str, Any], parameters: int, as_json: bool) -> None:
    if as_json:
        content = {"encoder": str(out), "parameters": parameters, "origin": origin}
        click.echo(json.dumps(content))
        return
    click.echo(out)
    if "sha256" in origin:
        known = "the public weights" if origin["public"] else "not the public weights"
        click.echo(f"sha256 {origin['sha256']} ({known})")
