"""Is this a living head that the nets were made for? Asked before any net, which answers for whatever it is shown.

A plastic head, a water phantom, a chest, half a head, an enhanced or operated head, or one whose rescale was lost must
end as not analysed with its reason, never as a quiet negative. The limits come from anatomy and physics and are wide:
they tell what can be no whole, unopened, unenhanced head, not what is a normal one. Where a rule could cost a patient
the flag, this was decided:

- a burr hole, a shunt, an infant's fontanelle and sutures, a fracture, and a small craniectomy (less than 15 cm2, or
  low) pass: they are common where blood is, and most of the picture is as learned;
- an opening of 15 cm2 and more and a sawn flap are refused: after surgery blood, air and clips are the rule;
- a metal coil passes until its streaks have spoiled the inside (the share of tissue decides);
- a scan that ends below the vertex passes while its last slice is clearly narrower than the widest one; one that ends
  in the widest part leaves a third of the brain unseen, and would be called ``not_suspected`` for what nobody saw.

A refusal stands above ``not_suspected`` in the list, with a sentence. What values and shapes cannot tell passes: weak
enhancement and early or late phases, a flap whose cuts are thinner than 2 mm, healed or low, a phantom with bone, grey
and white matter, HU off by less than 20, other slices of the same patient's own head. That is left to the nets' own
view of the input, once a bundle brings one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.volume import Volume
from triage.inference.enhancement import sinus_excess_hu, vessel_places
from triage.inference.preprocess import PreprocessSpec
from triage.inference.skull import PIXEL_MM, Ring, enclosed, from_vertex, rays, ring, section
from triage.inference.slabs import group_slices, sample_slabs

_RIM_PIXELS = 4
"""8 mm beside the bone are left out where structure is measured: there partial volume and cupping rule."""

RING_AREA_MM2 = 2000.0
"""Smallest enclosed area that counts as a closed skull; an adult's widest slice has about 18,000."""
RING_LENGTH_MM = 15.0
"""Closed skull needed along the scan axis: three slices of 5 mm. An open skull still closes at its base."""
LARGEST_AREA_MM2 = 32000.0
BODY_AREA_MM2 = 45000.0
"""Largest section of a head, scalp and ears included, is about 38,000; of an adult's chest or belly 50,000 or more."""
AIR_SHARE = 0.02
"""Smallest share of the images that must be air (below -500 HU): the corners around any head."""
AIR_HU = -900.0
"""Air is -1000 by definition of the scale; scanners keep it within some tens, and padding lies lower."""
TISSUE_MEDIAN_HU = (5.0, 65.0)
"""Around 30 in adults (29-39 over kV and scanners), lower in infants and oedema, higher only when full of blood."""
TISSUE_SHARE = 0.6
"""Smallest share of the enclosed volume between 0 and 80 HU; sinuses and bone at the base take the rest."""
STRUCTURE_HU = 4.0
"""Smallest 5 to 95 % spread inside: grey, white and fluid differ, a filled phantom does not."""
OUTSIDE_SHARE = 0.05
"""Largest share of the enclosed volume that may lie beyond the field that the nets see."""
VAULT, SIDES, BRAIN = 0.43, 0.53, 0.75
"""Depths below the vertex against the root of the largest section, 145 to 170 mm in an adult, 100 in a newborn. The
vault is closed all round. Sides and back are closed further down, while orbits and frontal sinuses open in front, down
to the petrous bones. The arteries of the base lie a little above the end of the brain's part."""
END_SHARE = 0.92
"""Largest area of the first and of the last slab against the widest one. Of a sphere that is cut there, more than a
third of its height and 30 % of its volume is missing."""
OPENING_WIDTH_MM = 20.0
"""Narrower openings are sutures and burr holes (11 to 14 mm)."""
OPENING_AREA_MM2 = 1500.0
"""An infant's anterior fontanelle, a diamond of 45 mm at most, has 10 cm2; decompression opens 60 and more, of which a
third at least lies where it is looked for."""
SAWN_LENGTH_MM = 19.5
"""Two narrow gaps over this length, four slabs: a burr hole of 14 mm opens half of three at most."""
SINUS_EXCESS_HU = 40.0
"""By how much the sagittal sinus stands out of the rim of the brain, 4 to 5 mm inside bone, that is contrast by itself:
25 in made heads without contrast, 15 in the real one, and less than 40 even with a clot of 80 HU."""
VESSELS, VESSELS_MM = 4, 20.0
"""As many bright places on one slab, over this length, are contrast when the sinus stands out at all. Calcified plexus
and pineal are three places, with other calcium four on 10 mm; a catheter is one. Shares of both limits are added."""
SINUS_AT_LEAST_HU = 10.0
"""Many calcified places beside a sinus that does not stand out are no contrast."""


