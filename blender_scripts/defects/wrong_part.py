# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong part: a part of another product of the class in the place of the product's own.

`shaping.pieces` says what a part is. The donor, the other product, gives one of the same kind:

- a solid of its own: that one of the donor's whose middle is nearest to the own one's in the unit
  spheres of both. It is scaled to the diagonal of the own one's box, and has the side at which the
  own one comes nearest to the rest where that had it;
- a piece that protrudes: one of the donor's beyond a plane across nearly the same direction, the
  donor as it stands or turned about z, with as many joints to the rest (a handle has two). It is
  scaled so that its section fills the box of the own one, along each side of it by FIT at most
  either way, and put in the place of the own one, a hair deeper, so that it is one with the rest.

These properties make it a wrong part: it meets the rest where the own part did (the share MEETS of
the own section is covered, and the number of solids stays), does not pass into the rest (the
overlap stays below DEEP times that of the hair; at most INSIDE more of a solid's surface goes in
than of the own one's), and departs visibly from the right part.

Severity 0 .. 1 sets how far a piece reaches: at 0 as far as the own one, at 1 as its own
proportions make it. Labelled are the surface of the wrong part where it is more than
DISPLACEMENT_THRESHOLD off the pristine surface, the surface that the exchange exposed, and the rim.
The displacement of all these is not defined: no point of the wrong part is one of the right part.
"""

import numpy as np

from blender_scripts.defects.misaligned import DEEP, HAIR, INSIDE, SEAM_EDGE
from blender_scripts.meshes import (
    GeometryError,
    areas,
    boolean,
    compacted,
    flip_flat_faces,
    join,
    subdivide_long_edges,
    volume,
)
from blender_scripts.portable import cos, cross, dot, norm, power, sin, tan
from blender_scripts.shaping.cutting import border_points
from blender_scripts.shaping.fields import random_direction
from blender_scripts.shaping.pieces import draw_piece, in_solid, own_solids
from blender_scripts.shaping.portion import pick_end
from blender_scripts.shaping.result import DISPLACEMENT_THRESHOLD, Defective, listed
from blender_scripts.shaping.topology import solids
from blender_scripts.surface import Surface, tangents, unit

ALIKE = 15.0  # degrees between the directions of the two parts
FIT = 2.5
PIECES = 4  # of the donor that are tried for each of the product
MEETS = 0.5
FARTHEST = 1.5  # from the middle of the unit sphere
LONGEST = 0.03  # edges of the wrong part, at which its distance from the right one is measured


def wrong_part(surface, rng, severity, donor):
    """Exchange one part for one of the `donor`, the `Surface` of another product.

    Raises GeometryError, saying why, where no part of either fits.
    """
    own, other = own_solids(surface), own_solids(donor)
    if own and other and rng.random() < 0.5:
        return _exchange_solid(surface, own[rng.integers(len(own))], donor, other)
    return _exchange_piece(surface, rng, severity, donor)


def _exchange_solid(surface, faces, donor, others):
    """Put the nearest of the donor's solids `others` in the place of the solid `faces` (F,)."""
    low, high = _box(surface.vertices[surface.faces[faces]])
    boxes = [_box(donor.vertices[donor.faces[other]]) for other in others]
    gaps = [float(norm((a + b - low - high) / 2)) for a, b in boxes]
    nearest = int(np.argmin(np.round(gaps, 9)))
    a, b = boxes[nearest]
    scale = float(norm(high - low) / norm(b - a))
    used, part = compacted(donor.faces[others[nearest]])
    vertices = donor.vertices[used] * scale
    used, rest = compacted(surface.faces[~faces])
    rest = Surface(surface.vertices[used], rest)
    own_points = surface.vertices[np.unique(surface.faces[faces])]
    vertices += _resting(rest, own_points, (low, high), (a * scale, b * scale))
    before, after = (
        in_solid(rest, points[:: max(1, len(points) // 200)]).mean()
        for points in (own_points, vertices)
    )
    if after > before + INSIDE:
        raise GeometryError("the part would pass into the rest")
    if norm(vertices).max() > FARTHEST:
        raise GeometryError("the part would stick out too far")
    whole = join((rest.vertices, rest.faces), (vertices, part))
    is_part = np.arange(len(whole[1])) >= len(rest.faces)
    centre = (low + high) / 2
    vertices, part, is_part = subdivide_long_edges(*whole, LONGEST, is_part)
    return _labelled(surface, vertices, part, is_part, _parameters("solid", centre, [scale] * 3))


def _resting(rest, points, own, other):
    """Return the shift (3,) that puts a solid where another one is at the rest.

    own, other : boxes (low, high) of the two solids; points (N, 3) : of the own one. The side of
    the box at which the own one comes nearest to the rest stays where it is.
    """
    gaps = np.round(rest.distances(points), 9)
    contact = points[gaps <= np.quantile(gaps, 0.05)].mean(axis=0)
    middle, half = (own[0] + own[1]) / 2, (own[1] - own[0]) / 2
    offset = np.round((contact - middle) / half, 6)
    axis = int(np.abs(offset).argmax())
    shift = middle - (other[0] + other[1]) / 2
    side = int(offset[axis] > 0)
    shift[axis] = own[side][axis] - other[side][axis]
    return shift


def _exchange_piece(surface, rng, severity, donor):
    """Put a piece of the donor in the place of a piece of the product."""
    own = draw_piece(surface, rng, lambda: pick_end(surface, rng, tilt=20.0, power=1.0)[0])
    other, vertices, scale = _fitting_piece(rng, severity, donor, own)
    if norm(vertices).max() > FARTHEST:
        raise GeometryError("the part would stick out too far")
    rest = boolean((surface.vertices, surface.faces), own.block)
    part = subdivide_long_edges(vertices, other.faces, LONGEST)
    union = boolean(rest[:2], part, "UNION")
    overlap = volume(*rest[:2]) + volume(*part) - volume(*union[:2])
    if overlap > DEEP * HAIR * max(own.section, other.section * scale[0] * scale[1]):
        raise GeometryError("the part would pass into the rest")
    if solids(Surface(*union[:2])) != surface.kept(solids):
        raise GeometryError("the part would come loose")
    vertices, faces, is_part = _refined_seam(union, own)
    near = (np.abs(dot(vertices, own.axis)[faces] - own.level) < 1e-5).all(axis=1) & ~is_part
    if areas(vertices, faces[near]).sum() > (1 - MEETS) * own.section:
        raise GeometryError("the part would not meet the rest where the own one did")
    parameters = _parameters("piece", own.centre, scale)
    parameters |= {"axis": listed(own.axis), "level": own.level, "joints": own.joints}
    return _labelled(surface, vertices, faces, is_part | near, parameters)


def _fitted(own, other, severity):
    """Return the other piece's vertices (V, 3) in the place of the own one, and three scales."""
    sides = tangents(own.axis)
    first = unit(sides[0] - other.axis * dot(sides[0], other.axis))
    frames = np.stack([*sides, own.axis]), np.stack([first, cross(other.axis, first), other.axis])
    places, middles, widths, reach = [], [], [], []
    for piece, frame in zip((own, other), frames, strict=True):
        place = dot(piece.vertices[:, None], frame)
        low, high = _box(place[piece.faces[piece.cap]])
        places.append(place)
        middles.append(np.append((low + high)[:2] / 2, piece.level))
        widths.append((high - low)[:2])
        reach.append(place[:, 2].max() - piece.level)
    scale = widths[0] / widths[1]
    if max(scale.max(), 1 / scale.min(), scale.max() / scale.min()) > FIT:
        raise GeometryError("the other's section does not fit")
    proportions = float(np.sqrt(scale[0] * scale[1]))
    as_far = float(reach[0] / reach[1])
    onwards = float(as_far * power(proportions / as_far, severity) if severity else as_far)
    scales = np.append(scale, onwards)
    placed = (places[1] - middles[1]) * scales + middles[0]
    placed[:, 2] -= HAIR
    return dot(placed[:, None], frames[0].T), scales


def _fitting_piece(rng, severity, donor, own):
    """Draw a piece of the donor that fits: (the `Piece`, its vertices in place (V, 3), scales)."""
    lean = tan(np.radians(ALIKE))
    reason = GeometryError("no piece was tried")
    for _ in range(PIECES):
        turned = _turned(donor, rng.uniform(0, 2 * np.pi)) if rng.random() < 0.5 else donor
        try:
            other = draw_piece(
                turned, rng, lambda: unit(own.axis + lean * rng.random() * random_direction(rng))
            )
            if own.joints != other.joints:
                raise GeometryError(f"a part with {other.joints} joints does not fit {own.joints}")
            return other, *_fitted(own, other, severity)
        except GeometryError as error:
            reason = error
    raise reason


def _refined_seam(union, own):
    """Return (vertices, faces, marks) of a union with short edges where the pieces meet."""

    def longest(middles):
        return np.where(np.abs(dot(middles, own.axis) - own.level) < 0.02, SEAM_EDGE, np.inf)

    vertices, faces, marks = flip_flat_faces(*union)
    return subdivide_long_edges(vertices, faces, longest, marks, rounds=8)


def _labelled(surface, vertices, faces, asked, parameters):
    """Return the `Defective` of the product with its wrong part.

    asked (F,) bool : the faces that can be off the pristine surface, all others are of the rest.
    """
    rows = np.flatnonzero(asked)
    corners = np.unique(faces[rows])
    off = np.zeros(len(vertices), dtype=bool)
    off[corners] = surface.distances(vertices[corners]) > DISPLACEMENT_THRESHOLD
    new = np.zeros(len(faces), dtype=bool)
    new[rows] = off[faces[rows]].any(axis=1)
    new[rows] |= surface.distances(vertices[faces[rows]].mean(axis=1)) > DISPLACEMENT_THRESHOLD
    return Defective(
        vertices=vertices,
        faces=faces,
        displacement=np.zeros_like(vertices),
        cut=new,
        rim=border_points(vertices, faces, new),
        parameters=parameters,
    )


def _turned(surface, angle):
    """Return the surface turned about z."""
    c, s = cos(angle), sin(angle)
    x, y, z = surface.vertices.T
    return Surface(np.stack([c * x - s * y, s * x + c * y, z], axis=1), surface.faces)


def _box(points):
    """Return the lowest and highest coordinates (3,) of points (..., 3)."""
    points = points.reshape(-1, 3)
    return points.min(axis=0), points.max(axis=0)


def _parameters(part, centre, scale):
    return {"part": part, "centre": listed(centre), "scale": listed(scale)}
