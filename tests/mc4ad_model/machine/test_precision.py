# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from mc4ad_model.machine import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 fma\n", True),
        ("flags\t\t: fpu avx2 fma\n", False),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("model name: unknown\n", True),
    ],
)
def test_flags_of_a_processor(tmp_path, monkeypatch, text, native):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(precision, "CPU_FLAGS", path)
    assert precision.bfloat16_is_native(CPU) == native
    assert ("float32" in precision.slow_bfloat16(CPU)) != native


def test_a_processor_that_cannot_be_read_counts_as_able(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CPU_FLAGS", tmp_path / "missing")
    assert precision.slow_bfloat16(CPU) == ""


def test_a_gpu_is_not_told_the_times_of_a_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    said = precision.slow_bfloat16(torch.device("cuda"))
    assert "this GPU has no bfloat16 arithmetic" in said
    assert "16.9" not in said


def test_tf32_is_for_products_of_a_gpu_meanwhile():
    gpu, before = torch.device("cuda"), torch.get_float32_matmul_precision()
    with precision.multiplying_in("tf32", gpu):
        assert torch.get_float32_matmul_precision() == "high"
    with pytest.raises(KeyError), precision.multiplying_in("tf32", gpu):
        raise KeyError
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    ("chosen", "device"), [("tf32", CPU), ("float32", torch.device("cuda")), ("bfloat16", CPU)]
)
def test_nothing_else_touches_what_torch_multiplies_in(monkeypatch, chosen, device):
    def refused(*_):
        raise RuntimeError("torch is checking the matmul precision without a backend name")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refused)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", refused)
    with precision.multiplying_in(chosen, device):
        pass


@pytest.mark.parametrize(("capability", "warned"), [((7, 5), True), ((9, 0), False)])
def test_devices_without_tf32_are_warned_of(monkeypatch, capability, warned):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert ("in float32" in precision.without_tf32(torch.device("cuda"))) == warned
    assert "in float32" in precision.without_tf32(CPU)
