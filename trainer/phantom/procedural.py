"""Anatomy from formulas alone: no data, no SciPy, so that a demonstration can make heads anywhere.

The head is built of ellipsoids, planes and bands whose signed depths are combined, and sampled on a lattice of
5 mm. It has the parts that matter to a detector of blood: inner table, folded cortex, ventricles, cisterns,
skull base with fossae, petrous ridges and air cells, orbits, face and neck.
"""

from __future__ import annotations

import numpy as np

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.fields import Floats, noise_lattice

_STEP_MM = 5.0
_ORIGIN_MM = (-96.0, -132.0, -120.0)
_COUNTS = (40, 48, 47)
"""Nodes along x, y, z."""


def procedural_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw an anatomy."""
    nodes = [
        start + _STEP_MM * np.arange(count, dtype=np.float32) for start, count in zip(_ORIGIN_MM, _COUNTS, strict=True)
    ]
    z, y, x = (np.ascontiguousarray(axis, np.float32) for axis in np.meshgrid(*nodes[::-1], indexing="ij"))
    shape = noise_lattice(rng, 16.0)
    rough = shape.sample(np.stack([x, y, z]))
    vault = _vault(rng, x, y, z)
    floor = _floor(rng, x, y)
    inner = _smooth_minimum(vault, 0.85 * (z - floor), 8)
    ventricle = _ventricles(rng, x, y, z)
    cistern = _cisterns(rng, x, y, z)
    deep = np.maximum(*(_ellipsoid(x, y, z, (side * 22, -4, 4), (15, 26, 17)) for side in (-1, 1)))
    white = np.clip((inner - 5 + 3 * rough[0]) / 6, 0, 1) * np.clip(0.5 - deep / 6, 0, 1)
    cerebellum = (z < -22 - 0.1 * y) & (y < -25)
    white = np.where(cerebellum, np.clip((inner - 14) / 10, 0, 0.6), white)
    bone, outside = _outside(rng, x, y, z, inner, rough)
    values = {
        "inner": inner,
        "bone": bone,
        "skin": _skin(rng, x, y, z, inner),
        "outside": outside,
        "grey": 1 - white,
        "white": white,
        "ventricle": ventricle,
        "cistern": cistern * np.clip(-ventricle / 2, 0, 1) * (inner > 1) * np.clip(0.9 + 0.5 * rough[2], 0, 1),
    }
    return Anatomy.from_values(
        "procedural", {key: np.asarray(value, np.float32) for key, value in values.items()}, _ORIGIN_MM, _STEP_MM
    )


def _ellipsoid(
    x: Floats, y: Floats, z: Floats, centre: tuple[float, float, float], axes: tuple[float, float, float]
) -> Floats:
    """Signed depth in mm inside an ellipsoid, exact on its surface and close to it nearby."""
    u, v, w = ((part - c) / a for part, c, a in zip((x, y, z), centre, axes, strict=True))
    radius = np.sqrt(u * u + v * v + w * w) + np.float32(1e-3)
    slope = np.sqrt((u / axes[0]) ** 2 + (v / axes[1]) ** 2 + (w / axes[2]) ** 2) + np.float32(1e-4)
    return np.asarray((1 - radius) * radius / slope, np.float32)


def _smooth_minimum(first: Floats, second: Floats, width_mm: float) -> Floats:
    """The smaller of two depths with the edge between them rounded."""
    overlap = np.clip(width_mm - np.abs(first - second), 0, None)
    return np.asarray(np.minimum(first, second) - overlap**2 / (4 * width_mm), np.float32)


def _vault(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Depth inside the cranial vault: an egg, narrower in front."""
    half_width, half_length, height = rng.uniform(64, 70), rng.uniform(80, 87), rng.uniform(72, 80)
    narrow = 1 + rng.uniform(0.0012, 0.0026) * np.clip(y + 20, -20, 80)
    flat = np.where(z < 0, np.float32(1.15), np.float32(1.0))
    squeezed, stretched = np.asarray(x * narrow, np.float32), np.asarray(z / flat, np.float32)
    return _ellipsoid(squeezed, y, stretched, (0.0, -18.0, 0.0), (half_width, half_length, height))


