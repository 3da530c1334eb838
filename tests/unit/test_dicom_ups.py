"""The procedure step that asks for a priority read, against the attributes that an SCP insists on."""

import io
import warnings
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.config import RAISE
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from tests.builders import NAMES, ct_series, part10, part10_named
from tests.notices import SEG, SR, negative, not_analysed, notice, real, result
from tests.results import dataset
from triage.dicom.codes import Code
from triage.dicom.demographics import read_demographics
from triage.dicom.source import read_source
from triage.dicom.ups import UPS_PUSH, encode_ups
from triage.domain.encoded import ObjectKind
from triage.domain.finding import Subtype

STEP = "2.25.77"
# PS3.4 Table CC.2.5-3, N-CREATE, usage SCU: with a value, and there but perhaps empty.
TYPE_1 = (
    *("ScheduledProcedureStepPriority", "ProcedureStepLabel", "ScheduledProcedureStepStartDateTime"),
    *("InputReadinessState", "ProcedureStepState"),
)
TYPE_2 = (
    *("TransactionUID", "WorklistLabel", "ScheduledProcessingParametersSequence", "ScheduledStationNameCodeSequence"),
    *("ScheduledStationClassCodeSequence", "ScheduledStationGeographicLocationCodeSequence"),
    *("ScheduledWorkitemCodeSequence", "CommentsOnTheScheduledProcedureStep", "InputInformationSequence"),
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "OtherPatientIDsSequence", "AdmissionID"),
    *("IssuerOfAdmissionIDSequence", "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence"),
    *("ReferencedRequestSequence", "ProcedureStepProgressInformationSequence"),
    "UnifiedProcedureStepPerformedProcedureSequence",
)
EMPTY_WHEN_CREATED = (
    *("TransactionUID", "ProcedureStepProgressInformationSequence"),
    "UnifiedProcedureStepPerformedProcedureSequence",
)
NOT_ALLOWED = ("SOPClassUID", "SOPInstanceUID", "ProcedureStepCancellationDateTime")


def of(said, contents=None, **options):
    """The step for a notice, once its series is that of the contents."""
    contents = contents or [part10(ds) for ds in ct_series(2, rows=8, columns=8)]
    source = read_source(contents, None)
    changes = {"study_instance_uid": source.study_instance_uid, "series_instance_uid": source.series_instance_uid}
    changes["demographics"] = read_demographics(contents[0])
    study = source.study_instance_uid
    objects = tuple((kind, replace(one, study_instance_uid=study)) for kind, one in said.objects)
    fields = {name: getattr(said, name) for name in ("provenance", "result", "reason", "revision")}
    return encode_ups(
        notice(**{**fields, **changes, "objects": objects}),
        source,
        STEP,
        **{"retrieve_ae_title": "PACS", **options},
    )


def codes_in(items):
    return {
        item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0].CodeValue
        for item in items
        if item.ValueType == "CODE"
    }


@pytest.mark.parametrize(
    "said", [notice(), negative(), not_analysed(), real(notice())], ids=["suspected", "negative", "none", "real"]
)
def test_every_attribute_that_is_required_is_there(said):
    ds = dataset(of(said))

    assert [keyword for keyword in TYPE_1 if not ds.get(keyword)] == []
    assert [keyword for keyword in TYPE_2 if keyword not in ds] == []
    assert [keyword for keyword in EMPTY_WHEN_CREATED if ds.get(keyword)] == []
    assert [keyword for keyword in NOT_ALLOWED if keyword in ds] == []
    for element in ds:
        if element.VR not in ("SQ", "UI") and not element.is_empty:
            validate_value(element.VR, str(element.value), RAISE)


@pytest.mark.parametrize(
    ("said", "priority", "label"),
    [
        (notice(), "HIGH", "Suspected ICH: priority read, DEMONSTRATION"),
        (notice(result=result(0.6)), "HIGH", "Suspected ICH: priority read, DEMONSTRATION"),
        (negative(), "MEDIUM", "Head CT read, ICH not suspected, DEMONSTRATION"),
        (real(notice()), "HIGH", "Suspected ICH: priority read"),
        (not_analysed(), "MEDIUM", "Head CT read, not analysed (gap), DEMONSTRATION"),
    ],
    ids=["emergent", "urgent", "negative", "trained", "not analysed"],
)
def test_priority_label_and_comment(said, priority, label):
    ds = dataset(of(said))

    assert (ds.ScheduledProcedureStepPriority, ds.ProcedureStepState) == (priority, "SCHEDULED")
    assert (ds.ProcedureStepLabel, ds.WorklistLabel) == (label, "ICH TRIAGE")
    assert ds.CommentsOnTheScheduledProcedureStep == " ".join(said.statements)
    assert ds.ScheduledProcedureStepStartDateTime == "20240102030405+0000"
    assert ds.ScheduledWorkitemCodeSequence[0].CodeValue == "110005"


