"""The Instance Availability Notification (PS3.4 Annex R): the results of a study are there to be fetched."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from triage.dicom.attribute_list import by_series, encode_attribute_list, sop_reference
from triage.dicom.explicit import elements_of
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.study import AeTitle

INSTANCE_AVAILABILITY_NOTIFICATION = "1.2.840.10008.5.1.4.33"


def encode_availability(
    references: Sequence[ObjectReference], retrieve_ae_title: str, identifier: str
) -> EncodedObject:
    """Encode that result objects are online at an archive.

    What is said becomes true when the archive has accepted the objects, so it is to be sent after them.
    Nothing but the attributes of Table R.3.2-1 is in it: others are forbidden, so that no patient gets in.

    Parameters
    ----------
    references : sequence of ObjectReference
        The objects, all of one study.
    retrieve_ae_title : str
        The archive that they can be fetched from.
    identifier : str
        UID of the notification.

    Raises
    ------
    ValueError
        When there is no object, the objects are of two studies, or the title is none.
    """
    studies = {reference.study_instance_uid for reference in references}
    if len(studies) != 1:
        raise ValueError(f"a notification speaks of the objects of one study, not of {len(studies)}")
    ds = Dataset()
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.StudyInstanceUID = studies.pop()
    ds.ReferencedSeriesSequence = [
        _series(series, members, AeTitle(retrieve_ae_title).value) for series, members in by_series(references).items()
    ]
    return encode_attribute_list(ObjectKind.IAN, INSTANCE_AVAILABILITY_NOTIFICATION, identifier, elements_of(ds))


def _series(series_instance_uid: str, members: Sequence[ObjectReference], retrieve_ae_title: str) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_instance_uid
    item.ReferencedSOPSequence = [_instance(reference, retrieve_ae_title) for reference in members]
    return item


def _instance(reference: ObjectReference, retrieve_ae_title: str) -> Dataset:
    item = sop_reference(reference)
    item.InstanceAvailability, item.RetrieveAETitle = "ONLINE", retrieve_ae_title
    return item
