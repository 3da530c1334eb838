"""The pages of the Secondary Capture as RGB pixels: a summary, and key slices with their outlines.

Drawn with Pillow and the font that it brings, so that the same result makes the same pixels everywhere. Nothing
of the patient is drawn: what is burnt in stays in when the header is anonymised.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.equipment import plain, software_versions
from triage.dicom.slices import side
from triage.domain.finding import KINDS, TriageResult, WorklistStatus
from triage.domain.notice import DEMONSTRATION, NOTIFICATION_ONLY
from triage.domain.provenance import Provenance
from triage.domain.volume import Volume

BRAIN_WINDOW = (40.0, 80.0)
"""Centre and width in HU."""

_IMAGE, _MARGIN, _PANEL, _BAND = 768, 24, 280, 56
COLUMNS, ROWS = _IMAGE + _PANEL, _IMAGE + 2 * _BAND
_OUTLINE_PIXELS = 2

_GROUND, _TEXT, _QUIET, _LINE = (10, 12, 16), (236, 236, 236), (150, 156, 166), (52, 58, 68)
_ALERT = (240, 160, 0)

Colour = tuple[int, int, int]


def summary_page(result: TriageResult, key_slices: Sequence[int], provenance: Provenance, at: datetime) -> Image.Image:
    """What was found, by what, and what it is good for.

    Parameters
    ----------
    at : datetime
        The content time, in the zone to show it in.
    """
    page, draw = _blank(provenance, "Summary")
    suspected = result.status is WorklistStatus.SUSPECTED
    y = _BAND + 36
    # No colour for what is not suspected: green would read as negative.
    _write(draw, (_MARGIN, y), _headline(result), 40, _ALERT if suspected else _TEXT)
    limits = f"suspected from {result.rule.suspected_at:.3f}, emergent from {result.rule.emergent_at:.3f}"
    _write(draw, (_MARGIN, y + 60), f"Score {result.score:.3f}", 28, _TEXT)
    _write(draw, (_MARGIN + 210, y + 67), f"({limits})", 20, _QUIET)
    _write(draw, (_MARGIN, y + 100), f"Urgency: {result.urgency.value}", 24, _TEXT)
    y = _table(draw, y + 156, result)
    if key_slices:
        numbers = ", ".join(str(index + 1) for index in key_slices)
        _write(draw, (_MARGIN, y + 12), f"Key slices, the most important first: {numbers}", 20, _TEXT)
    software, bundle = software_versions(provenance)
    y += 64
    for line in (
        f"Software {software}",
        f"Model {bundle}, SHA-256 {provenance.bundle_digest[:16]}...",
        f"Content of {at.strftime('%Y-%m-%d %H:%M:%S %z')}",
    ):
        _write(draw, (_MARGIN, y), line, 18, _QUIET)
        y += 26
    y += 18
    _paragraph(
        draw,
        y,
        NOTIFICATION_ONLY if suspected else f"{NOTIFICATION_ONLY} Not suspected does not exclude a hemorrhage.",
        _TEXT,
    )
    if provenance.demonstration:
        _paragraph(draw, y + 64, DEMONSTRATION, _ALERT)
    return page


def slice_page(
    volume: Volume,
    labels: NDArray[np.uint8],
    index: int,
    place: tuple[int, int],
    origin: str,
    result: TriageResult,
    provenance: Provenance,
) -> Image.Image:
    """One slice in the brain window, rows and columns as stored, pixels square, outlines around the segments.

    Parameters
    ----------
    labels : ndarray of uint8, shape (slice, row, column)
        0 for none, ``i + 1`` for ``KINDS[i]``, on the grid of ``volume``.
    index : int
        Of the slice in the volume.
    place : tuple of int
        Which key slice this is, from 1, and how many there are.
    origin : str
        What the source calls this slice.
    """
    page, draw = _blank(provenance, f"Key slice {place[0]} of {place[1]}")
    width, height = size = _fitted(volume)
    left, top = (_IMAGE - width) // 2, _BAND + (_IMAGE - height) // 2
    shown = Image.fromarray(_windowed(volume.hu[index])).resize(size, Image.Resampling.BICUBIC)
    mask = np.asarray(Image.fromarray(labels[index]).resize(size, Image.Resampling.NEAREST))
    page.paste(Image.fromarray(outlined(np.asarray(shown), mask)), (left, top))
    _letters(draw, volume)
    _scale(draw, width / (volume.pixel_spacing_mm[1] * volume.hu.shape[2]))

    x, y = _IMAGE + _MARGIN, _BAND + _MARGIN
    _write(draw, (x, y), f"Slice {index + 1} of {len(volume.sources)}", 26, _TEXT)
    centre, window = BRAIN_WINDOW
    thickness = f"{volume.stack.thickness_mm[index]:.1f} mm thick"
    for row, text in enumerate((origin, thickness, f"C {centre:.0f} / W {window:.0f} HU")):
        _write(draw, (x, y + 40 + 24 * row), text, 18, _QUIET)
    y += 140
    for number, subtype in enumerate(KINDS, start=1):
        if (labels[index] == number).any():
            _swatch(draw, (x, y + 2), SUBTYPE_CODES[subtype].colour)
            _write(draw, (x + 36, y), subtype.value, 24, _TEXT)
            _write(draw, (x + 36, y + 32), f"{result.volume_ml(subtype):.1f} ml in all slices", 18, _QUIET)
            y += 76
    if not labels[index].any():
        _write(draw, (x, y), "No outline on this slice", 20, _QUIET)
    return page


def outlined(grey: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A grey image as RGB with a line around each segment, outside of it so that no blood is covered."""
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    for number, subtype in enumerate(KINDS, start=1):
        inside = mask == number
        if inside.any():
            rgb[_grown(inside, _OUTLINE_PIXELS) & ~inside] = SUBTYPE_CODES[subtype].colour
    return rgb


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask and what lies within so many pixels of it, up, down and to the sides."""
    grown = mask.copy()
    for axis in (0, 1):
        once = np.moveaxis(grown.copy(), axis, 0)
        target = np.moveaxis(grown, axis, 0)
        for step in range(1, pixels + 1):
            target[step:] |= once[:-step]
            target[:-step] |= once[step:]
    return grown


def _windowed(hu: NDArray[np.float32]) -> NDArray[np.uint8]:
    centre, width = BRAIN_WINDOW
    shown = np.clip((hu - (centre - width / 2)) / width, 0.0, 1.0) * 255.0
    return np.asarray(np.rint(shown), dtype=np.uint8)


def _fitted(volume: Volume) -> tuple[int, int]:
    """Columns and rows of the drawn slice: as large as fits, with square millimetres."""
    _, rows, columns = volume.hu.shape
    height_mm, width_mm = rows * volume.pixel_spacing_mm[0], columns * volume.pixel_spacing_mm[1]
    scale = _IMAGE / max(height_mm, width_mm)
    return max(1, round(width_mm * scale)), max(1, round(height_mm * scale))


def _blank(provenance: Provenance, what: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A page with its head and foot, which say on every page what it is and what it is not for."""
    page = Image.new("RGB", (COLUMNS, ROWS), _GROUND)
    draw = ImageDraw.Draw(page)
    _write(draw, (_MARGIN, 14), "ICH triage", 26, _TEXT)
    draw.text((COLUMNS - _MARGIN, 18), what, fill=_QUIET, font=_font(22), anchor="ra")
    _write(draw, (_MARGIN, ROWS - 40), "Not for primary diagnosis", 20, _TEXT)
    if provenance.demonstration:
        words = "DEMONSTRATION, not for care"
        draw.text((COLUMNS - _MARGIN, ROWS - 40), words, fill=_ALERT, font=_font(20), anchor="ra")
    for y in (_BAND - 1, ROWS - _BAND):
        draw.line([(0, y), (COLUMNS, y)], fill=_LINE)
    return page, draw


