"""The Instance Availability Notification holds what Table R.3.2-1 allows and nothing else."""

import pytest

from tests.notices import SEG, SR, STUDY, notice
from tests.results import dataset
from triage.dicom.availability import INSTANCE_AVAILABILITY_NOTIFICATION, encode_availability
from triage.domain.encoded import ObjectKind, ObjectReference

OBJECTS = [reference for _, reference in notice().objects]


def test_every_object_is_online_at_the_archive():
    encoded = encode_availability(OBJECTS, "PACS", "2.25.9")
    ds = dataset(encoded)
    references = [one for series in ds.ReferencedSeriesSequence for one in series.ReferencedSOPSequence]

    assert (encoded.kind, encoded.sop_class_uid) == (ObjectKind.IAN, INSTANCE_AVAILABILITY_NOTIFICATION)
    assert (encoded.sop_instance_uid, ds.file_meta.MediaStorageSOPInstanceUID) == ("2.25.9", "2.25.9")
    assert ds.StudyInstanceUID == STUDY
    assert [one.ReferencedSOPInstanceUID for one in references] == [SR, SEG]
    assert {(one.InstanceAvailability, one.RetrieveAETitle) for one in references} == {("ONLINE", "PACS")}


def test_no_other_attribute_is_in_it():
    """PS3.4 R.3.2.1.2 forbids optional attributes, so that no patient gets in."""
    ds = dataset(encode_availability(OBJECTS, "PACS", "2.25.9"))

    assert {element.keyword for element in ds} == {
        "ReferencedPerformedProcedureStepSequence",
        "StudyInstanceUID",
        "ReferencedSeriesSequence",
    }
    assert list(ds.ReferencedPerformedProcedureStepSequence) == []


def test_objects_of_one_series_stand_together():
    beside = ObjectReference(STUDY, OBJECTS[0].series_instance_uid, OBJECTS[0].sop_class_uid, "2.25.2000")
    ds = dataset(encode_availability([*OBJECTS, beside], "PACS", "2.25.9"))

    assert [len(series.ReferencedSOPSequence) for series in ds.ReferencedSeriesSequence] == [2, 1]


def test_the_same_objects_are_the_same_notification():
    assert encode_availability(OBJECTS, "PACS", "2.25.9") == encode_availability(OBJECTS, "PACS", "2.25.9")


@pytest.mark.parametrize(
    ("references", "title", "words"),
    [
        ([], "PACS", "one study, not of 0"),
        ([*OBJECTS, ObjectReference("2.25.5", "2.25.6", "2.25.7", "2.25.8")], "PACS", "one study, not of 2"),
        (OBJECTS, "A\\B", "AE title"),
    ],
)
def test_what_cannot_be_said(references, title, words):
    with pytest.raises(ValueError, match=words):
        encode_availability(references, title, "2.25.9")
