"""What lies outside the brain, in HU: calvarium, skull base, scalp, face, orbits, air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.tissue import Sample, Tissue

AIR = -1000.0
_GLOBES_MM = ((-32.0, 58.0, -38.0), (32.0, 58.0, -38.0))
_MASTOIDS_MM = ((-52.0, -28.0, -38.0), (52.0, -28.0, -38.0))


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """``hu`` without the brain, and the fraction of bone 0..1; float32 (slice, row, column)."""

    hu: Floats
    bone: Floats


def paint_outside(sample: Sample, tissue: Tissue) -> Outside:
    """Everything but the brain.

    Above the skull base the calvarium is a smooth shell around the inner table; the template's own bone, which
    is blurred, serves only below it, where it is all there is.
    """
    y, z = sample.points[1], sample.points[2]
    inner = sample.skull.inner - np.float32(tissue.inner_offset_mm)
    base = ramp(-16 - z + 4 * sample.broad[0], 16)
    thickness = np.float32(tissue.skull_mm) * (1 + 0.15 * sample.broad[1] + 0.003 * np.abs(y + 18))
    calvarium = np.minimum(-inner, thickness + inner)
    depth = np.minimum(calvarium + base * (sample.skull.bone + tissue.base_bone_offset_mm - calvarium), -inner)
    skin = thickness + tissue.scalp_mm * (1 + 0.2 * sample.broad[2]) + inner
    skin += base * (sample.skull.skin - skin)
    hu = _soft_tissue(sample, tissue, base)
    _paint_orbits(hu, sample, tissue)
    bone_hu = tissue.table + (tissue.diploe - tissue.table) * ramp(depth - 2.2, 1.2) + 110 * sample.fine[0]
    bone_hu += base * (tissue.base_bone + 220 * sample.fine[1] - bone_hu)
    np.maximum(bone_hu, 150, out=bone_hu)
    bone = ramp(depth)
    between = base * ramp(-inner) * ramp(3 + inner) * (sample.skull.outside > 60)
    bone = np.maximum(bone, between.astype(np.float32))
    if tissue.mastoid_air:
        bone_hu -= (bone_hu + 700) * tissue.mastoid_air * _mastoid_cells(sample)
    hu += (bone_hu - hu) * bone
    hu = AIR + (hu - AIR) * ramp(skin)
    return Outside(hu=np.asarray(hu, np.float32), bone=bone)


def _soft_tissue(sample: Sample, tissue: Tissue, base: Floats) -> Floats:
    """Fat, muscle, air spaces and the grey clouds of half-resolved bone below the brain; no bone proper."""
    x, y, z = sample.points
    rough = sample.skull.outside
    temporal = ramp(np.abs(x) - 48, 8) * ramp(y + 35, 15) * ramp(30 - y, 15) * ramp(28 - z, 12)
    muscle = ramp(rough - np.float32(tissue.fat_level) + 14 * sample.fine[2], 25)
    lean = np.maximum(temporal, 0.12 + 0.15 * sample.fine[3])
    lean = np.clip(lean + base * (muscle - lean), 0, 1)
    hu = tissue.fat + np.float32(tissue.muscle - tissue.fat) * lean
    clouds = np.clip((rough - 70) * np.float32(tissue.base_contrast), 0, tissue.base_bone)
    hu += base * clouds
    air = base * ramp(np.float32(tissue.air_level) - rough + 14 * sample.fine[3], 40)
    hu += (AIR - hu) * air
    return np.asarray(hu, np.float32)


def _paint_orbits(hu: Floats, sample: Sample, tissue: Tissue) -> None:
    """Globes with a brighter wall and lens in orbital fat, in place."""
    x, y, z = sample.points
    for cx, cy, cz in _GLOBES_MM:
        near = _around(x, y, z, (0.85 * cx, cy - 18, cz), 36)
        if near is None:
            continue
        x_, y_, z_, part = x[near], y[near], z[near], hu[near]
        distance = np.sqrt((x_ - cx) ** 2 + (y_ - cy) ** 2 + (z_ - cz) ** 2)
        socket = np.sqrt((x_ - 0.85 * cx) ** 2 + ((y_ - cy + 18) / 1.7) ** 2 + (z_ - cz) ** 2)
        part += (tissue.fat - part) * ramp(17.5 - socket, 2)
        nerve = np.hypot(x_ - cx * (1 + (y_ - cy) / 75), z_ - cz)
        part += (35 - part) * ramp(2.6 - nerve) * ramp(cy - 10 - y_) * ramp(y_ - cy + 38)
        part += (45 - part) * ramp(13 - distance)
        part += (12 - part) * ramp(11.5 - distance)
        lens = np.sqrt((x_ - cx) ** 2 + ((y_ - cy - 9) * 2) ** 2 + (z_ - cz) ** 2)
        part += (75 - part) * ramp(4.5 - lens)


def _around(
    x: Floats, y: Floats, z: Floats, centre: tuple[float, float, float], reach_mm: float
) -> tuple[slice, slice, slice] | None:
    """The index box of the points within ``reach_mm`` of ``centre`` along every axis; None when there are none."""
    near = (np.abs(x - centre[0]) < reach_mm) & (np.abs(y - centre[1]) < reach_mm) & (np.abs(z - centre[2]) < reach_mm)
    found = np.argwhere(near.any(axis=0))
    if not len(found):
        return None
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
    return slice(None), slice(int(top), int(bottom)), slice(int(left), int(right))


def _mastoid_cells(sample: Sample) -> Floats:
    """Fraction of air in the mastoid bone."""
    x, y, z = sample.points
    cells = np.zeros_like(x)
    for cx, cy, cz in _MASTOIDS_MM:
        near = _around(x, y, z, (cx, cy, cz), 20)
        if near is not None:
            cells[near] += ramp(17 - np.sqrt((x[near] - cx) ** 2 + (y[near] - cy) ** 2 + (z[near] - cz) ** 2), 6)
    return np.asarray(cells * ramp(sample.fine[3] - 0.1, 0.6), np.float32)
