# SPDX-License-Identifier: Apache-2.0
"""LZF: copies, sizes, and an independent compressor."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.cloud_files.lzf import decompress
from intravariance.errors import InputError

# Numbers that text and float32 hold exactly.


def test_lzf_copies_also_over_themselves() -> None:
    # "ab" as it is, then 7 bytes from 2 back: the copy repeats what it writes
    assert decompress(b"\x01ab\xa0\x01", 9) == b"ababababa"
    # length field 7: 7 + 253 + 2 = 262 bytes from 1 back
    assert decompress(b"\x00z\xe0\xfd\x00", 263) == b"z" * 263


@settings(max_examples=60, deadline=None)
@given(
    content=st.lists(st.sampled_from([b"aaaa", b"abc", b"\0\0\0", b"x"]), min_size=1, max_size=200)
)
def test_lzf_undoes_an_independent_compressor(content: list[bytes]) -> None:
    lzf = pytest.importorskip("lzf")
    data = b"".join(content)
    packed = lzf.compress(data)
    if packed:  # None where it would not become smaller
        assert decompress(packed, len(data)) == data


def test_compressed_content_is_refused_by_its_size_before_it_is_unpacked() -> None:
    with pytest.raises(InputError, match=r"536,870,913 bytes are declared; at most 536,870,912"):
        decompress(bytes(2**23), 2**29 + 1)
