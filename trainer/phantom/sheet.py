"""A contact sheet: made heads beside a real series, so that a person sees what gives the made ones away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantom.acquisition import detected, draw_acquisition, with_artefacts
from trainer.phantom.conditions import Condition
from trainer.phantom.fields import Floats
from trainer.phantom.mimics import Mimics
from trainer.phantom.pose import axial_plane
from trainer.phantom.scene import Head, cut, draw_head
from trainer.phantom.sources import anatomy_for
from triage.dicom.volume import read_volume
from triage.domain.finding import SUBTYPES, Subtype

SIDE_PX = 224
PIXEL_MM = 1.0
"""Sides of a picture and of its pixels: 224 mm hold a head."""

WINDOW_HU = (0.0, 80.0)
MADE_COLUMNS, REAL_COLUMNS, ROWS = 8, 4, 5
_NAME_PX = 16
_GAP_PX = 12
_ATTEMPTS = 60
"""Heads that are drawn before an order is given up; a tumour is in one of twenty."""

_COARSE_MM = 4.0
"""The slice with the most blood is looked for on pixels of this size."""

_VISIBLE_MM2 = 60.0
"""Heads whose largest section of blood is smaller are passed over: nobody would find them on the sheet."""

_DICOM_AT = 128
"""Bytes before the letters DICM (PS3.10 section 7.1)."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Order:
    """One head of the sheet: what it must have, and where it is cut."""

    name: str
    subtype: Subtype | None = None
    condition: Condition | None = None
    fits: Callable[[Mimics], bool] | None = None
    height: Callable[[Head], float] | None = None
    thickness_mm: float = 5.0


def _at(x: float, y: float, z: float) -> Callable[[Head], float]:
    return lambda head: head.height_mm((x, y, z))


def _below_vertex(mm: float) -> Callable[[Head], float]:
    return lambda head: head.top_mm - mm


def _through_calcium(head: Head) -> float:
    return head.height_mm(head.mimics.blobs[0].centre) if head.mimics else 0.0


def _through_scar(head: Head) -> float:
    return head.height_mm(head.mimics.masses.scars[0].centre) if head.mimics else 0.0


def _through_tumour(head: Head) -> float:
    return head.height_mm(head.mimics.masses.tumours[0].mass.centre) if head.mimics else 0.0


def _through_swelling(head: Head) -> float:
    return head.height_mm(head.mimics.scalp[0].centre) if head.mimics else 0.0


_MIMICS = (
    _Order("calcium", fits=lambda mimics: bool(mimics.blobs), height=_through_calcium),
    _Order("old infarct", fits=lambda mimics: bool(mimics.masses.scars), height=_through_scar),
    _Order("tumour", fits=lambda mimics: bool(mimics.masses.tumours), height=_through_tumour),
    _Order("scalp swelling", fits=lambda mimics: bool(mimics.scalp), height=_through_swelling),
    _Order("falx and sinus", height=_below_vertex(32)),
    _Order("tentorium", height=_at(0, -60, -12)),
)
_ARTEFACTS = (
    _Order("vertex, 7 mm", height=_below_vertex(3), thickness_mm=7.0),
    _Order("orbital roof, 7 mm", height=_at(0, 40, -18), thickness_mm=7.0),
    _Order("petrous ridges", height=_at(0, -30, -36)),
    _Order("face", height=_at(0, 0, -62)),
)
_CONDITIONS = tuple(_Order(condition.value.replace("_", " "), condition=condition) for condition in Condition)


def _orders(template: bool) -> list[_Order]:
    """Twenty heads of one source: two of every subtype, six mimics, four slices with artefacts.

    The second source shows three conditions that no head is trained with instead of as many mimics.
    """
    bleeding = [_Order(subtype.name, subtype=subtype) for subtype in SUBTYPES for _ in range(2)]
    mimics = _MIMICS if template else (*_MIMICS[:3], *_CONDITIONS[:3])
    return [*bleeding, *mimics, *_ARTEFACTS]


def draw_sheet(anatomy: Path | None, beside: Path, seed: int) -> Bytes:
    """The sheet as grey values (row, column): 40 made heads, named, left of 20 slices of a real series.

    Parameters
    ----------
    anatomy : Path, optional
        Folder of the CT template, from which every second head is made; without it all are procedural.
    beside : Path
        Folder of one DICOM series.

    Raises
    ------
    UnusableSeries
        If ``beside`` holds no series that could be analysed.
    ValueError
        If ``beside`` holds no DICOM file, or no drawn head shows what was ordered.
    """
    real = _real_tiles(beside, REAL_COLUMNS * ROWS)
    if anatomy is not None:
        anatomy_for(anatomy, np.random.default_rng())  # what is wrong with it is said before heads are drawn
    sources = (None, anatomy)
    made: list[Bytes] = []
    for for_source, source in zip(np.random.default_rng(seed).spawn(2), sources, strict=True):
        orders = _orders(template=source is not None or anatomy is None)
        for order, rng in zip(orders, for_source.spawn(len(orders)), strict=True):
            kind = "template" if source is not None else "procedural"
            made.append(_named(_made_slice(order, source, rng), f"{order.name}, {kind}"))
    gap = np.full((ROWS * (SIDE_PX + _NAME_PX), _GAP_PX), 255, np.uint8)
    return np.hstack([_tiled(made, MADE_COLUMNS), gap, _tiled(real, REAL_COLUMNS)])


