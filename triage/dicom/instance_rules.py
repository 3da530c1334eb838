r"""What rules out a single instance as a slice of a head CT, told from its header alone.

The first rule that fires gives the reason. Choices that a header cannot settle are made so that nothing is
analysed as what it is not, while an unknown stays eligible: the pixels are judged later.

- ``DERIVED\PRIMARY\AXIAL`` stays eligible (several vendors mark the thick axial reconstruction so, and its
  values are means of HU); ``DERIVED\SECONDARY``, projections, reformats and 3D views are ruled out.
- The contrast agent counts whatever the description says. Of the texts, only the one closest to the series
  counts: protocol and study name the whole visit ("W/O & W CONTRAST"), plain series included.
- A body part other than the head rules out unless a description speaks of the head.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from triage.dicom.descriptions import is_contrast, speaks_of_head, speaks_of_other_body_part
from triage.dicom.syntaxes import DECODERS, UNCOMPRESSED
from triage.domain.finding import ReasonCode
from triage.domain.study import InstanceHeader

CT_CLASSES = frozenset({CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage})
FIELD_OF_VIEW_MM = (120.0, 400.0)
"""A smaller image shows part of a head; a larger one without any word about a head shows a body."""

_SCREENS = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
_LOCALIZER = re.compile(r"LOCALI[SZ]ER|SCOUT|SURVIEW|TOPOGRAM|SCANOGRAM")
_REWORKED = re.compile(
    r"\b(MIP|MINIP|MAXIMUM|MINIMUM|MPR|CPR|3D|VRT|SSD|VOLREN|SCREEN|REFORMATTED|PROJECTION IMAGE)\b"
    r"|PERFUSION|SUBTRACT|IODINE|VNC"
)
_NO_AGENT = re.compile(
    r"^(no|none|non|nil|n/?a|0|false|without.*|no .*|non.?contrast|w/?o.*|ohne.*|sans.*|-+|\.+)$", re.I
)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why something is not analysed: the code for the worklist and a sentence for a person."""

    reason: ReasonCode
    sentence: str


def instance_exclusion(header: InstanceHeader) -> Exclusion | None:
    """The first rule that rules this instance out, or None."""
    rules = (_not_ct, _localizer, _derived, _contrast, _not_head, _undecodable, _not_original_hu)
    return next((found for rule in rules if (found := rule(header)) is not None), None)


def _not_ct(header: InstanceHeader) -> Exclusion | None:
    if header.modality not in ("CT", "") or (header.sop_class_uid not in CT_CLASSES | _SCREENS):
        what = header.modality if header.modality not in ("CT", "") else "another kind of object"
        return Exclusion(ReasonCode.NOT_CT, f"These are not CT images but {what}.")
    if header.samples_per_pixel > 1 and header.sop_class_uid not in _SCREENS:
        return Exclusion(ReasonCode.NOT_CT, "These are colour images, not CT slices.")
    return None


def _localizer(header: InstanceHeader) -> Exclusion | None:
    if header.sop_class_uid in CT_CLASSES and any(_LOCALIZER.search(value) for value in header.image_type):
        return Exclusion(ReasonCode.LOCALIZER, "This is a localizer (scout view), not slices.")
    return None


def _derived(header: InstanceHeader) -> Exclusion | None:
    if header.sop_class_uid in _SCREENS:
        return Exclusion(ReasonCode.DERIVED, "These are secondary captures (screens), not slices from the scanner.")
    kinds = "\\".join(header.image_type)
    if header.image_type[1:2] == ("SECONDARY",):
        return Exclusion(ReasonCode.DERIVED, "The images were made after the examination from other images.")
    if _REWORKED.search(kinds):
        return Exclusion(
            ReasonCode.DERIVED, f"The images are reformats or projections ({kinds}), not the axial slices."
        )
    return None


def _contrast(header: InstanceHeader) -> Exclusion | None:
    if header.contrast_agent and not _NO_AGENT.match(header.contrast_agent):
        return Exclusion(ReasonCode.CONTRAST, "The header names a contrast agent.")
    if is_contrast(header.series_description or header.protocol_name):
        return Exclusion(ReasonCode.CONTRAST, "The series description speaks of contrast, angiography or perfusion.")
    return None


def _not_head(header: InstanceHeader) -> Exclusion | None:
    body_part = header.body_part_examined
    texts = (header.series_description, header.protocol_name, header.study_description)
    head = speaks_of_head(body_part) or any(map(speaks_of_head, texts))
    if not head and speaks_of_other_body_part(body_part):
        return Exclusion(ReasonCode.NOT_HEAD, f"The body part examined is {body_part}, not the head.")
    if not speaks_of_head(body_part) and not speaks_of_head(header.series_description):
        if speaks_of_other_body_part(header.series_description):
            return Exclusion(ReasonCode.NOT_HEAD, "The series description names a body part other than the head.")
        if not head and any(map(speaks_of_other_body_part, texts)):
            return Exclusion(ReasonCode.NOT_HEAD, "The descriptions name a body part other than the head.")
    field_mm = _field_of_view_mm(header)
    if field_mm is not None and field_mm < FIELD_OF_VIEW_MM[0]:
        return Exclusion(ReasonCode.NOT_HEAD, f"A field of view of {field_mm:.0f} mm cannot show a whole head.")
    if field_mm is not None and field_mm > FIELD_OF_VIEW_MM[1] and not head:
        return Exclusion(
            ReasonCode.NOT_HEAD, f"A field of view of {field_mm:.0f} mm and no word about a head: this shows a body."
        )
    return None


def _undecodable(header: InstanceHeader) -> Exclusion | None:
    if not header.has_pixel_data or not header.rows or not header.columns:
        return Exclusion(ReasonCode.UNDECODABLE, "At least one instance has no pixel data.")
    if header.transfer_syntax_uid not in UNCOMPRESSED and header.transfer_syntax_uid not in DECODERS:
        return Exclusion(
            ReasonCode.UNDECODABLE,
            f"The images are compressed in a way that cannot be decoded here ({header.transfer_syntax_uid}).",
        )
    return None


def _not_original_hu(header: InstanceHeader) -> Exclusion | None:
    if not header.has_rescale:
        return Exclusion(
            ReasonCode.NOT_ORIGINAL_HU, "The images say no rescale slope and intercept, so they hold no HU."
        )
    if header.rescale_type not in ("", "HU", "HU_MOD"):
        return Exclusion(
            ReasonCode.NOT_ORIGINAL_HU, f"The pixel values are declared as {header.rescale_type}, not as HU."
        )
    return None


def _field_of_view_mm(header: InstanceHeader) -> float | None:
    """The shorter side of the image."""
    if header.pixel_spacing_mm is None or not header.rows or not header.columns:
        return None
    return min(header.rows * header.pixel_spacing_mm[0], header.columns * header.pixel_spacing_mm[1])
