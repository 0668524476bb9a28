# SPDX-License-Identifier: Apache-2.0
"""A file that one process at a time holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from intravariance.errors import InputError
from intravariance.files.locks import held

HOLDER = """
import sys
from pathlib import Path
from intravariance.files.locks import held
with held(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_until_it_is_done_or_killed(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    for end in ("stdin", "kill"):
        command = [sys.executable, "-c", HOLDER, str(lock)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin and holder.stdout and holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=r"^busy \(.*a\.lock is held\)$"), held(lock, "busy"):
            pytest.fail("it is held")
        if end == "kill":
            holder.kill()
        holder.communicate()
        with held(lock, "busy"):
            assert lock.exists()
        assert not lock.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), held(tmp_path / "file/a", "busy"):
        pytest.fail("it cannot be held")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no file")
def test_a_place_that_takes_no_file_is_not_called_held() -> None:
    with (
        pytest.raises(InputError, match=r"^/proc: nothing can be written there \("),
        held(Path("/proc/x.lock"), "busy"),
    ):
        pytest.fail("it cannot be held")
