"""What one destination is sent of a result, and when."""

from __future__ import annotations

from dataclasses import dataclass

from triage.domain.encoded import MESSAGE_KINDS, SEG_KINDS, SR_KINDS, ObjectKind
from triage.domain.finding import TriageResult, WorklistStatus


@dataclass(frozen=True, slots=True)
class Profile:
    """The kinds that go to one destination.

    Parameters
    ----------
    objects : tuple of ObjectKind
        At most one kind of segmentation and one of report: both name the same segments.
    only_suspected : bool
        Send nothing of a study that is not suspected.
    undetermined : bool
        Send a report that says Undetermined for a study that could not be analysed. One that was sent something of an
        earlier revision gets it in any case.
    reject_superseded : bool
        When a new revision is sent, send a note that rejects the objects of those before.
    """

    objects: tuple[ObjectKind, ...]
    only_suspected: bool = False
    undetermined: bool = False
    reject_superseded: bool = False

    def __post_init__(self) -> None:
        if len(set(self.objects)) != len(self.objects):
            raise ValueError("an object kind is named twice")
        if ObjectKind.KOS_REJECTED in self.objects:
            raise ValueError("KOS_REJECTED is not listed: reject_superseded switches it on")
        for family, name in ((SEG_KINDS, "segmentation"), (SR_KINDS, "report")):
            if len(family.intersection(self.objects)) > 1:
                raise ValueError(f"two kinds of {name} are named; one archive is sent one of them")
        messages = MESSAGE_KINDS.intersection(self.objects)
        if messages:
            raise ValueError(f"{min(messages)} is a message, not an object: configure a notifier")
        if self.undetermined and self.sr_kind is None:
            raise ValueError("undetermined needs a kind of report among the objects")

    @property
    def seg_kind(self) -> ObjectKind | None:
        """The kind of segmentation that is sent; None when there is none."""
        return next((kind for kind in self.objects if kind in SEG_KINDS), None)

    @property
    def sr_kind(self) -> ObjectKind | None:
        """The kind of report that is sent; None when there is none."""
        return next((kind for kind in self.objects if kind in SR_KINDS), None)

    def wants(self, result: TriageResult) -> bool:
        """Whether this result is sent at all."""
        return not self.only_suspected or result.status is WorklistStatus.SUSPECTED
