# SPDX-License-Identifier: Apache-2.0
"""The networks of Point-MAE: an encoder of groups of points, and a decoder of hidden ones.

Paper. Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning, ECCV 2022.

Followed. A small PointNet makes a token of each group; a transformer with the position of the
centre added before each block; features as M3DM and Real3D-AD take them: the tokens after three
blocks, each through the same last normalisation, side by side. The decoder sees the encoded tokens
and one learnt token for each hidden group, and gives the points of the hidden ones. The loss is the
squared Chamfer distance.

Different. Written anew, with linear layers for convolutions of width one. Real3D-AD never puts the
network into evaluation mode, so its features depend on chance (blocks are left out at random) and
on the other groups of the cloud (statistics of batch normalisation); here they do not.

Licence of the source. Point-MAE is under the MIT licence. None of its code is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn
from torch.nn import functional

from mc4ad_model.methods.settings import STRICT, Count, Share

_POSITION = 128  # channels between a centre and what is added to its token
_UNIT = 0.1  # of the decoder's numbers, in radii of the product: a group is about as large
_BLOCK = 64  # groups that are embedded at a time when nothing is learnt: they stay in the cache


@validated(frozen=True, config=STRICT)
class NetworkConfig:
    """Sizes of the network, and what it is trained on.

    Parameters
    ----------
    width, depth, heads
        Channels of a token, blocks of the encoder, heads of its attention.
    embedding
        Channels of the PointNet of a group.
    taps
        Blocks, counted from 1, after which features are taken.
    decoder_depth
        Blocks of the decoder.
    points, groups, group_size
        Points of a training cloud, its groups, and points of a group.
    hidden_share
        Share of the groups that are hidden.
    dropped
        Chance at which the last block is left out for a cloud in training; less before it.
    """

    width: Count = 384
    depth: Count = 12
    heads: Count = 6
    embedding: tuple[Count, Count, Count] = (128, 256, 512)
    taps: tuple[Count, Count, Count] = (4, 8, 12)
    decoder_depth: Count = 4
    points: Count = 1024
    groups: Count = 64
    group_size: Count = 32
    hidden_share: Share = 0.6
    dropped: float = 0.1

    @property
    def channels(self) -> int:
        """Channels of a feature."""
        return self.width * len(self.taps)


PAPER = NetworkConfig()
SMALL = NetworkConfig(
    width=96, depth=6, heads=3, embedding=(64, 128, 256), taps=(2, 4, 6), decoder_depth=2,
    dropped=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Masked:
    """Hidden groups of B clouds. shown : (B, V), hidden : (B, H) indices of groups; kept : (depth,
    2, B) factors of the encoder's blocks, 0 where one is left out; None to leave none out."""

    shown: Tensor
    hidden: Tensor
    kept: Tensor | None = None


class _Embedding(nn.Module):
    """A token for each group of points."""

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        first, second, third = channels
        self.point = nn.Sequential(
            nn.Linear(3, first), nn.BatchNorm1d(first), nn.ReLU(), nn.Linear(first, second)
        )
        self.group = nn.Sequential(
            nn.Linear(2 * second, third), nn.BatchNorm1d(third), nn.ReLU(), nn.Linear(third, width)
        )

    def forward(self, groups: Tensor) -> Tensor:
        *shape, size, _ = groups.shape  # (..., K, 3)
        points = self.point(groups.reshape(-1, 3)).reshape(-1, size, self.point[-1].out_features)
        whole = points.amax(dim=1, keepdim=True)
        # the first layer sees both side by side; the group's part is the same for all its points
        first = self.group[0]
        assert isinstance(first, nn.Linear)
        of_whole, of_point = first.weight.chunk(2, dim=1)
        both = functional.linear(whole, of_whole, first.bias) + functional.linear(points, of_point)
        tokens: Tensor = self.group[1:](both.flatten(0, 1))  # (... K, width)
        return tokens.reshape(-1, size, tokens.shape[1]).amax(dim=1).reshape(*shape, -1)


