"""Tell reading lists of a result: one message for each, encoded once and sent like any other object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from triage.dicom.source import Source
from triage.domain.encoded import Addressed, EncodedObject
from triage.domain.finding import WorklistStatus
from triage.domain.notice import Notice

Encode = Callable[[Notice, Source, str], EncodedObject]


@dataclass(frozen=True, slots=True)
class Notifier:
    """What one reading list is told, and how it is put.

    Parameters
    ----------
    encode
        Makes the message of a notice, given the instances that the result was made from and a UID that names
        the message among all.
    only_suspected : bool
        Say nothing of studies that are not suspected.
    undetermined : bool
        Tell of studies that could not be analysed as well.
    after : str or None
        The destination whose objects the message speaks of; it is told when they are there.
    pulled : bool
        The list asks for its messages itself, so they are kept and sent to nobody.
    escalate_after : timedelta or None
        Say again, once, of a suspected study that nobody has opened for so long.
    """

    encode: Encode
    only_suspected: bool = True
    undetermined: bool = False
    after: str | None = None
    pulled: bool = False
    escalate_after: timedelta | None = None

    def wants(self, notice: Notice) -> bool:
        """Whether this list is told of it."""
        if notice.status is WorklistStatus.NOT_ANALYSED:
            return self.undetermined
        return notice.suspected or not self.only_suspected


def messages(
    notifiers: Mapping[str, Notifier],
    about: Notice,
    source: Source,
    made: Sequence[Addressed],
    told_before: Collection[str] = (),
) -> list[Addressed]:
    """One message for each list that wants one.

    Parameters
    ----------
    about : Notice
        What there is to tell; its ``objects`` are filled in from ``made``.
    source : Source
        The instances of the revision; the identifier of a message comes from them, so that telling again is the
        same message.
    made : sequence of Addressed
        The result objects, and who is sent which.
    told_before : collection of str
        Lists that have a message about an earlier revision or another series: they hear of this one, whatever it
        says, or a study that is no longer suspected would stay at their top.
    """
    told = []
    for name, notifier in notifiers.items():
        if not notifier.wants(about) and name not in told_before:
            continue
        objects = tuple(
            (item.encoded.kind, item.encoded.reference(about.study_instance_uid))
            for item in made
            if notifier.after is None or notifier.after in item.destinations
        )
        if notifier.after is not None and not objects:
            continue  # nothing goes there, so nothing will be available
        what = about.reason.value if about.reason is not None else "result"
        to = [] if notifier.pulled else [name]
        identifier = source.result_uid(f"notice {name} {what}", about.provenance)
        told.append(Addressed(notifier.encode(replace(about, objects=objects), source, identifier), to))
    return told
