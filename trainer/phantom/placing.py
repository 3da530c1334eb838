"""Where each kind of bleed starts and what shape it takes, before it gets its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.casts import Horn, Pools, SulcalCast, rearmost
from trainer.phantom.fields import Floats
from trainer.phantom.layers import Crescent, Lens, Patch, past_sutures
from trainer.phantom.points import Point, as_point
from trainer.phantom.shapes import Clot, Shape
from triage.domain.finding import Subtype

_SIMILAR = (1.4, 2.2, 4.0)
"""A shape whose first guess has about the wanted volume is searched up to these scales, one after the other."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A bleed at its place: ``scales`` are the upper ends of the search for its size."""

    shape: Shape
    centre: Point
    scales: tuple[float, ...]
    pushes: bool = False


def _one_of(rng: np.random.Generator, points: Floats, wanted: np.ndarray | None = None) -> Point:
    """One of ``points`` (point, 3), among those ``wanted`` if there are any."""
    pool = points[wanted] if wanted is not None and wanted.any() else points
    return as_point(pool[int(rng.integers(len(pool)))])


def _beside(rng: np.random.Generator, points: Floats, centre: Point, near_mm: float, far_mm: float) -> Point:
    """One of ``points`` on the side of ``centre`` and within a shell around it."""
    away = np.linalg.norm(points - np.array(centre, np.float32), axis=1)
    own_side = (points[:, 0] * centre[0] > 0) & (points[:, 2] < 62)
    return _one_of(rng, points, (away > near_mm) & (away < far_mm) & own_side)