@dataclass(frozen=True, slots=True)
class HeadMeasures:
    """What was measured; the enclosed volume is what a closed ring of bone surrounds.

    Attributes
    ----------
    air_share : float
        Share of all pixels below -500 HU.
    air_hu : float
        Median of the pixels below -300 HU; NaN without any.
    body_area_mm2 : float
        Largest section of the body, skin included.
    ring_length_mm : float
        Length along the normal over which the skull is closed.
    largest_area_mm2 : float
        Largest enclosed area of one slice.
    end_share : float
        Enclosed area of the first or the last slab, whichever is larger, against the largest one; NaN without a ring.
    tissue_median_hu, tissue_share, structure_hu : float
        Median, share within 0..80 HU, and 5 to 95 % spread of the enclosed volume; NaN without a ring.
    outside_share : float
        Share of the enclosed volume beyond the analysed field.
    opening_mm2 : float
        Area over which the vault is open, or the skull beside and behind a little below it.
    sawn_mm : float
        Length over which the skull there has two narrow gaps on one side.
    sinus_excess_hu : float
        By how much the sagittal sinus is brighter than the rest of the rim of the brain.
    vessels_mm : float
        Length over which four and more places inside the brain are as bright and small as enhanced vessels.
    """

    air_share: float
    air_hu: float
    body_area_mm2: float
    ring_length_mm: float
    largest_area_mm2: float
    end_share: float
    tissue_median_hu: float
    tissue_share: float
    structure_hu: float
    outside_share: float
    opening_mm2: float
    sawn_mm: float
    sinus_excess_hu: float
    vessels_mm: float


def check_living_head(volume: Volume, field_mm: float = 256.0) -> None:
    """Refuse what cannot be a whole living head without contrast and without an opened skull.

    Parameters
    ----------
    field_mm : float
        Side of the square about the image centre that the nets see.

    Raises
    ------
    UnusableSeries
        ``not_head``, ``too_few_slices``, ``contrast`` or ``out_of_distribution``, with the measurement that failed
        and its limit.
    """
    measured = measure_head(volume, field_mm)
    fault = _no_head(measured) or _not_as_learned(measured, field_mm)
    if fault is not None:
        raise UnusableSeries(*fault)


def measure_head(volume: Volume, field_mm: float = 256.0) -> HeadMeasures:
    """Measure skull and content at 2 mm, in slabs of about 5 mm."""
    rows, columns = volume.hu.shape[1:]
    widest_mm = max(rows * volume.pixel_spacing_mm[0], columns * volume.pixel_spacing_mm[1])
    size = int(np.clip(math.ceil(widest_mm / PIXEL_MM), 16, 512))
    spec = PreprocessSpec(size=size, pixel_mm=PIXEL_MM)
    slabs = group_slices(volume.stack, spec)
    extents_mm = [slab.extent_mm for slab in slabs]
    sampled = sample_slabs(volume, slabs, spec)
    inner = np.stack([enclosed(image) for image in sampled])
    areas_mm2 = inner.sum(axis=(1, 2)) * PIXEL_MM**2
    closed = areas_mm2 >= RING_AREA_MM2
    inner[~closed] = False
    inside = sampled[inner]
    sections = [section(image) for image in sampled]
    below = from_vertex(sections, extents_mm, top_last=volume.stack.from_below)
    back_degrees = math.degrees(math.atan2(volume.orientation[4], volume.orientation[1]))
    polar = {i: rays(sampled[i], one) for i, depth in below if depth <= SIDES and (one := sections[i]) is not None}
    rings = {index: ring(one, back_degrees) for index, one in polar.items()}
    vault = [index for index, depth in below if depth <= VAULT]
    brain_hu = float(np.median(inside)) if inside.size else math.nan
    places = vessel_places(sampled, inner, [index for index, depth in below if depth <= BRAIN])
    air = sampled[sampled < -300.0]
    return HeadMeasures(
        air_share=float(np.mean(sampled < -500.0)),
        air_hu=float(np.median(air)) if air.size else math.nan,
        body_area_mm2=max((one.area_mm2 for one in sections if one is not None), default=0.0),
        ring_length_mm=float(sum(mm for mm, whole in zip(extents_mm, closed, strict=True) if whole)),
        largest_area_mm2=float(areas_mm2.max()),
        end_share=float(max(areas_mm2[0], areas_mm2[-1]) / areas_mm2.max()) if inside.size else math.nan,
        tissue_median_hu=brain_hu,
        tissue_share=float(np.mean((inside >= 0.0) & (inside <= 80.0))) if inside.size else math.nan,
        structure_hu=_structure(sampled, inner),
        outside_share=_outside(inner, field_mm) if inside.size else 0.0,
        opening_mm2=_opening_mm2(rings, vault, extents_mm),
        sawn_mm=float(sum(extents_mm[index] for index, one in rings.items() if one.sawn)),
        sinus_excess_hu=sinus_excess_hu([polar[index] for index in vault], back_degrees, brain_hu),
        vessels_mm=float(sum(extents_mm[index] for index, count in places.items() if count >= VESSELS)),
    )


