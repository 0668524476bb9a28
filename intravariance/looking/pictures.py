# SPDX-License-Identifier: Apache-2.0
"""The picture of one labelled cloud, and sheets of such pictures with captions.

Everything that is drawn of clouds (preview, panels, comparison and heat map sheets) is made of
`paint` and `draw_sheet`, so it all looks alike. Clouds are upright: z is up, the front looks
towards -y. Nothing is random: the same clouds give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from intravariance.looking.arrows import draw_arrows
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.colours import (
    SCALE_RELIEF,
    label_colours,
    scale_colours,
    score_ends,
)
from intravariance.looking.rendering import render
from intravariance.looking.splats import Floats, Viewport, fit_viewport, splat_radius
from intravariance.looking.viewpoint import view

# "surface": one grey. "labels": grey, orange, and dark red where a cut exposed the surface.
# "displacement": labelled points by how far they were moved. "scores": a detector's.
Colouring = Literal["surface", "labels", "displacement", "scores"]

INK, FAINT = (25, 25, 25), (110, 110, 110)


@dataclass(frozen=True)
class Scale:
    """The meaning of a picture's colours, as a bar shows it: `scale_colours` from low to high."""

    low: float
    high: float
    meaning: str

    def colours(self, values: Floats) -> Floats:
        """Return (N, 3) RGB in 0..1 of values (N,)."""
        return scale_colours(values, self.low, self.high)


@dataclass(frozen=True)
class Tile:
    """A picture (size, size, 3) uint8, two lines below it, and the bar of its colours."""

    picture: NDArray[np.uint8]
    note: str = ""
    faint: str = ""
    scale: Scale | None = None


@dataclass(frozen=True)
class TileRow:
    """Tiles from left to right, None where nothing is to be seen. title : above them."""

    tiles: Sequence[Tile | None]
    title: str = ""


def shared_viewport(clouds: Sequence[LabelledCloud], camera: Floats, size: int) -> Viewport:
    """Fit a viewport that holds all the clouds, at one scale."""
    some = [cloud for cloud in clouds if len(cloud.points)]
    if not some:
        return Viewport(camera, np.zeros(2), size / 2, size)
    radius = max(splat_radius(cloud.points, cloud.normals) for cloud in some)
    return fit_viewport(np.concatenate([cloud.points for cloud in some]), camera, size, radius)


# --- what the colours say


def displacement_scale(clouds: Sequence[LabelledCloud]) -> Scale | None:
    """Scale from 0 to the largest displacement of the clouds; None without any."""
    largest = max((float(np.nanmax(c.moved, initial=0.0)) for c in clouds), default=0.0)
    if not largest > 0:
        return None
    return Scale(0.0, largest, "moved by (radii)")


def score_scale(clouds: Sequence[LabelledCloud]) -> Scale | None:
    """Scale over all but the outermost 0.5 % of the scores; None without any."""
    scores = [cloud.scores for cloud in clouds if cloud.scores is not None and len(cloud.scores)]
    if not scores:
        return None
    return Scale(*score_ends(np.concatenate(scores)), "point score")


def scale_of(clouds: Sequence[LabelledCloud], colouring: Colouring) -> Scale | None:
    """Return the scale that the clouds have in common; None where colours are no scale."""
    if colouring == "displacement":
        return displacement_scale(clouds)
    return score_scale(clouds) if colouring == "scores" else None


def colours(cloud: LabelledCloud, colouring: Colouring, scale: Scale | None) -> Floats:
    """Return (N, 3) RGB in 0..1 of the points.

    scale : from `scale_of`, None where that is. Displacements colour labelled points only.
    Raises ValueError for scores that the cloud lacks.
    """
    if colouring == "surface":
        return label_colours(np.zeros(len(cloud.points)))
    if colouring == "scores":
        if cloud.scores is None or scale is None:
            raise ValueError(f"{cloud.name} has no scores")
        return scale.colours(cloud.scores.astype(np.float64))
    painted = label_colours(cloud.labels, cloud.exposed)
    if colouring == "displacement":
        known = _on_scale(cloud, colouring)
        painted[known] = (scale or Scale(0.0, 1.0, "")).colours(cloud.moved[known])
    return painted


def _on_scale(cloud: LabelledCloud, colouring: Colouring) -> NDArray[np.bool_]:
    """Return (N,) which points have a colour of the scale."""
    if colouring == "displacement":
        return np.asarray((cloud.labels > 0) & np.isfinite(cloud.moved))
    return np.full(len(cloud.points), colouring == "scores")


def paint(
    cloud: LabelledCloud,
    colouring: Colouring,
    size: int,
    layer: float = 0.0,
    camera: Floats | None = None,
    viewport: Viewport | None = None,
    scale: Scale | None = None,
    arrows: bool = False,
) -> NDArray[np.uint8]:
    """Paint the picture (size, size, 3) of a cloud.

    layer : about three standard deviations of the noise (see `render`). camera, viewport : `view`
    and the cloud's own when None. scale : `scale_of` this cloud when None. arrows : from where
    points were to where they are.
    """
    if viewport is not None:
        camera = viewport.camera
    elif camera is None:
        camera = view(cloud)
    scale = scale or scale_of([cloud], colouring)
    viewport = viewport or shared_viewport([cloud], camera, size)
    radius = splat_radius(cloud.points, cloud.normals)
    picture = render(
        cloud.points,
        cloud.normals,
        colours(cloud, colouring, scale),
        camera,
        size,
        layer,
        radius,
        viewport=viewport,
        relief=np.where(_on_scale(cloud, colouring), SCALE_RELIEF, 1.0),
    )
    return draw_arrows(picture, cloud, viewport.resized(size), layer, radius) if arrows else picture


