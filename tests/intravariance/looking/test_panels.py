# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from intravariance.geometry.viewing import look_from
from intravariance.looking.arrows import choose_arrows, draw_arrows
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.panels import heat_map_sheet, panel
from intravariance.looking.pictures import (
    displacement_scale,
    numbers,
    paint,
    score_scale,
    shared_viewport,
    shortened,
    wrapped,
)
from intravariance.looking.rendering import render
from intravariance.looking.splats import depth_map, fit_viewport, splat_radius
from tests.intravariance.looking.test_rendering import is_blank, is_orange
from tests.support.samples import sphere_points

SIZE = 96
FRONT = look_from((0, -1, 0))


def ball(name: str = "ball", count: int = 3000) -> LabelledCloud:
    """Make a unit ball without a defect."""
    points = sphere_points(count, np.random.default_rng(0)).astype(np.float32)
    return LabelledCloud(
        name=name,
        category="toy",
        subcategory="ball",
        defect="normal",
        source="dataset",
        points=points,
        normals=points,
        labels=np.zeros(count, dtype=np.uint8),
        displacement=np.zeros((count, 3), dtype=np.float32),
    )


def bulge(reach: float = 0.3, side: tuple[float, float, float] = (1, 0, 0)) -> LabelledCloud:
    """Pull one `side` of a ball out by `reach`; scores are how far points were moved."""
    cloud = ball("bulge")
    height = np.clip(cloud.points @ np.array(side) - 0.7, 0, 1) / 0.3
    moved = (reach * height[:, None] * np.array(side)).astype(np.float32)
    return replace(
        cloud,
        defect="bulge",
        points=cloud.points + moved,
        labels=(height > 0).astype(np.uint8),
        displacement=moved,
        scores=np.linalg.norm(moved, axis=1),
    )


def cut() -> LabelledCloud:
    cloud = bulge()
    displacement = np.zeros_like(cloud.points)
    displacement[cloud.labels > 0] = np.nan
    return replace(cloud, name="cut", defect="missing", displacement=displacement, scores=None)


def cells(picture: Image.Image, count: int) -> list[np.ndarray]:
    """Cut out the pictures of the only row: below the headings, above captions and bars."""
    pixels = np.asarray(picture)
    assert pixels.shape[1] == count * SIZE
    # the last rows are caption and bar: the pictures end where all columns are white
    bottom = pixels.shape[0] - (3 * 11 + 4)
    bottom -= 2 * 11 + 6 if is_bar(pixels) else 0
    return [pixels[bottom - SIZE : bottom, i * SIZE : (i + 1) * SIZE] for i in range(count)]


