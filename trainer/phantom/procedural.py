"""Anatomy from formulas alone: no data, no SciPy, so that a demonstration can make heads anywhere.

The head is built of ellipsoids, rods and sheets whose signed depths are combined, and sampled on a lattice of
4 mm. It has the parts that matter to a detector of blood: inner table, cortex and deep grey matter, ventricles,
cisterns, skull base with fossae, sphenoid wings and petrous ridges, orbits, face and neck.

Arrays are (z, y, x) over the nodes of the lattice: ``x``, ``y`` and ``z`` their head coordinates in mm, ``inner`` the
depth under the inner table in mm, ``rough`` four noise fields of standard deviation 1.
"""

from __future__ import annotations

import numpy as np

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.depths import ellipsoid, smooth_minimum
from trainer.phantom.fields import Floats, noise_lattice
from trainer.phantom.landmarks import from_callosum_mm, tentorium_mm
from trainer.phantom.skull_base import air_spaces, base_bone, skin, skull_floor

_STEP_MM = 4.0
_ORIGIN_MM = (-96.0, -132.0, -120.0)
_COUNTS = (49, 60, 58)
"""Nodes along x, y, z."""

_SQUARENESS = 2.35
"""Exponent of the vault: 2 is an ellipsoid, more has fuller sides."""


def procedural_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw an anatomy."""
    nodes = [
        start + _STEP_MM * np.arange(count, dtype=np.float32) for start, count in zip(_ORIGIN_MM, _COUNTS, strict=True)
    ]
    z, y, x = (np.ascontiguousarray(axis, np.float32) for axis in np.meshgrid(*nodes[::-1], indexing="ij"))
    rough = noise_lattice(rng, 16.0).sample(np.stack([x, y, z]))
    vault = _vault(rng, x, y, z)
    floor = skull_floor(rng, x[0], y[0])[None] + 1.2 * rough[1]
    plain = smooth_minimum(vault, 0.8 * (z - floor), 6)
    inner = plain - _crests(rng, x, y, z)
    ventricle = _ventricles(rng, x, y, z)
    cistern = _cisterns(rng, x, y, z, inner, rough)
    white = _white(rng, x, y, z, inner, ventricle, rough)
    low = int((-5 - _ORIGIN_MM[2]) / _STEP_MM)
    under = np.s_[:low]
    bone = np.full_like(x, -30)  # above: none of its own, and soft tissue of 30 HU
    outside = np.full_like(x, 30)
    bone[under], outside[under] = _outside(
        rng, x[under], y[under], z[under], inner[under], plain[under], tuple(part[under] for part in rough)
    )
    values = {
        "inner": inner,
        "bone": bone,
        "skin": skin(rng, x, y, z, plain),
        "outside": outside,
        "grey": 1 - white,
        "white": white,
        "ventricle": ventricle,
        "cistern": cistern * np.clip(-ventricle / 2, 0, 1) * (inner > 1) * np.clip(0.9 + 0.5 * rough[2], 0, 1),
    }
    return Anatomy.from_values(
        "procedural", {key: np.asarray(value, np.float32) for key, value in values.items()}, _ORIGIN_MM, _STEP_MM
    )


def _vault(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Depth inside the cranial vault: an egg with full sides, narrower in front, uneven from side to side."""
    half_width, half_length, height = rng.uniform(62, 70), rng.uniform(78, 88), rng.uniform(71, 80)
    narrow = 1 + rng.uniform(0.0010, 0.0024) * np.clip(y + 20, -20, 80)
    flat = np.where(z < 0, np.float32(1.15), np.float32(1.0))
    skew = rng.normal(0, 0.02) * (y + 18)
    u = np.abs(np.asarray((x + skew * np.sign(x)) * narrow, np.float32)) / np.float32(half_width)
    v = np.abs(y + 18) / np.float32(half_length)
    w = np.abs(z / flat) / np.float32(height)
    power = np.float32(_SQUARENESS)
    radius = (u**power + v**power + w**power + np.float32(1e-6)) ** np.float32(1 / _SQUARENESS)
    slope = np.sqrt(
        (u ** (power - 1) / half_width) ** 2 + (v ** (power - 1) / half_length) ** 2 + (w ** (power - 1) / height) ** 2
    ) / np.maximum(radius, 0.05) ** (power - 1)
    depth = (1 - radius) / np.maximum(slope, np.float32(1 / 120))
    return np.asarray(depth, np.float32)


