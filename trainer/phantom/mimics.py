"""What looks like blood and is none: dense dura and sinuses, vessels, calcium, swelling of the scalp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.tissue import Sample

_VESSELS_MM = ((0.0, -18.0, -30.0), (20.0, 2.0, -16.0), (-20.0, 2.0, -16.0), (12.0, 2.0, -22.0), (-12.0, 2.0, -22.0))
_CALCIUM_MM = (
    (0.55, (0.0, -29.0, 3.0), 0.8, 3.2),
    (0.45, (20.0, -40.0, 12.0), 1.0, 5.0),
    (0.45, (-20.0, -40.0, 12.0), 1.0, 5.0),
    (0.2, (18.0, 0.0, 0.0), 1.0, 4.0),
    (0.2, (-18.0, 0.0, 0.0), 1.0, 4.0),
)
"""Chance, place, smallest and largest radius: pineal, choroid plexus left and right, basal ganglia."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A soft-edged ellipsoid of one density; ``length`` stretches it along z."""

    centre: tuple[float, float, float]
    radius_mm: float
    length: float
    hu: float


@dataclass(frozen=True, slots=True)
class Sheet:
    """A membrane or a sinus: half its thickness in mm (0 if it cannot be seen), and its HU."""

    half_mm: float
    hu: float


@dataclass(frozen=True, slots=True)
class Mimics:
    """The mimics of one head."""

    falx: Sheet
    sagittal_sinus: Sheet
    sinus_depth_mm: float
    transverse_sinus: Sheet
    tentorium: Sheet
    blobs: tuple[Blob, ...]
    scalp: Blob | None


def draw_mimics(rng: np.random.Generator, surface: Floats) -> Mimics:
    """Draw the mimics of one head; ``surface`` are points (point, 3) under the inner table."""
    shown = float(rng.random() < 0.85)
    blobs = [
        Blob(centre, rng.uniform(1.2, 2.4), 2.0, rng.uniform(40, 62)) for centre in _VESSELS_MM if rng.random() < 0.5
    ]
    falx_calcium = (0.15, (0.0, rng.uniform(-60, 60), rng.uniform(30, 70)), 1.0, 3.0)
    for chance, centre, smallest, largest in (*_CALCIUM_MM, falx_calcium):
        if rng.random() < chance:
            x, y, z = np.array(centre) + rng.normal(0, 2.5, 3)
            density = rng.uniform(60, 130) if rng.random() < 0.4 else rng.uniform(130, 450)
            blobs.append(Blob((float(x), float(y), float(z)), rng.uniform(smallest, largest), 1.6, density))
    scalp = None
    if rng.random() < 0.15:
        x, y, z = 1.12 * surface[int(rng.integers(len(surface)))]
        scalp = Blob((float(x), float(y), float(z)), rng.uniform(8, 26), 1.0, rng.uniform(35, 68))
    return Mimics(
        falx=Sheet(shown * rng.uniform(0.3, 1.1), rng.uniform(38, 75)),
        sagittal_sinus=Sheet(shown * rng.uniform(2, 5), rng.uniform(42, 68)),
        sinus_depth_mm=rng.uniform(3, 7),
        transverse_sinus=Sheet(shown * rng.uniform(2, 6), rng.uniform(42, 66)),
        tentorium=Sheet(float(rng.random() < 0.6) * rng.uniform(0.5, 1.8), rng.uniform(38, 60)),
        blobs=tuple(blobs),
        scalp=scalp,
    )


def paint_mimics(brain: Floats, sample: Sample, inner: Floats, mimics: Mimics) -> None:
    """Put the mimics into ``brain`` (slice, row, column) in place; ``inner`` is the depth in mm."""
    x, y, z = sample.inside_points
    lateral = np.abs(x)
    if mimics.falx.half_mm:
        away = ramp(np.hypot(y + 20, z - 10) - 42, 4) * ramp(z + 8, 4)
        brain += (mimics.falx.hu - brain) * away * ramp(mimics.falx.half_mm - lateral)
        behind = ramp(np.maximum(-32 - y, z - 56), 6) * ramp(z + 8, 4) * ramp(mimics.sinus_depth_mm - inner)
        brain += (mimics.sagittal_sinus.hu - brain) * behind * ramp(mimics.sagittal_sinus.half_mm - lateral)
        low = ramp(mimics.transverse_sinus.half_mm - np.abs(z + 22)) * ramp(-55 - y, 4) * ramp(lateral - 8, 4)
        brain += (mimics.transverse_sinus.hu - brain) * low * ramp(mimics.sinus_depth_mm - inner)
    if mimics.tentorium.half_mm:
        roof = z + 22 - 0.55 * (35 - lateral)
        area = ramp(42 - lateral, 4) * ramp(-38 - y, 4)
        brain += (mimics.tentorium.hu - brain) * area * ramp(mimics.tentorium.half_mm - np.abs(roof))
    for blob in mimics.blobs:
        _paint_blob(brain, sample.inside_points, blob)


def paint_scalp(hu: Floats, sample: Sample, mimics: Mimics) -> None:
    """Swell the scalp, in place, where there is tissue outside the skull."""
    if mimics.scalp is not None:
        where = ramp(mimics.scalp.radius_mm - _distance(sample.points, mimics.scalp), 3) * (hu > -300)
        hu += (mimics.scalp.hu - hu) * where


def _paint_blob(hu: Floats, points: Floats, blob: Blob) -> None:
    reach = blob.radius_mm * blob.length + 1
    if points[2].min() > blob.centre[2] + reach or points[2].max() < blob.centre[2] - reach:
        return
    hu += (blob.hu - hu) * ramp(blob.radius_mm - _distance(points, blob))


def _distance(points: Floats, blob: Blob) -> Floats:
    x, y, z = (points[axis] - np.float32(blob.centre[axis]) for axis in range(3))
    return np.asarray(np.sqrt(x * x + y * y + (z / np.float32(blob.length)) ** 2), np.float32)
