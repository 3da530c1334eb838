"""What an archive has: asked by C-FIND, and one object fetched back by C-GET (PS3.4 Annex C)."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Final, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound, TriageError
from triage.net.contexts import TRANSFER_SYNTAXES, UNCOMPRESSED
from triage.net.outgoing import RemoteAe
from triage.net.part10 import file_meta
from triage.net.requestor import associate
from triage.net.status import meaning

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
_PENDING: Final = (0xFF00, 0xFF01)
_SUCCESS: Final = 0x0000
_LATER: Final = (0xA700, 0xA701, 0xA702)
"""Out of resources."""


def present(
    remote: RemoteAe, study_instance_uid: str, sop_instance_uids: Collection[str], *, timeout_seconds: float = 30.0
) -> set[str]:
    """Which of the SOP Instance UIDs the archive has in the study.

    Series are asked for first: below them an archive need not answer without a Series Instance UID (PS3.4 C.4.1.2.2).

    Raises
    ------
    DeliveryUnconfirmed
        If the archive cannot be reached or gives no whole answer.
    DeliveryRefused
        If it does not let us ask.
    """
    wanted = set(sop_instance_uids)
    found: set[str] = set()
    with associate(remote, [(STUDY_ROOT_FIND, syntax) for syntax in UNCOMPRESSED], timeout_seconds) as assoc:
        _need(remote, assoc, STUDY_ROOT_FIND, "C-FIND")
        keys = {"StudyInstanceUID": study_instance_uid}
        for series_instance_uid in _find(remote, assoc, "SERIES", "SeriesInstanceUID", keys):
            if found == wanted:
                break
            below = {**keys, "SeriesInstanceUID": series_instance_uid}
            found |= wanted & set(_find(remote, assoc, "IMAGE", "SOPInstanceUID", below))
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
    """One object as a Part 10 file: our file meta information, then the data set exactly as the archive sends it.

    Raises
    ------
    NotFound
        If the archive ends the retrieval without the object.
    DeliveryUnconfirmed
        If the archive cannot be reached or gives no whole answer.
    DeliveryRefused
        If it does not let us retrieve.
    """
    kinds = [(STUDY_ROOT_GET, syntax) for syntax in UNCOMPRESSED]
    kinds += [(sop_class_uid, syntax) for syntax in TRANSFER_SYNTAXES]
    received: list[bytes] = []

    def on_store(event: evt.Event) -> int:
        request = cast(C_STORE, event.request)
        if str(request.AffectedSOPInstanceUID) == sop_instance_uid and request.DataSet is not None:
            meta = file_meta(sop_class_uid, sop_instance_uid, str(event.context.transfer_syntax))
            received.append(meta + request.DataSet.getvalue())
        return _SUCCESS

    ds = _keys(
        "IMAGE",
        {
            "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": series_instance_uid,
            "SOPInstanceUID": sop_instance_uid,
        },
    )
    with associate(remote, kinds, timeout_seconds, receives=[sop_class_uid]) as assoc:
        _need(remote, assoc, STUDY_ROOT_GET, "C-GET")
        assoc.bind(evt.EVT_C_STORE, on_store)
        status = None
        for answer, _ in assoc.send_c_get(ds, STUDY_ROOT_GET):
            status = answer.get("Status")
    if received:
        return received[-1]
    if status == _SUCCESS:
        raise NotFound(f"{remote} does not find the object that was asked for.")
    raise _error(remote, "C-GET", status)


def _need(remote: RemoteAe, assoc: Association, sop_class_uid: str, what: str) -> None:
    if not any(context.abstract_syntax == sop_class_uid for context in assoc.accepted_contexts):
        raise DeliveryRefused(
            f"{remote} does not offer {what}: allow it in the archive for our AE title {remote.calling_ae_title!r}."
        )


def _find(remote: RemoteAe, assoc: Association, level: str, key: str, keys: dict[str, str]) -> list[str]:
    """Values of the unique key ``key`` of all that matches, in the order of the answers."""
    if not assoc.is_established:
        raise DeliveryUnconfirmed(f"The association with {remote} ended before all was asked.")
    values: list[str] = []
    status = None
    with warnings.catch_warnings():  # how odd a peer's answers are is of no interest here
        warnings.simplefilter("ignore")
        for answer, identifier in assoc.send_c_find(_keys(level, {**keys, key: ""}), STUDY_ROOT_FIND):
            status = answer.get("Status")
            if status in _PENDING and identifier is not None and identifier.get(key):
                values.append(str(identifier[key].value))
    if status != _SUCCESS:
        raise _error(remote, "C-FIND", status)
    return list(dict.fromkeys(values))


def _keys(level: str, keys: dict[str, str]) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, uid in keys.items():
        setattr(ds, keyword, UID(uid))
    return ds


def _error(remote: RemoteAe, what: str, status: int | None) -> TriageError:
    if status is None or status in _PENDING:
        return DeliveryUnconfirmed(f"{remote} gave no whole answer to the {what}.")
    said = f"{remote} answered the {what} with {meaning(status)}."
    return DeliveryUnconfirmed(said, status) if status in _LATER else DeliveryRefused(said, status)