def write_sheet(out: Path, anatomy: Path | None, beside: Path, seed: int) -> None:
    """Write `draw_sheet` as PNG.

    Raises
    ------
    ValueError
        If ``out`` is no name of a PNG file, or as `draw_sheet`.
    OSError
        If it cannot be written.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"the sheet is a PNG file, and {out.name} does not end in .png")
    if not out.parent.is_dir():  # said at once: the heads take minutes
        raise FileNotFoundError(f"there is no folder {out.parent} to write the sheet to")
    drawn, encoded = cv2.imencode(".png", draw_sheet(anatomy, beside, seed))
    if not drawn:
        raise ValueError("the sheet could not be encoded as PNG")
    out.write_bytes(encoded.tobytes())


def _made_slice(order: _Order, anatomy: Path | None, rng: np.random.Generator) -> Floats:
    """HU (row, column) of the first drawn head that shows what is ordered."""
    for_heads, for_scan = rng.spawn(2)
    for head_rng in for_heads.spawn(_ATTEMPTS):
        head = draw_head(
            head_rng,
            anatomy_for(anatomy, head_rng),
            bleeding=order.subtype is not None,
            subtypes=(order.subtype,) if order.subtype else None,
            pitch_deg=5.0,
            condition=order.condition,
        )
        if order.fits is not None and (head.mimics is None or not order.fits(head.mimics)):
            continue
        height = _bloodiest(head) if order.subtype else (order.height or _below_vertex(48))(head)
        if height is None:
            continue
        scan = draw_acquisition(for_scan)
        ideal = cut(head, axial_plane(height, SIDE_PX, PIXEL_MM, order.thickness_mm), scan.profile)
        return detected(with_artefacts(ideal, scan, for_scan, PIXEL_MM), scan, for_scan, PIXEL_MM)
    raise ValueError(f"none of {_ATTEMPTS} heads shows {order.name}")


def _bloodiest(head: Head) -> float | None:
    """Scanner z of the slice with the most blood, looked for on coarse pixels; None where there is little."""
    side = int(SIDE_PX * PIXEL_MM / _COARSE_MM)
    heights = np.arange(head.top_mm - 135, head.top_mm + 5, 5.0)
    areas = [float(cut(head, axial_plane(float(z), side, _COARSE_MM, 5.0)).blood.sum()) for z in heights]
    best = int(np.argmax(areas))
    return float(heights[best]) if areas[best] * _COARSE_MM**2 >= _VISIBLE_MM2 else None


def _real_tiles(folder: Path, count: int) -> list[Bytes]:
    """Evenly spaced slices of a series from the feet up, named by their number, at the scale of the made ones."""
    contents = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and _is_dicom(path)]
    if not contents:
        raise ValueError(f"there is no DICOM file in {folder}")
    volume = read_volume(contents)
    chosen = np.linspace(0, len(volume.hu) - 1, min(count, len(volume.hu))).round().astype(int)
    down, across = volume.pixel_spacing_mm
    return [
        _named(_on_raster(volume.hu[index], (down, across)), f"real {index + 1} of {len(volume.hu)}")
        for index in chosen
    ]


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_DICOM_AT + 4)[_DICOM_AT:] == b"DICM"


def _on_raster(hu: Floats, spacing_mm: tuple[float, float]) -> Floats:
    """The middle of a slice (row, column) on pixels of `PIXEL_MM`; air beyond its edges."""
    size = tuple(max(1, round(n * mm / PIXEL_MM)) for n, mm in zip(hu.shape, spacing_mm, strict=True))
    small = cv2.resize(np.maximum(hu, -1024), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    lacking = [max(0, SIDE_PX - n) for n in size]
    padding = tuple((n // 2, n - n // 2) for n in lacking)
    padded = np.pad(small, padding, constant_values=-1024)
    top, left = ((n - SIDE_PX) // 2 for n in padded.shape)
    return np.asarray(padded[top : top + SIDE_PX, left : left + SIDE_PX], np.float32)


def _named(hu: Floats, name: str) -> Bytes:
    """Grey values at `WINDOW_HU` with the name in a line above."""
    low, high = WINDOW_HU
    grey = (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    line = np.zeros((_NAME_PX, SIDE_PX), np.uint8)
    cv2.putText(line, name, (3, _NAME_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, 220, 1, cv2.LINE_AA)
    return np.vstack([line, grey])


def _tiled(tiles: Sequence[Bytes], columns: int) -> Bytes:
    """The tiles in `ROWS` rows, black where there are too few."""
    return np.vstack([np.hstack(row) for row in _rows(tiles, columns)])


def _rows(tiles: Sequence[Bytes], columns: int) -> Iterator[list[Bytes]]:
    """`ROWS` rows of so many ``columns``."""
    for row in range(ROWS):
        part = list(tiles[row * columns : (row + 1) * columns])
        yield part + [np.zeros((SIDE_PX + _NAME_PX, SIDE_PX), np.uint8)] * (columns - len(part))
