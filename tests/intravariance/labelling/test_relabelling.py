# SPDX-License-Identifier: Apache-2.0
"""The new file of hand labels is verified before it is given its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import read_cloud, write_ply
from intravariance.dataset.assembly.sample_files import assemble, assemble_again, write_sample_file
from intravariance.dataset.store import open_dataset
from intravariance.errors import IntegrityError
from intravariance.labelling.giving_out import give_out
from intravariance.labelling.relabelling import relabel
from intravariance.verification.verify import verify
from tests.support.samples import UNEVEN, Change, make_dataset, with_points


def given_out(tmp_path: Path, change: Change | None = None) -> tuple[Path, Path, str]:
    """Make a dataset file, and clouds with the labels of one turned round; return its id too."""
    file = make_dataset(tmp_path / "small.h5", UNEVEN, sigma=0.002, change=change)
    with open_dataset(file) as dataset:
        id = next(record.id for record in dataset if record.defect == "bulge")
        give_out(list(dataset), dataset.digest, tmp_path / "clouds", "stored", "ply", False)
    cloud = read_cloud(tmp_path / "clouds" / f"{id}.ply")
    assert cloud.labels is not None
    data = write_ply(cloud.points, None, 1 - cloud.labels, "scalar_label", "float")
    (tmp_path / "clouds" / f"{id}.ply").write_bytes(data)
    return file, tmp_path / "clouds", id


def test_a_relabelled_file_verifies(tmp_path: Path) -> None:
    file, folder, id = given_out(tmp_path)
    result = relabel(folder, file, tmp_path / "new.h5", quiet=True)
    report = verify(tmp_path / "new.h5")
    assert report.passed, report.failures()
    assert report.digest == result.digest
    with open_dataset(file) as old, open_dataset(tmp_path / "new.h5") as new:
        assert (new[id].labels == 1 - old[id].labels).all()


@pytest.mark.parametrize("existing", [True, False])
def test_a_file_that_would_not_verify_leaves_the_target_as_it_was(
    existing: bool, tmp_path: Path
) -> None:
    def moved(sample, rng):  # one point of each sample lies far off its surface
        return with_points(sample, np.r_[sample.points[:-1], [[9, 9, 9]]])

    file, folder, _ = given_out(tmp_path, moved)
    out = tmp_path / "new.h5"
    if existing:
        out.write_text("precious")
    with pytest.raises(IntegrityError, match=r"kept as .*assembled\.h5, does not verify: .*size"):
        relabel(folder, file, out, force=existing, quiet=True)
    assert out.read_text() == "precious" if existing else not out.exists()


def test_a_file_with_some_samples_replaced_is_the_file_made_anew(tmp_path: Path) -> None:
    """Byte for byte, whichever samples are replaced, and the others are not read."""
    file = make_dataset(tmp_path / "small.h5", UNEVEN)
    with open_dataset(file) as dataset:
        samples = [record.load() for record in dataset]
        changed = [
            replace(sample, parameters=sample.parameters | {"labels": {"rule": "hand"}})
            if number in (0, 3)
            else sample
            for number, sample in enumerate(samples)
        ]
        files = [tmp_path / f"{sample.id}.h5" for sample in changed]
        for path, sample in zip(files, changed, strict=True):
            write_sample_file(path, sample)
        anew, again = tmp_path / "anew.h5", tmp_path / "again.h5"
        digest = assemble(anew, files, dataset.metadata)
        some = [files[3], files[0]]
        assert assemble_again(again, some, dataset.metadata, dataset) == digest
    assert again.read_bytes() == anew.read_bytes()
