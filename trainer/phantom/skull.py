"""What lies outside the brain, in HU: calvarium, skull base, scalp, face, orbits, air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.face import mastoid_cells, paint_ethmoid, paint_orbits
from trainer.phantom.fields import Floats, ramp
from trainer.phantom.sample import Sample
from trainer.phantom.tissue import Tissue

AIR_HU = -1000.0
_SINUS_WALL_HU = 190.0
"""Half the width, on the scale of the rough HU, of the bony wall between soft tissue and an air space."""


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """``hu`` without the brain, and the fraction of bone 0..1; float32 (slice, row, column)."""

    hu: Floats
    bone: Floats


def paint_outside(sample: Sample, tissue: Tissue) -> Outside:
    """Everything but the brain.

    Above the skull base the calvarium is a smooth shell around the inner table; the anatomy's own bone serves only
    below it.
    """
    inner = sample.skull.inner - np.float32(tissue.inner_offset_mm)
    base = ramp(-16 - sample.points[2] + 4 * sample.broad[0], 16)
    thickness = _thickness(sample, tissue)
    temporal, nuchal = _muscle_mm(sample, tissue)
    calvarium = np.minimum(-inner, thickness + inner)
    depth = np.minimum(calvarium + base * (sample.skull.bone + tissue.base_bone_offset_mm - calvarium), -inner)
    skin = thickness + tissue.scalp_mm * (1 + 0.2 * sample.broad[2]) + 0.8 * np.maximum(temporal, nuchal) + inner
    skin += base * (sample.skull.skin - skin)
    hu = _soft_tissue(sample, tissue, base, skin, np.maximum(temporal, nuchal) + thickness + inner)
    depth = np.maximum(depth, _floor_plate(sample, inner))
    bone = ramp(depth)
    between = base * ramp(-inner) * ramp(3 + inner) * (sample.skull.outside > 60)
    bone = np.maximum(bone, between.astype(np.float32))
    _wall_sinuses(bone, sample, tissue, base, skin)
    paint_orbits(hu, bone, sample, tissue)
    paint_ethmoid(hu, bone, sample, tissue)
    bone_hu = tissue.compact + (tissue.diploe - tissue.compact) * ramp(depth - 1.9, 1.4) + 110 * sample.fine[0]
    marrow = np.float32(0.35) * ramp(depth - 3, 3) * ramp(sample.fine[2], 1.5)
    bone_hu += base * (tissue.base_bone * (1.15 - marrow) + 220 * sample.fine[1] - bone_hu)
    np.maximum(bone_hu, 150, out=bone_hu)
    if tissue.mastoid_air:
        bone_hu -= (bone_hu + 700) * tissue.mastoid_air * mastoid_cells(sample)
    hu += (bone_hu - hu) * bone
    hu = AIR_HU + (hu - AIR_HU) * ramp(skin)
    return Outside(hu=np.asarray(hu, np.float32), bone=bone)


def _thickness(sample: Sample, tissue: Tissue) -> Floats:
    """Thickness of the calvarium in mm: more in front and at the occiput, less at the temples."""
    x, y, z = sample.points
    thickness = np.float32(tissue.skull_mm) * (1 + np.float32(tissue.uneven) * sample.broad[1])
    thickness += np.float32(tissue.frontal_mm) * ramp(y - 25, 60) * ramp(60 - z, 40)
    thickness += np.float32(tissue.occipital_mm) * ramp(-65 - y, 50) * ramp(40 - z, 60)
    thickness -= np.float32(0.3 * tissue.skull_mm) * ramp(np.abs(x) - 48, 16) * ramp(22 - z, 30)
    return np.asarray(np.maximum(thickness, 2.0), np.float32)


def _floor_plate(sample: Sample, inner: Floats) -> Floats:
    """Depth inside a thin plate under the brain, which closes the skull wherever the anatomy's bone is too thin."""
    x, y, z = sample.points
    foramen = 19 - np.hypot(x, y + 42) + np.minimum(0, -50 - z)
    plate = np.minimum(-inner, 2.4 + 0.7 * sample.broad[1] + inner)
    return np.asarray(np.minimum(plate, -foramen), np.float32)


def _muscle_mm(sample: Sample, tissue: Tissue) -> tuple[Floats, Floats]:
    """Thickness in mm of the temporal and of the nuchal muscles on the bone."""
    x, y, z = sample.points
    temporal = ramp(np.abs(x) - 40, 22) * np.exp(-(((y - 6) / 32) ** 2)) * ramp(16 - z, 50)
    nuchal = ramp(-48 - y, 40) * ramp(-26 - z, 34)
    return np.float32(tissue.temporal_mm) * temporal, np.float32(tissue.nuchal_mm) * nuchal


def _soft_tissue(sample: Sample, tissue: Tissue, base: Floats, skin: Floats, muscle_depth: Floats) -> Floats:
    """Skin, fat, muscle, air spaces and the grey clouds of half-resolved bone below the brain; no bone proper.

    ``skin`` is the depth under the skin, ``muscle_depth`` that under the surface of the scalp's muscles.
    """
    rough = sample.skull.outside
    sharpness = 1 / (0.16 + 0.1 * np.abs(sample.broad[3]))
    bundles = ramp((np.abs(sample.fine[2]) - 0.03 - 0.09 * sample.broad[0]) * sharpness)
    muscle = ramp(rough - np.float32(tissue.fat_level) + 14 * sample.fine[0], 25) * bundles
    muscle *= ramp(skin - np.float32(tissue.scalp_mm) - 1 - 3 * np.abs(sample.broad[1]), 2)
    scalp = np.maximum(ramp(muscle_depth) * (0.75 + 0.25 * bundles), 0.06 + 0.1 * np.abs(sample.fine[3]))
    lean = scalp + base * (np.maximum(muscle, 0.08) - scalp)
    lean = np.maximum(lean, 0.9 * ramp(np.float32(tissue.skin_mm) - skin))
    hu = tissue.fat + np.float32(tissue.muscle - tissue.fat) * np.clip(lean, 0, 1)
    clouds = np.clip((rough - 70) * np.float32(tissue.base_contrast), 0, tissue.base_bone)
    hu += base * clouds
    air = base * ramp(np.float32(tissue.air_level) - rough + 14 * sample.fine[3], 60) * ramp(skin - 2, 2)
    hu += (AIR_HU - hu) * air
    return np.asarray(hu, np.float32)


def _wall_sinuses(bone: Floats, sample: Sample, tissue: Tissue, base: Floats, skin: Floats) -> None:
    """Thin bone where air spaces of the face meet soft tissue, in place; the throat has none."""
    y, z = sample.points[1], sample.points[2]
    wall = ramp(_SINUS_WALL_HU - np.abs(sample.skull.outside - np.float32(tissue.air_level + 120)), 160)
    wall *= base * ramp(skin - 7, 3) * ramp(z + 78, 8) * ramp(y - 6, 8)
    np.maximum(bone, np.float32(0.55) * wall, out=bone)
