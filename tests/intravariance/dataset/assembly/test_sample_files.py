# SPDX-License-Identifier: Apache-2.0
"""Samples as files of their own, and dataset files assembled from these."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from intravariance.building.plan import make_plan
from intravariance.dataset.assembly.sample_files import (
    assemble,
    carried,
    finished,
    read_sample_file,
    write_sample_file,
)
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IntegrityError
from tests.support.samples import (
    assert_same,
    make_dataset,
    make_sample,
    metadata,
    small_specification,
    split_dataset,
)

JOBS = make_plan(small_specification(), 0)


def test_a_record_that_carries_its_content_needs_no_file(tmp_path: Path) -> None:
    with open_dataset(split_dataset(make_dataset(tmp_path / "s.h5"), 2)) as dataset:
        record, sample = dataset[5], dataset[5].load()
        far = pickle.dumps(carried(record))
    for path in tmp_path.glob("s*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    again = pickle.loads(far)
    assert_same(again.load(), sample)
    assert (again.path, again.file.name) == (record.path, record.path.name)


def test_what_there_is_to_know_of_a_finished_sample() -> None:
    sample = make_sample(JOBS[0])
    known = finished(sample)
    assert (known.id, known.defect) == (sample.id, "normal")
    assert (known.n_points, known.rejections) == (len(sample.points), 0)
    refused = replace(sample, parameters={"rejections": ["too small", "too large"]})
    assert finished(refused).rejections == 2


@pytest.mark.parametrize("job", [JOBS[0], JOBS[3], JOBS[-1]], ids=lambda job: job.id)
def test_a_sample_file_gives_back_what_was_written(job, tmp_path: Path) -> None:
    sample = make_sample(job)
    write_sample_file(tmp_path / "a.h5", sample)
    assert_same(read_sample_file(tmp_path / "a.h5"), sample)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_digest_depends_on_everything() -> None:
    sample = make_sample(JOBS[0])
    others = [
        replace(sample, id="other"),
        replace(sample, category="other"),
        replace(sample, subcategory="other"),
        replace(sample, split="test"),
        replace(sample, defect="bulge"),
        replace(sample, parameters={"seed": 1}),
        replace(sample, mesh=None),
        replace(sample, pose=np.diag([1.0, -1.0, -1.0, 1.0])),
        *(replace(sample, **{name: getattr(sample, name)[::-1]}) for name in ("points", "normals")),
        replace(sample, labels=1 - sample.labels),
        replace(sample, displacement=sample.displacement + np.float32(1)),
    ]
    assert len({sample.digest, *(other.digest for other in others)}) == len(others) + 1
    shuffled = replace(sample, parameters=dict(reversed(sample.parameters.items())))
    assert shuffled.digest == sample.digest


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": np.zeros((3, 3))},
        {"labels": np.zeros(0, np.uint8)},
        {"pose": np.eye(3)},
        {"id": "../escape"},
        {"category": "samples"},
        {"split": "validation"},
        {"parameters": {"long": "x" * 70_000}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(wrong, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_sample_file(tmp_path / "a.h5", replace(make_sample(JOBS[0]), **wrong))
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_sample_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_sample_file(path, make_sample(JOBS[3]))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(IntegrityError):
        read_sample_file(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="not a sample file"):
        read_sample_file(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file[file.attrs["location"].decode()]["labels"][0] ^= 1
    with pytest.raises(IntegrityError, match="digest"):
        read_sample_file(path)
    for name, value in (("location", b"a/b"), ("n_points", b"many"), ("n_points", 3)):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            file.attrs[name] = np.array(value)
        with pytest.raises(IntegrityError):
            read_sample_file(path)


def test_the_file_is_the_same_bytes_again_and_keeps_the_order_given(tmp_path: Path) -> None:
    samples = []
    for job in JOBS[:8]:
        samples.append(tmp_path / f"{job.id}.h5")
        write_sample_file(samples[-1], make_sample(job))
    content = metadata(small_specification())
    files = [tmp_path / "1.h5", tmp_path / "2.h5", tmp_path / "3.h5"]
    digests = [assemble(files[0], samples, content), assemble(files[1], samples, content)]
    digests.append(assemble(files[2], samples[::-1], content))
    assert len(set(digests)) == 1, "the content digest does not depend on the order"
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert hashes[0] == hashes[1] != hashes[2]
    assert [r.id for r in open_dataset(files[2])] == [job.id for job in JOBS[7::-1]]
    other = metadata(small_specification(), seed=1)
    assert assemble(tmp_path / "4.h5", samples, other) != digests[0]
    newer = content | {"software": {"iv": "9.9"}}
    assert assemble(tmp_path / "5.h5", samples, newer) == digests[0]
    rows = [finished(make_sample(job)).row for job in JOBS[:8]]
    assemble(tmp_path / "known.h5", samples, content, rows)
    assert (tmp_path / "known.h5").read_bytes() == files[0].read_bytes()
    with pytest.raises(IntegrityError, match="damaged"):
        assemble(tmp_path / "wrong.h5", samples[1:], content, rows)
    with pytest.raises(InputError, match="second sample"):
        assemble(tmp_path / "6.h5", [samples[0], samples[0]], content)
    with pytest.raises(InputError, match="no samples"):
        assemble(tmp_path / "7.h5", [], content)
