# SPDX-License-Identifier: Apache-2.0
"""Files of our own text formats, made of the words of their grammars: read, or refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

for package in ("laspy", "lazrs", "pyarrow", "pye57", "safetensors", "torch", "trimesh"):
    pytest.importorskip(package, reason="pip install '.[model,layouts,scans,dev]'")

from tools.hostile_campaign import NUMBERS, tried  # noqa: E402

# Format -> how files of it begin, what ends its header, and its words.
GRAMMARS: dict[str, tuple[bytes, bytes, list[bytes]]] = {
    "off": (b"OFF\n", b"", [b"OFF", b"#", b"3", b"0 1 2"]),
    "obj": (
        b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", b"",
        [b"v", b"f", b"fo", b"1/2/3", b"-1//", b"#", b"\\"],
    ),
    "stl": (
        b"solid a\n", b"",
        [b"facet normal", b"outer loop", b"vertex", b"endloop", b"endfacet"],
    ),
    "ply": (
        b"ply\nformat ascii 1.0\n", b"end_header\n",
        [b"element vertex 3", b"element face 1", b"property float x", b"property list uchar int "
         b"vertex_indices", b"property", b"comment", b"element", b"list", b"double", b"tristrips"],
    ),
    "ply cloud": (
        b"ply\nformat ascii 1.0\nelement edge 1\nproperty int a\nelement vertex 2\nproperty float x"
        b"\nproperty float y\nproperty float z\n", b"end_header\n",
        [b"element face 1", b"property list uchar int vertex_indices", b"property uchar label"],
    ),
    "pcd": (
        b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n",
        b"WIDTH 2\nHEIGHT 1\nPOINTS 2\nDATA ascii\n",
        [b"FIELDS", b"SIZE", b"TYPE", b"COUNT", b"WIDTH", b"POINTS", b"DATA", b"_"],
    ),
    "txt": (b"", b"", [b"x y z", b"//X Y Z label", b"#", b"nan", b";", b"label"]),
    "csv": (b"x,y,z,label\n", b"", [b",", b"0,0,0,1", b"1;2;3", b",,"]),
    "pts": (b"2\n", b"", [b"0 0 0 -1200 1 2 3", b"1 1 1"]),
    "toml": (
        b'name = "a"\npoints = [100, 200]\n', b"",
        [b"[[category]]", b'name = "b"', b"templates =", b"positives = 3", b"[", b"]",
         b'subcategories = ["c"]', b"defects = { crack = 2 }", b"noise_sigma =", b"{", b'"', b"="],
    ),
    "json": (b"", b"", [b"{", b"}", b'"training":', b'"network":', b'"epochs":', b"[", b","]),
}  # fmt: skip


def lines(words: list[bytes]) -> st.SearchStrategy[bytes]:
    """Draw lines of words and numbers."""
    numbers = st.one_of(st.integers(-3, 9).map(lambda n: b"%d" % n), st.sampled_from(NUMBERS))
    line = st.lists(st.one_of(st.sampled_from(words), numbers), max_size=7).map(b" ".join)
    return st.lists(line, max_size=12).map(lambda rows: b"".join(row + b"\n" for row in rows))


@pytest.mark.parametrize("name", GRAMMARS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_files_of_the_words_of_a_grammar_are_read_or_refused(
    name: str, data: st.DataObject
) -> None:
    begin, end, words = GRAMMARS[name]
    whole = begin + data.draw(lines(words)) + end + data.draw(lines(words))
    assert tried(name, whole) in ("read", "refused"), whole
