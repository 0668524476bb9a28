# SPDX-License-Identifier: Apache-2.0
"""Samples as rows of a table, and back, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.dataset.store import Sample, open_dataset
from intravariance.errors import IntegrityError
from intravariance.exchange.parquet.reading import (
    read_samples,
)
from intravariance.exchange.parquet.table import (
    ARRAYS,
    COLUMNS,
    check_schema,
    defect_names,
    samples_of,
    schema,
    table,
)
from intravariance.geometry.mesh import Mesh
from intravariance.seeds import generator

pa = pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")
pq = pytest.importorskip("pyarrow.parquet", reason="pip install '.[layouts]'")


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_any_bits_come_back(counts: list[int], seed: int) -> None:
    """Every bit pattern of a float, NaNs with payloads among them; with and without a mesh."""
    rng = generator(seed)

    def bits(*shape: int) -> Any:
        return rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)

    samples = [
        Sample(
            id=f"sample_{number}",
            category="thing",
            subcategory="one",
            split="train" if number % 2 else "test",
            defect=("normal", "bulge", "odd_word")[number % 3],
            points=bits(count, 3),
            normals=bits(count, 3),
            labels=rng.integers(0, 256, count, dtype=np.uint8),
            displacement=bits(count, 3),
            pose=rng.integers(0, 2**62, (4, 4)).view(np.float64),
            parameters={"text": "\u00e9\n", "number": 0.1, "nested": [1, {"a": None}]},
            mesh=Mesh(bits(count, 3), rng.integers(0, 2**31, (count, 3), dtype=np.int32))
            if number % 2
            else None,
        )
        for number, count in enumerate(counts)
    ]
    defects = ["normal", "bulge", "odd_word"]
    buffer = pa.BufferOutputStream()
    pq.write_table(table(samples, defects), buffer, row_group_size=2)
    rows = pq.read_table(pa.BufferReader(buffer.getvalue()))
    back = samples_of(rows, check_schema(rows.schema, "buffer"), "buffer")
    assert [sample.digest for sample in back] == [sample.digest for sample in samples]
    for sample, original in zip(back, samples, strict=True):
        assert (sample.mesh is None) == (original.mesh is None)
        assert sample.parameters == original.parameters
        for name in ("points", "normals", "labels", "displacement", "pose"):
            array, expected = getattr(sample, name), getattr(original, name)
            assert array.dtype == expected.dtype
            assert array.tobytes() == expected.tobytes()


def test_a_row_group_that_claims_too_much_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intravariance.exchange.parquet.reading.MAX_ROWS", 100)
    with pytest.raises(IntegrityError, match="row group 0 claims"):
        list(read_samples(folder))


def test_the_schema_names_every_array(source: Path) -> None:
    with open_dataset(source) as dataset:
        found = schema(defect_names(dataset))
    assert found.names == list(COLUMNS)
    assert set(ARRAYS) < set(COLUMNS)
    with pytest.raises(IntegrityError, match="no names of defects"):
        check_schema(found.remove_metadata(), "table")
