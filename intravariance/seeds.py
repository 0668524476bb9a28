# SPDX-License-Identifier: Apache-2.0
"""Random generators that depend on the user's seed and on what they are for, and nothing else.

A sample is the same whatever the worker count, order or interruptions, because its generators are
derived from its own identity.
"""

from __future__ import annotations

import hashlib

import numpy as np


def entropy(seed: int, *identity: str) -> list[int]:
    """Return nine integers for `numpy.random.SeedSequence`: the seed and a hash of the identity."""
    digest = hashlib.sha256("\n".join(identity).encode()).digest()
    return [seed, *np.frombuffer(digest, dtype="<u4").tolist()]


def generator(seed: int, *identity: str) -> np.random.Generator:
    """Return the generator for one purpose, e.g. `generator(0, "bowl_test_003", "noise")`."""
    return np.random.default_rng(np.random.SeedSequence(entropy(seed, *identity)))


def seed_of(rng: np.random.Generator) -> int:
    """Return the user's seed that `generator` made `rng` from, whatever its identity.

    For work that needs many generators of its own, one for each sample in a worker process for
    example: it derives them by `generator(seed_of(rng), ...)`. Any other seeded generator gives the
    first number of its seed.
    """
    entropy = rng.bit_generator.seed_seq.entropy  # type: ignore[attr-defined]
    return int(entropy if isinstance(entropy, int) else entropy[0])
