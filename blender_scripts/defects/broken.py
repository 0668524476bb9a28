# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken: an end, a corner or a shard of a rim snapped off along a rough fracture surface.

An *end* is what lies beyond a rough surface across a random direction: mostly near a main axis
(longer axes likelier), one time in three towards a corner. A *shard* is what lies around a place
that sticks out of its surroundings, down to a bottom across the way outwards, and between three to
five rough sides that open upwards: a splinter of a rim, the tip of a handle, a corner. Its outline
is angular, where that of a bite is round. Fractures have the self-affine roughness of real ones:
amplitude ~ wavelength ** 0.8, over four octaves.

These properties make it broken (`no_break`):

- each part that the break goes through lost one connected piece of surface, so that a wall has no
  window, and no handle was added;
- the lost piece is an end and no whole part: no solid of its own, nothing with handles of its own,
  as the crown of a cap with its eyelets is, and no more than the share MOST_GONE of the area;
- the break runs across the material, not along a wall as a shaving would: the mean |cos| of the
  angles between the direction and the normals at the break's border is at most MOST_ALONG, and the
  piece is at least LEAST_DEEP, a shard LEAST_DEEP_SHARD, times as deep as the break is wide;
- an end that broke off took along the outermost place of the product in its direction.

Severity 0 .. 1 sets the share of the extent along the direction that goes with an end, EXTENT, and
the depth of a shard, DEPTH. Every end that breaks off is large, so severities up to FIRST_END give
shards, and from there to 1 ends become ever likelier. LEAST to MOST of the volume goes. Labelled
are the cut faces and the rim.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.defects.missing import opens_window, prominent_place
from blender_scripts.meshes import GeometryError
from blender_scripts.portable import arctan2, cos, dot, sin
from blender_scripts.shaping.cutting import cut_away, tube
from blender_scripts.shaping.fields import drawn, random_direction, rough_noise
from blender_scripts.shaping.portion import main_axes, pick_end
from blender_scripts.shaping.result import listed
from blender_scripts.shaping.topology import border, change
from blender_scripts.surface import tangents, unit

EXTENT = (0.08, 0.26)  # share of the extent along the direction: slight, severe
DEPTH = (0.06, 0.30)  # of a shard: slight, severe
FIRST_END = 1 / 3
ROUGHNESS = (0.020, 0.035)  # standard deviation of the fracture, in radii
LEAST, MOST = 0.0001, 0.45
MOST_ALONG = 0.75
MOST_GONE = 0.35  # of the area
LEAST_DEEP, LEAST_DEEP_SHARD = 0.2, 0.15
SPACING = 0.04
# A shard: its bottom reaches so many depths from the middle to each side, and the sides so many
# depths further out for each depth up. The cutter stands CLEAR depths out of the surface.
BOTTOM, SPREAD = (0.25, 0.7), (0.25, 0.65)
CLEAR = 0.6
PLACES = 8
NEAR = 6.0  # no point of a shard's side below its place is further from it, in depths
LEANING = 0.25  # of a shard, off the way outwards: tangent of the greatest angle
SHARPEST = 0.35  # cosine from the middle of a side to a corner of the outline
SIDES = 60


def broken(surface, rng, severity):
    """Break an end or a shard off. Raises GeometryError where the result is not `broken`."""
    share = drawn(rng, severity, *EXTENT)
    depth = drawn(rng, severity, *DEPTH)
    roughness = float(rng.uniform(*ROUGHNESS))
    is_end = rng.random() < (severity - FIRST_END) / (1 - FIRST_END)
    noise = rough_noise(rng, 0.8 if is_end else 3 * depth)
    if is_end:
        direction = _end(surface, rng)
        s = dot(surface.vertices, direction)
        depth = share * np.ptp(s)
        level = s.max() - depth
        roughness = min(roughness, 0.2 * depth)  # a small piece has a small fracture
        cutter = _beyond(surface, direction, level, lambda points: roughness * noise(points))
        top, drawn_as = None, {"piece": "end", "extent_share": share}
    else:
        shard = _shard(surface, rng, depth)
        direction, level = shard.direction, shard.level
        roughness = min(roughness, 0.1 * depth)
        cutter = shard.cutter(lambda points: roughness * noise(points))
        top = level + depth
        drawn_as = {"piece": "shard", "place": listed(shard.place), "depth": depth}
    drawn_as |= {"direction": listed(direction), "level": float(level), "roughness": roughness}
    result = cut_away(surface, cutter, drawn_as, loose=0.25)
    if reason := no_break(surface, result, direction, top):
        raise GeometryError(reason)
    gone = 1 - result.surface.volume / surface.volume
    if not LEAST <= gone <= MOST:
        raise GeometryError(f"{gone:.1%} of the volume would break off")
    result.parameters["volume_share"] = float(gone)
    return result


def _end(surface, rng):
    """Draw the unit direction (3,) of an end or a corner of the product."""
    if rng.random() < 1 / 3:
        axes = main_axes(surface)
        signs = rng.choice([-1.0, 1.0], 3) * rng.uniform(0.5, 1.0, 3)
        # a corner of the box around the product, seen along the diagonal of a cube
        return unit((signs[:, None] * axes.directions).sum(axis=0))
    return pick_end(surface, rng, tilt=25.0, power=4.0)[0]


