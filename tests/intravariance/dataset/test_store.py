# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.lib.recfunctions as rfn
import pytest

from intravariance.building.plan import make_plan
from intravariance.dataset.assembly.sample_files import assemble, write_sample_file
from intravariance.dataset.opening import open_file
from intravariance.dataset.schema import Sample, header, write_array
from intravariance.dataset.sharding import handles
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.verification.verify import verify
from tests.support.samples import (
    assert_same,
    make_dataset,
    make_sample,
    metadata,
    small_specification,
)

JOBS = make_plan(small_specification(), 0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("store") / "small.h5")


@pytest.fixture
def copy(file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(file, tmp_path / "copy.h5"))


def test_every_dataset_has_a_checksum_and_common_filters(file: Path) -> None:
    seen = []
    with h5py.File(file) as opened:

        def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                seen.append(name)
                assert item.fletcher32, name
                assert item.compression in (None, "gzip"), name
                assert item.chunks == item.shape, name

        opened.visititems(visit)
    assert len(seen) == 1 + 4 * len(JOBS) + 2 * 4


def test_reading_with_the_api(file: Path) -> None:
    with open_dataset(file) as dataset:
        assert len(dataset) == len(JOBS)
        assert [record.id for record in dataset] == [job.id for job in JOBS]
        assert dataset.categories == ["ball", "brick"]
        assert dataset.specification == small_specification()
        assert dataset.metadata == metadata(small_specification())
        for place in (0, 5, len(JOBS) - 1):
            sample, record = make_sample(JOBS[place]), dataset[place]
            assert_same(record.load(), sample)
            assert_same(dataset[sample.id].load(), sample)
            np.testing.assert_array_equal(record.points, sample.points)
            np.testing.assert_array_equal(record.normals, sample.normals)
            np.testing.assert_array_equal(record.displacement, sample.displacement)
            np.testing.assert_array_equal(record.labels, sample.labels)
            np.testing.assert_array_equal(record.pose, sample.pose)
            assert record.parameters == sample.parameters
            assert (record.n_points, record.n_anomalous) == (
                len(sample.points),
                sample.labels.sum(),
            )
        assert dataset[0].mesh is not None
        assert dataset[-1].mesh is None
        with pytest.raises(KeyError):
            dataset["nothing"]
        with pytest.raises(IndexError):
            dataset[len(JOBS)]


def test_plain_h5py_is_enough(file: Path) -> None:
    with h5py.File(file) as opened:
        table = opened["samples"][()]
        row = table[table["defect"] == b"bulge"][0]
        group = opened[f"{row['category'].decode()}/{row['split'].decode()}/{row['id'].decode()}"]
        assert group["points"].shape == (row["n_points"], 3)
        assert group["labels"][()].sum() == row["n_anomalous"]
        assert opened.attrs["noise_variance"] == pytest.approx(0.0447**2)
        assert json.loads(opened.attrs["specification"])["name"] == "small"


def test_difficulty_signal_to_noise_and_unit_are_in_the_table(file: Path) -> None:
    for record in open_dataset(file):
        parameters = record.parameters
        assert record.difficulty == parameters.get("difficulty", "")
        assert (record.difficulty == "") == (record.defect == "normal")
        assert np.isnan(record.unit_radius)
        if record.defect == "bulge":
            moved = np.linalg.norm(record.displacement, axis=1)[record.labels == 1]
            assert record.snr == pytest.approx(np.sqrt((moved**2).mean()) / 0.0447, rel=1e-4)
        else:
            assert np.isnan(record.snr)


def of_version_1(path: Path) -> None:
    """Make a file what the last version would have written of the same samples."""
    with h5py.File(path, "r+") as file:
        table, added = file["samples"][()], ("difficulty", "snr", "unit_radius")
        del file["samples"]
        kept = [name for name in table.dtype.names if name not in added]
        write_array(file, "samples", rfn.repack_fields(table[kept]))
        content = json.loads(file.attrs["metadata"])
        digest = file.attrs["content_digest"].decode()
        for name, value in header(content, digest, version=1).items():
            file.attrs[name] = np.bytes_(value) if isinstance(value, str) else value


