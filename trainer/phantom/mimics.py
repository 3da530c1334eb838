"""What looks like blood and is none: dense dura and sinuses, vessels, calcium, tumours, a swollen scalp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.dura import Dura, draw_dura, paint_dura
from trainer.phantom.fields import Floats, ramp
from trainer.phantom.masses import Masses, draw_masses, paint_masses
from trainer.phantom.points import Point, as_point
from trainer.phantom.sample import Fluid, Sample
from trainer.phantom.sella import Sella, draw_sella, paint_sella
from trainer.phantom.solids import Blob, Tube, around, paint_blob, paint_tubes

METAL_HU = 4000.0
"""Beyond what a scanner of 12 bits can tell; in a thick slice enough is left of it to throw streaks."""

_VESSELS: tuple[tuple[float, tuple[Point, ...], float, float], ...] = (
    (0.75, ((0.0, -16.0, -22.0), (0.0, -19.0, -36.0), (2.0, -24.0, -50.0)), 1.1, 2.3),
    (0.6, ((9.0, 2.0, -20.0), (20.0, 3.0, -17.0), (31.0, 4.0, -14.0), (39.0, -3.0, -6.0)), 0.8, 1.8),
    (0.6, ((-9.0, 2.0, -20.0), (-20.0, 3.0, -17.0), (-31.0, 4.0, -14.0), (-39.0, -3.0, -6.0)), 0.8, 1.8),
    (0.6, ((11.0, 3.0, -32.0), (9.0, 2.0, -20.0)), 1.4, 2.6),
    (0.6, ((-11.0, 3.0, -32.0), (-9.0, 2.0, -20.0)), 1.4, 2.6),
    (0.4, ((1.0, 9.0, -16.0), (1.0, 26.0, -6.0), (0.0, 30.0, 8.0)), 0.6, 1.2),
    (0.4, ((0.0, -40.0, 6.0), (0.0, -34.0, 9.0)), 1.5, 3.0),
)
"""Chance, path, smallest and largest radius in mm: basilar, middle cerebral, carotid, anterior cerebral, Galen."""

_CALCIUM: tuple[tuple[float, Point, float, float], ...] = (
    (0.55, (0.0, -29.0, 3.0), 0.8, 3.2),
    (0.45, (20.0, -40.0, 12.0), 1.0, 5.0),
    (0.45, (-20.0, -40.0, 12.0), 1.0, 5.0),
    (0.1, (0.0, -44.0, -30.0), 0.8, 2.0),
)
"""Chance, place, smallest and largest radius: pineal, choroid plexus left and right, fourth ventricle."""

_VESSEL_WALLS: tuple[Point, ...] = ((11.0, 3.0, -28.0), (-11.0, 3.0, -28.0), (1.0, -22.0, -46.0), (-6.0, -24.0, -50.0))
"""Where walls calcify: both carotid siphons, the basilar and a vertebral artery."""


@dataclass(frozen=True, slots=True)
class Swelling:
    """A thickened scalp around ``centre``: 0 mm at ``radius_mm`` from it, ``thick_mm`` in the middle."""

    centre: Point
    radius_mm: float
    thick_mm: float
    hu: float


@dataclass(frozen=True, slots=True)
class Mimics:
    """The mimics of one head."""

    dura: Dura
    vessels: tuple[Tube, ...]
    blobs: tuple[Blob, ...]
    masses: Masses
    pits: tuple[Blob, ...]
    scalp: tuple[Swelling, ...]
    metal: tuple[Blob, ...]
    sella: Sella


def draw_mimics(rng: np.random.Generator, surface: Floats) -> Mimics:
    """Draw the mimics of one head; ``surface`` are points (point, 3) under the inner table.

    Vessels and sinuses hold the same blood, so a head with a dense basilar artery has dense sinuses too.
    """
    for_blood, for_dura, for_vessels, for_calcium, for_masses, for_pits, for_scalp, for_metal, for_sella = rng.spawn(9)
    blood_hu = float(np.clip(for_blood.normal(50, 7), 36, 68))
    return Mimics(
        dura=draw_dura(for_dura, blood_hu),
        vessels=_draw_vessels(for_vessels, blood_hu),
        blobs=_draw_calcium(for_calcium),
        masses=draw_masses(for_masses, surface),
        pits=_draw_pits(for_pits, surface),
        scalp=_draw_scalp(for_scalp, surface),
        metal=draw_metal(for_metal, surface) if for_metal.random() < 0.04 else (),
        sella=draw_sella(for_sella, blood_hu),
    )


def _draw_vessels(rng: np.random.Generator, blood_hu: float) -> tuple[Tube, ...]:
    """Some of `_VESSELS`; 6 % of those are 14 HU denser, as a clot makes them."""
    vessels = []
    for chance, path, thinnest, thickest in _VESSELS:
        bent = tuple(_moved(rng, spot, 1.5) for spot in path)
        radius, hu = rng.uniform(thinnest, thickest), blood_hu + rng.normal(0, 2)
        dense = rng.random() < 0.06
        if rng.random() < chance:
            vessels.append(Tube(bent, radius, hu + (14 if dense else 0)))
    return tuple(vessels)


def every_vessel(rng: np.random.Generator, hu: float) -> tuple[Tube, ...]:
    """The large vessels at the base, all of them at ``hu``."""
    return tuple(
        Tube(tuple(_moved(rng, spot, 1.0) for spot in path), rng.uniform((thinnest + thickest) / 2, thickest), hu)
        for _, path, thinnest, thickest in _VESSELS
    )


def _draw_calcium(rng: np.random.Generator) -> tuple[Blob, ...]:
    """Calcium at its usual places, falx, vessel walls and basal ganglia among them; and the soft choroid plexus."""
    blobs = []
    falx = tuple((0.08, (0.0, rng.uniform(-60, 60), rng.uniform(30, 70)), 1.0, 3.5) for _ in range(3))
    walls = tuple((0.12, spot, 0.7, 1.6) for spot in _VESSEL_WALLS)
    for chance, centre, smallest, largest in (*_CALCIUM, *falx, *walls):
        if rng.random() < chance:
            spread = 1.0 if centre[0] == 0 else 2.5
            blobs.append(_calcium(rng, _moved(rng, centre, spread), rng.uniform(smallest, largest)))
    for side in (-1.0, 1.0):
        if rng.random() < 0.6:  # the soft plexus itself, a little denser than brain, in fluid
            centre = _moved(rng, (side * 20, -38.0, 13.0), 2.0)
            blobs.append(Blob(centre, rng.uniform(1.5, 4.5), 1.8, rng.uniform(32, 50), 0.25, 1.5))
    if rng.random() < 0.12:
        for side in (-1.0, 1.0):
            spots = [_moved(rng, (side * 19, 0.0, 1.0), 4.0) for _ in range(int(rng.integers(1, 5)))]
            blobs.extend(_calcium(rng, spot, rng.uniform(0.8, 3.2)) for spot in spots)
    return tuple(blobs)


def _calcium(rng: np.random.Generator, centre: Point, radius_mm: float) -> Blob:
    """Faint or dense, and rough: smooth balls would give it away."""
    density = rng.uniform(60, 130) if rng.random() < 0.4 else rng.uniform(130, 450)
    return Blob(centre, radius_mm, rng.uniform(1.0, 1.8), density, rng.uniform(0.1, 0.4))


def _draw_pits(rng: np.random.Generator, surface: Floats) -> tuple[Blob, ...]:
    """Arachnoid granulations: pits of fluid in the inner table near the midline."""
    if rng.random() < 0.7:
        return ()
    near = surface[(np.abs(surface[:, 0]) < 28) & (surface[:, 2] > 30)]
    if not len(near):
        return ()
    spots = near[rng.integers(len(near), size=int(rng.integers(1, 4)))] * 1.03
    return tuple(Blob(as_point(spot), rng.uniform(1.5, 4.5), 1.0, rng.uniform(4, 16), 0.1) for spot in spots)


def _draw_scalp(rng: np.random.Generator, surface: Floats) -> tuple[Swelling, ...]:
    """A bruise under the scalp, as fresh blood or as soft swelling, in 18 % of heads."""
    if rng.random() > 0.18:
        return ()
    above = surface[surface[:, 2] > -15]
    spots = (above if len(above) else surface)[rng.integers(max(len(above), 1), size=1 + (rng.random() < 0.2))]
    return tuple(
        Swelling(as_point(1.1 * spot), rng.uniform(14, 45), rng.uniform(2, 14), rng.uniform(22, 70)) for spot in spots
    )


def draw_metal(rng: np.random.Generator, surface: Floats, *, clip: bool = False) -> tuple[Blob, ...]:
    """An aneurysm clip or coil at the base, a shunt valve or a piercing beside the skull, or fillings in the teeth.

    ``clip`` asks for the first of them.
    """
    kind = 0 if clip else int(rng.integers(3))
    if kind == 0:
        side = float(rng.choice([-1.0, 1.0]))
        return (Blob(_moved(rng, (side * 12, 3.0, -20.0), 3.0), rng.uniform(1.2, 4.0), 1.5, METAL_HU),)
    if kind == 1:
        spots = 1.17 * surface[rng.integers(len(surface), size=int(rng.integers(1, 4)))]
        return tuple(Blob(as_point(spot), rng.uniform(0.8, 2.5), 1.0, METAL_HU) for spot in spots)
    count = int(rng.integers(1, 4))
    return tuple(
        Blob(_moved(rng, (float(rng.choice([-26.0, 26.0])), 44.0, -74.0), 5.0), rng.uniform(2, 4.5), 1.5, METAL_HU)
        for _ in range(count)
    )


def _moved(rng: np.random.Generator, spot: Point, spread_mm: float) -> Point:
    """A place near ``spot``, ``spread_mm`` the standard deviation along each axis."""
    return as_point(np.array(spot) + rng.normal(0, spread_mm, 3))


def paint_mimics(brain: Floats, sample: Sample, fluid: Fluid, inner: Floats, mimics: Mimics) -> None:
    """Put what lies inside the skull into ``brain`` (slice, row, column), in place; ``inner`` is the depth in mm."""
    paint_masses(brain, sample, fluid, mimics.masses)
    paint_tubes(brain, sample.inside_points, mimics.vessels)
    paint_dura(brain, sample, inner, mimics.dura)
    paint_sella(brain, sample, mimics.sella)
    for blob in mimics.blobs:
        paint_blob(brain, sample, sample.inside_points, blob)


def paint_around(hu: Floats, bone: Floats, sample: Sample, mimics: Mimics, skull_mm: float, scalp_mm: float) -> None:
    """Put what lies in the skull and the scalp into ``hu`` and ``bone`` (slice, row, column), in place."""
    for pit in mimics.pits:
        box = around(sample.points, pit.centre, 2 * pit.radius_mm)
        if box is not None:
            paint_blob(hu, sample, sample.points, pit)
            bone[box] *= hu[box] > 100
    for swelling in mimics.scalp:
        _paint_swelling(hu, sample, swelling, skull_mm, scalp_mm)


def _paint_swelling(hu: Floats, sample: Sample, swelling: Swelling, skull_mm: float, scalp_mm: float) -> None:
    """The skin is raised, and a layer of ``swelling.hu`` lies on the bone under it."""
    box = around(sample.points, swelling.centre, swelling.radius_mm + swelling.thick_mm)
    if box is None:
        return
    x, y, z = (sample.points[axis][box] - np.float32(swelling.centre[axis]) for axis in range(3))
    near = np.clip(1 - (x * x + y * y + z * z) / np.float32(swelling.radius_mm**2), 0, 1)
    outward = -sample.skull.inner[box] - np.float32(skull_mm)
    part = hu[box]
    raised = ramp(swelling.thick_mm * near + np.float32(scalp_mm) - outward) * (near > 0) * (outward > 0)
    skin = raised * (part < -300)
    part += (-60 - part) * skin
    layer = ramp(swelling.thick_mm * near + 0.4 * sample.fine[0][box] - outward) * (near > 0) * ramp(outward - 0.5)
    part += (swelling.hu + 2 * sample.fine[1][box] - part) * layer * (part < 150)


def paint_metal(hu: Floats, sample: Sample, metal: tuple[Blob, ...]) -> None:
    """Put metal into ``hu`` (slice, row, column), in place."""
    for blob in metal:
        paint_blob(hu, sample, sample.points, blob)
