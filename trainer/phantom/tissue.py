"""What healthy tissue looks like in HU: brain with folds and fluid, bone with diploe, scalp and face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.anatomy import BrainFields, SkullFields
from trainer.phantom.fields import Floats, Lattice, noise_lattice, ramp

FOLD_SLOPE = 0.33
"""Mean gradient of the fold noise per mm: turns a width in mm into one in units of the noise."""

_FOLD_CENTRE = np.array([0.0, -18.0, 2.0], np.float32)
_FOLD_AXES = np.array([66.0, 84.0, 72.0], np.float32)
_CAUDAL = 0.55
"""Slope of the tentorium, above which the occipital lobes lie; that of the mimics."""


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Random fields of one head: coarse (correlation 14 mm), fine (4 mm), and the folds of its cortex."""

    broad: Lattice
    fine: Lattice
    folds: Lattice


def draw_texture(rng: np.random.Generator) -> Texture:
    """Draw the random fields."""
    return Texture(
        broad=noise_lattice(rng, 14.0),
        fine=noise_lattice(rng, 3.5),
        folds=noise_lattice(rng, rng.uniform(3.0, 4.3), channels=1, nodes_per_correlation=0.9),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Everything known about the points of one slice, each field float32 (slice, row, column).

    ``points`` (3, ...) are head coordinates; ``inside_points`` the same after mass effect, to be used for
    everything inside the skull but the inner table. ``broad`` and ``fine`` are four noise fields each.
    """

    points: Floats
    inside_points: Floats
    skull: SkullFields
    brain: BrainFields
    broad: tuple[Floats, ...]
    fine: tuple[Floats, ...]
    folds: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fluid:
    """Fractions of cerebrospinal fluid 0..1, by where it lies, float32 (slice, row, column)."""

    ventricle: Floats
    sulci: Floats
    cistern: Floats
    rim: Floats
    fissure: Floats

    def total(self) -> Floats:
        """Fraction of fluid of any kind."""
        total = np.maximum(self.ventricle, self.sulci)
        for part in (self.cistern, self.rim, self.fissure):
            np.maximum(total, part, out=total)
        return total


@dataclass(frozen=True, slots=True)
class Tissue:
    """The random constants of one head; HU unless named otherwise.

    ``age`` runs from 0 to 1: ventricles, sulci, fissures and cisterns widen with it together.
    """

    age: float
    white: float
    grey: float
    fluid: float
    sharpness: float
    inner_offset_mm: float
    ventricle_offset_mm: float
    sulcus_mm: float
    sulcus_depth_mm: float
    sulcus_fluid: float
    ribbon_mm: float
    cistern_level: float
    rim: float
    rim_mm: float
    fissure_mm: float
    medial_mm: float
    ribbon_share: float
    cerebellum: float
    stem: float
    cortex_glow: float
    cortex_glow_mm: float
    ragged_mm: float
    ragged: float
    pallor: float
    pallor_mm: float
    patches: float
    skull_mm: float
    frontal_mm: float
    occipital_mm: float
    uneven: float
    scalp_mm: float
    skin_mm: float
    temporal_mm: float
    nuchal_mm: float
    table: float
    diploe: float
    base_bone_offset_mm: float
    base_bone: float
    base_contrast: float
    fat: float
    muscle: float
    fat_level: float
    air_level: float
    mastoid_air: float


def draw_tissue(rng: np.random.Generator) -> Tissue:
    """Draw the constants of one head.

    The subarachnoid ring under the inner table is drawn for less than half of the heads, and only in part:
    a cortex that touches bone is the rule in older scans, and a net that never saw it calls it subdural blood.
    """
    white = rng.normal(28.8, 2.2)
    age = rng.uniform(0, 1)
    return Tissue(
        age=age,
        white=white,
        grey=white + max(4.5, rng.normal(9.5, 1.7)),
        fluid=rng.normal(7, 3),
        sharpness=rng.uniform(1, 3),
        inner_offset_mm=rng.uniform(-0.8, 1.0),
        ventricle_offset_mm=-1.4 + 2.8 * age + rng.normal(0, 0.7),
        sulcus_mm=float(np.exp(rng.normal(np.log(0.35 + 0.85 * age), 0.25))),
        sulcus_depth_mm=rng.uniform(13, 24),
        sulcus_fluid=rng.uniform(0.6, 1),
        ribbon_mm=rng.uniform(2.4, 3.8),
        cistern_level=float(np.clip(0.62 - 0.35 * age + rng.normal(0, 0.06), 0.2, 0.7)),
        rim=float(rng.random() < 0.25 + 0.4 * age) * rng.uniform(0.1, 0.9),
        rim_mm=rng.uniform(0.4, 1.0) + 1.4 * age * rng.uniform(0.3, 1),
        fissure_mm=rng.uniform(0.1, 0.6) + 1.1 * age * rng.uniform(0.3, 1),
        medial_mm=rng.uniform(10, 20),
        ribbon_share=rng.uniform(0.6, 0.95),
        cerebellum=rng.normal(1.6, 0.9),
        stem=rng.normal(-1.0, 1.0),
        cortex_glow=rng.uniform(0, 18),
        cortex_glow_mm=rng.uniform(1.5, 6),
        ragged_mm=float(rng.random() < 0.6) * rng.uniform(0.3, 1.3),
        ragged=rng.uniform(90, 500),
        pallor=float(rng.random() < 0.15 + 0.5 * age) * rng.uniform(2, 9),
        pallor_mm=rng.uniform(5, 12),
        patches=rng.uniform(0.3, 1.2),
        skull_mm=rng.uniform(3.8, 7.0),
        frontal_mm=rng.uniform(0, 4),
        occipital_mm=rng.uniform(0, 4),
        uneven=rng.uniform(0.04, 0.18),
        scalp_mm=rng.uniform(2.5, 8),
        skin_mm=rng.uniform(1.6, 3.2),
        temporal_mm=rng.uniform(4, 12),
        nuchal_mm=rng.uniform(4, 14),
        table=rng.uniform(900, 1700),
        diploe=rng.uniform(350, 900),
        base_bone_offset_mm=rng.normal(0.4, 0.9),
        base_bone=rng.uniform(500, 1000),
        base_contrast=rng.uniform(1, 4),
        fat=rng.uniform(-115, -75),
        muscle=rng.uniform(42, 62),
        fat_level=rng.uniform(-70, -5),
        air_level=rng.uniform(-520, -280),
        mastoid_air=float(rng.random() < 0.85) * rng.uniform(0.3, 1.0),
    )


def fold_points(points: Floats, fine: tuple[Floats, ...]) -> Floats:
    """Points drawn out to a shell around the brain, so that folds run inwards from its surface."""
    offset = [points[axis] - _FOLD_CENTRE[axis] for axis in range(3)]
    radius = np.sqrt(sum((offset[axis] / _FOLD_AXES[axis]) ** 2 for axis in range(3)) + np.float32(1e-3))
    stretch = (1.0 + 0.12 * (radius - 1.0)) / radius
    out = np.empty_like(points)
    for axis in range(3):
        out[axis] = _FOLD_CENTRE[axis] + offset[axis] * stretch + np.float32(2.2) * fine[axis]
    return out


def fluid_fractions(sample: Sample, tissue: Tissue) -> Fluid:
    """How much of each point is cerebrospinal fluid."""
    inner = sample.skull.inner - np.float32(tissue.inner_offset_mm)
    x, y, z = sample.inside_points
    ventricle = ramp(sample.brain.ventricle + np.float32(tissue.ventricle_offset_mm) + 0.4 * sample.fine[0], 1.2)
    width = np.clip(tissue.sulcus_mm * (1 + 0.55 * sample.broad[1]), 0.1, 2.6)
    near = _sulcal_share(sample, tissue, inner)
    sulci = ramp(width - np.abs(sample.folds) * np.float32(1 / FOLD_SLOPE), 1.2) * near
    sulci *= np.float32(tissue.sulcus_fluid)
    cistern = ramp(sample.brain.cistern - np.float32(tissue.cistern_level), 0.15) * np.clip(inner - 1, 0, 1)
    patchy = np.clip(0.6 + 0.5 * sample.broad[3], 0, 1)
    rim = np.float32(tissue.rim) * ramp(np.float32(tissue.rim_mm) - inner, 1.2) * patchy
    away = ramp(np.hypot(y + 20, z - 12) - 40, 8) * ramp(z + 25, 4)
    fissure = 0.6 * away * ramp(tissue.fissure_mm * np.clip(0.6 + 0.6 * sample.broad[0], 0, 2) - np.abs(x), 1.2)
    return Fluid(ventricle=ventricle, sulci=sulci, cistern=cistern, rim=rim, fissure=fissure)


def _sulcal_share(sample: Sample, tissue: Tissue, inner: Floats) -> Floats:
    """Where sulci reach, 0..1: under the inner table and beside the falx, not in the posterior fossa."""
    x, y, z = sample.inside_points
    lateral = np.abs(x)
    depth = tissue.sulcus_depth_mm * (1 + 0.3 * sample.broad[2])
    near = ramp(depth - 2 - inner, 4)
    away = ramp(np.hypot(y + 20, z - 10) - 46, 8) * ramp(z, 8)
    near = np.maximum(near, away * ramp(tissue.medial_mm * (1 + 0.3 * sample.broad[3]) - lateral, 4))
    fossa = np.minimum(-34 - y, -22 + _CAUDAL * (35 - lateral) - z)
    return np.asarray(near * ramp(-fossa, 6) * ramp(z + 42, 8), np.float32)


def paint_brain(sample: Sample, tissue: Tissue, fluid: Fluid) -> Floats:
    """HU of a healthy brain (slice, row, column), before vessels, dura and blood."""
    inner = np.maximum(sample.skull.inner - np.float32(tissue.inner_offset_mm), 0)
    grey, white = sample.brain.grey, sample.brain.white
    x, y, z = sample.inside_points
    known = grey + white
    share = ramp((grey - white) / (known + np.float32(0.1)), 2 / tissue.sharpness)
    share += (np.float32(0.6) - share) * (known < 0.1)
    fossa = ramp(np.minimum(-34 - y, -22 + _CAUDAL * (35 - np.abs(x)) - z), 5)
    from_sulcus = np.abs(sample.folds) * np.float32(1 / FOLD_SLOPE) - np.float32(tissue.sulcus_mm)
    along_folds = ramp(np.float32(tissue.ribbon_mm) - from_sulcus, 1.5)
    along_folds *= np.clip((tissue.sulcus_depth_mm + 4 - inner) / 5, 0, 1)
    cortex = np.maximum(along_folds, ramp(np.float32(tissue.ribbon_mm) - inner, 1.5))
    outer = np.float32(tissue.ribbon_share) * np.clip((tissue.sulcus_depth_mm + 8 - inner) / 6, 0, 1) * (1 - fossa)
    share += outer * (cortex - share)
    share += fossa * (0.35 + 0.35 * share + 0.25 * cortex - share)
    share = np.clip(share + 0.1 * sample.fine[1], 0, 1)
    brain = tissue.white + np.float32(tissue.grey - tissue.white) * share
    brain += np.float32(tissue.cerebellum) * fossa
    stem = ramp(13 - np.hypot(x, y + 26 - 0.15 * (z + 30)), 4) * ramp(-12 - z, 6)
    brain += np.float32(tissue.stem) * stem
    brain += np.float32(tissue.cortex_glow) * np.exp(-inner / np.float32(tissue.cortex_glow_mm))
    if tissue.pallor:
        around = np.exp(np.minimum(sample.brain.ventricle, 0) / np.float32(tissue.pallor_mm))
        brain -= np.float32(tissue.pallor) * around * np.clip(1.2 - 2 * share, 0, 1) * ramp(sample.points[2] + 5, 10)
    brain += np.float32(tissue.patches) * sample.fine[2]
    brain += (np.float32(tissue.fluid) - brain) * fluid.total()
    if tissue.ragged_mm:
        brain += (np.float32(tissue.ragged) - brain) * ramp(np.float32(tissue.ragged_mm) * sample.fine[0] - inner, 0.8)
    return np.asarray(brain, np.float32)
