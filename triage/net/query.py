"""What an archive has, asked by C-FIND, and one object fetched back by C-GET (PS3.4 Annex C, Study Root)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Final, cast

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_STORE, DimseServiceType
from pynetdicom.dsutils import decode, encode

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound, TriageError
from triage.net.contexts import TRANSFER_SYNTAXES, UNCOMPRESSED
from triage.net.outgoing import RemoteAe
from triage.net.part10 import file_meta
from triage.net.requestor import associate
from triage.net.status import SUCCESS, Verdict, classify, meaning
from triage.net.verbatim import quiet

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
MAXIMUM_ANSWERS: Final = 100_000
"""No study has more objects; an archive that goes on is not answering our question."""

_NAMED_AT_ONCE: Final = 100
_PENDING: Final = frozenset({0xFF00, 0xFF01})
_STUDY, _SERIES, _INSTANCE, _LEVEL = "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "QueryRetrieveLevel"


def present(
    remote: RemoteAe, study_instance_uid: str, sop_instance_uids: Collection[str], *, timeout_seconds: float = 30.0
) -> set[str]:
    """Which of these SOP Instance UIDs the archive has in a study.

    Its series are asked for first: below them an archive need not answer a question without a Series Instance UID
    (PS3.4 C.4.1.2.1). Then the objects are asked for by name, so that a long study costs no more than a short one;
    those not found are looked for among all of each series, because not every archive matches a list of UIDs.

    Raises
    ------
    DeliveryUnconfirmed
        If the archive cannot be reached, gives no whole answer, or has no room for one now.
    DeliveryRefused
        If it does not let us ask.
    """
    wanted, found = set(sop_instance_uids), set[str]()
    with associate(remote, [(STUDY_ROOT_FIND, syntax) for syntax in UNCOMPRESSED], timeout_seconds) as assoc:
        query = _Conversation(remote, assoc, STUDY_ROOT_FIND, "C-FIND")
        study = {_STUDY: study_instance_uid}
        series = query.find("SERIES", _SERIES, study) if wanted else []
        if len(wanted) <= _NAMED_AT_ONCE:
            for uid in series:
                try:
                    found |= wanted & set(query.find("IMAGE", _INSTANCE, _below(study, uid, wanted - found)))
                except DeliveryRefused:
                    break
                if found == wanted:
                    return found
        for uid in series:
            found |= wanted & set(query.find("IMAGE", _INSTANCE, _below(study, uid)))
            if found == wanted:
                return found
        if wanted and query.unreadable:
            raise query.out_of_step()
    return found


def retrieve(
    remote: RemoteAe,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    *,
    timeout_seconds: float = 30.0,
) -> bytes:
    """One object as a Part 10 file: file meta information of ours, then the data set as the archive sends it.

    It comes in the transfer syntax in which the archive has it, if we can read that, or in another that the archive
    turns it into. ``timeout_seconds`` is how long it may take to arrive.

    Raises
    ------
    NotFound
        If the archive has no such object.
    DeliveryUnconfirmed
        If the archive cannot be reached or gives no whole answer.
    DeliveryRefused
        If it does not give objects back by C-GET.
    """
    kinds = [(STUDY_ROOT_GET, syntax) for syntax in UNCOMPRESSED]
    kinds += [(sop_class_uid, syntax) for syntax in TRANSFER_SYNTAXES]
    with associate(remote, kinds, timeout_seconds, receives=[sop_class_uid]) as assoc:
        query = _Conversation(remote, assoc, STUDY_ROOT_GET, "C-GET")
        if not any(cx.abstract_syntax == sop_class_uid and cx.as_scp for cx in assoc.accepted_contexts):
            raise DeliveryRefused(f"{remote} does not give back {UID(sop_class_uid).name} by C-GET.")
        return query.get(_below({_STUDY: study_instance_uid}, series_instance_uid, [sop_instance_uid]))


def _below(study: Mapping[str, str], series_instance_uid: str, named: Collection[str] = ()) -> dict[str, str]:
    return {**study, _SERIES: series_instance_uid, _INSTANCE: "\\".join(sorted(named))}


class _Conversation:
    """Requests of one service over one association, one after the other.

    pynetdicom's own loop turns an answer that it cannot read into one without values, and logs what is in the others.
    """

    def __init__(self, remote: RemoteAe, assoc: Association, sop_class_uid: str, service: str) -> None:
        self._remote, self._assoc, self._service = remote, assoc, service
        self._sop_class_uid = UID(sop_class_uid)
        self._message_id = 0
        self.unreadable = 0
        """Answers without the attribute that was asked for: what is not found may be in one of these."""
        accepted = [cx for cx in assoc.accepted_contexts if cx.abstract_syntax == sop_class_uid]
        if not accepted:
            raise DeliveryRefused(
                f"{remote} does not offer {service}: "
                f"allow it in the archive for our AE title {remote.calling_ae_title!r}."
            )
        self._context_id = cast(int, accepted[0].context_id)
        self._implicit_vr = UID(accepted[0].transfer_syntax[0]).is_implicit_VR

    def find(self, level: str, wanted: str, keys: Mapping[str, str]) -> list[str]:
        """Values of the attribute ``wanted`` in all that matches the keys, each once, in the order of the answers."""
        self._ask(C_FIND(), {_LEVEL: level, wanted: "", **keys})
        values: list[str] = []
        for _ in range(MAXIMUM_ANSWERS):
            answer = self._answer()
            if not isinstance(answer, C_FIND):
                break
            status = self._status(answer)
            if status == SUCCESS:
                return list(dict.fromkeys(values))
            if status not in _PENDING:
                raise self._refusal(status)
            value = self._uid(answer.Identifier, wanted)
            if value:
                values.append(value)
            else:
                self.unreadable += 1
        raise self.out_of_step()

    def get(self, keys: Mapping[str, str]) -> bytes:
        """The object that the keys name, out of whatever the archive sends."""
        self._ask(C_GET(), {_LEVEL: "IMAGE", **keys})
        received: bytes | None = None
        for _ in range(MAXIMUM_ANSWERS):
            answer = self._answer()
            if isinstance(answer, C_STORE):
                content = self._take(answer)
                if answer.AffectedSOPInstanceUID == keys[_INSTANCE]:
                    received = content
                continue
            if not isinstance(answer, C_GET):
                break
            status = self._status(answer)
            if status in _PENDING:
                continue
            if received is not None:
                return received
            if status == SUCCESS:
                raise NotFound(f"{self._remote} does not find the object that was asked for.")
            raise self._refusal(status)
        raise self.out_of_step()

    def _ask(self, request: C_FIND | C_GET, keys: Mapping[str, str]) -> None:
        if not self._assoc.is_established or not self._assoc.dul.is_alive():
            raise DeliveryUnconfirmed(f"The association with {self._remote} ended before the {self._service}.")
        identifier = Dataset()
        for keyword, value in keys.items():
            vr = "CS" if keyword == _LEVEL else "UI"
            # The archive's own UIDs come back to it as they are, valid or not.
            identifier.add(DataElement(Tag(keyword), vr, value, validation_mode=config.IGNORE))
        self._message_id += 1
        request.MessageID = self._message_id
        request.AffectedSOPClassUID = self._sop_class_uid
        request.Priority = 0x0000
        request.Identifier = BytesIO(encode(identifier, self._implicit_vr, True) or b"")
        self._assoc.dimse.send_msg(request, self._context_id)

    def _answer(self) -> DimseServiceType:
        context_id, answer = self._assoc.dimse.get_msg(block=True)
        if answer is None:
            self._assoc.abort()
            raise DeliveryUnconfirmed(
                f"{self._remote} gave no whole answer to the {self._service}: some archives break off when they do "
                f"not allow it for our AE title {self._remote.calling_ae_title!r}."
            )
        answer._context_id = context_id
        return answer

    def _status(self, answer: C_FIND | C_GET) -> int:
        if answer.MessageIDBeingRespondedTo != self._message_id or answer.Status is None:
            raise self.out_of_step()
        return int(answer.Status)

    def _uid(self, identifier: BytesIO | None, keyword: str) -> str:
        """A UID of an answer, valid or not; empty where there is none."""
        try:
            with quiet():
                element = decode(identifier or BytesIO(), self._implicit_vr, True).get_item(Tag(keyword))
        except Exception as exc:  # pydicom's parser has no root of its errors
            raise self.out_of_step() from exc
        # The bytes: pydicom has an opinion on what they should be.
        value = element.value if element is not None else None
        text = value.decode("ascii", "replace").rstrip("\0 ") if isinstance(value, bytes) else ""
        return text if not text.strip("0123456789.") else ""

    def _take(self, request: C_STORE) -> bytes:
        """Answer a storage sub-operation; its data set as a file."""
        accepted = {cx.context_id: str(cx.transfer_syntax[0]) for cx in self._assoc.accepted_contexts}
        syntax = accepted.get(request._context_id)
        whole = request.DataSet is not None and request.AffectedSOPClassUID and request.AffectedSOPInstanceUID
        if syntax is None or not whole or request.MessageID is None:
            raise self.out_of_step()
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = request.MessageID
        answer.AffectedSOPClassUID = request.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        answer.Status = SUCCESS
        self._assoc.dimse.send_msg(answer, cast(int, request._context_id))
        meta = file_meta(str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), syntax)
        return meta + cast(BytesIO, request.DataSet).getvalue()

    def _refusal(self, status: int) -> TriageError:
        words = f"unable to process (0x{status:04X})" if status >> 12 == 0xC else meaning(status)
        said = f"{self._remote} answered the {self._service} with {words}"
        if classify(status) is Verdict.REFUSED:
            return DeliveryRefused(f"{said}; asking again cannot help.", status)
        return DeliveryUnconfirmed(f"{said}; it can be asked again.", status)

    def out_of_step(self) -> DeliveryUnconfirmed:
        """The end of an association in which the answers do not fit the questions."""
        self._assoc.abort()
        return DeliveryUnconfirmed(f"{self._remote} answered the {self._service} with something else.")