def _place_epidural(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Placed:
    """A lens, mostly over the temporal and parietal lobes, clear of the sutures; sometimes a small one beside it."""
    points = anatomy.surface
    clear = np.min(np.abs(np.stack(past_sutures(np.ascontiguousarray(points.T)))), axis=0)
    lateral = np.abs(points[:, 0]) > (34 if rng.random() < 0.8 else 12)
    centre = _one_of(rng, points, lateral & (clear > 12) & (points[:, 2] > -22) & (points[:, 2] < 58))
    flat, low = rng.uniform(0.28, 0.48), rng.uniform(0.36, 0.6)
    length = (2000 * volume_ml / (np.pi * flat * low)) ** (1 / 3)
    patches = [Patch(centre, (length, length, low * length), flat * length)]
    if rng.random() < 0.25:
        other = 0.4 * length
        place = _beside(rng, points, centre, 1.2 * length, 2 * length + 20)
        patches.append(Patch(place, (other, other, low * other), flat * other))
    return Placed(Lens(tuple(patches)), centre, _SIMILAR, pushes=True)


def _place_subdural(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Placed:
    """A crescent with some thin patches beside it, and at times layers along the falx and the tentorium."""
    points = anatomy.surface
    centre = _one_of(rng, points, (np.abs(points[:, 0]) > 15) & (points[:, 2] > -20))
    side = 1.0 if centre[0] >= 0 else -1.0
    low = rng.uniform(0.5, 0.8)
    thickness = max(2.6, 3.0 * volume_ml**0.3 * float(np.exp(rng.normal(0, 0.25))))
    length = (1500 * volume_ml / (np.pi * low * thickness)) ** 0.5
    patches = [Patch(centre, (length, length, low * length), thickness)]
    for _ in range(int(rng.poisson(2.2))):
        place = _beside(rng, points, centre, 0.8 * length, 1.5 * length + 45)
        long = rng.uniform(6, 13)
        patches.append(Patch(place, (long, long, rng.uniform(2.5, 5)), rng.uniform(2.6, 3.6)))
    falx: tuple[Patch, ...] = ()
    tentorium: tuple[Patch, ...] = ()
    along_falx, along_tentorium = rng.random() < 0.22, rng.random() < 0.15
    if along_falx:
        middle = (0.0, rng.uniform(-85, -40), rng.uniform(15, 50)) if rng.random() < 0.7 else (0.0, 45.0, 25.0)
        falx = (Patch(middle, (30.0, rng.uniform(12, 30), rng.uniform(8, 22)), rng.uniform(2.6, 5)),)
    if along_tentorium:
        roof = (side * rng.uniform(12, 30), rng.uniform(-75, -48), -14.0)
        tentorium = (Patch(roof, (rng.uniform(12, 24), rng.uniform(12, 24), 30.0), rng.uniform(2.6, 4)),)
    return Placed(Crescent(tuple(patches), falx, tentorium, side), centre, _SIMILAR, pushes=True)


def _place_parenchymal(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Placed:
    """A clot of one to three merged balls, often with smaller ones apart from it."""
    centre = _one_of(rng, anatomy.interior)
    merged = int(rng.integers(0, 3))
    apart = int(rng.poisson(1.3))  # BHSD: 2.1 components a scan, some of which touch here
    radius = float((750 * volume_ml / np.pi / (1 + 0.35 * merged)) ** (1 / 3))
    centres, radii = [centre], [radius]
    for _ in range(merged):
        centres.append(as_point(np.array(centre) + rng.normal(0, 0.5 * radius, 3)))
        radii.append(radius * rng.uniform(0.6, 1.0))
    for _ in range(apart):
        small = radius * rng.uniform(0.35, 0.75)
        centres.append(_beside(rng, anatomy.interior, centre, 1.3 * radius + small, 2 * radius + 35))
        radii.append(small)
    stretch = (rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.25))
    return Placed(Clot(tuple(centres), tuple(radii), stretch), centre, _SIMILAR)


def _place_ventricular(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Placed:
    """Pools in the rear of one or both lateral ventricles, clots in the third and fourth."""
    points = anatomy.ventricular
    both = rng.random() < min(0.9, 0.35 + 0.06 * volume_ml)
    sides = (-1.0, 1.0) if both else (float(rng.choice([-1.0, 1.0])),)
    horns: list[Horn] = []
    for side in sides:
        back = rearmost(points, side)
        if back is not None:
            horns.append(Horn(side, back, 1.0 if not horns else rng.uniform(0.5, 1.0)))
    middle: list[tuple[Point, float]] = []
    for chance, region in (
        (0.3, (np.abs(points[:, 0]) < 4) & (points[:, 1] > -32)),
        (0.3, (points[:, 1] < -30) & (points[:, 2] < -14) & (np.abs(points[:, 0]) < 10)),
    ):
        if region.any() and (rng.random() < chance or volume_ml > 20):
            middle.append((_one_of(rng, points, region), rng.uniform(5, 10)))
    if horns:
        nearest = points[(points[:, 0] * horns[0].side > 5) & (points[:, 1] < horns[0].back_mm + 12)]
        centre = _one_of(rng, nearest)
    else:
        centre = _one_of(rng, points)
        middle.append((centre, 8.0))
    return Placed(Pools(tuple(horns), tuple(middle)), centre, _rises(volume_ml))


def _rises(volume_ml: float) -> tuple[float, ...]:
    """Where to search for the level of a pool: not low for much blood, as each look costs time."""
    first = 0 if volume_ml < 0.8 else 1 if volume_ml < 6 else 2
    return (0.4, 1.2, 3.5, 8.5)[first:]


def _place_subarachnoid(rng: np.random.Generator, anatomy: Anatomy, volume_ml: float) -> Placed:
    """Streaks in the sulci of a few places, or blood in cisterns and fissures."""
    points = anatomy.cisternal if rng.random() < 0.4 else anatomy.surface
    centre = _one_of(rng, points, points[:, 2] > -30)
    centres = [centre]
    reach = 25 + 12 * volume_ml ** (1 / 3)
    for _ in range(int(rng.poisson(4))):
        points = anatomy.cisternal if rng.random() < 0.2 else anatomy.surface
        centres.append(_one_of(rng, points, np.linalg.norm(points - np.array(centre), axis=1) < reach))
    radius = float(np.clip(15 * (volume_ml / len(centres)) ** (1 / 3), 7, 55))
    shape = SulcalCast(tuple(centres), radius, rng.uniform(1.25, 1.7), rng.uniform(10, 20))
    return Placed(shape, centre, _SIMILAR)


PLACE: dict[Subtype, Callable[[np.random.Generator, Anatomy, float], Placed]] = {
    Subtype.EDH: _place_epidural,
    Subtype.IPH: _place_parenchymal,
    Subtype.IVH: _place_ventricular,
    Subtype.SAH: _place_subarachnoid,
    Subtype.SDH: _place_subdural,
}
"""From a random stream, the anatomy and a volume in ml to a bleed at its place."""