def no_break(surface, result, direction, top=None):
    """Say why a cut does not deserve the name `broken`; return "" when it does.

    top : where the place of a shard lies along the direction; of an end it is the product's
    outermost place, which must have gone.
    """
    least_deep = LEAST_DEEP if top is None else LEAST_DEEP_SHARD
    if top is None:
        top = dot(surface.vertices, direction).max()
        if dot(result.vertices, direction).max() > top - 0.01:
            return "the outermost end would stay"
    seen = change(surface, result)
    if not seen.simple:
        return "the break's border would touch itself"
    if seen.removed > seen.touched:
        return "the break would open a window in a wall"
    if seen.genus > 0:
        return "the break would make a hole"
    edges = border(result.vertices, result.faces, result.cut)
    if len(edges.ends) == 0 or seen.solids < 0 or seen.removed < seen.touched:  # it has handles
        return "a whole part would go"
    if edges.mean(edges.across(direction)) > MOST_ALONG:
        return "the break would run along a wall"
    points = result.vertices[edges.ends[:, 0]]
    across, along = tangents(direction)
    width = max(np.ptp(dot(points, side)) for side in (across, along))
    if top - edges.mean(dot(points, direction)) < least_deep * width:
        return "a shaving would go, no end or corner"
    stays = result.surface.areas[~result.cut].sum()
    if stays < (1 - MOST_GONE) * surface.areas.sum():
        return "a whole part would go"
    return ""


@dataclass(frozen=True)
class Shard:
    """A shard around a place (3,): it reaches `depth` down along -direction (3,).

    Its S sides have a value each: facing (S,) radians about the direction, wide (S,) distance from
    the middle at the bottom, spread (S,) by how much it is further out for each unit up.
    """

    place: np.ndarray
    direction: np.ndarray
    depth: float
    facing: np.ndarray
    wide: np.ndarray
    spread: np.ndarray

    @property
    def level(self):
        """Return where the bottom lies along the direction."""
        return float(dot(self.place, self.direction) - self.depth)

    def reach(self, angle, height):
        """Return how far out (N,) the sides are at angles (N,) and heights (N,) over the bottom."""
        square = cos(angle[:, None] - self.facing).clip(SHARPEST)
        return ((self.wide + self.spread * height[:, None]) / square).min(axis=1)

    def depths(self, points):
        """Return how far out (N,) points (N, 3) are: below 1 inside, 1 at the border."""
        offset = points - self.place
        across, along = tangents(self.direction)
        u, v = dot(offset, across), dot(offset, along)
        height = dot(offset, self.direction) + self.depth
        out = np.sqrt(u * u + v * v) / self.reach(arctan2(v, u), height.clip(0.0))
        return np.maximum(out, 1 - height / self.depth)

    def cutter(self, shift):
        """Return a closed cutter: its bottom is rough up and down, its sides in and out.

        shift : a function of points (N, 3).
        """
        across, along = tangents(self.direction)
        angle = 2 * np.pi * np.arange(SIDES) / SIDES
        outwards = cos(angle)[:, None] * across + sin(angle)[:, None] * along
        middle = self.place - self.depth * self.direction
        bottom = self.reach(angle, np.zeros(SIDES))
        rings = [(share * bottom, 0.0, self.direction) for share in (0.25, 0.5, 0.75, 1.0)]
        for height in self.depth * np.linspace(0.0, 1.0 + CLEAR, 9)[1:]:
            rings.append((self.reach(angle, np.full(SIDES, height)), height, outwards))
        placed = []
        for out, height, way in rings:
            points = middle + height * self.direction + out[:, None] * outwards
            placed.append(points + shift(points)[:, None] * way)
        return tube(np.stack(placed))


def _shard(surface, rng, depth):
    """Draw a `Shard` at a place that sticks out, where it opens no window in a thin wall."""
    for _ in range(PLACES):
        place, _, away = prominent_place(surface, rng)
        direction = unit(away + LEANING * random_direction(rng))
        count = int(rng.integers(3, 6))
        sides = np.arange(count) + rng.uniform(0, 1) + rng.uniform(-0.2, 0.2, count)
        shard = Shard(
            place=place,
            direction=direction,
            depth=depth,
            facing=2 * np.pi * sides / count,
            wide=depth * rng.uniform(*BOTTOM, count),
            spread=rng.uniform(*SPREAD, count),
        )
        offset = surface.vertices - place
        near = np.flatnonzero(dot(offset, offset) < np.square(NEAR * depth))
        if not opens_window(surface, near, shard.depths(surface.vertices[near])):
            return shard
    raise GeometryError("the break would open a window in a wall")


def _beyond(surface, direction, level, height):
    """Return a closed block that holds all beyond the level, its near face shifted by `height`."""
    across, along = tangents(direction)
    beyond = surface.vertices[dot(surface.vertices, direction) > level - 0.2]
    axes = [
        np.arange(dot(beyond, axis).min() - 0.1, dot(beyond, axis).max() + 0.1 + SPACING, SPACING)
        for axis in (across, along)
    ]
    u, v = np.meshgrid(*axes, indexing="ij")
    flat = u[..., None] * across + v[..., None] * along
    near = flat + level * direction
    near += height(near.reshape(-1, 3)).reshape(u.shape)[..., None] * direction
    far = flat + (dot(beyond, direction).max() + 0.2) * direction
    rows, columns = u.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    sheet = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    border = np.concatenate([index[:, 0], index[-1, 1:], index[-2::-1, -1], index[0, -2:0:-1]])
    following = np.roll(border, -1)
    offset = index.size
    sides = np.concatenate(
        [
            np.stack([border, following, following + offset], -1),
            np.stack([border, following + offset, border + offset], -1),
        ]
    )
    faces = np.concatenate([sheet[:, ::-1], sheet + offset, sides])
    return np.concatenate([near.reshape(-1, 3), far.reshape(-1, 3)]), faces
