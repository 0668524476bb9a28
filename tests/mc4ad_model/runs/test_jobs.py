# SPDX-License-Identifier: Apache-2.0
"""Trainings of several categories in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.files.locks import held
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.runs.jobs import train_runs
from tests.support.samples import make_dataset, small_specification

MACHINE = Machine(quiet=True)


def test_two_trainings_of_one_category_in_one_folder_are_refused(tmp_path: Path) -> None:
    file = make_dataset(tmp_path / "a.h5", small_specification(points=(60, 80)))
    settings = method_class("random").Settings.load()
    with open_dataset(file) as dataset:
        first, *others = [str(category) for category in dataset.categories]
        out = tmp_path / "runs"
        out.mkdir()
        with held(out / f"{first}.lock", "test"):
            with pytest.raises(InputError, match=f"another process trains {first} there"):
                train_runs(dataset, [first], "random", settings, 0, out, MACHINE)
            assert not (out / first / "run.json").exists()
            train_runs(dataset, others, "random", settings, 0, out, MACHINE)
        folders = train_runs(dataset, [first], "random", settings, 0, out, MACHINE)
        assert (folders[first] / "run.json").is_file()
        assert not list(out.glob("*.lock"))


@pytest.mark.parametrize(("step", "named"), [("check", "random"), ("fit", "training random")])
def test_a_gpu_without_memory_for_a_training_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, named: str
) -> None:
    torch = pytest.importorskip("torch")

    def fails(*arguments: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(method_class("random"), step, fails)
    file = make_dataset(tmp_path / "a.h5", small_specification(points=(60, 80)))
    settings = method_class("random").Settings.load()
    with open_dataset(file) as dataset:
        category = str(next(iter(dataset.categories)))
        told = rf"^{category}: {named}: the GPU .*2.00 GiB asked for.*smaller batch"
        with pytest.raises(InputError, match=told):
            train_runs(dataset, [category], "random", settings, 0, tmp_path / "runs", MACHINE)
