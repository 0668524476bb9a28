# SPDX-License-Identifier: Apache-2.0
"""Which samples are a shard's, and how it is named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravariance.dataset.sharding.shards import Shard, parse_shard, shard_of
from intravariance.errors import InputError, IntegrityError


@given(st.integers(1, 40), st.integers(1, 40))
def test_shards_share_out_a_plan(of: int, count: int) -> None:
    plan = list(range(count))
    parts = []
    for number in range(of):
        if number < count:
            parts.append(Shard(number, of).part(plan))
        else:
            with pytest.raises(InputError, match=f"{count} shards at most"):
                Shard(number, of).part(plan)
    assert sorted(one for part in parts for one in part) == plan
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_is_read_named_and_found_again() -> None:
    shard = parse_shard("3/64")
    assert shard == Shard(3, 64) and str(shard) == "shard 3 of 64"
    assert shard.path(Path("a/group2.h5")) == Path("a/group2-00003-of-00064.h5")
    assert shard_of(shard.mark({"identity": {}}, {})) == shard
    assert shard_of({"identity": {}}) is None


@pytest.mark.parametrize(
    "found",
    [3, [], {}, {"number": 0, "of": 3}, {"number": "a", "of": 3, "made_with": {}}]
    + [{"number": n, "of": of, "made_with": {}} for n, of in ((3, 3), (-1, 3), (0, 10**9))],
)
def test_metadata_that_cannot_be(found: object) -> None:
    with pytest.raises(IntegrityError, match="the metadata say of a shard what cannot be"):
        shard_of({"identity": {}, "shard": found})


@pytest.mark.parametrize("text", ["", "3", "8/8", "-1/8", "1/0", "a/b", "1/8/9", "٣/٨", "1 /8"])
def test_no_shard(text: str) -> None:
    with pytest.raises(InputError, match="expected I/N"):
        parse_shard(text)