def test_files_of_the_last_version_are_read_and_verified(tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "old.h5", change=without_details)
    with open_dataset(path) as dataset:
        new = [record.load() for record in dataset]
    of_version_1(path)
    with open_dataset(path) as dataset:
        assert dataset.version == 1
        for record, sample in zip(dataset, new, strict=True):
            assert_same(record.load(), sample)
            assert record.difficulty == "" and np.isnan(record.snr)
    report = verify(path, probes=False)
    wrong = [check.name for check in report.checks if not check.passed]
    assert set(wrong) <= {"noise", "surface"}, report.failures()  # too few points for these


def without_details(sample: Sample, rng: np.random.Generator) -> Sample:
    kept = {k: v for k, v in sample.parameters.items() if k not in ("difficulty", "snr")}
    return replace(sample, parameters=kept)


def test_a_table_of_the_other_version_is_damage(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        digest = file.attrs["content_digest"].decode()
        for name, value in header(json.loads(file.attrs["metadata"]), digest, version=1).items():
            file.attrs[name] = np.bytes_(value) if isinstance(value, str) else value
    with pytest.raises(IntegrityError, match=r"copy\.h5: /samples: has columns"):
        open_dataset(copy)


def test_filter(file: Path) -> None:
    dataset = open_dataset(file)
    bulges = dataset.filter(category="ball", defect=["bulge", "normal"], split="test")
    assert len(bulges) == 9
    assert {record.defect for record in bulges} == {"bulge", "normal"}
    assert len(bulges.filter(subcategory="long_ball", defect="bulge")) in (1, 2)
    assert bulges.digest == dataset.digest
    assert len(dataset.filter()) == len(dataset)
    assert bulges[bulges[2].id].id == bulges[2].id
    with pytest.raises(InputError, match=r"no category bowl; the file has ball, brick"):
        dataset.filter(category="bowl")
    with pytest.raises(InputError, match="no defect crack"):
        dataset.filter(defect={"bulge", "crack"})


def total(record_or_dataset) -> float:
    """Sum of all first coordinates; in the module's scope so that spawned processes find it."""
    return float(sum(record.points[:, 0].astype(np.float64).sum() for record in record_or_dataset))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_for_themselves(file: Path, method: str) -> None:
    dataset = open_dataset(file).filter(split="test")
    here = total(dataset)  # the file is open before the others start
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(total, [dataset, dataset, [dataset[0]]])[:2] == [here, here]
    assert total(dataset) == here


def test_threads_may_share_a_dataset(file: Path) -> None:
    dataset = open_dataset(file)
    expected = [record.load().digest for record in dataset]
    dataset.close()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda record: record.load().digest, list(dataset) * 3))
    assert found == expected * 3


@pytest.mark.parametrize("read_before", [True, False])
def test_what_was_pickled_notices_that_the_file_was_replaced(
    read_before: bool, copy: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(copy)
    pickled = pickle.dumps(dataset)
    if read_before:  # the file stays open for all that is unpickled
        np.testing.assert_array_equal(pickle.loads(pickled)[0].points, dataset[0].points)
    os.replace(make_dataset(tmp_path / "other.h5", seed=1), copy)
    again = pickle.loads(pickled)
    assert len(again) == len(JOBS)
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"copy\.h5: was replaced by another file"):
            _ = again[0].points
    copy.unlink()
    with pytest.raises(InputError, match="no such file"):
        _ = pickle.loads(pickled)[0].points


