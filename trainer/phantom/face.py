"""Details of the lower head that are too thin for a lattice: orbits, ethmoid and mastoid cells."""

from __future__ import annotations

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.points import Point
from trainer.phantom.sample import Sample, Window, part_of
from trainer.phantom.tissue import Tissue

_GLOBES_MM = ((-32.0, 58.0, -38.0), (32.0, 58.0, -38.0))
_MASTOIDS_MM = ((-55.0, -40.0, -46.0), (55.0, -40.0, -46.0))
_ETHMOID_MM = (0.0, 46.0, -40.0)
_NERVE_HU, _SCLERA_HU, _VITREOUS_HU, _LENS_HU = 35, 45, 12, 75
_CELL_HU = -950


def paint_orbits(hu: Floats, bone: Floats, sample: Sample, tissue: Tissue) -> None:
    """Sockets of fat in thin bone, with globes, lenses, muscles and nerves; ``hu`` and ``bone`` in place."""
    for globe in _GLOBES_MM:
        near = _around(sample.points, (0.8 * globe[0], globe[1] - 20, globe[2]), 42)
        if near is not None:
            _paint_orbit(hu[..., *near], bone[..., *near], part_of(sample, near), tissue, globe)


def _paint_orbit(hu: Floats, bone: Floats, sample: Sample, tissue: Tissue, globe: Point) -> None:
    """One socket: a cone from its rim in front of ``globe`` to its apex 44 mm behind, nearer to the midline."""
    cx, cy, cz = globe
    x, y, z = sample.points
    inner = sample.skull.inner - np.float32(tissue.inner_offset_mm)
    along = np.clip((cy + 12 - y) / 56, 0, 1)
    axis_x, axis_z = cx * (1 - 0.55 * along), cz + 5 * along
    off = np.sqrt((x - axis_x) ** 2 + (1.1 * (z - axis_z)) ** 2)
    socket = (20 - 16 * along) + sample.broad[0] - off
    deep = np.minimum(ramp(cy + 14 - y, 4), ramp(y - cy + 46, 4)) * ramp(-inner - 1, 2)
    wall = ramp(1.1 - np.abs(socket + 0.6)) * deep * ramp(cy + 6 - y, 8)
    hollow = ramp(socket) * deep
    hu += (tissue.fat - hu) * hollow
    turn = np.abs(np.sin(2 * np.arctan2(z - axis_z, x - axis_x)))
    muscles = ramp(1.7 - np.abs(socket - 4)) * ramp(0.4 - turn, 0.3)
    hu += (tissue.muscle - hu) * muscles * ramp(cy - 4 - y, 4) * hollow
    nerve = np.hypot(x - axis_x, z - axis_z)
    hu += (_NERVE_HU - hu) * ramp(2.6 - nerve) * ramp(cy - 10 - y) * ramp(y - cy + 42)
    _paint_globe(hu, x - cx, y - cy, z - cz)
    bone[:] = np.maximum(bone * (1 - hollow), 0.8 * wall)


def _paint_globe(hu: Floats, x: Floats, y: Floats, z: Floats) -> None:
    """Sclera, vitreous body and lens; ``x``, ``y`` and ``z`` are mm from the middle of the globe."""
    distance = np.sqrt(x**2 + y**2 + z**2)
    hu += (_SCLERA_HU - hu) * ramp(13 - distance)
    hu += (_VITREOUS_HU - hu) * ramp(11.7 - distance)
    lens = np.sqrt(x**2 + ((y - 9) * 2) ** 2 + z**2)
    hu += (_LENS_HU - hu) * ramp(4.5 - lens)


def paint_ethmoid(hu: Floats, bone: Floats, sample: Sample, tissue: Tissue) -> None:
    """The air cells between the orbits, with thin bone between them; ``hu`` and ``bone`` in place."""
    near = _around(sample.points, _ETHMOID_MM, 30)
    if near is None:
        return
    x, y, z = part_of(sample.points, near)
    inner = part_of(sample.skull.inner, near) - np.float32(tissue.inner_offset_mm)
    cells = np.minimum(11 - np.abs(x), 22 - np.abs(y - _ETHMOID_MM[1]))
    cells = np.minimum(np.minimum(cells, 13 - np.abs(z - _ETHMOID_MM[2])), -inner - 2)
    cells = ramp(cells, 2)
    septa = _septa(x, y, z, 1.6 * part_of(sample.fine[1], near), 9.0)
    window = (..., *near)
    hu[window] += (_CELL_HU - hu[window]) * cells * (1 - 0.9 * septa)
    bone[window] += (0.5 * septa - bone[window]) * cells


def mastoid_cells(sample: Sample) -> Floats:
    """Fraction of air in the mastoid bone, (slice, row, column)."""
    cells = np.zeros_like(sample.points[0])
    for centre in _MASTOIDS_MM:
        near = _around(sample.points, centre, 22)
        if near is not None:
            cx, cy, cz = centre
            x, y, z = part_of(sample.points, near)
            distance = np.sqrt((x - cx) ** 2 + (0.75 * (y - cy)) ** 2 + (0.8 * (z - cz)) ** 2)
            field = ramp(13 + 2 * part_of(sample.broad[1], near) - distance, 6)
            cells[..., *near] += field * (1 - _septa(x, y, z, 1.9 * part_of(sample.fine[1], near), 5.0))
    return np.asarray(cells, np.float32)


def _septa(x: Floats, y: Floats, z: Floats, bend: Floats, size_mm: float) -> Floats:
    """Fraction of septum between cells of about ``size_mm``."""
    turn = np.float32(2 * np.pi / (2 * size_mm))
    product = np.cos(x * turn + bend) * np.cos(y * turn - bend) * np.cos(z * turn * 0.8 + 0.7 * bend)
    return ramp(np.float32(0.22) - np.abs(product), 0.2)


def _around(points: Floats, centre: Point, reach_mm: float) -> Window | None:
    """The window of the ``points`` (3, slice, row, column) within ``reach_mm`` of ``centre`` along every axis.

    None where there are none. Exact to the pixel, other than `trainer.phantom.solids.around`: what is painted in it
    here does not end by itself.
    """
    x, y, z = points
    near = (np.abs(x - centre[0]) < reach_mm) & (np.abs(y - centre[1]) < reach_mm) & (np.abs(z - centre[2]) < reach_mm)
    found = np.argwhere(near.any(axis=0))
    if not len(found):
        return None
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
    return slice(int(top), int(bottom)), slice(int(left), int(right))
