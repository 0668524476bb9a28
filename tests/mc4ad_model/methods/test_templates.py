# SPDX-License-Identifier: Apache-2.0
"""Data that methods take from a dataset file."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.configuration import RunConfig, presets
from mc4ad_model.methods.mc4ad.method import MC4AD
from mc4ad_model.methods.mc4ad.training_samples import TrainingSamples
from mc4ad_model.methods.templates import (
    REGISTRATION_POINTS,
    TRACKS,
    read_templates,
    registration_points,
    template_records,
)
from tests.mc4ad_model.methods.mc4ad.test_training_samples import STORED, arrays, distance_to
from tests.support.runs import cpu, tiny, toys
from tests.support.samples import make_dataset, small_specification


def test_templates_of_a_file(tmp_path):
    with open_dataset(make_dataset(tmp_path / "small.h5", sigma=0.01)) as dataset:
        data = read_templates(dataset, "brick")
        stored = [r for r in dataset.filter(category="brick") if r.split == "train"]
        assert (data.category, data.noise_sigma) == ("brick", 0.01)
        assert data.points == small_specification().points
        assert [t.id for t in data.templates] == [r.id for r in stored]
        assert all(r.defect == NORMAL for r in stored)
        for template, record in zip(data.templates, stored, strict=True):
            assert np.array_equal(template.points, record.points)
            assert np.array_equal(template.mesh.vertices, record.mesh.vertices)
        with pytest.raises(InputError, match=r"small\.h5.*vase.*ball, brick"):
            read_templates(dataset, "vase")


def test_templates_of_the_categories_that_are_learnt_from(tmp_path):
    with open_dataset(make_dataset(tmp_path / "small.h5")) as dataset:
        alone = read_templates(dataset, "brick")
        assert alone.learn_from == ()
        for names, expected in ((["all"], ["ball", "brick"]), (["ball", "ball"], ["ball"])):
            found = read_templates(dataset, "brick", names)
            assert (found.category, found.data_digest) == ("brick", dataset.digest)
            assert [t.category for t in found.learn_from] == expected
            ids = [t.id for t in read_templates(dataset, "ball").templates]
            assert [t.id for t in found.learn_from[0].templates] == ids
        with pytest.raises(InputError, match=r"data\.learn_from: .*small\.h5 has no category vase"):
            read_templates(dataset, "brick", ["vase", "ball"])


def test_a_category_without_templates_is_named_before_any_cloud_is_read(tmp_path):
    def change(sample, rng):
        return replace(sample, split="test", mesh=None) if sample.category == "ball" else sample

    with open_dataset(make_dataset(tmp_path / "bare.h5", change=change)) as dataset:
        for find in (template_records, read_templates):
            with pytest.raises(InputError, match=r"bare\.h5: category ball has no templates"):
                find(dataset, "ball", track="meshes")
        found = template_records(dataset, "brick", "meshes")
        assert [r.id for r in found] == [t.id for t in read_templates(dataset, "brick").templates]


def test_a_template_without_a_mesh(tmp_path):
    path = make_dataset(tmp_path / "bare.h5", change=lambda sample, rng: replace(sample, mesh=None))
    with open_dataset(path) as dataset:
        data = read_templates(dataset, "ball")
        with pytest.raises(InputError, match=r"--track meshes: template ball\S+ has no mesh"):
            read_templates(dataset, "ball", track="meshes")
    assert data.track == "clouds" and data.registration_noise == 0
    # no setting need be changed
    for config in (tiny(), tiny(*STORED)):
        MC4AD(config, cpu()).check(data)
        points, _ = arrays(TrainingSamples(data, config, 0)[0])
        assert len(points) in {len(template.points) for template in data.templates}
    # registration then has the stored points
    found = registration_points(data, 0)
    assert np.array_equal(found[data.templates[0].id], data.templates[0].points)


def test_the_track_of_clouds_knows_neither_meshes_nor_the_noise(tmp_path):
    spec = replace(small_specification(), points=(1500, 1500))
    path = make_dataset(tmp_path / "small.h5", spec, sigma=0.02)
    with open_dataset(path) as dataset:
        known, found = (read_templates(dataset, "ball", track=track) for track in TRACKS)
        again = read_templates(dataset, "ball", ["all"], track="clouds")
    assert known.track == "meshes" and known.noise_sigma == 0.02
    assert found.noise_sigma == pytest.approx(0.02, rel=0.15)
    assert all(template.mesh is None for template in found.templates)
    assert [t.noise_sigma for t in again.learn_from] == [found.noise_sigma] * 2
    assert known.registration_noise == 0.02 and not known.surfaces
    assert found.surfaces.keys() == {template.id for template in found.templates}


def test_resampled_clouds_are_drawn_from_the_stored_ones():
    data = toys()
    first, again, other = (data.resampled(seed) for seed in (0, 0, 1))
    assert first.track == "clouds"
    for stored, one, two, three in zip(
        data.templates, first.templates, again.templates, other.templates, strict=True
    ):
        assert one.mesh is None and one.points.shape == stored.points.shape
        distance, rows = cKDTree(stored.points).query(one.points)
        assert distance.max() == 0 and np.array_equal(one.normals, stored.normals[rows])
        assert 0.5 < len(np.unique(rows)) / len(rows) < 0.75  # 1 - 1 / e is chance
        assert np.array_equal(one.points, two.points)
        assert not np.array_equal(one.points, three.points)


def test_registration_points_are_on_the_surface():
    data = toys()
    points = registration_points(data, 0)
    assert list(points) == ["long_ball", "flat_brick"]
    for name, cloud in points.items():
        assert cloud.shape == (REGISTRATION_POINTS, 3)
        assert cloud.dtype == np.float32
        assert distance_to(name, cloud[:500]).max() < 1e-5
    assert np.array_equal(registration_points(data, 0)["flat_brick"], points["flat_brick"])


def test_each_preset_makes_samples():
    for name in presets():
        config = RunConfig.load(name, ["training.repeats=1", "training.epochs=1"])
        points, displacement = arrays(TrainingSamples(toys(), config, 0)[0])
        assert np.isfinite(points).all()
        assert np.any(displacement != 0)
