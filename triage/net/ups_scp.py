"""Our own worklist of Unified Procedure Steps: a workstation asks for them (C-FIND) and reads them (N-GET).

For sites whose reading list pulls instead of being pushed to. Steps are read only: claiming one and changing its
state (N-ACTION, N-SET) are answered with "unrecognized operation", because who reads what is for the RIS to say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_GET
from pynetdicom.presentation import build_context

from triage.domain.errors import TriageError
from triage.net.contexts import UNCOMPRESSED, ListenerService
from triage.net.matching import matches
from triage.net.peer import Peer
from triage.net.verbatim import keep_values, quiet, read_kept

log = structlog.get_logger()

UPS_PUSH: Final = "1.2.840.10008.5.1.4.34.6.1"
UPS_PULL: Final = "1.2.840.10008.5.1.4.34.6.3"
UPS_QUERY: Final = "1.2.840.10008.5.1.4.34.6.5"

PENDING: Final = 0xFF00
SUCCESS: Final = 0x0000
CANCELLED: Final = 0xFE00
OUT_OF_RESOURCES: Final = 0xA700
PROCESSING_FAILURE: Final = 0x0110
UNABLE_TO_PROCESS: Final = 0xC000
UNRECOGNIZED_OPERATION: Final = 0x0211
NO_SUCH_STEP: Final = 0xC307

_ALWAYS: Final = (Tag(0x00080005), Tag(0x00080201))  # Specific Character Set, Timezone Offset From UTC
Answer = tuple[int, Dataset | None]


@dataclass(frozen=True, slots=True)
class StepQuery:
    """The part of a question that narrows the search; an empty value asks for nothing.

    Values are as the caller wrote them, and may hold wildcards: whoever answers may return too much, never
    too little. What does not match is left out here.
    """

    study_instance_uid: str = ""
    accession_number: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    worklist_label: str = ""
    priority: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A procedure step as `triage.dicom.ups` encodes it: a whole file."""

    sop_instance_uid: str
    content: bytes = field(repr=False)


@dataclass(slots=True)
class Asked:
    """What one association asked for, in numbers: C-FIND and N-GET requests, and the steps they were answered with."""

    sop_class_uid: str
    questions: int = 0
    answers: int = 0


