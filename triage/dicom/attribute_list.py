"""The attribute list of an N-CREATE (PS3.7 10.1.5) as the bytes of a file: the outbox keeps it like an object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from triage.dicom.explicit import AnyElement, buffer, encoded
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME


def encode_attribute_list(
    kind: ObjectKind, sop_class_uid: str, sop_instance_uid: str, elements: Mapping[BaseTag, AnyElement]
) -> EncodedObject:
    """Write elements with file meta information that names what is to be created; the same bytes every time.

    SOP Class and Instance UID travel in the command, so that they stand in the meta information only.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    out = buffer()
    write_file_meta_info(out, meta, enforce_standard=True)
    return EncodedObject(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        series_instance_uid="",
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        content=b"".join([b"\0" * 128, b"DICM", out.getvalue(), encoded(elements)]),
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
