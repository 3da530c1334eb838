"""Why a study was not analysed, in words for the radiologist: one sentence each, and what to do is always the same."""

from __future__ import annotations

from collections.abc import Mapping

from triage.domain.finding import ReasonCode

READ_AS_USUAL = "read it in the normal order"

_CAUSES: Mapping[ReasonCode, str] = {
    ReasonCode.NOT_CT: "The images are no CT",
    ReasonCode.NOT_HEAD: "The images do not look like a head CT",
    ReasonCode.LOCALIZER: "Only a localizer came in",
    ReasonCode.CONTRAST: "Contrast agent was given, or seems to have been; the model knows scans without it only",
    ReasonCode.DERIVED: "Only derived images came in, no original slices",
    ReasonCode.TOO_FEW_SLICES: "Too few slices came in, or they do not cover the head",
    ReasonCode.GAP: "Slices are missing in the middle of the series",
    ReasonCode.DUPLICATE_POSITIONS: "Several slices claim the same place, so they cannot be put in order",
    ReasonCode.MIXED_ORIENTATION: "The slices lie in different directions, so they do not make one volume",
    ReasonCode.UNDECODABLE: "The pixels of the images cannot be decoded",
    ReasonCode.NO_GEOMETRY: "The images do not say where their slices lie",
    ReasonCode.NOT_ORIGINAL_HU: "The pixel values are no Hounsfield units",
    ReasonCode.TIMED_OUT: "The analysis was begun several times and never came to an end",
    ReasonCode.MODEL_UNAVAILABLE: "The model could not be run when the study came in",
    ReasonCode.OUT_OF_DISTRIBUTION: "The images differ too much from what the model was made for",
    ReasonCode.FAILED: "The analysis ended with an error; the administrator finds it on the operations page",
}

REASON_TEXTS: Mapping[ReasonCode, str] = {reason: f"{cause}: {READ_AS_USUAL}." for reason, cause in _CAUSES.items()}
"""For every reason one sentence. None of them says anything about haemorrhage."""
