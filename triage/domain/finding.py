"""What the analysis says: subtypes, probabilities, volumes, and the decision that the worklist shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Subtype(StrEnum):
    """Haemorrhage subtypes in the order of the model outputs (after ``any``, or after background).

    ``ICH`` is blood whose type nobody told: all that a bundle finds whose nets were taught blood alone.
    """

    EDH = "EDH"
    IPH = "IPH"
    IVH = "IVH"
    SAH = "SAH"
    SDH = "SDH"
    ICH = "ICH"


KINDS: tuple[Subtype, ...] = tuple(Subtype)
"""What an outline can be: label ``i + 1`` of a mask belongs to ``KINDS[i]``."""

SUBTYPES: tuple[Subtype, ...] = KINDS[:-1]
"""Segmentation class ``i + 1`` and classifier logit ``i + 1`` belong to ``SUBTYPES[i]``."""


class WorklistStatus(StrEnum):
    """What a radiologist sees. The absence of a flag never reads as negative."""

    SUSPECTED = "suspected"
    NOT_SUSPECTED = "not_suspected"
    NOT_ANALYSED = "not_analysed"
    PENDING = "pending"


class ReasonCode(StrEnum):
    """Why a series was not analysed: a closed set, part of the product's contract."""

    NOT_CT = "not_ct"
    NOT_HEAD = "not_head"
    LOCALIZER = "localizer"
    CONTRAST = "contrast"
    DERIVED = "derived"
    TOO_FEW_SLICES = "too_few_slices"
    GAP = "gap"
    DUPLICATE_POSITIONS = "duplicate_positions"
    MIXED_ORIENTATION = "mixed_orientation"
    UNDECODABLE = "undecodable"
    NO_GEOMETRY = "no_geometry"
    NOT_ORIGINAL_HU = "not_original_hu"
    TIMED_OUT = "timed_out"
    MODEL_UNAVAILABLE = "model_unavailable"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    FAILED = "failed"


class Urgency(StrEnum):
    """How soon a suspected study should be opened; ``NONE`` for everything that is not suspected."""

    EMERGENT = "emergent"
    URGENT = "urgent"
    NONE = "none"


def _check_volume(volume_ml: float) -> None:
    if not (math.isfinite(volume_ml) and volume_ml >= 0.0):
        raise ValueError(f"a volume is 0 ml or more, not {volume_ml}")


@dataclass(frozen=True, slots=True)
class SubtypeFinding:
    """Probability that the exam holds this subtype, and the segmented volume in ml."""

    probability: float
    volume_ml: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"a probability lies in 0..1, not {self.probability}")
        _check_volume(self.volume_ml)


@dataclass(frozen=True, slots=True)
class KeySlice:
    """The slice to look at first: its source instance, 1-based frame, and 0-based index in the sorted volume."""

    sop_instance_uid: str
    frame_number: int
    index: int

    def __post_init__(self) -> None:
        if self.frame_number < 1 or self.index < 0:
            raise ValueError("a frame number counts from 1 and an index from 0")


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """Exam-score limits, declared by the bundle: at or above is suspected, at or above is emergent."""

    suspected_at: float
    emergent_at: float

    def __post_init__(self) -> None:
        if not 0.0 < self.suspected_at <= self.emergent_at <= 1.0:
            raise ValueError("limits must satisfy 0 < suspected_at <= emergent_at <= 1")


@dataclass(frozen=True, slots=True)
class TriageResult:
    """The outcome for one series revision.

    ``score`` is the calibrated exam probability of any haemorrhage, 0..1. ``subtypes`` has every one of ``SUBTYPES``,
    or ``Subtype.ICH`` alone where the bundle tells none of them apart.
    ``provisional`` is true while only the slice classifier has spoken.
    """

    score: float
    rule: DecisionRule
    subtypes: Mapping[Subtype, SubtypeFinding]
    total_volume_ml: float
    key_slice: KeySlice | None
    provisional: bool

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score lies in 0..1, not {self.score}")
        if set(self.subtypes) not in (set(SUBTYPES), {Subtype.ICH}):
            raise ValueError("a result names every subtype, also the absent ones, or blood of unspecified type alone")
        _check_volume(self.total_volume_ml)

    @property
    def outlined(self) -> tuple[Subtype, ...]:
        """What was outlined, in the order of ``KINDS``."""
        return tuple(kind for kind in KINDS if self.volume_ml(kind) > 0)

    def volume_ml(self, kind: Subtype) -> float:
        """Outlined volume of one kind; 0 for one that the result does not name."""
        return self.subtypes[kind].volume_ml if kind in self.subtypes else 0.0

    @property
    def status(self) -> WorklistStatus:
        """SUSPECTED or NOT_SUSPECTED by the bundle's limit."""
        return WorklistStatus.SUSPECTED if self.score >= self.rule.suspected_at else WorklistStatus.NOT_SUSPECTED

    @property
    def urgency(self) -> Urgency:
        """EMERGENT, URGENT, or NONE when nothing is suspected."""
        if self.status is WorklistStatus.NOT_SUSPECTED:
            return Urgency.NONE
        return Urgency.EMERGENT if self.score >= self.rule.emergent_at else Urgency.URGENT