def test_what_the_analysis_says_is_coded():
    ds = dataset(of(notice(result=result(found=(Subtype.SDH,)))))
    numbers = {
        item.ConceptNameCodeSequence[0].CodeValue: float(item.MeasuredValueSequence[0].NumericValue)
        for item in ds.ScheduledProcessingParametersSequence
        if item.ValueType == "NUM"
    }

    assert codes_in(ds.ScheduledProcessingParametersSequence) == {
        "1386000": "52101004",
        "103391001": "RID49480",
        "SUBTYPE": "SDH",
    }
    assert numbers == {"122157": 0.97, "118565006": 7.5}
    assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ICHTRIAGE"


def test_a_negative_says_absent_and_measures_nothing():
    items = dataset(of(negative())).ScheduledProcessingParametersSequence

    assert codes_in(items) == {"1386000": "272519000"}
    assert [item.ValueType for item in items] == ["CODE", "NUM"]


def test_no_analysis_says_neither():
    assert list(dataset(of(not_analysed())).ScheduledProcessingParametersSequence) == []


def test_images_and_results_can_be_fetched():
    contents = [part10(ds) for ds in ct_series(3, rows=8, columns=8)]
    ds = dataset(of(notice(), contents))
    images, *results = ds.InputInformationSequence

    assert len(images.ReferencedSOPSequence) == 3
    assert images.SeriesInstanceUID == dcmread(io.BytesIO(contents[0])).SeriesInstanceUID
    assert [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in results] == [SR, SEG]
    assert {one.StudyInstanceUID for one in ds.InputInformationSequence} == {ds.StudyInstanceUID}
    assert {one.TypeOfInstances for one in ds.InputInformationSequence} == {"DICOM"}
    assert {one.DICOMRetrievalSequence[0].RetrieveAETitle for one in ds.InputInformationSequence} == {"PACS"}


def test_the_order_is_named():
    request, issuer = Dataset(), Dataset()
    request.RequestedProcedureID, request.PlacerOrderNumberImagingServiceRequest = "RP1", "PL1"
    issuer.LocalNamespaceEntityID = "HOSPITAL"
    (one,) = ct_series(
        1, rows=8, columns=8, RequestAttributesSequence=[request], IssuerOfAccessionNumberSequence=[issuer]
    )
    ds = dataset(of(notice(), [part10(one)]))
    (order,) = ds.ReferencedRequestSequence

    assert (order.AccessionNumber, order.StudyInstanceUID) == ("SYN0001", ds.StudyInstanceUID)
    assert (order.RequestedProcedureID, order.PlacerOrderNumberImagingServiceRequest) == ("RP1", "PL1")
    assert order.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "HOSPITAL"
    assert order.RequestedProcedureDescription == "CT HEAD"


@pytest.mark.parametrize("kind", NAMES)
def test_the_patient_is_copied_byte_for_byte(kind):
    contents = [part10_named(ds, kind) for ds in ct_series(1, rows=8, columns=8)]
    encoded = of(notice(), contents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = dcmread(io.BytesIO(encoded.content))

    assert read.get_item("PatientName").value.rstrip() == NAMES[kind][1].rstrip()
    assert NAMES[kind][0] in encoded.content


def test_what_else_is_known_of_the_patient_stays_at_home():
    (one,) = ct_series(
        1, rows=8, columns=8, PatientComments="SECRET", PatientAddress="SECRET", PatientID="P1", PatientSex="F"
    )
    encoded = of(notice(), [part10(one)])

    assert b"SECRET" not in encoded.content
    assert (dataset(encoded).PatientID, dataset(encoded).PatientSex) == ("P1", "F")


def test_the_same_notice_is_the_same_step():
    contents = [part10(ds) for ds in ct_series(2, rows=8, columns=8)]
    first = of(notice(), contents)
    meta = dataset(first).file_meta

    assert first.kind is ObjectKind.UPS
    assert (first.sop_class_uid, first.sop_instance_uid) == (UPS_PUSH, STEP)
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (UPS_PUSH, STEP)
    assert of(notice(), contents) == first


def test_worklist_and_station_are_those_of_the_site():
    station = Code("READ1", "99SITE", "Reading room 1")
    ds = dataset(of(notice(), worklist_label="NEURO", station=station))

    assert ds.WorklistLabel == "NEURO"
    assert ds.ScheduledStationNameCodeSequence[0].CodeValue == "READ1"


def test_a_notice_of_another_series_is_not_encoded():
    source = read_source([part10(ds) for ds in ct_series(1, rows=8, columns=8)], None)

    with pytest.raises(ValueError, match="another series"):
        encode_ups(notice(), source, STEP, retrieve_ae_title="PACS")


def test_an_archive_needs_a_title():
    with pytest.raises(ValueError, match="AE title"):
        of(notice(), retrieve_ae_title="")
