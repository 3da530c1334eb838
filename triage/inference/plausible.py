"""Is this a living head that the nets were made for? Asked before any net, which answers for whatever it is shown.

A plastic head, a water phantom, a chest, half a head, an enhanced or operated head, or one whose rescale was lost must
end as not analysed with its reason, never as a quiet negative. The limits come from anatomy and physics and are wide:
they tell what can be no whole, unopened, unenhanced head, not what is a normal one. Where a rule could cost a patient
the flag, this was decided:

- a burr hole, a shunt, an infant's fontanelle and sutures, a fracture, and a small craniectomy (below 15 cm2 in the
  vault, or anywhere below it) pass: they are common where blood is, and most of the picture is as learned;
- an open vault of 15 cm2 and more and a sawn flap are refused: after surgery blood, air and clips are the rule;
- a metal coil passes until its streaks have spoiled the inside (the share of tissue decides);
- a scan that ends below the vertex passes while its last slice is clearly narrower than the widest one; one that ends
  in the widest part leaves a third of the brain unseen, and would be called ``not_suspected`` for what nobody saw.

A refusal stands above ``not_suspected`` in the list, with a sentence. What values and shapes cannot tell passes: weak
enhancement (below 100 HU in the sinuses), a flap whose cuts are thinner than 2 mm or healed, a phantom with bone, grey
and white matter, HU off by less than 20, other slices of the same patient's own head. That is left to the nets' own
view of the input, once a bundle brings one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.volume import Volume
from triage.inference.enhancement import enhanced_places
from triage.inference.preprocess import PreprocessSpec
from triage.inference.skull import PIXEL_MM, enclosed, opening_mm2, ring, section, vault
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
END_SHARE = 0.92
"""Largest area of the first and of the last slab against the widest one. Of a sphere that is cut there, more than a
third of its height and 30 % of its volume is missing."""
OPENING_WIDTH_MM = 20.0
"""Narrower openings are sutures and burr holes (11 to 14 mm)."""
OPENING_AREA_MM2 = 1500.0
"""An infant's anterior fontanelle, a diamond of 45 mm at most, has 10 cm2; decompression opens 60 and more, of which
the vault holds a third at least."""
SAWN_LENGTH_MM = 18.0
"""Two narrow gaps over this length: burr holes end after 15 mm."""
ENHANCED_SHARE = 0.75
"""Smallest share of the slabs of the vault that show something as bright and thin as an enhanced vessel."""
ENHANCED_PLACES = 3
"""Vessels that the fullest of those slabs must show; the catheter of a shunt is one on every slab."""


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
        Area over which the vault is open.
    sawn_mm : float
        Length of the vault over which the skull has two narrow gaps.
    enhanced_share : float
        Share of the slabs of the vault with something as bright and thin as an enhanced vessel.
    enhanced_places : int
        How many such places the fullest of these slabs has.
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
    enhanced_share: float
    enhanced_places: int


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
    reason, sentence = _no_head(measured) or _not_as_learned(measured, field_mm) or (None, "")
    if reason is not None:
        raise UnusableSeries(reason, sentence)


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
    chosen = vault(sections, extents_mm, top_last=bool(volume.stack.normal[2] >= 0))
    lengths_mm = [extents_mm[index] for index in chosen]
    rings = [ring(sampled[index], one) for index in chosen if (one := sections[index]) is not None]
    places = enhanced_places(sampled, chosen)
    coarse = sampled[:, ::3, ::3]
    air = coarse[coarse < -300.0]
    return HeadMeasures(
        air_share=float(np.mean(sampled < -500.0)),
        air_hu=float(np.median(air)) if air.size else math.nan,
        body_area_mm2=max((one.area_mm2 for one in sections if one is not None), default=0.0),
        ring_length_mm=float(sum(mm for mm, whole in zip(extents_mm, closed, strict=True) if whole)),
        largest_area_mm2=float(areas_mm2.max()),
        end_share=float(max(areas_mm2[0], areas_mm2[-1]) / areas_mm2.max()) if inside.size else math.nan,
        tissue_median_hu=float(np.median(inside)) if inside.size else math.nan,
        tissue_share=float(np.mean((inside >= 0.0) & (inside <= 80.0))) if inside.size else math.nan,
        structure_hu=_structure(sampled, inner),
        outside_share=_outside(inner, field_mm) if inside.size else 0.0,
        opening_mm2=opening_mm2(rings, lengths_mm, OPENING_WIDTH_MM),
        sawn_mm=float(sum(mm for one, mm in zip(rings, lengths_mm, strict=True) if one.sawn)),
        enhanced_share=float(np.mean(places >= 1)) if places.size else 0.0,
        enhanced_places=int(places.max(initial=0)),
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
    elif measured.opening_mm2 > OPENING_AREA_MM2:
        fault = (
            f"The skull is open over {measured.opening_mm2 / 100:.0f} cm2 or more, as after a craniectomy or where "
            "part of the head lies outside the image."
        )
    elif measured.sawn_mm >= SAWN_LENGTH_MM:
        fault = f"The skull has two narrow gaps over {measured.sawn_mm:.0f} mm, as around a bone flap after surgery."
    elif measured.enhanced_share >= ENHANCED_SHARE and measured.enhanced_places >= ENHANCED_PLACES:
        share = f"{measured.enhanced_share:.0%} of the slices below the vertex"
        return ReasonCode.CONTRAST, f"Vessels of more than 100 HU on {share}: contrast that no header told of."
    elif measured.end_share > END_SHARE:
        fault = "The scan begins or ends in the widest part of the head: a third of the brain or more is not seen."
        return ReasonCode.TOO_FEW_SLICES, fault
    else:
        return None
    return ReasonCode.OUT_OF_DISTRIBUTION, fault


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
