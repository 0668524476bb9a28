# SPDX-License-Identifier: Apache-2.0
"""`iv labels export`: clouds for an annotator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotations.vocabulary import DEFECT_TYPES
from intravariance.cloud_files import read_cloud
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.labelling.manifest import MANIFEST, read_manifest
from tests import ROOT
from tests.support.hand_labels import edit, ids, run, some_labels
from tests.support.samples import UNEVEN, make_dataset


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("labels") / "small.h5", UNEVEN, sigma=0.002)


@pytest.fixture
def folder(file: Path, tmp_path: Path) -> Path:
    """Give all clouds out."""
    run("export", file, "--out", tmp_path / "clouds")
    return tmp_path / "clouds"


@pytest.mark.parametrize("kind", ["ply", "txt"])
@pytest.mark.parametrize("frame", ["upright", "stored"])
def test_export_gives_each_sample_with_its_label(
    file: Path, tmp_path: Path, kind: str, frame: str
) -> None:
    run("export", file, "--out", tmp_path / "c", "--format", kind, "--frame", frame)
    manifest = read_manifest(tmp_path / "c")
    with open_dataset(file) as dataset:
        assert manifest.dataset == dataset.digest and manifest.frame == frame
        assert list(manifest.clouds) == [record.id for record in dataset]
        for record in dataset:
            cloud = read_cloud(tmp_path / "c" / manifest.clouds[record.id].file)
            assert cloud.labels is not None and cloud.normals is not None
            assert (cloud.labels == record.labels).all()
            sample = record.load()
            for found, stored in ((cloud.points, sample.points), (cloud.normals, sample.normals)):
                turn = np.eye(3) if frame == "stored" else sample.pose[:3, :3]
                shift = sample.pose[:3, 3] if found is cloud.points and frame == "upright" else 0
                assert np.abs(found @ turn.T + shift - stored).max() < 1e-6


def test_export_of_a_part_blind(file: Path, tmp_path: Path) -> None:
    bulge = ids(file, "bulge")[0]
    run("export", file, "--out", tmp_path / "one", "--sample", bulge, "--blind")
    cloud = read_cloud(tmp_path / "one" / f"{bulge}.ply")
    assert cloud.labels is not None and not cloud.labels.any()
    assert "bulge" not in (tmp_path / "one" / "manifest.json").read_text()
    run("export", file, "--out", tmp_path / "beads", "--category", "bead")
    assert all(id.startswith("bead") for id in read_manifest(tmp_path / "beads").clouds)
    with pytest.raises(InputError, match=r"--sample nope: not in .*names are like"):
        run("export", file, "--out", tmp_path / "no", "--sample", "nope")
    assert not (tmp_path / "no").exists()


def test_export_never_replaces_hand_labels(file: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        run("export", file, "--out", folder)
    run("export", file, "--out", folder, "--force")
    bulge = ids(file, "bulge")[0]
    edit(folder, bulge, some_labels(file, bulge))
    with pytest.raises(InputError, match=rf"not replaced, .*changed: {bulge}.ply\."):
        run("export", file, "--out", folder, "--force")
    assert not list(folder.parent.glob("*.partial"))


def test_the_annotators_guide_knows_every_defect() -> None:
    guide = (ROOT / "annotations" / "README.md").read_text()
    for name in DEFECT_TYPES:
        assert f"`{name}`" in guide, name


def test_what_a_killed_export_left_goes_with_the_next(file: Path, tmp_path: Path) -> None:
    partial = tmp_path / "clouds.partial"
    partial.mkdir()
    (partial / MANIFEST).write_text("{}")
    (partial / "ball_test_000.ply").write_text("")
    last = run("export", file, "--out", tmp_path / "clouds").splitlines()[-1]
    assert last.startswith(f"{tmp_path / 'clouds'}: ") and last.endswith(" clouds to label")
    assert [path.name for path in tmp_path.iterdir()] == ["clouds"]