def _headline(result: TriageResult) -> str:
    if result.status is WorklistStatus.SUSPECTED:
        return "Intracranial hemorrhage SUSPECTED"
    return "Intracranial hemorrhage not suspected"


def _table(draw: ImageDraw.ImageDraw, y: int, result: TriageResult) -> int:
    """Every subtype with its probability and volume; says where the page goes on."""
    columns = (_MARGIN, 560, 760)
    for x, text in zip(columns, ("Subtype", "Probability", "Volume"), strict=True):
        draw.text((x, y), text, fill=_QUIET, font=_font(18), anchor="la" if x == _MARGIN else "ra")
    y += 30
    for subtype in (kind for kind in KINDS if kind in result.subtypes):
        finding, names = result.subtypes[subtype], SUBTYPE_CODES[subtype]
        draw.line([(_MARGIN, y), (columns[-1], y)], fill=_LINE)
        _swatch(draw, (_MARGIN, y + 9), names.colour)
        _write(draw, (_MARGIN + 36, y + 8), names.label, 20, _TEXT if finding.volume_ml > 0 else _QUIET)
        volume = f"{finding.volume_ml:.1f} ml" if finding.volume_ml > 0 else "-"
        for x, text in zip(columns[1:], (f"{finding.probability:.3f}", volume), strict=True):
            draw.text((x, y + 8), text, fill=_TEXT, font=_font(20), anchor="ra")
        y += 40
    draw.line([(_MARGIN, y), (columns[-1], y)], fill=_LINE)
    _write(draw, (_MARGIN + 36, y + 8), "All", 20, _TEXT)
    draw.text((columns[-1], y + 8), f"{result.total_volume_ml:.1f} ml", fill=_TEXT, font=_font(20), anchor="ra")
    return y + 44


