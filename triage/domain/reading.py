"""What a radiologist says about a study that was analysed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """Whether the reader found what the list said."""

    AGREE = "agree"
    PARTLY = "partly"
    DISAGREE = "disagree"


@dataclass(frozen=True, slots=True)
class Reading:
    """One judgement. A later one by anybody replaces it on the worklist; all of them are kept."""

    study_instance_uid: str
    verdict: Verdict
    note: str
    reader: str
    at: datetime