def is_bar(pixels: np.ndarray) -> bool:
    """Tell whether some row in the lower quarter has a long stretch of colour."""
    saturated = np.ptp(pixels[-60:].astype(int), axis=2) > 60
    return bool((saturated.sum(axis=1) > SIZE // 3).any())


# --- the projection


def test_the_frame_projects_to_where_the_renderer_draws() -> None:
    spot = np.array([[0.3, -0.9, 0.5]])
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    points = np.concatenate([corners, spot])
    normals = np.tile((0.0, -1.0, 0.0), (9, 1))
    camera = look_from((0.4, -1, 0.3))
    colours = np.ones((9, 3))
    colours[8] = (1, 0, 0)
    viewport = fit_viewport(points, camera, 200, 0.05)
    picture = render(points, normals, colours, camera, 200, radius=0.05).astype(int)
    rows, columns = np.nonzero(picture[..., 0] - picture[..., 2] > 60)
    right, down, depth = viewport.project(spot)[0]
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((right, down), abs=0.6)
    assert depth == pytest.approx(float(spot[0] @ camera[2]))
    inside = viewport.project(points)[:, :2]
    assert (inside > 0).all() and (inside < 200).all()
    half = viewport.resized(100).project(points)[:, :2]
    np.testing.assert_allclose(half, inside / 2)


def test_a_frame_shows_two_clouds_at_one_scale_and_leaves_out_what_is_outside() -> None:
    whole = ball()
    near = replace(whole, points=whole.points / 2)
    viewport = shared_viewport([whole, near], FRONT, SIZE)
    widths = []
    for cloud in (whole, near):
        shown = ~is_blank(paint(cloud, "surface", SIZE, viewport=viewport))
        widths.append(shown.any(axis=0).sum())
    assert widths[1] == pytest.approx(widths[0] / 2, abs=4)
    far = replace(whole, points=whole.points + np.float32(50))
    assert is_blank(paint(far, "surface", SIZE, viewport=viewport)).all()


def test_depth_map_of_a_ball_is_its_near_half() -> None:
    cloud = ball(count=20_000)
    radius = splat_radius(cloud.points, cloud.normals)
    viewport = fit_viewport(cloud.points, FRONT, SIZE, radius)
    depth = depth_map(cloud.points, cloud.normals, viewport, radius)
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2) / viewport.scale
    inner = np.hypot(x, y) < 0.8
    known = inner & np.isfinite(depth)  # chance leaves pixels bare
    assert known.sum() > 0.98 * inner.sum()
    np.testing.assert_allclose(depth[known], np.sqrt(1 - np.hypot(x, y)[known] ** 2), atol=0.03)
    assert np.isneginf(depth[np.hypot(x, y) > 1.1]).all()


# --- arrows


def test_arrows_start_at_the_pristine_and_end_at_the_defective_position() -> None:
    cloud = bulge(reach=1.0)
    viewport = shared_viewport([cloud], FRONT, 200)
    radius = splat_radius(cloud.points, cloud.normals)
    bare = np.full((200, 200, 3), 255, dtype=np.uint8)
    one = replace(cloud, labels=np.zeros_like(cloud.labels))
    # a single arrow, of the point that was moved most, along +x
    farthest = int(np.argmax(cloud.moved))
    one.labels[farthest] = 1
    facing = replace(one, normals=np.tile(np.float32([0, -1, 0]), (len(cloud.points), 1)))
    drawn = draw_arrows(bare, facing, viewport, 10.0, radius)
    rows, columns = np.nonzero((drawn < 128).all(axis=2))
    end = viewport.project(cloud.points[farthest : farthest + 1])[0]
    start = end[0] - cloud.moved[farthest] * viewport.scale
    assert rows.min() > end[1] - 5 and rows.max() < end[1] + 5
    assert columns.max() == pytest.approx(end[0], abs=2)
    assert columns.min() == pytest.approx(start, abs=2)


def test_arrows_of_the_far_side_are_hidden() -> None:
    cloud = bulge(side=(0, 1, 0))
    radius = splat_radius(cloud.points, cloud.normals)
    behind = shared_viewport([cloud], FRONT, SIZE)
    before = shared_viewport([cloud], look_from((0, 1, 0)), SIZE)
    assert len(choose_arrows(cloud, behind, 0.0, radius)) == 0
    chosen = choose_arrows(cloud, before, 0.0, radius)
    assert len(chosen) > 3 and cloud.labels[chosen].all()
    picture = np.full((SIZE, SIZE, 3), 200, dtype=np.uint8)
    assert draw_arrows(picture, cloud, behind, 0.0, radius).tobytes() == picture.tobytes()


def test_a_wall_in_front_hides_arrows() -> None:
    cloud = bulge(side=(0, -1, 0))
    u, v = np.mgrid[-1.5:1.5:60j, -1.5:1.5:60j].reshape(2, -1)
    wall = np.stack([u, np.full_like(u, -2.0), v], axis=1).astype(np.float32)
    towards = np.tile(np.float32([0, -1, 0]), (len(wall), 1))
    hidden = replace(
        cloud,
        points=np.concatenate([cloud.points, wall]),
        normals=np.concatenate([cloud.normals, towards]),
        labels=np.concatenate([cloud.labels, np.zeros(len(wall), np.uint8)]),
        displacement=np.concatenate([cloud.displacement, np.zeros_like(wall)]),
    )
    camera = look_from((0.5, -1, 0.2))
    for shown, seen in ((cloud, True), (hidden, False)):
        radius = splat_radius(shown.points, shown.normals)
        viewport = shared_viewport([hidden], camera, SIZE)
        assert bool(len(choose_arrows(shown, viewport, 0.0, radius))) is seen


def test_arrows_are_thinned_to_one_in_a_square() -> None:
    cloud = bulge(side=(0, -1, 0))
    radius = splat_radius(cloud.points, cloud.normals)
    viewport = shared_viewport([cloud], FRONT, 180)
    placed = viewport.project(cloud.points[choose_arrows(cloud, viewport, 0.0, radius)])
    squares = np.floor(placed[:, :2] / 10)
    assert len(np.unique(squares, axis=0)) == len(squares)


@pytest.mark.parametrize("cloud", [cut(), ball(), replace(bulge(), displacement=None)])
def test_nothing_moved_no_arrows(cloud: LabelledCloud) -> None:
    plain, arrows = (paint(cloud, "labels", SIZE, arrows=flag) for flag in (False, True))
    assert plain.tobytes() == arrows.tobytes()


# --- scales


def test_scales() -> None:
    scale = displacement_scale([ball(), bulge(0.2), bulge(0.4)])
    assert scale is not None
    assert (scale.low, scale.high) == (0, pytest.approx(0.4, rel=0.05))
    assert displacement_scale([ball(), cut()]) is None
    assert score_scale([ball()]) is None
    wild = replace(ball(), scores=np.linspace(0, 1, 3000, dtype=np.float32))
    wild.scores[-1] = 1e6
    found = score_scale([wild])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.005, 0.995), abs=1e-3)


