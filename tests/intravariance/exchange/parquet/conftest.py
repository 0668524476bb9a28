# SPDX-License-Identifier: Apache-2.0
"""A dataset file and its export, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.intravariance.exchange.parquet.exported import export
from tests.support.samples import make_dataset


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("source") / "small.h5")


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(source, tmp_path_factory.mktemp("exported") / "small")
