# SPDX-License-Identifier: Apache-2.0
"""Shell completion, by a real bash where there is one, and by what the other shells are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.samples import make_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a dataset file of the categories ball and brick, and `iv` in bin/."""
    folder = tmp_path_factory.mktemp("completion")
    make_dataset(folder / "small.h5")
    program = folder / "bin" / "iv"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom intravariance.cli import main\nmain()\n")
    program.chmod(0o755)
    return folder


def run(words: list[str], folder: Path, **environment: str) -> str:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        words, cwd=folder, env=os.environ | {"PATH": path} | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not result.stderr, result.stderr
    return result.stdout


def completed(line: str, folder: Path, shell: str = "bash") -> list[str]:
    """Return what a shell is told about the last word of a line, as `iv` prints it."""
    words, last = line.split(" "), line.split(" ")[-1]
    place = last if shell == "fish" else str(len(words) - 1)
    environment = {"COMP_WORDS": line, "COMP_CWORD": place, "_IV_COMPLETE": f"{shell}_complete"}
    return run(["iv"], folder, **environment).splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_what_is_typed(folder: Path) -> None:
    lines = {
        "iv bui": "build",
        "iv labels ex": "export",
        "iv train --met": "--method",
        "iv train --method patch": "patchcore",
        "iv import real": "real3d-ad",
        "iv train small.h5 --category b": "ball brick",
        "iv train --data small.h5 --category br": "brick",
        "iv info nosuch.h5 --category": "",
    }
    script = ['eval "$(_IV_COMPLETE=bash_source iv)"']
    for line in lines:
        script += [
            f"COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMPREPLY=()",
            '_iv_completion iv; echo "${COMPREPLY[*]}"',
        ]
    found = run(["bash", "--norc", "-c", "\n".join(script)], folder)
    assert dict(zip(lines, found.splitlines(), strict=True)) == lines


@pytest.mark.parametrize("line", ["iv info sm", "iv view sm", "iv predict --run r", "iv predict x"])
def test_names_of_files_are_left_to_the_shell(line: str, folder: Path) -> None:
    (found,) = completed(line, folder)
    assert found == f"file,{line.split()[-1]}"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell: str, folder: Path) -> None:
    script = run(["iv"], folder, _IV_COMPLETE=f"{shell}_source")
    assert "_IV_COMPLETE" in script and f"{shell}_complete" in script
    assert "build" in "\n".join(completed("iv bui", folder, shell))
    assert "brick" in "\n".join(completed("iv train small.h5 --category bri", folder, shell))


def test_commands_are_completed_without_importing_any(folder: Path) -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom intravariance.cli import main\n"
        "from click.shell_completion import BashComplete\n"
        "found = BashComplete(main, {}, 'iv', '_IV_COMPLETE').get_completions([], '')\n"
        "print(len(found), [m for m in sys.modules if 'commands.' in m or m == 'numpy'])"
    )
    count, _, modules = run([sys.executable, "-c", script], folder).partition(" ")
    assert int(count) > 20 and modules.strip() == "[]"
