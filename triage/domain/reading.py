"""What a radiologist says about a study that was analysed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from triage.domain.finding import WorklistStatus

NOTE_CHARACTERS: Final = 500
"""How long the reason of a judgement may be."""

JUDGEABLE: Final = frozenset({WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED})
"""Where the analysis has said something that a reader can agree with or not."""


class Verdict(StrEnum):
    """Whether the reader found what the list said."""

    AGREE = "agree"
    PARTLY = "partly"
    DISAGREE = "disagree"


@dataclass(frozen=True, slots=True)
class Reading:
    """One judgement. A later one by anybody replaces it on the worklist; all of them are kept.

    ``note`` is free text: it is shown with the study, and is neither logged nor audited nor sent anywhere.
    """

    study_instance_uid: str
    verdict: Verdict
    note: str
    reader: str
    at: datetime

    def __post_init__(self) -> None:
        if len(self.note) > NOTE_CHARACTERS:
            raise ValueError(f"a note has at most {NOTE_CHARACTERS} characters")
        if self.at.tzinfo is None:
            raise ValueError("a reading needs an aware UTC time")