def test_records_are_pickled_without_reading_the_table(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_dataset(copy) as dataset:
        expected = [record.points for record in dataset]
        pickled = [pickle.dumps(record) for record in dataset]
        part = pickle.dumps(dataset.filter(split="test"))
    assert max(map(len, pickled)) < 1000
    opened = []

    def counted(*what: object) -> h5py.File:
        opened.append(what)
        return open_file(*what)

    monkeypatch.setattr(handles, "open_file", counted)
    monkeypatch.setattr(handles, "read_table", None)
    for data, points in zip(pickled, expected, strict=True):
        np.testing.assert_array_equal(pickle.loads(data).points, points)
    assert len(opened) == 1, "every record of a file is read through one handle"
    assert {record.split for record in pickle.loads(part)} == {"test"}
    monkeypatch.undo()
    with pytest.raises(InputError, match="no split validation; the file has test, train"):
        pickle.loads(part).filter(split="validation")


def test_a_mesh_is_told_without_reading_it(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        no_faces(file)
    with open_dataset(copy) as dataset:
        assert [record.has_mesh for record in dataset] == [r.split == "train" for r in dataset]
        with pytest.raises(IntegrityError):
            _ = dataset["ball_train_000"].mesh


def test_the_package_offers_open_dataset_without_importing_h5py(file: Path) -> None:
    code = (
        "import sys, intravariance; assert 'h5py' not in sys.modules; "
        "from intravariance import open_dataset; print(len(open_dataset(sys.argv[1])))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) == len(JOBS)


# --- files that are not ours


def test_what_is_not_a_dataset_file(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_dataset(tmp_path / "missing.h5")
    with pytest.raises(InputError, match="no such file"):
        open_dataset(tmp_path)
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(InputError, match="not an HDF5 file"):
        open_dataset(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(InputError, match="not a dataset"):
        open_dataset(tmp_path / "foreign.h5")
    with h5py.File(copy, "r+") as file:
        file.attrs["format_version"] = 4
    with pytest.raises(InputError, match="format version 4, this iv reads 1 to 3"):
        open_dataset(copy)


def test_a_truncated_file(copy: Path) -> None:
    content = copy.read_bytes()
    for length in (len(content) - 1, len(content) // 2, 600):
        copy.write_bytes(content[:length])
        with pytest.raises((IntegrityError, InputError)):
            for record in open_dataset(copy):
                record.load()


def test_a_source_may_have_any_name(tmp_path: Path) -> None:
    content = metadata(small_specification(), source="folder:möbel")
    write_sample_file(tmp_path / "sample.h5", make_sample(JOBS[0]))
    assemble(tmp_path / "a.h5", [tmp_path / "sample.h5"], content)
    assert open_dataset(tmp_path / "a.h5").metadata == content
    with h5py.File(tmp_path / "a.h5") as opened:
        assert opened.attrs["source"] == b"folder:m\\xf6bel"


def no_faces(file: h5py.File) -> None:
    mesh = file["ball/train/ball_train_000/mesh"]
    del mesh["faces"]
    mesh.create_dataset("faces", shape=(0, 3), dtype="i4")


def not_json(file: h5py.File) -> None:
    file["ball/train/ball_train_000"].attrs["parameters"] = np.bytes_('{"a": 1e999, "b": NaN}')


def numbers_as_ids(file: h5py.File) -> None:
    table = file["samples"][()]
    columns = [(n, "<i4" if n == "id" else table.dtype[n]) for n in table.dtype.names]
    del file["samples"]
    file["samples"] = np.zeros(len(table), dtype=columns)


def many_versions(file: h5py.File) -> None:
    file.attrs["format_version"] = np.arange(3)


def no_digest(file: h5py.File) -> None:
    file.attrs["header_digest"] = np.arange(3)


@pytest.mark.parametrize("damage", [no_faces, not_json, numbers_as_ids, many_versions, no_digest])
def test_damage_is_named_with_the_file(damage, copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        damage(file)
    with pytest.raises((IntegrityError, InputError), match=r"copy\.h5: "):
        open_dataset(copy)["ball_train_000"].load()


def test_reading_goes_on_after_close_unless_the_file_was_replaced(
    copy: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(copy)
    points = dataset[0].points
    dataset.close()
    with ThreadPoolExecutor(8) as pool:  # all of them open the file again
        for found in pool.map(lambda _: dataset[0].points, range(32)):
            np.testing.assert_array_equal(found, points)
    dataset.close()
    os.replace(make_dataset(tmp_path / "other.h5", seed=1), copy)
    with pytest.raises(IntegrityError, match="replaced"):
        _ = dataset[0].points


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump (hdf5-tools) is not installed")
def test_h5dump_reads_the_file(file: Path) -> None:
    header = subprocess.run(["h5dump", "-H", file], capture_output=True, text=True, check=True)
    assert 'DATASET "displacement"' in header.stdout
    name = "/ball/test/ball_test_000/points"
    data = subprocess.run(
        ["h5dump", "-d", name, "-y", "-w", "1000", file], capture_output=True, text=True, check=True
    )
    first = open_dataset(file)["ball_test_000"].points[0, 0]
    assert f"{first:.6g}"[:6] in data.stdout
