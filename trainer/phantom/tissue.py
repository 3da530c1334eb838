"""What healthy tissue looks like in HU: brain with folds and fluid, bone with diploe, scalp and face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.landmarks import from_callosum_mm, posterior_fossa_mm
from trainer.phantom.sample import FOLD_SLOPE, Fluid, Sample


@dataclass(frozen=True, slots=True)
class Tissue:
    """The random constants of one head; HU unless the name or the text says otherwise.

    Attributes
    ----------
    age : float
        0 to 1: ventricles, sulci, fissures and cisterns widen with it together.
    white, grey, fluid
        White matter, grey matter, cerebrospinal fluid.
    sharpness
        How steeply the anatomy's fractions turn from white to grey matter; no unit.
    inner_offset_mm, ventricle_offset_mm
        How far the inner table lies inside that of the anatomy, and the walls of the ventricles outside theirs.
    sulcus_mm, sulcus_depth_mm, sulcus_fluid
        Half the width of a sulcus, how deep it reaches under the inner table, and the fraction of fluid in it.
    ribbon_mm, ribbon_share
        Thickness of the cortex, and how much of it is grey matter, 0 to 1.
    cistern_level
        The anatomy's fraction of fluid above which a point lies in a cistern: the lower, the wider.
    ring, ring_mm
        The subarachnoid ring under the inner table: its fraction of fluid, 0 for none, and its width.
    fissure_mm, medial_mm
        Half the width of the interhemispheric fissure, and how far from it the medial sulci reach.
    cerebellum, stem
        What cerebellum and brain stem are denser than the rest.
    cortex_glow, cortex_glow_mm
        What is added under the inner table, and the depth in which it falls to a third (1/e).
    ragged_mm, ragged
        How far the inner table runs into the brain here and there, and how dense it is there.
    pallor, pallor_mm
        What white matter beside the ventricles lacks (leukoaraiosis), and the distance in which that falls to 1/e.
    patches
        Unevenness of the tissue, one standard deviation.
    skull_mm, frontal_mm, occipital_mm, uneven
        Thickness of the calvarium, what is added in front and behind, and its unevenness as a share.
    scalp_mm, skin_mm, temporal_mm, nuchal_mm
        Thickness of the scalp, of the skin, and of the temporal and the nuchal muscles.
    compact, diploe
        Compact bone, and the marrow between the two tables of the calvarium.
    base_bone_offset_mm, base_bone, base_contrast
        How far the bones of the base stand out from the anatomy's, their HU, and the factor by which half-resolved
        bone of the anatomy is made denser.
    fat, muscle, fat_level, air_level
        Fat and muscle, and the rough HU of the anatomy below which soft tissue is fat or air.
    mastoid_air
        Share of air in the cells of the mastoid, 0 for none.
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
    ring: float
    ring_mm: float
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
    compact: float
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
        ring=float(rng.random() < 0.25 + 0.4 * age) * rng.uniform(0.1, 0.9),
        ring_mm=rng.uniform(0.4, 1.0) + 1.4 * age * rng.uniform(0.3, 1),
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
        compact=rng.uniform(900, 1700),
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
    ring = np.float32(tissue.ring) * ramp(np.float32(tissue.ring_mm) - inner, 1.2) * patchy
    away = ramp(np.hypot(y + 20, z - 12) - 40, 8) * ramp(z + 25, 4)
    fissure = 0.6 * away * ramp(tissue.fissure_mm * np.clip(0.6 + 0.6 * sample.broad[0], 0, 2) - np.abs(x), 1.2)
    return Fluid(ventricle=ventricle, sulci=sulci, cistern=cistern, ring=ring, fissure=fissure)


def _sulcal_share(sample: Sample, tissue: Tissue, inner: Floats) -> Floats:
    """Where sulci reach, 0..1: under the inner table and beside the falx, not in the posterior fossa."""
    x, y, z = sample.inside_points
    lateral = np.abs(x)
    depth = tissue.sulcus_depth_mm * (1 + 0.3 * sample.broad[2])
    near = ramp(depth - 2 - inner, 4)
    away = ramp(from_callosum_mm(y, z) - 46, 8) * ramp(z, 8)
    near = np.maximum(near, away * ramp(tissue.medial_mm * (1 + 0.3 * sample.broad[3]) - lateral, 4))
    fossa = posterior_fossa_mm(x, y, z)
    return np.asarray(near * ramp(-fossa, 6) * ramp(z + 42, 8), np.float32)


def paint_brain(sample: Sample, tissue: Tissue, fluid: Fluid) -> Floats:
    """HU of a healthy brain (slice, row, column), before vessels, dura and blood."""
    inner = np.maximum(sample.skull.inner - np.float32(tissue.inner_offset_mm), 0)
    grey, white = sample.brain.grey, sample.brain.white
    x, y, z = sample.inside_points
    known = grey + white
    share = ramp((grey - white) / (known + np.float32(0.1)), 2 / tissue.sharpness)
    share += (np.float32(0.6) - share) * (known < 0.1)
    fossa = ramp(posterior_fossa_mm(x, y, z), 5)
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