def test_numbers_of_a_bar_and_words_of_a_caption() -> None:
    assert numbers(0.0, 0.1234) == ("0", "0.123")
    assert numbers(0.00017, 1.26) == ("0.00", "1.26")
    assert numbers(10.0, 250.0) == ("10", "250")
    assert numbers(0.0, 1e-6) == ("0", "1e-06")
    assert numbers(5.0, 5.0) == ("5", "5")
    assert shortened("short", 200, 11) == "short"
    assert shortened("a very long caption that does not fit", 80, 11).endswith("...")
    words = "one two three four five six"
    assert " ".join(wrapped(words, 60, 11)) == words and len(wrapped(words, 60, 11)) > 1


# --- panels


def test_a_panel_shows_what_is_known() -> None:
    template, surface, labels, displacement, scores = cells(panel(bulge(), ball(), SIZE), 5)
    assert not is_orange(template).any() and not is_orange(surface).any()
    assert is_orange(labels).mean() > 0.02
    assert (~is_blank(template)).sum() < (~is_blank(surface)).sum()  # one scale for both
    assert not np.array_equal(labels, displacement)
    # the violet end of the scale is where labels are
    hot = (scores[..., 2] > 50) & (scores[..., 1] < 60)
    assert hot.any() and is_orange(labels)[hot].mean() > 0.95
    assert panel(ball(), None, SIZE).width == 2 * SIZE
    assert panel(cut(), None, SIZE).width == 2 * SIZE  # nothing moved, no scores
    assert panel(bulge(), None, SIZE, shown=["scores"]).width == SIZE


def test_a_template_larger_than_the_sample_is_shown_whole() -> None:
    small = replace(bulge(), points=bulge().points / 2)
    template, surface, *_ = cells(panel(small, ball(), SIZE), 5)
    assert (~is_blank(template)).sum() > 2.5 * (~is_blank(surface)).sum()
    assert is_blank(template)[0].all() and is_blank(template)[:, 0].all()


def test_equal_panels_have_equal_bytes() -> None:
    assert panel(bulge(), ball(), SIZE).tobytes() == panel(bulge(), ball(), SIZE).tobytes()


def test_bars_carry_the_colours_of_the_picture() -> None:
    with_bar = panel(bulge(), None, SIZE, shown=["scores"])
    without = panel(bulge(), None, SIZE, shown=["labels"])
    assert is_bar(np.asarray(with_bar)) and not is_bar(np.asarray(without))
    assert with_bar.height > without.height


def test_heat_maps_stand_beside_ground_truth() -> None:
    calm = replace(ball("calm"), scores=np.linspace(0, 0.02, 3000, dtype=np.float32))
    sheet = heat_map_sheet([bulge(), calm, bulge()], columns=2, size=SIZE)
    assert sheet.width == 4 * SIZE
    assert heat_map_sheet([bulge()], columns=3, size=SIZE).width == 2 * SIZE
    shared = heat_map_sheet([bulge(), calm], 2, SIZE, scaling="shared")
    own = heat_map_sheet([bulge(), calm], 2, SIZE, scaling="each")
    blue = [np.diff(cells(sheet, 4)[3].astype(int), axis=2)[..., 1] > 20 for sheet in (shared, own)]
    assert not blue[0].any() and blue[1].any()  # little, beside the bulge; much, beside itself
    with pytest.raises(ValueError, match="cut has no scores"):
        heat_map_sheet([cut()], size=SIZE)
