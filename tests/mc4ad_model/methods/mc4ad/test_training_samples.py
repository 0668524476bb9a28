# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from point_cloud_utils import closest_points_on_mesh
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.training_samples import (
    CollatedBatch,
    TrainingSamples,
    centre_and_scale,
    load_batches,
    random_rotation,
)
from tests.support.runs import tiny, toys
from tests.support.samples import product

STORED = ("data.points=stored", "data.rotation=three_axes")
REGISTERED = ("data.frame=registered", "data.rotation=none")
KINDS = {
    "own": (),
    "stored": STORED,
    "registered": REGISTERED,
    "posed": (*REGISTERED, "data.pose_rotation=2", "data.pose_shift=0.01"),
    "frozen": (*STORED, "anomalies.generator=da_gen_released", "anomalies.frozen=true"),
}
each_kind = pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)


def samples_of(*changes: str, seed: int = 0, **data: object) -> TrainingSamples:
    return TrainingSamples(toys(**data), tiny(*changes), seed)


def arrays(sample: tuple[torch.Tensor, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    points, displacement = (tensor.numpy() for tensor in sample)
    return points, displacement


def distance_to(name: str, points: np.ndarray) -> np.ndarray:
    """(N,) of points from a product's mesh."""
    mesh = product(name)
    found, _, _ = closest_points_on_mesh(
        points.astype(np.float64), mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64)
    )
    return np.asarray(found)


# --- a sample is a function of seed, category and number


@each_kind
def test_an_item_is_the_same_in_any_order(changes):
    first, second = samples_of(*changes), samples_of(*changes)
    assert len(first) == 16  # 2 templates, 4 repeats, 2 epochs
    order = np.random.default_rng(0).permutation(16)
    found = {int(index): first[int(index)] for index in order}
    for index in range(16):
        for one, other in zip(found[index], second[index], strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)


@each_kind
def test_items_seeds_and_categories_differ(changes):
    """In the released code the workers share one random stream, so items repeat."""
    samples, others = samples_of(*changes), samples_of(*changes, seed=1)
    items = [samples[i][0] for i in range(16)] + [others[i][0] for i in range(16)]
    data = toys()
    renamed = TrainingSamples(
        type(data)("other", data.templates, data.points, data.noise_sigma), tiny(*changes), 0
    )
    items += [renamed[i][0] for i in range(16)]
    for index, item in enumerate(items):
        for other in items[:index]:
            assert item.shape != other.shape or not torch.equal(item, other)


def test_global_random_state_is_neither_used_nor_changed():
    samples = samples_of()
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = (np.random.get_state()[1].copy(), torch.get_rng_state())  # noqa: NPY002
    first = samples[3]
    after = (np.random.get_state()[1], torch.get_rng_state())  # noqa: NPY002
    assert np.array_equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    np.random.seed(1)  # noqa: NPY002
    assert torch.equal(samples[3][0], first[0])


def test_every_template_comes_equally_often_in_each_epoch_in_changing_order():
    orders = [samples_of()._order(epoch) for epoch in range(20)]
    assert all(np.bincount(order).tolist() == [4, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 10


def batches(samples, steps, workers=0, batch=4, per_epoch=2, **ranks):
    return [
        (torch.cat(found.clouds), found.displacement, [len(cloud) for cloud in found.clouds])
        for found in load_batches(samples, steps, per_epoch, batch, workers, **ranks)
    ]


def same(one, other) -> bool:
    return one[2] == other[2] and all(map(torch.equal, one[:2], other[:2]))


def test_batches_do_not_depend_on_the_workers():
    """One worker: tests/test_training.py."""
    expected, found = (batches(samples_of(), range(4), count) for count in (0, 2))
    assert len(found) == 4
    assert all(map(same, found, expected))


def test_a_later_start_gives_the_same_batches():
    samples = samples_of()
    assert all(map(same, batches(samples, range(3, 4)), batches(samples, range(4))[3:]))
    assert batches(samples, range(4, 4)) == []


def test_shares_of_ranks_make_up_the_batch():
    samples = samples_of()
    whole = list(load_batches(samples, range(4), 2, 4, 0))
    for ranks in (2, 4):
        shares = [list(load_batches(samples, range(4), 2, 4, 0, r, ranks)) for r in range(ranks)]
        for step, batch in enumerate(whole):
            assert all(len(share[step].clouds) == 4 // ranks for share in shares)
            for index, cloud in enumerate(batch.clouds):
                share = shares[index % ranks][step]
                assert torch.equal(share.clouds[index // ranks], cloud)


def test_what_is_left_of_an_epoch_is_dropped():
    samples = samples_of("training.batch=3")  # 8 samples an epoch
    found = list(load_batches(samples, range(4), 2, 3, 0))
    expected = [(0, 1, 2), (3, 4, 5), (8, 9, 10), (11, 12, 13)]
    for batch, indices in zip(found, expected, strict=True):
        for cloud, index in zip(batch.clouds, indices, strict=True):
            assert torch.equal(cloud, samples[index][0])


def test_a_batch_holds_clouds_and_all_displacements():
    samples = samples_of()
    batch = CollatedBatch([samples[0], samples[1]]).to(torch.device("cpu"))
    assert [tuple(cloud.shape) for cloud in batch.clouds] == [(300, 3), (300, 3)]
    assert torch.equal(batch.displacement, torch.cat([samples[0][1], samples[1][1]]))


# --- what a sample is


@each_kind
def test_displacement_is_zero_but_on_the_deformed_patches(changes):
    for index in range(6):
        points, displacement = arrays(samples_of(*changes)[index])
        assert points.shape == displacement.shape == (300, 3)
        moved = np.any(displacement != 0, axis=1)
        # two patches of 300 // 8 points; the rim of a patch may stay where it is
        assert 60 <= moved.sum() <= 2 * (300 // 8)
        length = np.linalg.norm(displacement, axis=1)
        assert length.max() <= tiny(*changes).anomalies.magnitude[1] + 1e-6


def test_without_noise_subtracting_the_displacement_gives_the_surface_back():
    samples = samples_of(*REGISTERED, noise=0.0)
    for index in range(4):
        points, displacement = arrays(samples[index])
        name = ("long_ball", "flat_brick")[samples._order(0)[index]]
        assert distance_to(name, points - displacement).max() < 1e-5
        moved = np.linalg.norm(displacement, axis=1) > 0.02
        assert distance_to(name, points[moved]).max() > 0.02


def test_noise_is_the_files_and_is_not_in_the_displacement():
    """With the same draws but no noise the same points: what is between them is the noise."""
    noisy, clean = (
        samples_of(*REGISTERED, noise=sigma, points=(3000, 3000)) for sigma in (0.0447, 0.0)
    )
    noise = []
    for index in range(4):
        (points, displacement), (pure, expected) = arrays(noisy[index]), arrays(clean[index])
        assert np.array_equal(displacement, expected)  # what deforms it is the noise-free cloud
        noise.append((points - pure).ravel())
    noise = np.concatenate(noise)  # 36,000 numbers
    assert kstest(noise, "norm", args=(0, 0.0447)).pvalue > 0.01
    assert noise.std() == pytest.approx(0.0447, rel=0.02)


def test_stored_points_are_the_files_with_their_noise_and_no_more():
    data = toys()
    config = tiny(*STORED[:1], "data.rotation=none")
    samples = TrainingSamples(data, config, 0)
    for index in range(4):
        points, displacement = arrays(samples[index])
        stored = data.templates[samples._order(0)[index]].points
        centroid, scale = centre_and_scale(stored)
        assert np.allclose(points - displacement, (stored - centroid) * scale, atol=1e-6)


def test_the_number_of_points_is_drawn_from_the_files_range():
    samples = samples_of(points=(100, 130))
    lengths = {len(samples[index][0]) for index in range(16)}
    assert len(lengths) > 5
    assert min(lengths) >= 100 and max(lengths) <= 130


def test_own_frame_is_centred_and_scaled_before_the_deformation():
    data = toys(noise=0.0447)
    for changes in ((), STORED):
        samples = TrainingSamples(data, tiny(*changes), 0)
        for index in range(4):
            points, displacement = arrays(samples[index])
            cloud = points - displacement
            assert np.abs(cloud.mean(axis=0)).max() < 1e-6
            assert np.linalg.norm(cloud, axis=1).max() == pytest.approx(1, abs=1e-6)


def test_registered_frame_leaves_the_template_where_it_is():
    points, displacement = arrays(samples_of(*REGISTERED)[0])
    name = ("long_ball", "flat_brick")[samples_of()._order(0)[0]]
    assert distance_to(name, points - displacement).mean() < 0.05


def test_pose_errors_have_their_size_and_turn_points_and_displacement():
    plain = samples_of(*REGISTERED)
    posed = samples_of(*REGISTERED, "data.pose_rotation=2", "data.pose_shift=0.01")
    angles, shifts = [], []
    for index in range(16):
        (points, displacement), (moved, turned) = arrays(plain[index]), arrays(posed[index])
        turn, _ = Rotation.align_vectors(moved - moved.mean(0), points - points.mean(0))
        assert np.allclose(turn.apply(displacement), turned, atol=1e-5)
        shifts.append((moved - turn.apply(points)).mean(axis=0))
        angles.append(np.degrees(turn.as_rotvec()))
    assert np.std(angles) == pytest.approx(2, rel=0.3)
    assert np.std(shifts) == pytest.approx(0.01, rel=0.3)


# --- rotations


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["so3", "three_axes", "none"]))
def test_rotations_are_rotations(seed, kind):
    rotation = random_rotation(kind, np.random.default_rng(seed))
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    if kind == "none":
        assert np.array_equal(rotation, np.eye(3))


def turned_axes(kind: str, count: int = 4000) -> np.ndarray:
    """(count, 3) where the z axis goes."""
    rng = np.random.default_rng(0)
    return np.array([random_rotation(kind, rng)[2] for _ in range(count)])


def test_so3_is_uniform():
    """A turned axis is uniform on the sphere: each coordinate is uniform from -1 to 1; and the
    angle has the density (1 - cos) / pi."""
    for coordinate in turned_axes("so3").T:
        assert kstest(coordinate, "uniform", args=(-1, 2)).pvalue > 0.01
    rng = np.random.default_rng(1)
    traces = np.array([np.trace(random_rotation("so3", rng)) for _ in range(4000)])
    angles = np.arccos(np.clip((traces - 1) / 2, -1, 1))
    assert kstest(angles, lambda a: (a - np.sin(a)) / np.pi).pvalue > 0.01


def test_three_axes_is_not_uniform_and_turns_about_z_then_y_then_x():
    smallest = min(kstest(c, "uniform", args=(-1, 2)).pvalue for c in turned_axes("three_axes").T)
    assert smallest < 1e-6
    z, y, x = np.random.default_rng(3).uniform(-np.pi, np.pi, size=3)
    c, s = np.cos, np.sin
    about_z = np.array([[c(z), -s(z), 0], [s(z), c(z), 0], [0, 0, 1]])
    about_y = np.array([[c(y), 0, s(y)], [0, 1, 0], [-s(y), 0, c(y)]])
    about_x = np.array([[1, 0, 0], [0, c(x), -s(x)], [0, s(x), c(x)]])
    found = random_rotation("three_axes", np.random.default_rng(3))
    assert np.allclose(found, (about_x @ about_y @ about_z).T)


def test_points_are_turned_by_the_configured_rotation():
    """The long ball's long axis: anywhere with so3, along z without."""

    def axes(rotation: str) -> np.ndarray:
        data = toys("long_ball", noise=0.0)
        samples = TrainingSamples(data, tiny(f"data.rotation={rotation}"), 0)
        return np.array(
            [
                np.linalg.eigh(np.cov((p - d).numpy().T))[1][:, 2]
                for p, d in (samples[i] for i in range(8))
            ]
        )

    assert np.abs(axes("none")[:, 2]).min() > 0.99
    assert np.abs(axes("so3")[:, 2]).min() < 0.8


@pytest.mark.parametrize("changes", [(), STORED, REGISTERED], ids=["own", "stored", "registered"])
def test_normals_are_turned_with_the_points(changes):
    """On a ball the normals are the directions from its centre, however it lies."""
    data = toys("round_ball", noise=0.0)
    config = tiny(*changes, "anomalies.generator=norm_as_signed")
    samples = TrainingSamples(data, config, 0)
    for index in range(4):
        points, displacement = arrays(samples[index])
        surface = points - displacement
        if config.data.frame == "own":  # its centroid is not quite the centre
            surface = surface - _centre_of_sphere(surface)
        length = np.linalg.norm(displacement, axis=1)
        moved = length > 0.01
        cosine = (surface * displacement).sum(axis=1) / np.linalg.norm(surface, axis=1)
        assert (np.abs(cosine[moved]) / length[moved]).min() > 0.99


def _centre_of_sphere(points: np.ndarray) -> np.ndarray:
    """Least squares: |x|^2 = 2 x c + r^2 - |c|^2."""
    table = np.column_stack([2 * points, np.ones(len(points))])
    return np.linalg.lstsq(table, (points**2).sum(axis=1), rcond=None)[0][:3]


# --- parts and bad input


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-50, 50))
def test_centre_and_scale(seed, size, shift):
    cloud = np.random.default_rng(seed).normal(size=(50, 3)) * size + shift
    centroid, scale = centre_and_scale(cloud)
    moved = (cloud - centroid) * scale
    assert np.abs(moved.mean(axis=0)).max() < 1e-9 * (1 + abs(shift) / size)
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_cloud_without_size_is_an_error(value):
    with (
        pytest.raises(InputError, match="finite coordinates that differ"),
        np.errstate(all="ignore"),
    ):
        centre_and_scale(np.full((10, 3), value))


def test_too_few_points_for_the_patches_is_an_error():
    samples = TrainingSamples(toys(points=(5, 5)), tiny(), 0)
    with pytest.raises(InputError, match="fewer patches"):
        samples[0]