# --- the sheet


def png(picture: Image.Image) -> bytes:
    """Return the bytes of a PNG file."""
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def text_sizes(size: int) -> tuple[int, int]:
    """Return pixels of the small and of the large letters beside tiles of `size` pixels."""
    return min(max(11, size // 24), 18), min(max(14, size // 14), 30)


def draw_sheet(
    rows: Sequence[TileRow],
    size: int,
    title: str,
    lines: Sequence[str] = (),
    columns: Sequence[tuple[int, str]] = (),
    scale: Scale | None = None,
) -> Image.Image:
    """Put tiles of `size` pixels on a white sheet.

    lines : small, below the title. columns : (number, heading). scale : of all tiles together, a
    bar in the heading; tiles may have bars of their own.
    """
    text, large = text_sizes(size)
    width = max([1, *(len(row.tiles) for row in rows)]) * size
    heading = [(title, INK, large)]
    heading += [(part, FAINT, text) for line in lines for part in wrapped(line, width - 16, text)]
    head = 8 + large + (len(heading) - 1) * (text + 3) + 8
    head += (2 * text + 10 if scale else 0) + (large + 6 if columns else 0)
    bars = any(tile and tile.scale for row in rows for tile in row.tiles)
    caption = 3 * text + 4 + (2 * text + 6 if bars else 0)
    above = [large + 10 if row.title else 0 for row in rows]
    sheet = Image.new("RGB", (width, head + sum(above) + len(rows) * (size + caption)), "white")
    draw = ImageDraw.Draw(sheet)
    y = 4
    for content, ink, letters in heading:
        draw.text((8, y), content, ink, font(letters))
        y += letters + (4 if letters == large else 3)
    if scale:
        draw_bar(sheet, (8, y + 2), min(2 * size, width) - 16, text, scale)
    for number, name in columns:
        draw.text((number * size + 8, head - large - 6), name, INK, font(large))
    y = head
    for row, extra in zip(rows, above, strict=True):
        if row.title:
            draw.text((8, y + 2), row.title, INK, font(large))
        y += extra
        for number, tile in enumerate(row.tiles):
            if tile is not None:
                _draw_tile(sheet, (number * size, y), size, tile, text)
        y += size + caption
    return sheet


def _draw_tile(
    sheet: Image.Image, corner: tuple[int, int], size: int, tile: Tile, text: int
) -> None:
    draw = ImageDraw.Draw(sheet)
    sheet.paste(Image.fromarray(tile.picture), corner)
    x, y = corner[0] + 8, corner[1] + size
    for content, ink in ((tile.note, INK), (tile.faint, FAINT)):
        draw.text((x, y), shortened(content, size - 12, text), ink, font(text))
        y += text + 2
    if tile.scale is not None:
        draw_bar(sheet, (x, y + 3), size - 24, text, tile.scale)


def draw_bar(
    sheet: Image.Image, corner: tuple[int, int], width: int, text: int, scale: Scale
) -> None:
    """Draw a bar of the scale's colours, with the numbers at its ends and what it means."""
    (x, y), draw = corner, ImageDraw.Draw(sheet)
    values = np.linspace(scale.low, scale.high, max(width, 2))
    strip = np.rint(255 * scale.colours(values)).astype(np.uint8)
    sheet.paste(Image.fromarray(np.tile(strip, (max(text - 3, 6), 1, 1))), corner)
    below = y + max(text - 3, 6) + 1
    low, high = numbers(scale.low, scale.high)
    draw.text((x, below), low, FAINT, font(text))
    draw.text((x + width // 2, below), scale.meaning, FAINT, font(text), anchor="ma")
    draw.text((x + width, below), high, FAINT, font(text), anchor="ra")


def numbers(low: float, high: float) -> tuple[str, str]:
    """Write both ends of a scale in as many decimals as tell a hundredth of it."""
    span = high - low
    if not 1e-3 <= span < 1e4:
        return f"{low:.3g}", f"{high:.3g}"
    decimals = max(2 - int(np.floor(np.log10(span))), 0)
    return (f"{low:.{decimals}f}" if low else "0"), f"{high:.{decimals}f}"


def shortened(content: str, width: int, letters: int) -> str:
    """Cut the text off with an ellipsis when it is wider than `width` pixels."""
    face = font(letters)
    if face.getlength(content) <= width:
        return content
    while content and face.getlength(content + "...") > width:
        content = content[:-1]
    return content + "..."


def wrapped(content: str, width: int, letters: int) -> list[str]:
    """Break the text between words into lines of at most `width` pixels."""
    face, lines = font(letters), [""]
    for word in content.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and face.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's own typeface: the same letters on every machine."""
    return ImageFont.load_default(size=size)
