# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("safetensors")

import torch

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.leaderboard.queue import finished, plan_jobs, seconds_left
from mc4ad_model.leaderboard.rows import read_row
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.point_mae.encoders import save_encoder
from mc4ad_model.methods.projections.backbones import read_published, save_backbone
from mc4ad_model.methods.projections.resnet import PUBLISHED
from mc4ad_model.runs.run_folder import Run
from tests.support.backbones import drawn
from tests.support.encoders import untrained
from tests.support.samples import make_dataset


def test_the_estimate_knows_what_a_row_takes() -> None:
    assert seconds_left(["a"], {}, 2) is None
    took = {"a": 10.0, "b": 50.0}
    assert seconds_left(["a", "b", "b"], took, 1) == pytest.approx(110)
    assert seconds_left(["a", "b", "b"], took, 2) == pytest.approx(55)
    assert seconds_left(["c"], took, 2) == pytest.approx(30)  # as the mean row, one at a time


def give_encoder(place: Path, seed: int) -> None:
    place.mkdir(exist_ok=True)
    save_encoder(place, untrained(seed=seed))


def give_backbone(place: Path, seed: int) -> None:
    torch.save(drawn(PUBLISHED, seed).network.state_dict(), place)


@pytest.mark.parametrize(
    ("row", "name", "give", "keep"),
    [
        ("m3dm", "encoder", give_encoder, lambda _, run: save_encoder(run, untrained(seed=0))),
        ("cpmf", "backbone", give_backbone, lambda f, run: save_backbone(run, read_published(f))),
    ],
)
def test_a_run_with_another_network_than_is_there_now_is_refused(
    tmp_path: Path,
    row: str,
    name: str,
    give: Callable[[Path, int], None],
    keep: Callable[[Path, Path], None],
) -> None:
    """A run that keeps a copy of the network, as a fit leaves it, and is not evaluated yet."""
    place = tmp_path / "given"
    give(place, 0)
    chosen = [read_row(f"{row}[{name}={place}]")]
    with open_dataset(make_dataset(tmp_path / "small.h5")) as dataset:
        (job,) = plan_jobs(
            chosen, [0], ["ball"], dataset, "meshes", tmp_path / "board", Machine(quiet=True)
        )
        run = Run(
            job.folder / "ball", "ball", 0, row, job.settings, dataset.digest, {}, {}, "meshes"
        )
        run.folder.mkdir(parents=True)
        run.prepare(False)
        assert finished(job, dataset) == {}
        keep(place, run.folder)
        assert finished(job, dataset) == {}
        give(place, 1)
        with pytest.raises(InputError, match=f"ball: is a run with another {name} than is there"):
            finished(job, dataset)
        place.rename(tmp_path / "gone")
        assert finished(job, dataset) == {}  # the run's own copy is all there is
