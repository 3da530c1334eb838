"""The last step of every result object: our own identity, the patient as sent, and the bytes of the file."""

from __future__ import annotations

from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from triage.dicom.codes import private_scheme
from triage.dicom.equipment import contributing_equipment
from triage.dicom.explicit import buffer, elements_of, encoded
from triage.dicom.source import Source
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Provenance


def encode_object(
    kind: ObjectKind,
    ds: Dataset,
    source: Source,
    provenance: Provenance,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
) -> EncodedObject:
    """Make a Dataset of highdicom ours and write it: explicit VR little endian, the same bytes every time.

    Our own text is ASCII, so the character set of the source holds for the whole object. Another transfer syntax
    is one that encapsulates the pixels, as those of ``ds`` are already.
    """
    at = source.local(provenance.content_at)
    date, time = date_and_time(at)
    ds.InstanceCreationDate = ds.ContentDate = ds.SeriesDate = date
    ds.InstanceCreationTime = ds.ContentTime = ds.SeriesTime = time
    ds.ContributingEquipmentSequence = contributing_equipment(provenance)
    ds.CodingSchemeIdentificationSequence = [private_scheme()]
    return EncodedObject(
        kind=kind,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        series_instance_uid=str(ds.SeriesInstanceUID),
        transfer_syntax_uid=str(transfer_syntax_uid),
        content=_file_bytes(ds, source, transfer_syntax_uid),
    )


def date_and_time(at: datetime) -> tuple[str, str]:
    """DA and TM of an instant in its own zone."""
    return at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")


def _file_bytes(ds: Dataset, source: Source, transfer_syntax_uid: str) -> bytes:
    head = file_head(ds.SOPClassUID, ds.SOPInstanceUID, transfer_syntax_uid)
    return head + encoded({**elements_of(ds), **source.copied})


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1) of a file of ours."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    out = buffer()
    write_file_meta_info(out, meta, enforce_standard=True)
    return b"\0" * 128 + b"DICM" + bytes(out.getvalue())
