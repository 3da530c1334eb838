"""Falx, tentorium and the venous sinuses: thin, wavy, and as dense as fresh blood in many healthy heads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.landmarks import above_tentorium_mm, from_callosum_mm
from trainer.phantom.sample import Sample
from trainer.phantom.solids import Tube, paint_tubes


@dataclass(frozen=True, slots=True)
class Sheet:
    """A membrane or a sinus: half its thickness in mm (0 if it cannot be seen), and its HU."""

    half_mm: float
    hu: float


@dataclass(frozen=True, slots=True)
class Dura:
    """The dura of one head; a sinus is a lumen inside a wall of ``wall_hu``.

    ``sinus_depth_mm`` is how far the sagittal and the transverse sinus reach under the inner table, ``wave_mm`` how
    wavy falx and tentorium are; ``tubes`` are the straight and the sigmoid sinuses.
    """

    falx: Sheet
    tentorium: Sheet
    sagittal_sinus: Sheet
    transverse_sinus: Sheet
    sinus_depth_mm: float
    wall_hu: float
    wave_mm: float
    tubes: tuple[Tube, ...]

    def enhanced(self, vessel_hu: float, dura_hu: float) -> Dura:
        """The same with contrast agent in it: every sinus open and bright."""

        def open_sinus(sinus: Sheet) -> Sheet:
            return Sheet(max(sinus.half_mm, 3.0), vessel_hu)

        def bright(sheet: Sheet) -> Sheet:
            return Sheet(max(sheet.half_mm, 0.7), dura_hu)

        return replace(
            self,
            falx=bright(self.falx),
            tentorium=bright(self.tentorium),
            sagittal_sinus=open_sinus(self.sagittal_sinus),
            transverse_sinus=open_sinus(self.transverse_sinus),
            sinus_depth_mm=max(self.sinus_depth_mm, 5.0),
            wall_hu=dura_hu,
            tubes=tuple(replace(tube, hu=vessel_hu) for tube in self.tubes),
        )


def draw_dura(rng: np.random.Generator, blood_hu: float) -> Dura:
    """Draw the dura of one head, whose blood has ``blood_hu`` in a sinus wide enough to be measured."""
    shown = float(rng.random() < 0.85)

    def lumen() -> float:
        return blood_hu + rng.normal(2, 3)

    tubes = []
    if rng.random() < 0.6:
        straight = ((0.0, -42.0, 10.0), (0.0, -62.0, 1.0), (0.0, -86.0, -14.0))
        tubes.append(Tube(straight, rng.uniform(1.2, 2.6), lumen()))
    for side in (-1.0, 1.0):
        if rng.random() < 0.6:
            sigmoid = ((side * 58, -52.0, -22.0), (side * 54, -37.0, -34.0), (side * 44, -28.0, -48.0))
            tubes.append(Tube(sigmoid, rng.uniform(2.5, 5.5), lumen()))
    return Dura(
        falx=Sheet(shown * rng.uniform(0.3, 1.1), rng.uniform(38, 75)),
        tentorium=Sheet(float(rng.random() < 0.7) * rng.uniform(0.4, 1.5), rng.uniform(38, 64)),
        sagittal_sinus=Sheet(shown * rng.uniform(2, 5.5), lumen()),
        transverse_sinus=Sheet(shown * rng.uniform(2, 6), lumen()),
        sinus_depth_mm=rng.uniform(3, 8),
        wall_hu=rng.uniform(45, 70),
        wave_mm=rng.uniform(0.2, 1.8),
        tubes=tuple(tubes),
    )


def paint_dura(brain: Floats, sample: Sample, inner: Floats, dura: Dura) -> None:
    """Put the dura into ``brain`` (slice, row, column) in place; ``inner`` is the depth in mm."""
    x, y, z = sample.inside_points
    lateral = np.abs(x + np.float32(dura.wave_mm) * sample.broad[2])
    if dura.falx.half_mm and float(z.max()) > -12:
        away = ramp(from_callosum_mm(y, z) - 42, 4) * ramp(z + 8, 4)
        brain += (dura.falx.hu - brain) * away * ramp(dura.falx.half_mm - lateral)
    if dura.sagittal_sinus.half_mm and float(z.max()) > -12:
        behind = ramp(np.maximum(-32 - y, z - 56), 6) * ramp(z + 8, 4) * ramp(dura.sinus_depth_mm - inner)
        narrowing = dura.sagittal_sinus.half_mm * (1.15 - 0.75 * np.clip(inner / dura.sinus_depth_mm, 0, 1))
        _paint_sinus(brain, behind, narrowing - lateral, dura.sagittal_sinus.hu, dura.wall_hu)
    if dura.transverse_sinus.half_mm and float(np.abs(z + 22).min()) < 10:
        low = ramp(-50 - y, 8) * ramp(lateral - 8, 4) * ramp(dura.sinus_depth_mm - inner)
        _paint_sinus(brain, low, dura.transverse_sinus.half_mm - np.abs(z + 22), dura.transverse_sinus.hu, dura.wall_hu)
    if dura.tentorium.half_mm and float(z.max()) > -26 and float(z.min()) < 4:
        roof = above_tentorium_mm(z, lateral) + np.float32(1.2 * dura.wave_mm) * sample.broad[0]
        area = ramp(44 - lateral, 4) * ramp(-36 - y + 0.25 * lateral, 4)
        brain += (dura.tentorium.hu - brain) * area * _sheet(np.abs(roof), dura.tentorium.half_mm, _step_mm(z))
    paint_tubes(brain, sample.inside_points, dura.tubes)


def _step_mm(z: Floats) -> float:
    """Distance of the planes of a slice, which must not show as stripes in a flat sheet; at least 1 mm."""
    return max(float(np.abs(z[1, 0, 0] - z[0, 0, 0])), 1.0) if len(z) > 1 else 1.0


def _sheet(apart: Floats, half_mm: float, step_mm: float) -> Floats:
    """Share of a sheet ``half_mm`` thick to each side, spread over ``step_mm`` across it."""
    share = (half_mm + step_mm / 2 - apart) * np.float32(1 / step_mm)
    return np.asarray(np.clip(share, 0, min(1.0, 2 * half_mm / step_mm)), np.float32)


def _paint_sinus(brain: Floats, where: Floats, depth: Floats, lumen_hu: float, wall_hu: float) -> None:
    """A lumen inside a wall of 0.8 mm; ``depth`` is the depth in mm under the outside of the wall."""
    inside = lumen_hu + np.float32(wall_hu - lumen_hu) * ramp(0.8 - depth, 0.6)
    brain += (inside - brain) * where * ramp(depth)
