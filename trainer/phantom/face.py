"""Details of the lower head that are too thin for a lattice: orbits, ethmoid and mastoid cells."""

from __future__ import annotations

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.tissue import Sample, Tissue

GLOBES_MM = ((-32.0, 58.0, -38.0), (32.0, 58.0, -38.0))
MASTOIDS_MM = ((-55.0, -40.0, -46.0), (55.0, -40.0, -46.0))
_ETHMOID_MM = (0.0, 46.0, -40.0)
_Box = tuple[slice, slice, slice]


def paint_orbits(hu: Floats, bone: Floats, sample: Sample, tissue: Tissue) -> None:
    """Sockets of fat in thin bone, with globes, lenses, muscles and nerves, and the cells between them; in place."""
    x, y, z = sample.points
    inner = sample.skull.inner - np.float32(tissue.inner_offset_mm)
    for cx, cy, cz in GLOBES_MM:
        near = around(x, y, z, (0.8 * cx, cy - 20, cz), 42)
        if near is None:
            continue
        x_, y_, z_, part = x[near], y[near], z[near], hu[near]
        along = np.clip((cy + 12 - y_) / 56, 0, 1)
        axis_x, axis_z = cx * (1 - 0.55 * along), cz + 5 * along
        off = np.sqrt((x_ - axis_x) ** 2 + (1.1 * (z_ - axis_z)) ** 2)
        socket = (20 - 16 * along) + sample.broad[0][near] - off
        deep = np.minimum(ramp(cy + 14 - y_, 4), ramp(y_ - cy + 46, 4)) * ramp(-inner[near] - 1, 2)
        wall = ramp(1.1 - np.abs(socket + 0.6)) * deep * ramp(cy + 6 - y_, 8)
        hollow = ramp(socket) * deep
        part += (tissue.fat - part) * hollow
        turn = np.abs(np.sin(2 * np.arctan2(z_ - axis_z, x_ - axis_x)))
        muscles = ramp(1.7 - np.abs(socket - 4)) * ramp(0.4 - turn, 0.3)
        part += (tissue.muscle - part) * muscles * ramp(cy - 4 - y_, 4) * hollow
        nerve = np.hypot(x_ - axis_x, z_ - axis_z)
        part += (35 - part) * ramp(2.6 - nerve) * ramp(cy - 10 - y_) * ramp(y_ - cy + 42)
        distance = np.sqrt((x_ - cx) ** 2 + (y_ - cy) ** 2 + (z_ - cz) ** 2)
        part += (45 - part) * ramp(13 - distance)
        part += (12 - part) * ramp(11.7 - distance)
        lens = np.sqrt((x_ - cx) ** 2 + ((y_ - cy - 9) * 2) ** 2 + (z_ - cz) ** 2)
        part += (75 - part) * ramp(4.5 - lens)
        bone[near] = np.maximum(bone[near] * (1 - hollow), 0.8 * wall)
    near = around(x, y, z, _ETHMOID_MM, 30)
    if near is not None:
        x_, y_, z_ = x[near], y[near], z[near]
        cells = np.minimum(11 - np.abs(x_), 22 - np.abs(y_ - _ETHMOID_MM[1]))
        cells = np.minimum(np.minimum(cells, 13 - np.abs(z_ - _ETHMOID_MM[2])), -inner[near] - 2)
        cells = ramp(cells, 2)
        septa = _cells(x_, y_, z_, 1.6 * sample.fine[1][near], 9.0)
        hu[near] += (-950 - hu[near]) * cells * (1 - 0.9 * septa)
        bone[near] += (0.5 * septa - bone[near]) * cells


def mastoid_cells(sample: Sample) -> Floats:
    """Fraction of air in the mastoid bone."""
    x, y, z = sample.points
    cells = np.zeros_like(x)
    for cx, cy, cz in MASTOIDS_MM:
        near = around(x, y, z, (cx, cy, cz), 22)
        if near is not None:
            x_, y_, z_ = x[near], y[near], z[near]
            distance = np.sqrt((x_ - cx) ** 2 + (0.75 * (y_ - cy)) ** 2 + (0.8 * (z_ - cz)) ** 2)
            field = ramp(13 + 2 * sample.broad[1][near] - distance, 6)
            cells[near] += field * (1 - _cells(x_, y_, z_, 1.9 * sample.fine[1][near], 5.0))
    return np.asarray(cells, np.float32)


def _cells(x: Floats, y: Floats, z: Floats, bend: Floats, size_mm: float) -> Floats:
    """Fraction of septum between cells of about ``size_mm``."""
    turn = np.float32(2 * np.pi / (2 * size_mm))
    product = np.cos(x * turn + bend) * np.cos(y * turn - bend) * np.cos(z * turn * 0.8 + 0.7 * bend)
    return ramp(np.float32(0.22) - np.abs(product), 0.2)


def around(x: Floats, y: Floats, z: Floats, centre: tuple[float, float, float], reach_mm: float) -> _Box | None:
    """The index box of the points within ``reach_mm`` of ``centre`` along every axis; None when there are none."""
    near = (np.abs(x - centre[0]) < reach_mm) & (np.abs(y - centre[1]) < reach_mm) & (np.abs(z - centre[2]) < reach_mm)
    found = np.argwhere(near.any(axis=0))
    if not len(found):
        return None
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
    return slice(None), slice(int(top), int(bottom)), slice(int(left), int(right))