class _Tallies:
    """What is asked for on each association, until it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[Association, Asked] = {}

    def question(self, event: evt.Event) -> Asked:
        """Count one more; the SOP class is that of the first."""
        with self._lock:
            asked = self._asked.setdefault(event.assoc, Asked(str(event.context.abstract_syntax)))
        asked.questions += 1
        return asked

    def take(self, assoc: Association) -> Asked | None:
        """What an association that has ended asked for; None when it did not ask."""
        with self._lock:
            return self._asked.pop(assoc, None)


def ups_service(
    find: Callable[[StepQuery], Iterable[Step]],
    get: Callable[[str], Step | None],
    on_asked: Callable[[Peer, Asked], None],
) -> ListenerService:
    """The worklist as a service of the listener; the callbacks run in the thread of an association.

    Parameters
    ----------
    find
        The steps that may match a question, most urgent first; the answer keeps their order.
    get
        The step with a SOP Instance UID; None when there is none.
    on_asked
        Called once for each association that asked for steps, when it has ended: answers name patients.
    """
    tallies = _Tallies()

    def ended(assoc: Association, peer: Peer) -> None:
        if (asked := tallies.take(assoc)) is not None:
            on_asked(peer, asked)

    # Questions and answers name patients, which pynetdicom would log.
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    return ListenerService(
        contexts=tuple(build_context(sop_class, list(UNCOMPRESSED)) for sop_class in (UPS_PULL, UPS_QUERY)),
        handlers=(
            (evt.EVT_C_FIND, lambda event: _on_find(event, find, tallies.question(event))),
            (evt.EVT_N_GET, lambda event: _on_get(event, get, tallies.question(event))),
            (evt.EVT_N_ACTION, _unrecognized),
            (evt.EVT_N_SET, _unrecognized),
        ),
        on_ended=ended,
    )


def _on_find(event: evt.Event, find: Callable[[StepQuery], Iterable[Step]], asked: Asked) -> Iterator[Answer]:
    """One pending answer for each step that matches; never raises."""
    try:
        with quiet():
            keys = _decoded_all(event.identifier)
        for step in find(_query(keys)):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            with quiet():
                answer = _answer(keys, step)
            if answer is not None:
                asked.answers += 1
                yield PENDING, keep_values(answer, implicit_vr=event.context.transfer_syntax.is_implicit_VR)
    except TriageError as exc:
        log.warning("steps_not_found", code=exc.code, why=str(exc))
        yield (OUT_OF_RESOURCES if exc.retry else UNABLE_TO_PROCESS), None
    except Exception:  # a question that trips over a fault of ours must not end the association
        log.exception("step_query_failed")
        yield UNABLE_TO_PROCESS, None


def _on_get(event: evt.Event, get: Callable[[str], Step | None], asked: Asked) -> Answer:
    """The attributes asked for of one step; never raises."""
    try:
        step = get(str(cast(N_GET, event.request).RequestedSOPInstanceUID))
        if step is None:
            return NO_SUCH_STEP, None
        with quiet():
            ds = _opened(step)
        wanted = event.attribute_identifiers
        chosen = _selected(ds, wanted) if wanted else ds
        asked.answers += 1
        return SUCCESS, keep_values(chosen, implicit_vr=event.context.transfer_syntax.is_implicit_VR)
    except TriageError as exc:
        log.warning("step_not_read", code=exc.code, why=str(exc))
        return PROCESSING_FAILURE, None
    except Exception:  # as above
        log.exception("step_read_failed")
        return PROCESSING_FAILURE, None


def _unrecognized(event: evt.Event) -> Answer:
    return UNRECOGNIZED_OPERATION, None


def _decoded_all(ds: Dataset) -> Dataset:
    ds.decode()
    return ds


def _query(keys: Dataset) -> StepQuery:
    requests = keys.get("ReferencedRequestSequence") or [Dataset()]
    return StepQuery(
        study_instance_uid=_text(keys, "StudyInstanceUID") or _text(requests[0], "StudyInstanceUID"),
        accession_number=_text(requests[0], "AccessionNumber"),
        patient_id=_text(keys, "PatientID"),
        worklist_label=_text(keys, "WorklistLabel"),
        priority=_text(keys, "ScheduledProcedureStepPriority"),
        state=_text(keys, "ProcedureStepState"),
    )


def _text(ds: Dataset, keyword: str) -> str:
    if keyword not in ds or ds[keyword].is_empty:
        return ""
    element = ds[keyword]
    return "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)


def _answer(keys: Dataset, step: Step) -> Dataset | None:
    """The attributes that are asked for, if the step matches."""
    # What is matched is decoded; what is answered is read again, so that its values stay as they are.
    if not matches(keys, _decoded_all(_opened(step))):
        return None
    found = _opened(step)
    answer = _narrowed(keys, found)
    for tag in _ALWAYS:
        if tag in found:
            answer[tag] = found.get_item(tag)
    answer.SOPClassUID, answer.SOPInstanceUID = found.SOPClassUID, found.SOPInstanceUID
    return answer


def _narrowed(keys: Dataset, found: Dataset) -> Dataset:
    """The elements of ``found`` that are keys, in sequences the keys of the item; empty where it has none."""
    answer = Dataset()
    for key in keys:
        if key.tag not in found:
            answer.add_new(key.tag, key.VR, [] if key.VR == "SQ" else None)
        elif key.VR == "SQ" and key.value and len(key.value[0]):
            answer.add_new(key.tag, "SQ", [_narrowed(key.value[0], item) for item in found[key.tag].value])
        else:
            answer[key.tag] = found.get_item(key.tag)
    return answer


def _opened(step: Step) -> Dataset:
    """The step as an SCP shows it: with its identity and the time of its last change, without its Transaction UID.

    That one is the lock of whoever has claimed a step.
    """
    ds = read_kept(step.content)
    if "TransactionUID" in ds:
        del ds.TransactionUID
    ds.ScheduledProcedureStepModificationDateTime = ds.ScheduledProcedureStepStartDateTime
    ds.SOPClassUID, ds.SOPInstanceUID = UPS_PUSH, step.sop_instance_uid
    return ds


def _selected(ds: Dataset, tags: list[BaseTag]) -> Dataset:
    chosen = Dataset()
    for tag in (*tags, *_ALWAYS):
        if tag in ds:
            chosen[tag] = ds.get_item(tag)
    return chosen
