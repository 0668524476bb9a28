# SPDX-License-Identifier: Apache-2.0
from importlib.metadata import PackageNotFoundError, version

from intravariance.dataset import provenance


def test_software_of_an_installation_and_of_a_source_tree(monkeypatch):
    assert provenance.software("numpy") == provenance.software() | {"numpy": version("numpy")}
    assert provenance.software()["iv"] == version("intravariance")

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provenance, "version", missing)
    assert provenance.software()["iv"] == "source tree"
