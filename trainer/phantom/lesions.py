"""Made bleeding: five subtypes as solid shapes in the head, with volumes and HU drawn from published tables.

Volumes follow the per-scan figures of the FDA's BHSD table (median and interquartile range), HU the cores of
which partial volume makes the published medians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.fields import Floats
from trainer.phantom.shapes import Clot, Crescent, Lens, Point, Push, Shape, SulcalCast, VentricleFill
from trainer.phantom.tissue import Fluid, Sample
from triage.domain.finding import SUBTYPES, Subtype

SUBTYPE_COUNTS = (0.36, 0.32, 0.22, 0.08, 0.02)
"""Share of positive heads with 1, 2, ... subtypes; several is the rule."""

_SUBTYPE_WEIGHTS = {Subtype.EDH: 0.17, Subtype.IPH: 0.22, Subtype.IVH: 0.17, Subtype.SAH: 0.22, Subtype.SDH: 0.22}
_VOLUME_ML = {
    Subtype.EDH: (5.1, 1.4, 0.8, 60.0),
    Subtype.IPH: (8.0, 1.6, 0.4, 80.0),
    Subtype.IVH: (2.5, 1.5, 0.4, 40.0),
    Subtype.SAH: (1.6, 1.4, 0.4, 40.0),
    Subtype.SDH: (5.0, 1.4, 1.0, 90.0),
}
"""Median, standard deviation of the logarithm, lowest, highest."""


@dataclass(frozen=True, slots=True)
class Bleed:
    """One bleed: its subtype, shape, HU with their unevenness, oedema around it, and what it displaces."""

    subtype: Subtype
    shape: Shape
    centre: Point
    hu: float
    fine_hu: float
    broad_hu: float
    level_drop_hu: float
    oedema_hu: float
    oedema_mm: float
    push: Push | None


def draw_bleeds(rng: np.random.Generator, anatomy: Anatomy, subtypes: Sequence[Subtype] | None) -> tuple[Bleed, ...]:
    """Draw the bleeds of one positive head; ``subtypes`` forces which, else some are drawn."""
    if subtypes is None:
        count = 1 + int(rng.choice(len(SUBTYPE_COUNTS), p=SUBTYPE_COUNTS))
        weights = [_SUBTYPE_WEIGHTS[subtype] for subtype in SUBTYPES]
        chosen = rng.choice(len(SUBTYPES), size=count, replace=False, p=np.divide(weights, sum(weights)))
        subtypes = [SUBTYPES[int(index)] for index in chosen]
    return tuple(_DRAW[subtype](rng, anatomy, _volume(rng, subtype)) for subtype in subtypes)


def _volume(rng: np.random.Generator, subtype: Subtype) -> float:
    median, spread, low, high = _VOLUME_ML[subtype]
    return float(np.clip(median * np.exp(rng.normal(0, spread)), low, high))


def _place(rng: np.random.Generator, points: Floats) -> Point:
    x, y, z = points[int(rng.integers(len(points)))]
    return float(x), float(y), float(z)


def _bleed(
    rng: np.random.Generator,
    subtype: Subtype,
    shape: Shape,
    centre: Point,
    hu: float,
    push: Push | None = None,
    oedema_hu: float = 0.0,
) -> Bleed:
    layered = subtype in (Subtype.SDH, Subtype.IPH) and rng.random() < 0.12
    return Bleed(
        subtype=subtype,
        shape=shape,
        centre=centre,
        hu=float(np.clip(hu, 36, 92)),
        fine_hu=rng.uniform(0.3, 3),
        broad_hu=rng.uniform(0, 3),
        level_drop_hu=rng.uniform(8, 20) if layered else 0.0,
        oedema_hu=oedema_hu,
        oedema_mm=rng.uniform(2, 9),
        push=push,
    )


def _inward(rng: np.random.Generator, centre: Point, volume_ml: float) -> Push | None:
    """Brain pushed away from the inner table by a large extra-axial bleed."""
    if volume_ml < 6:
        return None
    target = np.array([0.0, -18.0, 8.0]) - np.array(centre)
    x, y, z = target / np.linalg.norm(target)
    return Push(
        centre, min(9.0, 1.6 * volume_ml ** (1 / 3)) * rng.uniform(0.4, 1.2), 55.0, (float(x), float(y), float(z))
    )


def _draw_epidural(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Bleed:
    centre = _place(rng, anatomy.surface)
    flatness = rng.uniform(0.28, 0.55)
    radius = float((2000 * volume_ml / (np.pi * flatness)) ** (1 / 3))
    shape = Lens(centre, max(radius, 9.0), max(flatness * radius, 4.0))
    return _bleed(rng, Subtype.EDH, shape, centre, rng.normal(62, 8), _inward(rng, centre, volume_ml))


def _draw_subdural(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Bleed:
    centre = _place(rng, anatomy.surface)
    flatness = rng.uniform(0.05, 0.18)
    radius = float(np.clip((1500 * volume_ml / (np.pi * flatness)) ** (1 / 3), 20, 95))
    thickness = float(np.clip(1500 * volume_ml / (np.pi * radius**2), 2.5, 22))
    falx = rng.uniform(2, 6) if rng.random() < 0.2 else 0.0
    hu = rng.normal(57, 8) if rng.random() < 0.82 else rng.normal(40, 3)
    shape = Crescent(centre, radius, thickness, falx)
    return _bleed(rng, Subtype.SDH, shape, centre, hu, _inward(rng, centre, volume_ml))


def _draw_parenchymal(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Bleed:
    centre = _place(rng, anatomy.interior)
    parts = int(rng.integers(1, 4))
    radius = float((750 * volume_ml / np.pi / (1 + 0.35 * (parts - 1))) ** (1 / 3))
    others = [np.array(centre) + rng.normal(0, 0.5 * radius, 3) for _ in range(parts - 1)]
    centres = (centre, *((float(x), float(y), float(z)) for x, y, z in others))
    radii = (radius, *(radius * rng.uniform(0.6, 1.0) for _ in others))
    stretch = (rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.25))
    push = Push(centre, 0.25 * radius, 2.2 * radius, None) if volume_ml > 3 else None
    return _bleed(
        rng, Subtype.IPH, Clot(centres, radii, stretch), centre, rng.normal(58, 8), push, oedema_hu=rng.uniform(0, 12)
    )


def _draw_ventricular(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Bleed:
    side = float(rng.choice([-1.0, 1.0])) if rng.random() < 0.3 else 0.0
    share = float(np.clip(volume_ml / 30 * (1 if not side else 2), 0.04, 1))
    y = anatomy.ventricular[:, 1]
    level = 1e3 if share > 0.8 else float(np.quantile(y, share))
    wet = anatomy.ventricular[(y <= level) & (side * anatomy.ventricular[:, 0] >= 0)]
    centre = _place(rng, wet if len(wet) else anatomy.ventricular)
    return _bleed(rng, Subtype.IVH, VentricleFill(level, side), centre, rng.normal(51, 8))


def _draw_subarachnoid(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Bleed:
    in_cistern = rng.random() < 0.5
    centre = _place(rng, anatomy.cisternal if in_cistern else anatomy.surface)
    radius = float(np.clip(15 * volume_ml ** (1 / 3), 12, 55))
    shape = SulcalCast(centre, radius, rng.uniform(0.6, 1.5), rng.uniform(8, 20))
    return _bleed(rng, Subtype.SAH, shape, centre, rng.normal(53, 6))


_DRAW = {
    Subtype.EDH: _draw_epidural,
    Subtype.IPH: _draw_parenchymal,
    Subtype.IVH: _draw_ventricular,
    Subtype.SAH: _draw_subarachnoid,
    Subtype.SDH: _draw_subdural,
}


def paint_bleeds(
    brain: Floats, sample: Sample, fluid: Fluid, inner: Floats, bleeds: Sequence[Bleed]
) -> NDArray[np.uint8]:
    """Put blood into ``brain`` (slice, row, column) in place and return its labels, 0 none, i + 1 SUBTYPES[i]."""
    labels = np.zeros(brain.shape, np.uint8)
    for bleed in bleeds:
        mask = bleed.shape.covers(sample, fluid, inner) & (inner > 0)
        if bleed.oedema_hu and isinstance(bleed.shape, Clot):
            depth = bleed.shape.depth(sample)
            swelling = np.clip(1 + depth / np.float32(bleed.oedema_mm), 0, 1) * (depth < 0)
            brain -= np.float32(bleed.oedema_hu) * swelling * (1 - fluid.total())
        if not mask.any():
            continue
        value = bleed.hu + np.float32(bleed.fine_hu) * sample.fine[3] + np.float32(bleed.broad_hu) * sample.broad[3]
        if bleed.level_drop_hu:
            value -= np.float32(bleed.level_drop_hu) * (sample.points[1] > bleed.centre[1])
        np.copyto(brain, value, where=mask)
        labels[mask] = SUBTYPES.index(bleed.subtype) + 1
    return labels
