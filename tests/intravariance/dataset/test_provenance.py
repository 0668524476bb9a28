# SPDX-License-Identifier: Apache-2.0
from importlib.metadata import version

from intravariance.dataset import provenance


def test_software_of_an_installation():
    assert provenance.software("numpy") == provenance.software() | {"numpy": version("numpy")}


def test_the_code_of_a_module_by_itself(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    digests = {}
    for name, content in (("alone_1", "a = 1\n"), ("alone_2", "a = 2\n")):
        (tmp_path / f"{name}.py").write_text(content)
        (tmp_path / name.replace("alone", "package")).mkdir()
        (tmp_path / name.replace("alone", "package") / "__init__.py").write_text(content)
        for module in (name, name.replace("alone", "package")):
            digests[module] = provenance.code_digest(module)
    assert len(set(digests.values())) == 4