def _crests(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """How far in mm the frontal crest and the internal occipital protuberance stand inwards."""
    across = np.exp(-((x / 6) ** 2)) + 0.5 * np.exp(-(((z + 24) / 5) ** 2)) * np.exp(-((x / 30) ** 2))
    occipital = 6 * rng.uniform(0.3, 1.3) * across * np.exp(-(((y + 100) / 14) ** 2) - ((z + 30) / 16) ** 2)
    frontal = 1.5 * rng.uniform(0, 1) * np.exp(-((x / 4) ** 2) - ((y - 66) / 12) ** 2 - ((z - 5) / 20) ** 2)
    return np.asarray(occipital + frontal, np.float32)


def _white(
    rng: np.random.Generator,
    x: Floats,
    y: Floats,
    z: Floats,
    inner: Floats,
    ventricle: Floats,
    rough: tuple[Floats, ...],
) -> Floats:
    """Fraction of white matter: under the cortex, around the deep nuclei, little in the cerebellum."""
    lateral = np.abs(x)
    cortex = rng.uniform(5, 9)
    white = np.clip((inner - cortex + 4 * rough[0]) / 7, 0, 1)
    beside = np.clip((from_callosum_mm(y, z) - 40) / 8, 0, 1) * np.clip((z - 2) / 8, 0, 1)
    white = np.minimum(white, 1 - beside * np.clip((9 + 3 * rough[3] - lateral) / 5, 0, 1))
    insula = np.clip((5 - np.abs(lateral - 37)) / 3, 0, 1) * np.clip((24 - np.abs(y + 4)) / 6, 0, 1)
    white = np.minimum(white, 1 - insula * np.clip((16 - np.abs(z - 4)) / 5, 0, 1))
    parts = (
        ((11, -20, 8), (8.5, 15, 9), 0.2),
        ((24, 1, 2), (7, 17, 11), 0.3),
        ((12, 17, 8), (5, 9, 12), -0.2),
        ((15, -2, 20), (4, 16, 5), 0.2),
    )
    deep = np.maximum.reduce(
        [ellipsoid(lateral + lean * (y - centre[1]), y, z, centre, axes) for centre, axes, lean in parts]
    )
    deep = deep + 1.2 * rough[2]
    white = np.minimum(white, np.clip(0.4 - deep / 4, 0, 1))
    callosum = ellipsoid(x, y, z, (0, -8, 24), (16, 34, 4))
    white = np.maximum(white, np.clip(0.5 + callosum / 4, 0, 1))
    stem = ellipsoid(x, y, z, (0, -26, -34), (16, 13, 30))
    white = np.where(z < -8, np.maximum(white, np.clip(0.3 + stem / 6, 0, 0.6)), white)
    cerebellum = (z < tentorium_mm(lateral)) & (y < -36)
    white = np.where(cerebellum, np.clip((inner - 14) / 10, 0, 0.6), white)
    return np.asarray(white, np.float32)


def _ventricles(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Depth inside the lateral, third and fourth ventricles; the lateral ones part forwards and backwards."""
    size = rng.uniform(0.7, 1.3)
    third = ellipsoid(x, y, z, (0, -10, -2), (2.2 * size, 13, 9))
    fourth = ellipsoid(x, y, z, (0, -43, -32), (6 * size, 4, 8))
    depth = np.maximum(third, fourth)
    parts = (
        ((9, 14, 10), (4.5 * size, 17, 9), -0.28),
        ((12, -12, 20), (6 * size, 26, 7), 0.22),
        ((21, -38, 13), (6 * size, 13, 11), 0.45),
        ((25, -56, 6), (4 * size, 15, 6), -0.1),
        ((31, -20, -14), (3 * size, 15, 4), 0.3),
    )
    for side in (-1, 1):
        swell, lean = rng.normal(0, 0.5), rng.uniform(-0.8, 0.8)
        one = np.full_like(x, -60)
        for (cx, cy, cz), axes, slant in parts:
            part = ellipsoid(side * x + slant * (y - cy), y, z, (cx + lean, cy, cz), axes) + swell
            one = -smooth_minimum(-one, -part, 5)
        depth = np.maximum(depth, one)
    return np.asarray(depth, np.float32)


def _cisterns(
    rng: np.random.Generator, x: Floats, y: Floats, z: Floats, inner: Floats, rough: tuple[Floats, ...]
) -> Floats:
    """Fraction of fluid in the basal cisterns and the Sylvian fissures."""
    lateral = np.abs(x) + 2.5 * rough[1]
    wide = rng.uniform(0.7, 1.4)
    corner = np.cos(5 * np.arctan2(x, y - 2)) * 2 + 2 * rough[0]
    star = 9.5 * wide + corner - np.hypot(x, 1.1 * (y - 2)) - np.clip(np.abs(z + 21) - 6, 0, None)
    ring = 1.6 * wide - np.abs(np.hypot(x, 0.9 * (y + 24)) - 17 + 1.5 * rough[0])
    ring = ring - np.clip(np.abs(z + 12) - 8, 0, None) - np.clip(y + 26, 0, None)
    pontine = np.minimum.reduce([4 * wide - inner, 24 + 4 * rough[3] - np.abs(x), y + 34, -24 - z])
    stem = (
        1.5 * wide - np.abs(y - 6 + 0.5 * (lateral - 26) + 3 * rough[2]) - np.clip(np.abs(lateral - 26) - 14, 0, None)
    )
    stem = stem - np.clip(np.abs(z + 12) - 5, 0, None)
    insula = 1.5 * wide * (1 + 0.6 * rough[0]) - np.abs(lateral - 41 + 0.004 * (y + 4) ** 2 + 1.5 * rough[3])
    insula = insula - np.clip(np.abs(y + 4) - 20, 0, None) - np.clip(np.abs(z - 4) - 13, 0, None)
    outlet = 1.4 * wide - np.abs(z - 0.35 * (-4 - y) - 2 + 3 * rough[2]) - np.clip(np.abs(lateral - 52) - 12, 0, None)
    outlet = outlet - np.clip(np.abs(y + 12) - 22, 0, None)
    magna = ellipsoid(x, y, z, (0, -78, -58), (8, 6, 8 * wide))
    depth = np.maximum.reduce([star, ring, pontine, stem, insula, outlet, magna])
    return np.asarray(np.clip(0.5 + depth / 5, 0, 1), np.float32)


def _outside(
    rng: np.random.Generator,
    x: Floats,
    y: Floats,
    z: Floats,
    inner: Floats,
    plain: Floats,
    rough: tuple[Floats, ...],
) -> tuple[Floats, Floats]:
    """Depth inside the bone of base, face and spine, and rough HU of the soft tissue and air below the brain."""
    bone = base_bone(rng, x, y, z, inner, plain, rough)
    air = np.minimum(air_spaces(rng, x, y, z), -inner - 3)
    fat = 70 * np.clip(rough[0] - 0.6, 0, 1) + 45 * (np.hypot(np.abs(x) - 30, y - 62) < 26)
    outside = 25 + 20 * rough[1] - fat - 1100 * np.clip(0.5 + air / 8, 0, 1)
    return np.asarray(np.where(air > -1, np.minimum(bone, -1 - air), bone), np.float32), np.asarray(outside, np.float32)
