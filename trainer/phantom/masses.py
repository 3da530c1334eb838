"""Masses and scars of the brain that are no blood: tumours with oedema, old infarcts, lacunes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.fields import Floats
from trainer.phantom.points import Point, as_point
from trainer.phantom.sample import Fluid, Sample
from trainer.phantom.solids import Blob, blob_share


@dataclass(frozen=True, slots=True)
class Tumour:
    """A mass with a core of another density than its rim (0 mm wide: none), and oedema in the white matter."""

    mass: Blob
    core_hu: float
    rim_mm: float
    oedema_hu: float
    oedema_mm: float


@dataclass(frozen=True, slots=True)
class Masses:
    """What one head has of them."""

    scars: tuple[Blob, ...]
    tumours: tuple[Tumour, ...]


def draw_masses(rng: np.random.Generator, surface: Floats) -> Masses:
    """Draw them: an old infarct in 12 % of heads, lacunes in 20 %, a tumour in 5 %."""
    for_infarct, for_lacunes, for_tumour = rng.spawn(3)
    scars: list[Blob] = []
    if for_infarct.random() < 0.12:
        at = _under(for_infarct, surface, for_infarct.uniform(0.75, 1.0))
        scars.append(Blob(at, for_infarct.uniform(12, 34), 1.0, for_infarct.uniform(9, 24), 0.22, 3.0))
    if for_lacunes.random() < 0.2:
        for _ in range(int(for_lacunes.integers(1, 4))):
            side = float(for_lacunes.choice([-1.0, 1.0]))
            at = (side * for_lacunes.uniform(9, 30), for_lacunes.uniform(-40, 22), for_lacunes.uniform(-8, 28))
            scars.append(Blob(at, for_lacunes.uniform(1.5, 5), 1.0, for_lacunes.uniform(9, 18), 0.15, 1.5))
    tumours: list[Tumour] = []
    if for_tumour.random() < 0.05:
        tumours.append(_draw_tumour(for_tumour, surface))
    return Masses(tuple(scars), tuple(tumours))


def _under(rng: np.random.Generator, surface: Floats, share: float) -> Point:
    """A point on the way from the middle of the brain to its surface."""
    middle = np.array([0.0, -18.0, 5.0])
    return as_point(middle + share * (surface[int(rng.integers(len(surface)))] - middle))


def _draw_tumour(rng: np.random.Generator, surface: Floats) -> Tumour:
    """A meningioma on the dura, even and dense, or a mass inside the brain with a darker core."""
    on_dura = rng.random() < 0.6
    radius = rng.uniform(7, 19)
    hu = rng.uniform(42, 58) if on_dura else rng.uniform(34, 46)
    at = _under(rng, surface, rng.uniform(0.9, 0.97) if on_dura else rng.uniform(0.4, 0.8))
    return Tumour(
        mass=Blob(at, radius, 1.0, hu, 0.06 if on_dura else 0.15, 1.5),
        core_hu=rng.uniform(10, 28),
        rim_mm=0.0 if on_dura else rng.uniform(2, 6),
        oedema_hu=rng.uniform(5, 14),
        oedema_mm=rng.uniform(4, 18),
    )


def paint_masses(brain: Floats, sample: Sample, fluid: Fluid, masses: Masses) -> None:
    """Put them into ``brain`` (slice, row, column) in place."""
    for scar in masses.scars:
        found = blob_share(sample, sample.inside_points, scar)
        if found is not None:
            box, share = found
            brain[box] += np.minimum(scar.hu - brain[box], 0) * share
    for tumour in masses.tumours:
        _paint_tumour(brain, sample, fluid, tumour)


def _paint_tumour(brain: Floats, sample: Sample, fluid: Fluid, tumour: Tumour) -> None:
    """First the oedema, which spares fluid and most of the grey matter, then the mass with its core."""
    mass = tumour.mass
    wide = Blob(mass.centre, mass.radius_mm + tumour.oedema_mm, 1.0, 0.0, 0.2, tumour.oedema_mm)
    around = blob_share(sample, sample.inside_points, wide)
    if around is not None:
        box, share = around
        dry = 1 - np.maximum.reduce([fluid.ventricle[box], fluid.sulci[box], fluid.cistern[box]])
        brain[box] -= np.float32(tumour.oedema_hu) * share * dry * (0.4 + 0.6 * np.clip(sample.brain.white[box], 0, 1))
    found = blob_share(sample, sample.inside_points, mass)
    if found is None:
        return
    box, share = found
    value = np.float32(mass.hu) + 1.2 * sample.fine[1][box]
    if tumour.rim_mm:
        smaller = Blob(mass.centre, max(mass.radius_mm - tumour.rim_mm, 1.0), 1.0, 0.0, mass.rough, 2.0)
        core = blob_share(sample, sample.inside_points, smaller)
        if core is not None:
            inside = np.zeros_like(brain)
            inside[core[0]] = core[1]
            value = value + (tumour.core_hu - value) * inside[box]
    brain[box] += (value - brain[box]) * share
