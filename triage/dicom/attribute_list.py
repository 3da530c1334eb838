"""The attribute list of an N-CREATE (PS3.7 10.1.5) as the bytes of a file: the outbox keeps it like an object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian

from triage.dicom.explicit import AnyElement, encoded
from triage.dicom.part10 import file_head
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference


def encode_attribute_list(
    kind: ObjectKind, sop_class_uid: str, sop_instance_uid: str, elements: Mapping[BaseTag, AnyElement]
) -> EncodedObject:
    """Write elements with file meta information that names what is to be created; the same bytes every time.

    SOP Class and Instance UID travel in the command, so that they stand in the meta information only.
    """
    return EncodedObject(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        series_instance_uid="",
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        content=file_head(sop_class_uid, sop_instance_uid, ExplicitVRLittleEndian) + encoded(elements),
    )


def by_series(references: Iterable[ObjectReference]) -> dict[str, list[ObjectReference]]:
    """References under the series that they lie in, in the order given."""
    found: dict[str, list[ObjectReference]] = {}
    for reference in references:
        found.setdefault(reference.series_instance_uid, []).append(reference)
    return found


def sop_reference(reference: ObjectReference) -> Dataset:
    """An item of a Referenced SOP Sequence."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.sop_class_uid, reference.sop_instance_uid
    return item