class _Position(nn.Sequential):
    """The term that is added to a token for the place (..., 3) of its centre."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(3, _POSITION), nn.GELU(), nn.Linear(_POSITION, width))


class _Block(nn.Module):
    """Attention among tokens, then a perceptron on each, both normalised before and added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width, bias=False)
        self.projection = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor, kept: Tensor | None = None) -> Tensor:
        factors = [1.0, 1.0] if kept is None else [row[:, None, None] for row in kept]  # (B, 1, 1)
        count, length, width = tokens.shape
        mixed = self.attention(self.before_attention(tokens))  # (B, G, 3 C)
        query, key, value = mixed.reshape(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)  # (B, heads, G, C/heads)
        found = found.transpose(1, 2).reshape(count, length, width)
        tokens = tokens + factors[0] * self.projection(found)
        more: Tensor = factors[1] * self.perceptron(self.before_perceptron(tokens))
        return tokens + more


class PointEncoder(nn.Module):
    """From groups of points to their features."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = _Embedding(config.embedding, config.width)
        self.position = _Position(config.width)
        self.blocks = nn.ModuleList(_Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, groups: Tensor, centres: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the tokens (B, G, width) of groups (B, G, K, 3) around centres (B, G, 3)."""
        tokens, position = self.embedding(groups), self.position(centres)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens + position, None if kept is None else kept[number])
        found: Tensor = self.norm(tokens)
        return found

    @torch.no_grad()
    def features(self, groups: Tensor, centres: Tensor) -> Tensor:
        """Return (G, channels) features of the groups (G, K, 3) of one cloud, in evaluation."""
        parts = [self.embedding(part) for part in torch.split(groups, _BLOCK)]
        tokens, position = torch.cat(parts)[None], self.position(centres)[None]
        taken = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens + position)
            if number in self.config.taps:
                taken.append(self.norm(tokens)[0])
        return torch.cat(taken, dim=1)


class PointMAE(nn.Module):
    """The encoder, and what reconstructs hidden groups from what it says of the others."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = PointEncoder(config)
        self.hidden_token = nn.Parameter(torch.zeros(config.width))
        self.position = _Position(config.width)
        self.blocks = nn.ModuleList(
            _Block(config.width, config.heads) for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.points = nn.Linear(config.width, 3 * config.group_size)

    def forward(self, groups: Tensor, centres: Tensor, masked: Masked) -> Tensor:
        """Return the mean squared Chamfer distance of the hidden groups.

        Parameters
        ----------
        groups : (B, G, K, 3)
        centres : (B, G, 3)
        """
        made = self.reconstructed(groups, centres, masked)
        return chamfer(made.flatten(0, 1), _chosen(groups, masked.hidden).flatten(0, 1))

    def reconstructed(self, groups: Tensor, centres: Tensor, masked: Masked) -> Tensor:
        """Return the hidden groups (B, H, K, 3), relative to their centres, as they may be.

        Arguments as of `forward`; of hidden groups the centres alone are seen.
        """
        shown, places = _chosen(groups, masked.shown), _chosen(centres, masked.shown)
        tokens = self.encoder(shown, places, masked.kept)  # (B, V, C)
        count, hidden = masked.hidden.shape
        empty = self.hidden_token.expand(count, hidden, -1)
        tokens = torch.cat([tokens, empty], dim=1)  # (B, G, C)
        places = torch.cat([places, _chosen(centres, masked.hidden)], dim=1)
        position = self.position(places)
        for block in self.blocks:
            tokens = block(tokens + position)
        made: Tensor = self.points(self.norm(tokens[:, -hidden:])) * _UNIT  # (B, H, 3 K)
        return made.reshape(count, hidden, self.config.group_size, 3)


def chamfer(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared Chamfer distance of pairs of clouds (P, K, 3) and (P, M, 3), a scalar.

    From each point to the nearest of the other cloud; means over points, both ways added.
    """
    squares = (first[:, :, None] - second[:, None]).square().sum(dim=3)  # (P, K, M)
    return squares.amin(dim=2).mean() + squares.amin(dim=1).mean()


def _chosen(values: Tensor, indices: Tensor) -> Tensor:
    """Return the rows (B, V, ...) of values (B, G, ...) at indices (B, V)."""
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, indices]