def _floor(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Height z of the skull base: anterior, middle and posterior fossa with the ridges between them."""
    step = rng.uniform(-3, 3)
    lateral = np.clip((np.abs(x) - 10) / 12, 0, 1)
    middle = -46 + step
    front = np.clip((y - 22 + 0.15 * np.abs(x)) / 8, 0, 1)
    back = np.clip((-20 - 0.55 * np.abs(x) + 18 - y) / 8, 0, 1)
    ridge = np.exp(-(((y + 20 + 0.55 * np.abs(x) - 18) / 7) ** 2)) * np.clip((60 - np.abs(x)) / 10, 0, 1)
    roofs = np.exp(-(((np.abs(x) - 27) / 17) ** 2) - ((y - 38) / 24) ** 2)
    anterior = step - 29 + rng.uniform(8, 14) * roofs
    posterior = step - 60 + 0.006 * x**2
    floor = middle + (anterior - middle) * front + (posterior - middle) * back + 16 * ridge * lateral
    sella = (1 - lateral) * (1 - front) * np.clip((y + 22) / 8, 0, 1)
    return np.asarray(floor + 18 * sella, np.float32)


def _ventricles(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Depth inside the lateral, third and fourth ventricles."""
    size = rng.uniform(0.8, 1.35)
    depth = np.maximum(
        _ellipsoid(x, y, z, (0, -8, -2), (2.2 * size, 12, 8)), _ellipsoid(x, y, z, (0, -42, -30), (6 * size, 5, 8))
    )
    for side in (-1, 1):
        lean = rng.uniform(-0.8, 0.8)
        parts = (
            ((side * (9 + lean), 12, 10), (4.5 * size, 17, 9)),
            ((side * (11 + lean), -14, 20), (6 * size, 26, 7)),
            ((side * (21 + lean), -42, 12), (7 * size, 13, 13)),
            ((side * (25 + lean), -60, 6), (5 * size, 14, 6)),
            ((side * (30 + lean), -22, -14), (3.5 * size, 14, 4)),
        )
        for centre, axes in parts:
            depth = np.maximum(depth, _ellipsoid(x, y, z, centre, axes))
    return np.asarray(depth, np.float32)


def _cisterns(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Fraction of fluid in the basal cisterns and the Sylvian fissures."""
    lateral = np.abs(x)
    wide = rng.uniform(0.8, 1.4)
    star = _ellipsoid(x, y, z, (0, 0, -20), (14 * wide, 9 * wide, 8))
    ring = 1.6 * wide - np.abs(np.hypot(x, 0.9 * (y + 24)) - 17) - np.clip(np.abs(z + 12) - 8, 0, None)
    ring = ring - np.clip(y + 26, 0, None)
    pontine = _ellipsoid(x, y, z, (0, -13, -38), (16, 3.5 * wide, 14))
    stem = 2.2 * wide - np.abs(y - 4 + 0.35 * (lateral - 30)) - np.clip(np.abs(lateral - 40) - 14, 0, None)
    stem = stem - np.clip(np.abs(z + 4) - 8, 0, None)
    insula = 1.8 * wide - np.abs(lateral - 39 + 0.06 * np.abs(y + 8)) - np.clip(np.abs(y + 6) - 22, 0, None)
    insula = insula - np.clip(np.abs(z - 4) - 13, 0, None)
    magna = _ellipsoid(x, y, z, (0, -78, -56), (14, 10, 9 * wide))
    depth = np.maximum.reduce([star, ring, pontine, stem, insula, magna])
    return np.asarray(np.clip(0.5 + depth / 5, 0, 1), np.float32)


def _outside(
    rng: np.random.Generator, x: Floats, y: Floats, z: Floats, inner: Floats, rough: tuple[Floats, ...]
) -> tuple[Floats, Floats]:
    """Depth inside the bone of base, face and spine, and rough HU of the soft tissue and air below the brain."""
    lateral = np.abs(x)
    base = np.minimum(-inner, 7 + 3 * rough[1] + inner)
    petrous = 9 - np.hypot(z + 38, y + 20 + 0.55 * lateral - 18) + 2 * rough[2]
    petrous = np.minimum(petrous, 62 - lateral)
    cheeks = 5 - np.abs(np.hypot(lateral - 30, y - 42) - 24) - np.clip(np.abs(z + 58) - 10, 0, None)
    septum = np.minimum(1.5 - lateral, 45 - np.abs(y - 55)) + np.minimum(0, -24 - z)
    ring = 5 - np.abs(np.hypot(x / 1.25, y + 45) - 19) - np.clip(z + 66, 0, None)
    jaw = 5 - np.hypot(lateral - 50, y - 8) - np.clip(z + 58, 0, None)
    bone = np.maximum.reduce([base, petrous, cheeks, septum, ring, jaw]) + rough[3]
    sinus = np.maximum.reduce(
        [
            _ellipsoid(x, y, z, (0, 42, -36), (13, 20, 11)),
            _ellipsoid(lateral, y, z, (28, 45, -62), (15, 18, 14)),
            _ellipsoid(lateral, y, z, (12, 72, -8), (14, 5, 11 * rng.uniform(0.5, 1.3))),
            _ellipsoid(x, y, z, (0, 10, -78), (13, 11, 30)),
        ]
    )
    outside = 30 + 60 * rough[0] - 1100 * np.clip(0.5 + sinus / 4, 0, 1)
    return np.asarray(np.where(sinus > -1, -3.0, bone), np.float32), np.asarray(outside, np.float32)


def _skin(rng: np.random.Generator, x: Floats, y: Floats, z: Floats, inner: Floats) -> Floats:
    """Depth under the skin of skull, face and neck."""
    around = inner + rng.uniform(13, 18)
    face = _ellipsoid(x, y, z, (0, 22, -52), (66, 62, 74))
    nose = _ellipsoid(x, y, z, (0, 82, -52), (11, 17, 22))
    neck = np.minimum(_ellipsoid(x, y, np.zeros_like(z), (0, -36, 0), (62, 70, 1e3)), -30 - z)
    return np.asarray(np.maximum.reduce([around, face, nose, neck]), np.float32)