def sides(volume: Volume) -> tuple[str, str, str, str]:
    """The side of the patient (PS3.3 C.7.6.1.1.1) at the right, left, lower and upper edge of a slice."""
    row, column = volume.orientation[:3], volume.orientation[3:]
    return side(row), side(-row), side(column), side(-column)


def _letters(draw: ImageDraw.ImageDraw, volume: Volume) -> None:
    """The sides of the patient, in the middle of each edge."""
    middle = _BAND + _IMAGE // 2
    places = (
        ((_IMAGE - 10, middle), "rm"),
        ((10, middle), "lm"),
        ((_IMAGE // 2, _BAND + _IMAGE - 8), "md"),
        ((_IMAGE // 2, _BAND + 8), "ma"),
    )
    for letter, (at, anchor) in zip(sides(volume), places, strict=True):
        draw.text(at, letter, fill=_QUIET, font=_font(24), anchor=anchor)


def _scale(draw: ImageDraw.ImageDraw, pixels_per_mm: float) -> None:
    """A bar of five centimetres."""
    length, y = round(50 * pixels_per_mm), _BAND + _IMAGE - 18
    draw.line([(16, y), (16 + length, y)], fill=_QUIET, width=2)
    for x in (16, 16 + length):
        draw.line([(x, y - 6), (x, y + 6)], fill=_QUIET, width=2)
    draw.text((16 + length // 2, y - 8), "5 cm", fill=_QUIET, font=_font(16), anchor="md")


def _swatch(draw: ImageDraw.ImageDraw, at: tuple[int, int], colour: Colour) -> None:
    draw.rectangle([at, (at[0] + 22, at[1] + 22)], fill=colour)


def _paragraph(draw: ImageDraw.ImageDraw, y: int, text: str, colour: Colour) -> None:
    for number, line in enumerate(textwrap.wrap(text, 100)):
        _write(draw, (_MARGIN, y + 26 * number), line, 19, colour)


def _write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: Colour) -> None:
    draw.text(at, plain(text, 200), fill=colour, font=_font(size))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
