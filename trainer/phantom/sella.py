"""Around the sella: bone with marrow, venous blood and calcified arteries, each as dense as blood in a thick slice.

The middle of the skull base is where nets that know solid bone alone see blood in healthy heads: the dorsum is a thin
shell around marrow of 40 to 110 HU that stands up into the cisterns, and the carotids beside it calcify.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.points import Point, as_point
from trainer.phantom.sample import Sample
from trainer.phantom.solids import Blob, Tube, around, paint_blob, paint_tubes

_SIPHON: tuple[Point, ...] = ((11.0, -8.0, -36.0), (12.0, 0.0, -34.0), (11.5, 6.0, -31.0), (11.0, 3.0, -27.0))
"""The right carotid through the cavernous sinus."""


@dataclass(frozen=True, slots=True)
class Plate:
    """A rounded plate of bone: ``half_mm`` along x, y and z, a shell of ``shell_mm`` at ``shell_hu`` around marrow."""

    centre: Point
    half_mm: Point
    shell_mm: float
    shell_hu: float
    marrow_hu: float


@dataclass(frozen=True, slots=True)
class Sella:
    """What stands around the sella of one head.

    Attributes
    ----------
    plates : tuple of Plate
        The dorsum, and the anterior clinoids.
    clots : tuple of Blob
        The cavernous sinuses, as dense as the blood of the head, and the tips of the posterior clinoids.
    walls : tuple of Tube
        Calcium along the carotids.
    """

    plates: tuple[Plate, ...]
    clots: tuple[Blob, ...]
    walls: tuple[Tube, ...]


def draw_sella(rng: np.random.Generator, blood_hu: float) -> Sella:
    """Draw it; each part has its own random stream. ``blood_hu`` is the density of the blood in the vessels."""
    for_dorsum, for_clinoids, for_sinuses, for_walls = rng.spawn(4)
    dorsum, tips = _draw_dorsum(for_dorsum)
    return Sella(
        plates=(*dorsum, *_draw_clinoids(for_clinoids)),
        clots=(*_draw_sinuses(for_sinuses, blood_hu), *tips),
        walls=_draw_walls(for_walls),
    )


def _draw_dorsum(rng: np.random.Generator) -> tuple[tuple[Plate, ...], tuple[Blob, ...]]:
    """In two of three heads, 10 to 24 mm wide, its top 5 to 15 mm above the floor of the sella; and its two tips."""
    top, width, thick = rng.uniform(-26, -15), rng.uniform(5, 12), rng.uniform(2.2, 6.0)
    centre = as_point((rng.normal(0, 1.2), rng.uniform(-13, -4), top - 9))
    dorsum = _plate(rng, centre, (width, thick, 9.0))
    tips = tuple(
        Blob((centre[0] + side * 0.8 * width, centre[1], top), rng.uniform(1, 3), 1.2, rng.uniform(120, 600), 0.2)
        for side in (-1.0, 1.0)
    )
    shown, tipped = rng.random() < 0.67, rng.random() < 0.5
    return ((dorsum,) if shown else ()), (tips if shown and tipped else ())


def _draw_clinoids(rng: np.random.Generator) -> tuple[Plate, ...]:
    """Both in half of the heads."""
    size = rng.uniform(2.0, 4.5)
    both = tuple(
        _plate(rng, as_point((side * rng.uniform(10, 15), rng.uniform(5, 11), rng.uniform(-27, -20))), (size, 5.0, 3.0))
        for side in (-1.0, 1.0)
    )
    return both if rng.random() < 0.5 else ()


def _plate(rng: np.random.Generator, centre: Point, half_mm: Point) -> Plate:
    """Bone as thin and marrow as dense as they come: of 40 HU where it is fatty, of 110 HU between many trabeculae."""
    return Plate(centre, half_mm, rng.uniform(0.1, 1.1), rng.uniform(120, 500), rng.uniform(40, 110))


def _draw_sinuses(rng: np.random.Generator, blood_hu: float) -> tuple[Blob, ...]:
    """The cavernous sinuses of 70 % of the heads."""
    both = tuple(
        Blob(
            as_point((side * rng.uniform(9, 14), rng.uniform(-6, 4), rng.uniform(-37, -29))),
            rng.uniform(3, 6),
            rng.uniform(1.0, 1.6),
            blood_hu + rng.normal(0, 3),
            0.2,
        )
        for side in (-1.0, 1.0)
    )
    return both if rng.random() < 0.7 else ()


def _draw_walls(rng: np.random.Generator) -> tuple[Tube, ...]:
    """Pieces of the wall of each siphon in 35 % of the heads, faint or dense."""
    pieces = []
    for side in (-1.0, 1.0):
        for start in range(len(_SIPHON) - 1):
            path = tuple(
                as_point((side * (x + rng.normal(0, 1.2)), y + rng.normal(0, 1.2), z + rng.normal(0, 1.2)))
                for x, y, z in _SIPHON[start : start + 2]
            )
            hu = rng.uniform(70, 150) if rng.random() < 0.4 else rng.uniform(150, 700)
            piece = Tube(path, rng.uniform(0.5, 1.6), hu)
            if rng.random() < 0.5:
                pieces.append(piece)
    return tuple(pieces) if rng.random() < 0.35 else ()


def paint_sella(brain: Floats, sample: Sample, sella: Sella) -> None:
    """Put it into ``brain`` (slice, row, column), in place; bone does not move with the brain."""
    for clot in sella.clots:
        paint_blob(brain, sample, sample.points, clot)
    for plate in sella.plates:
        _paint_plate(brain, sample, plate)
    paint_tubes(brain, sample.points, sella.walls)


def _paint_plate(brain: Floats, sample: Sample, plate: Plate) -> None:
    box = around(sample.points, plate.centre, 1.5 * max(plate.half_mm))
    if box is None:
        return
    apart = [
        np.abs(sample.points[axis][box] - np.float32(plate.centre[axis])) / np.float32(plate.half_mm[axis])
        for axis in range(3)
    ]
    # A power of 4 rounds the corners; near the broad faces the depth is exact.
    outward = np.sqrt(np.sqrt(sum(part**4 for part in apart)))
    depth = np.float32(min(plate.half_mm)) * (1 - outward) + 0.5 * sample.fine[0][box]
    shell = ramp(np.float32(plate.shell_mm) - depth)
    hu = plate.marrow_hu + np.float32(plate.shell_hu - plate.marrow_hu) * shell + 6 * sample.fine[1][box]
    brain[box] += (hu - brain[box]) * ramp(depth)
