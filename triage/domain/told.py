"""Which message to a reading list must not be sent any more, because a newer one says what counts now."""

from __future__ import annotations

from dataclasses import dataclass

from triage.domain.encoded import MESSAGE_KINDS, ObjectKind
from triage.domain.finding import WorklistStatus

FINDING_KINDS = MESSAGE_KINDS - {ObjectKind.IAN}
"""Messages that say what was found. A notification of availability says where objects are, and each is to arrive."""


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a study to one list.

    Parameters
    ----------
    number : int
        Its place among all: the higher, the newer.
    series_id : int
        The series whose result it tells.
    reminder : bool
        It was made later than its result: nobody had opened the study.
    arrived : bool
        The list has it.
    """

    number: int
    series_id: int
    status: WorklistStatus
    reminder: bool
    arrived: bool

    def overtakes(self, older: Told) -> bool:
        """Whether that message must not be sent any more.

        A suspicion stays until it is taken back, or until a later revision of its series has told it anew: it waits
        for nothing that may never arrive. A reminder says nothing new of the finding.
        """
        if self.number <= older.number:
            return False
        if older.status is not WorklistStatus.SUSPECTED:
            return True
        if self.status is WorklistStatus.NOT_SUSPECTED:
            return True  # none is made of a study that is suspected for another series
        told_anew = self.status is WorklistStatus.SUSPECTED and self.series_id == older.series_id and self.arrived
        return told_anew and not self.reminder and not older.reminder