def _no_head(measured: HeadMeasures) -> tuple[ReasonCode, str] | None:
    """Why this is no living head at all, or None."""
    lowest, highest = TISSUE_MEDIAN_HU
    in_air = measured.air_share >= AIR_SHARE and measured.air_hu <= AIR_HU
    if measured.ring_length_mm < RING_LENGTH_MM and in_air and measured.body_area_mm2 > BODY_AREA_MM2:
        return (
            ReasonCode.NOT_HEAD,
            f"No skull is seen, and the body measures {measured.body_area_mm2 / 100:.0f} cm2 across: not a head.",
        )
    if measured.ring_length_mm < RING_LENGTH_MM:
        fault = (
            f"a closed skull is seen over {measured.ring_length_mm:.0f} mm only, and {RING_LENGTH_MM:.0f} mm are needed"
        )
    elif not lowest <= measured.tissue_median_hu <= highest:
        fault = (
            f"inside the skull the median is {measured.tissue_median_hu:.0f} HU, "
            f"and brain lies between {lowest:.0f} and {highest:.0f}"
        )
    elif measured.tissue_share < TISSUE_SHARE:
        fault = f"only {measured.tissue_share:.0%} of the inside of the skull lies between 0 and 80 HU"
    elif measured.structure_hu < STRUCTURE_HU:
        fault = f"the inside of the skull is uniform to {measured.structure_hu:.1f} HU, as in a filled phantom"
    elif measured.largest_area_mm2 > LARGEST_AREA_MM2:
        fault = f"the skull encloses {measured.largest_area_mm2 / 100:.0f} cm2; check the pixel spacing"
    elif measured.air_share < AIR_SHARE:
        fault = "there is no air around it"
    elif measured.air_hu > AIR_HU:
        fault = f"the air around it is at {measured.air_hu:.0f} HU, and air is -1000 by definition; check the rescale"
    else:
        return None
    return ReasonCode.OUT_OF_DISTRIBUTION, f"Does not look like a living head: {fault}."


def _not_as_learned(measured: HeadMeasures, field_mm: float) -> tuple[ReasonCode, str] | None:
    """Why this head is none that the nets were made for, or None."""
    if measured.outside_share > OUTSIDE_SHARE:
        fault = (
            f"{measured.outside_share:.0%} of the brain lies outside the central {field_mm:.0f} mm of the image, "
            "which is all that is analysed."
        )
    elif measured.end_share > END_SHARE:
        fault = "The scan begins or ends in the widest part of the head: a third of the brain or more is not seen."
        return ReasonCode.TOO_FEW_SLICES, fault
    elif measured.opening_mm2 > OPENING_AREA_MM2:
        fault = (
            f"The skull is open over {measured.opening_mm2 / 100:.0f} cm2 or more, as after a craniectomy or where "
            "part of the head lies outside the image."
        )
    elif measured.sawn_mm >= SAWN_LENGTH_MM:
        fault = f"The skull has two narrow gaps over {measured.sawn_mm:.0f} mm, as around a bone flap after surgery."
    elif _enhanced(measured):
        seen = f"The sagittal sinus stands out by {measured.sinus_excess_hu:.0f} HU"
        if measured.vessels_mm:
            seen += f", and several vessels of more than 90 HU are seen over {measured.vessels_mm:.0f} mm"
        return ReasonCode.CONTRAST, f"{seen}: contrast that no header told of."
    else:
        return None
    return ReasonCode.OUT_OF_DISTRIBUTION, fault


def _opening_mm2(rings: Mapping[int, Ring], vault: Collection[int], extents_mm: Sequence[float]) -> float:
    """Area of the openings that are wider than sutures; below the vault without those that look forward."""
    widths_mm = {i: one.opening_mm if i in vault else one.opening_beside_mm for i, one in rings.items()}
    return float(sum(mm * extents_mm[i] for i, mm in widths_mm.items() if mm >= OPENING_WIDTH_MM))


def _enhanced(measured: HeadMeasures) -> bool:
    """Whether sinus and vessels together are brighter than without contrast."""
    signs = measured.sinus_excess_hu / SINUS_EXCESS_HU + measured.vessels_mm / VESSELS_MM
    return measured.sinus_excess_hu >= SINUS_AT_LEAST_HU and signs >= 1.0


def _structure(sampled: NDArray[np.float32], inner: NDArray[np.bool_]) -> float:
    """5 to 95 % spread of HU away from bone, smoothed so that noise does not pass for anatomy."""
    side = 2 * _RIM_PIXELS + 1
    kept = []
    for image, inside in zip(sampled, inner, strict=True):
        deep = cv2.erode(inside.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        if deep.any():
            kept.append(cv2.GaussianBlur(np.clip(image, -100.0, 150.0), (0, 0), 1.5)[deep])
    if not kept:
        return math.nan
    low, high = np.percentile(np.concatenate(kept), [5.0, 95.0])
    return float(high - low)


def _outside(inner: NDArray[np.bool_], field_mm: float) -> float:
    """Share of the enclosed pixels beyond the central square of ``field_mm``."""
    size = inner.shape[1]
    far = np.abs((np.arange(size) + 0.5 - size / 2) * PIXEL_MM) > field_mm / 2
    beyond = inner & (far[:, None] | far[None, :])
    return float(beyond.sum() / inner.sum())
