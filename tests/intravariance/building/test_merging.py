# SPDX-License-Identifier: Apache-2.0
"""Shards that need nobody else, joined: the file of a build in one go."""

import json
import os
import signal
from pathlib import Path

import pytest

from intravariance import open_dataset
from intravariance.building.merging import merge
from intravariance.building.plan import make_plan
from intravariance.dataset.assembly.sample_files import write_sample_file
from intravariance.dataset.assembly.work_folder import locked_folder
from intravariance.dataset.sharding.shards import Shard
from intravariance.errors import InputError
from intravariance.verification.verify import verify
from tests.conftest import run_iv
from tests.intravariance.building.test_run import start, wait_for_samples
from tests.support.samples import (
    MADE_WITH,
    make_dataset,
    make_sample,
    make_shard,
    metadata,
    small_specification,
)


def test_shards_of_processes_that_know_of_no_other_are_the_whole(
    small_specification: Path, small_file: Path, cache: Path, tmp_path: Path
) -> None:
    command = ["build", "--spec", small_specification, "--cache", cache, "--jobs", 1]
    command += ["--out", tmp_path / "small.h5"]
    names = [f"small-0000{number}-of-00003.h5" for number in range(3)]
    for number in (2, 0):
        result = run_iv(*command, "--shard", f"{number}/3", "--json")
        assert Path(json.loads(result.stdout)["path"]).name == names[number]
    killed = start([*command, "--shard", "1/3"])
    wait_for_samples(killed, tmp_path / names[1], 1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    missing = run_iv("merge", *(tmp_path / names[n] for n in (0, 2)), "--out", tmp_path / "a.h5")
    assert missing.returncode == 2 and "1 of 3 shards are missing: 1." in missing.stderr
    assert "carrying on: " in run_iv(*command, "--shard", "1/3").stderr
    assert "shard 1 of 3" in run_iv("info", tmp_path / names[1]).stdout
    assert verify(tmp_path / names[1], probes=False).passed

    shards = [tmp_path / name for name in names]
    result = run_iv("merge", *shards[::-1], "--out", tmp_path / "small.h5", "--json")
    with open_dataset(small_file) as whole, open_dataset(tmp_path / "small.h5") as merged:
        assert json.loads(result.stdout)["content_digest"] == whole.digest == merged.digest
        assert [r.id for r in merged] == [r.id for r in whole]
        assert merged.metadata == whole.metadata
    assert all(path.exists() for path in shards)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [make_shard(tmp_path / "s.h5", Shard(number, 2)) for number in range(2)]


def test_merged_shards_are_in_the_order_of_the_plan(shards: list[Path], tmp_path: Path) -> None:
    whole = make_dataset(tmp_path / "whole.h5")
    assert merge(shards[::-1], tmp_path / "m.h5", quiet=True) == open_dataset(whole).digest
    assert [r.id for r in open_dataset(tmp_path / "m.h5")] == [r.id for r in open_dataset(whole)]
    assert not (tmp_path / "m.h5.partial").exists()


def test_what_does_not_belong_together_is_told(shards: list[Path], tmp_path: Path) -> None:
    out, content = tmp_path / "m.h5", metadata(small_specification())
    with pytest.raises(InputError, match="are the same shard 0 of 2"):
        merge([shards[0], shards[0], shards[1]], out)
    with pytest.raises(InputError, match=r"1 of 2 shards are missing: 0\. .*--shard 0/2"):
        merge(shards[1:], out)
    others = {
        "the number of shards is 3 and 2": (Shard(1, 3), content, MADE_WITH),
        "identity seed is 1 and 0": (Shard(1, 2), metadata(small_specification(), 1), MADE_WITH),
        "software iv is 9 and 0.1.0": (Shard(1, 2), content | {"software": {"iv": "9"}}, MADE_WITH),
        "made with code is xyz and abc": (Shard(1, 2), content, MADE_WITH | {"code": "xyz"}),
    }
    for number, (message, other) in enumerate(others.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(InputError, match=message):
            merge([shards[0], make_shard(folder / "s.h5", *other)], out)
    whole = make_dataset(tmp_path / "whole.h5")
    for given in ([whole, shards[0]], [shards[0], whole]):
        with pytest.raises(InputError, match=r"whole\.h5 is no shard of a build"):
            merge(given, out)
    assert not out.exists()


def test_an_unfinished_build_of_that_name_is_kept(shards: list[Path], tmp_path: Path) -> None:
    with locked_folder(tmp_path / "m.h5") as partial:
        write_sample_file(
            partial / "samples" / "a.h5", make_sample(make_plan(small_specification(), 0)[0])
        )
    with pytest.raises(InputError, match="holds an unfinished build"):
        merge(shards, tmp_path / "m.h5")
    assert (tmp_path / "m.h5.partial" / "samples" / "a.h5").exists()


def test_an_index_lists_the_shards_where_they_are(shards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "s.index.json"
    digest = merge(shards[::-1], out)
    with open_dataset(out) as whole:
        assert whole.digest == digest == open_dataset(make_dataset(tmp_path / "one.h5")).digest
        assert whole.files == shards
    with pytest.raises(InputError, match=r"s\.index\.json exists"):
        merge(shards, out)
    assert merge([out], tmp_path / "joined.h5", quiet=True) == digest
    assert merge([tmp_path / "s-*-of-00002.h5"], tmp_path / "again.h5", quiet=True) == digest
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="an index lies beside its shards"):
        merge(shards, tmp_path / "elsewhere" / "s.index.json")
