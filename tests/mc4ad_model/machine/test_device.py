# SPDX-License-Identifier: Apache-2.0
"""Which device computes. No GPU is at hand: what torch says of one is put in its place."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError
from mc4ad_model.machine import device
from mc4ad_model.machine.device import Machine, runs_on

BUILT_FOR = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "runs"),
    [((7, 5), True), ((8, 0), True), ((8, 9), True), ((9, 0), True), ((12, 1), True),
     ((13, 0), True), ((6, 1), False), ((7, 0), False), ((11, 0), False)],
)  # fmt: skip
def test_a_build_runs_on_later_devices_of_a_generation_and_its_intermediate_code_on_all_later(
    capability, runs
):
    assert runs_on(capability, BUILT_FOR) == runs


@pytest.mark.parametrize(
    ("architecture", "capability", "runs"),
    [("sm_90a", (9, 0), True), ("compute_90a", (12, 0), False), ("sm_100a", (10, 3), False),
     ("sm_100f", (10, 3), True), ("compute_100f", (12, 0), False)],
)  # fmt: skip
def test_code_for_one_device_or_family_runs_on_no_other(architecture, capability, runs):
    assert runs_on(capability, [architecture]) == runs


def test_builds_that_are_not_nvidias_are_not_judged():
    assert runs_on((9, 0), ["gfx90a", "gfx942"])


@pytest.fixture
def old_gpu(monkeypatch):
    device._say_once.cache_clear()
    answers = {
        "is_available": True, "device_count": 1, "get_device_capability": (6, 1),
        "get_arch_list": BUILT_FOR, "get_device_name": "GeForce GTX 1080",
    }  # fmt: skip
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)


def test_a_gpu_that_torch_is_not_built_for_is_said_and_not_taken(old_gpu, capsys):
    for _ in range(2):
        assert Machine().torch_device() == torch.device("cpu")
    said = capsys.readouterr().err
    assert said.count("GeForce GTX 1080 has compute capability 6.1") == 1
    assert "sm_75" in said and "the processor computes" in said


def test_it_is_not_said_where_nothing_is_to_be_said(old_gpu, capsys):
    assert Machine(quiet=True).torch_device() == torch.device("cpu")
    assert capsys.readouterr().err == ""


def test_a_gpu_that_torch_is_not_built_for_cannot_be_asked_for(old_gpu):
    with pytest.raises(InputError, match=r"--device cuda: .* 6\.1.* take --device cpu"):
        Machine("cuda").torch_device()
