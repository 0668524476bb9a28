# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError, IntegrityError
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.checkpoints import (
    assign_tensors,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import CoordinatePyramid, voxelise
from tests.support.networks import generator, scrambled, sphere

SMALL = NetworkConfig.named("released", width=0.25)
METADATA = {"epoch": 12, "seed": 0, "data": {"digest": "abc"}, "losses": [0.5, 0.25]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "net", scrambled(SMALL), METADATA)
    return tmp_path / "net"


def edit(path: Path, **changes: object) -> None:
    """Change fields of the JSON file."""
    file = path.with_name(path.name + ".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# --- there and back


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        NetworkConfig.named("paper", width=0.125),
        NetworkConfig.named("pruned", width=0.25, forces="sum"),
        NetworkConfig.named("po3ad", width=0.25, layers=4),
    ],
    ids=["released", "paper", "pruned", "po3ad"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gives_back_every_bit(config, dtype, tmp_path):
    network = CFPNet(config, generator=generator(3))
    voxels = voxelise([sphere().float()], config.voxel_size)
    features = sphere().float()[voxels.representative]
    # statistics are no longer zero and one
    network(features, CoordinatePyramid(voxels.coordinates), voxels.point_to_voxel)
    network = network.to(dtype)
    save_checkpoint(tmp_path / "net", network, METADATA)
    found, metadata = load_checkpoint(tmp_path / "net")
    assert metadata == METADATA
    assert found.config == config
    state = found.state_dict()
    assert list(state) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert torch.equal(state[name], tensor), name
        assert state[name].dtype == tensor.dtype, name
    assert all(parameter.requires_grad for parameter in found.parameters())
    if dtype != torch.bfloat16:
        before, after = (n.predict([sphere()])[0].combined for n in (network, found))
        assert torch.equal(before, after)


def test_writes_two_files_and_nothing_else(saved):
    assert sorted(os.listdir(saved.parent)) == ["net.json", "net.safetensors"]
    description = json.loads((saved.parent / "net.json").read_text())
    tensors = (saved.parent / "net.safetensors").read_bytes()
    assert description["sha256"] == hashlib.sha256(tensors).hexdigest()
    assert description["network"]["width"] == 0.25
    assert NetworkConfig.from_mapping(description["network"]) == SMALL


@pytest.mark.parametrize("suffix", ["", ".safetensors", ".json"])
def test_either_file_names_the_pair(saved, suffix):
    _, metadata = load_checkpoint(saved.with_name("net" + suffix))
    assert metadata == METADATA


def test_a_name_may_have_dots(tmp_path):
    save_checkpoint(tmp_path / "cap0.5", CFPNet(SMALL), {})
    assert sorted(os.listdir(tmp_path)) == ["cap0.5.json", "cap0.5.safetensors"]
    load_checkpoint(tmp_path / "cap0.5")


def test_same_network_same_bytes(saved, tmp_path):
    save_checkpoint(tmp_path / "again", scrambled(SMALL), METADATA)
    for suffix in (".json", ".safetensors"):
        first, second = (tmp_path / (name + suffix) for name in ("net", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_replaces_only_when_told(saved):
    before = (saved.parent / "net.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"net\.safetensors exists"):
        save_checkpoint(saved, CFPNet(SMALL), {})
    (saved.parent / "net.safetensors").rename(saved.parent / "other")
    with pytest.raises(InputError, match=r"net\.json exists"):
        save_checkpoint(saved, CFPNet(SMALL), {})
    assert not (saved.parent / "net.safetensors").exists()
    (saved.parent / "other").write_bytes(before)
    save_checkpoint(saved, CFPNet(SMALL), {"epoch": 13}, force=True)
    assert load_checkpoint(saved)[1] == {"epoch": 13}


def test_other_tensors_go_into_a_pair_of_their_own(tmp_path):
    moments = torch.arange(6.0).view(2, 3)
    tensors = {"step": torch.tensor(7), "moments": moments.T, "same": moments}
    write_tensors(tmp_path / "optimiser", tensors, {"optimiser": "Adam"})
    found, description = read_tensors(tmp_path / "optimiser")
    assert description == {"optimiser": "Adam"}
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    with pytest.raises(InputError, match=r"describes no network; it holds optimiser"):
        load_checkpoint(tmp_path / "optimiser")


@pytest.mark.parametrize("value", [Path("a"), float("nan"), {1, 2}, torch.zeros(2)])
def test_metadata_is_plain(tmp_path, value):
    with pytest.raises(InputError, match=r"net\.json: the metadata does not fit into JSON"):
        save_checkpoint(tmp_path / "net", CFPNet(SMALL), {"value": value})
    assert os.listdir(tmp_path) == []


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="existing folder"):
        save_checkpoint(tmp_path / "no" / "net", CFPNet(SMALL), {})


# --- what does not load


def test_missing_files(saved):
    with pytest.raises(InputError, match=r"nothing\.safetensors does not exist$"):
        load_checkpoint(saved.with_name("nothing"))
    (saved.parent / "net.json").rename(saved.parent / "kept")
    with pytest.raises(
        InputError, match=r"net\.json does not exist; net\.safetensors alone is not a checkpoint"
    ):
        load_checkpoint(saved)
    (saved.parent / "kept").rename(saved.parent / "net.json")
    (saved.parent / "net.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"net\.safetensors does not exist; net\.json alone is not a checkpoint"
    ):
        load_checkpoint(saved)


def test_other_version(saved):
    edit(saved, version=2)
    with pytest.raises(InputError, match=r"net\.json: format version 2, but this program reads 1"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "other"}', "3"])
def test_other_json(saved, content):
    (saved.parent / "net.json").write_text(content)
    with pytest.raises(InputError, match=r"net\.json: expected \"format\""):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b'{"format": ', b"\xff\xfe\x00"])
def test_broken_json(saved, content):
    (saved.parent / "net.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"net\.json is not valid JSON"):
        load_checkpoint(saved)


def test_one_changed_byte(saved):
    file = saved.parent / "net.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged, or writing the pair was interrupted"):
        load_checkpoint(saved)


def test_halves_of_two_checkpoints(saved):
    save_checkpoint(saved.with_name("other"), CFPNet(SMALL), METADATA)
    os.replace(saved.parent / "other.safetensors", saved.parent / "net.safetensors")
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_checkpoint(saved)


def test_a_file_that_holds_no_tensors(saved):
    content = b"these are not tensors"
    (saved.parent / "net.safetensors").write_bytes(content)
    edit(saved, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(IntegrityError, match=r"net\.safetensors is not a safetensors file"):
        load_checkpoint(saved)


def test_another_architecture_than_expected(saved):
    assert load_checkpoint(saved, expected=SMALL)[0].config == SMALL
    with pytest.raises(InputError) as caught:
        load_checkpoint(saved, expected=replace(SMALL, mc_skip=False, layers=6))
    assert str(caught.value) == (
        f"{saved}.json: another architecture: "
        "layers = 8, expected 6; mc_skip = True, expected False"
    )


def test_unknown_field_of_the_network(saved):
    edit(saved, network={"colour": 3})
    with pytest.raises(InputError, match=r"net\.json: unknown colour"):
        load_checkpoint(saved)


def test_tensors_of_another_architecture_are_listed(saved):
    edit(saved, network={"width": 0.25, "mc_skip": False, "head_channels": 64})
    with pytest.raises(InputError) as caught:
        load_checkpoint(saved)
    message = str(caught.value)
    assert "net.safetensors: these tensors are not the ones of this architecture" in message
    assert "missing" not in message
    assert "unexpected: decoder.0.mc_skip.decoder_projection.kernel, " in message
    assert " and 7 more" in message  # twelve, five of them by name
    assert "head.3.weight (8, 8), expected (16, 8)" in message
    assert len(message) < 1000


def test_missing_tensors_are_listed(saved):
    tensors, description = read_tensors(saved)
    del tensors["output.bias"]
    write_tensors(saved, tensors, description, force=True)
    with pytest.raises(InputError, match=r"architecture\. missing: output\.bias$"):
        load_checkpoint(saved)


def test_own_fields_cannot_be_overwritten(tmp_path):
    write_tensors(tmp_path / "a", {"x": torch.ones(2)}, {"sha256": "mine", "version": 7, "kept": 1})
    tensors, description = read_tensors(str(tmp_path / "a"))
    assert torch.equal(tensors["x"], torch.ones(2))
    assert description == {"kept": 1}


def test_interrupted_between_the_two_files(tmp_path, monkeypatch):
    """A new tensor file beside the old description does not load."""
    write_tensors(tmp_path / "a", {"x": torch.ones(2)}, {})

    def stop(out, content, force):
        if out.suffix == ".json":
            raise KeyboardInterrupt
        out.write_bytes(content)

    monkeypatch.setattr("mc4ad_model.methods.saved_files.write_file", stop)
    with pytest.raises(KeyboardInterrupt):
        write_tensors(tmp_path / "a", {"x": torch.zeros(2)}, {}, force=True)
    with pytest.raises(IntegrityError, match="SHA-256"):
        read_tensors(tmp_path / "a")


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16])
def test_one_tensor_of_another_type(dtype):
    network = CFPNet(NetworkConfig.named("released", width=0.25))
    tensors = network.state_dict()
    tensors["output.kernel"] = tensors["output.kernel"].to(dtype)
    with pytest.raises(InputError, match=r"of another type|of several precisions"):
        assign_tensors(network, tensors, "here")


def test_an_enormous_width_is_refused_without_memory(tmp_path):
    save_checkpoint(tmp_path / "a", CFPNet(NetworkConfig.named("released", width=0.25)), {})
    file = tmp_path / "a.json"
    text = file.read_text()
    for width, message in (("16.0", "of another shape"), ("1000000.0", "less than or equal to 16")):
        file.write_text(text.replace('"width": 0.25', f'"width": {width}'))
        with pytest.raises(InputError, match=message):
            load_checkpoint(tmp_path / "a")
