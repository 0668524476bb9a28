# SPDX-License-Identifier: Apache-2.0
"""Import of the checkpoints that MC4AD and PO3AD publish: `.pth` files of their training scripts.

Those are pickles. They are read with torch's restricted unpickler, which makes tensors and plain
containers and nothing else. Kernels have the same layout as ours, so only the names change.

`python -m mc4ad_model.methods.mc4ad.released_checkpoints IN.pth OUT` writes a checkpoint of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from intravariance.errors import InputError, IVError
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.checkpoints import assign_tensors, save_checkpoint
from mc4ad_model.methods.mc4ad.network import CFPNet, count_parameters
from mc4ad_model.methods.published_tensors import published_tensors

LEVELS = 4  # both published networks halve the resolution four times


def import_published(path: str | Path, backend: str = "torch") -> tuple[CFPNet, dict[str, Any]]:
    """Read a published MC4AD or PO3AD checkpoint.

    Parameters
    ----------
    path
        A `.pth` file: a state dict, or a dict that has one under "model".
    backend
        What computes the convolutions, one of `sparse.BACKENDS`.

    Returns
    -------
    network
        Its architecture is the one that the tensors have.
    metadata
        Name and SHA-256 of the file.

    Raises
    ------
    InputError
        The file is missing, damaged, holds something else than tensors, or belongs to another
        network.
    BackendUnavailable
        The backend is not installed.
    """
    path = Path(path)
    source = published_tensors(path, "model")
    published = source.tensors
    config = _config(published, path)
    modules = _modules(config)
    tensors = {}
    for name, tensor in published.items():
        module, _, leaf = name.rpartition(".")
        # A name that is not in the table stays as it is, and is reported as unexpected.
        tensors[f"{modules[module]}.{leaf}" if module in modules else name] = tensor
    with torch.device("meta"):  # a size in the file takes no memory before it is checked
        network = CFPNet(config, backend)
    assign_tensors(network, tensors, str(path))
    origin = source.origin
    return network, {"imported_from": origin["file"], "imported_sha256": origin["sha256"]}


def _config(published: Mapping[str, Tensor], path: Path) -> NetworkConfig:
    """Return the architecture whose tensors these are."""

    def channels(name: str, axis: int = -1) -> int:
        if name not in published or published[name].ndim < 2:
            raise InputError(
                f"{path}: expected a checkpoint of MC4AD or PO3AD, which has a tensor {name}; "
                f"this file has {', '.join(sorted(published)[:5])}, ..."
            )
        return published[name].shape[axis]

    def blocks(number: int) -> int:
        return sum(
            re.fullmatch(rf"backbone\.block{number}\.\d+\.conv1\.kernel", name) is not None
            for name in published
        )

    way_down, way_back = range(1, LEVELS + 1), range(LEVELS + 1, 2 * LEVELS + 1)
    values = {
        "stem_channels": channels("backbone.conv0p1s1.kernel"),
        "encoder_channels": [channels(f"backbone.block{i}.0.conv1.kernel") for i in way_down],
        "encoder_blocks": [blocks(i) for i in way_down],
        "decoder_channels": [channels(f"backbone.block{i}.0.conv1.kernel") for i in way_back],
        "decoder_blocks": [blocks(i) for i in way_back],
        "mc_skip": any(name.startswith("backbone.gmr") for name in published),
        "point_channels": channels("backbone.final_sematic.kernel"),
        "head_channels": channels("linear_offset.3.weight", 0),
        "out_channels": channels("linear_offset.6.weight", 0),
    }
    return NetworkConfig.from_mapping(values, str(path))


def _modules(config: NetworkConfig) -> dict[str, str]:
    """Our module names by published module names.

    MinkUNet numbers its convolutions through and adds the stride they start from: conv2p2s2.
    MinkowskiEngine's batch normalisation holds torch's as `bn`.
    """
    names = {"conv0p1s1": "stem.0.convolution", "bn0.bn": "stem.0.norm", "final_sematic": "output"}
    for i, count in enumerate(config.encoder_blocks):
        names[f"conv{i + 1}p{2**i}s2"] = f"encoder.{i}.down.convolution"
        names[f"bn{i + 1}.bn"] = f"encoder.{i}.down.norm"
        for block in range(count):
            names |= _block(f"block{i + 1}.{block}", f"encoder.{i}.blocks.{block}")
    for i, count in enumerate(config.decoder_blocks):
        names[f"convtr{LEVELS + i}p{2 ** (LEVELS - i)}s2"] = f"decoder.{i}.up.convolution"
        names[f"bntr{LEVELS + i}.bn"] = f"decoder.{i}.up.norm"
        names[f"gmr{i + 1}.enc_proj"] = f"decoder.{i}.mc_skip.encoder_projection"
        names[f"gmr{i + 1}.dec_enhance"] = f"decoder.{i}.mc_skip.decoder_projection"
        names[f"gmr{i + 1}.alpha"] = f"decoder.{i}.mc_skip.weight"
        for block in range(count):
            names |= _block(f"block{LEVELS + 1 + i}.{block}", f"decoder.{i}.blocks.{block}")
    head = {f"linear_offset.{i}": f"head.{i}" for i in range(7)}
    return {f"backbone.{theirs}": ours for theirs, ours in names.items()} | head


def _block(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"{theirs}.conv1": f"{ours}.first.convolution",
        f"{theirs}.norm1.bn": f"{ours}.first.norm",
        f"{theirs}.conv2": f"{ours}.second.convolution",
        f"{theirs}.norm2.bn": f"{ours}.second.norm",
        f"{theirs}.downsample.0": f"{ours}.shortcut.convolution",
        f"{theirs}.downsample.1.bn": f"{ours}.shortcut.norm",
    }


@click.command()
@click.argument("published", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace existing files.")
def main(published: Path, out: Path, force: bool) -> None:
    """Write the checkpoint of a PUBLISHED .pth file as OUT.safetensors and OUT.json."""
    try:
        network, source = import_published(published)
        save_checkpoint(out, network, source, force)
    except IVError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    click.echo(f"{out}: {count_parameters(network):,} parameters", err=True)


if __name__ == "__main__":
    main()
