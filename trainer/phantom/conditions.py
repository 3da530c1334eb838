"""Heads that the product was not made for: enhanced by contrast agent, opened, or with metal in them.

None of them is ever drawn for a training head; they serve the tests of the refusals. Sizes and HU are those of
anatomy and surgery: sinuses and arteries at 120 to 250 HU, saw cuts of 1.8 to 3 mm with burr holes of 12 mm, an
opening of 90 to 124 mm for relief.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.mimics import Mimics, draw_metal, every_vessel
from trainer.phantom.points import Point, as_point, distance
from trainer.phantom.sample import Sample
from trainer.phantom.solids import Blob, Tube, paint_blob


class Condition(StrEnum):
    """What was done to a head before its scan."""

    CONTRAST = "contrast"
    CRANIECTOMY = "craniectomy"
    BONE_FLAP = "bone_flap"
    METAL = "metal"


@dataclass(frozen=True, slots=True)
class Opening:
    """A piece of the vault taken out, or put back with a cut of ``kerf_mm`` around it and ``burr_holes`` in the cut.

    ``bulge_mm`` is how far the brain swells out of it.
    """

    centre: Point
    radius_mm: float
    kerf_mm: float
    burr_holes: tuple[Blob, ...]
    bulge_mm: float
    scar_hu: float


def draw_opening(rng: np.random.Generator, condition: Condition | None, surface: Floats) -> Opening | None:
    """The opening of a head in this condition, None where there is none; ``surface`` as in `Anatomy`."""
    if condition not in (Condition.CRANIECTOMY, Condition.BONE_FLAP):
        return None
    flap = condition is Condition.BONE_FLAP
    sides = surface[(surface[:, 2] > 25) & (np.abs(surface[:, 0]) > 28) & (surface[:, 2] < 60)]
    centre = sides[int(rng.integers(len(sides)))]
    radius = rng.uniform(30, 48) if flap else rng.uniform(45, 62)
    rim = surface[(np.abs(np.linalg.norm(surface - centre, axis=1) - radius) < 3.5) & (surface[:, 2] > -5)]
    holes = tuple(
        Blob(as_point(1.05 * spot), rng.uniform(6, 7), 1.0, rng.uniform(10, 45))
        for spot in rim[rng.integers(max(len(rim), 1), size=4 if flap and len(rim) else 0)]
    )
    return Opening(
        centre=as_point(centre),
        radius_mm=radius,
        kerf_mm=rng.uniform(1.8, 3.0) if flap else 0.0,
        burr_holes=holes,
        bulge_mm=0.0 if flap else rng.uniform(0, 12),
        scar_hu=rng.uniform(20, 45),
    )


def bulged(inner: Floats, points: Floats, opening: Opening) -> Floats:
    """Depth under the inner table in mm where brain swells out of ``opening``; as ``inner``."""
    if not opening.bulge_mm:
        return inner
    share = np.clip(1.15 - (distance(points, opening.centre) / np.float32(opening.radius_mm)) ** 2, 0, 1)
    return np.asarray(inner + np.float32(opening.bulge_mm) * share, np.float32)


def paint_opening(hu: Floats, bone: Floats, sample: Sample, opening: Opening) -> None:
    """Take the bone out of ``hu`` and ``bone`` (slice, row, column), in place."""
    beyond = distance(sample.points, opening.centre) - np.float32(opening.radius_mm) + 1.5 * sample.broad[0]
    vault = ramp(sample.points[2] + 12, 6)
    hole = ramp(opening.kerf_mm / 2 - np.abs(beyond)) if opening.kerf_mm else ramp(-beyond)
    taken = hole * vault * (bone > 0.01)
    hu += (opening.scar_hu + 3 * sample.fine[0] - hu) * taken
    bone *= 1 - taken
    for burr_hole in opening.burr_holes:
        before = hu.copy()
        paint_blob(hu, sample, sample.points, burr_hole)
        np.copyto(hu, before, where=bone < 0.1)
    bone *= hu > 90


def enhanced(rng: np.random.Generator, mimics: Mimics, surface: Floats) -> Mimics:
    """The mimics of a head with contrast agent: every vessel and sinus open and bright, the dura and plexus too."""
    vessel_hu, dura_hu = rng.uniform(130, 250), rng.uniform(75, 120)
    vessels = (*every_vessel(rng, vessel_hu), *_cortical_veins(rng, vessel_hu, surface))
    plexus = tuple(
        Blob((side * rng.uniform(17, 22), -40.0, 12.0), rng.uniform(3, 5), 1.6, rng.uniform(90, 150), 0.2)
        for side in (-1.0, 1.0)
    )
    return replace(
        mimics, dura=mimics.dura.enhanced(vessel_hu, dura_hu), vessels=vessels, blobs=(*mimics.blobs, *plexus)
    )


def with_metal(rng: np.random.Generator, mimics: Mimics, surface: Floats) -> Mimics:
    """The mimics of a head with metal at several places."""
    return replace(mimics, metal=(*mimics.metal, *draw_metal(rng, surface, clip=True), *draw_metal(rng, surface)))


def _cortical_veins(rng: np.random.Generator, hu: float, surface: Floats) -> list[Tube]:
    """Veins on the surface of the brain, from its sides up to the midline."""
    veins = []
    low = surface[(surface[:, 2] > 5) & (surface[:, 2] < 45) & (np.abs(surface[:, 0]) > 30)]
    for start in low[rng.integers(len(low), size=int(rng.integers(12, 22)))]:
        end = np.array([0.0, start[1] + rng.uniform(-15, 15), surface[:, 2].max()])
        path = [as_point(0.95 * _nearest(surface, start + share * (end - start))) for share in np.linspace(0, 1, 6)]
        veins.append(Tube(tuple(path), rng.uniform(0.9, 1.8), hu))
    return veins


def _nearest(surface: Floats, point: np.ndarray) -> np.ndarray:
    """The surface point in the direction of ``point`` from the middle of the head."""
    middle = np.array([0.0, -18.0, 5.0])
    directions = surface - middle
    along = directions @ (point - middle) / np.linalg.norm(directions, axis=1)
    return np.asarray(surface[int(along.argmax())])
