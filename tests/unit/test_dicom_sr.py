"""The report through its bytes: what it says, what it rests on, and that it agrees with the segmentation."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from tests.builders import NAMES, ct_series, enhanced_ct, part10, part10_named
from tests.results import PROVENANCE, REAL, Analysed, analysed, dataset
from triage.dicom import codes
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import SUBTYPES, KeySlice, Subtype

NEGATIVE = 0.12
EARLIER = ObjectReference("1.2.3.1", "1.2.3.2", str(Comprehensive3DSRStorage), "1.2.3.4")


def report_of(encoded: EncodedObject) -> hd.sr.MeasurementReport:
    return hd.sr.srread(io.BytesIO(encoded.content)).content


def exam_of(encoded: EncodedObject) -> Any:
    (group,) = [
        g for g in report_of(encoded).get_image_measurement_groups() if g.tracking_identifier == "ICH triage exam"
    ]
    return group


def segments_of(encoded: EncodedObject) -> dict[str, Any]:
    """The volumetric groups by the private subtype code."""
    groups = report_of(encoded).get_volumetric_roi_measurement_groups()
    return {evaluation(g, codes.SUBTYPE): g for g in groups}


def evaluation(group: Any, name: codes.Code) -> str:
    (found,) = group.get_qualitative_evaluations(name=name.concept())
    return str(found.value.value)


def number(group: Any, name: codes.Code) -> float:
    (found,) = group.get_measurements(name=name.concept())
    return float(found.value)


def comments(group: Any) -> list[str]:
    return [
        i.TextValue for i in group[0].ContentSequence if i.ValueType == "TEXT" and i.name == codes.COMMENT.concept()
    ]


def references(items: Any) -> dict[str, str]:
    """SOP Instance UID to SOP Class UID of an evidence or predecessor sequence."""
    return {
        one.ReferencedSOPInstanceUID: one.ReferencedSOPClassUID
        for study in items
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


@pytest.mark.parametrize(
    ("score", "urgency"), [(0.97, "RID49480"), (0.9, "RID49480"), (0.6, "RID49481"), (0.5, "RID49481")]
)
def test_a_suspicion_is_present_with_its_urgency(score: float, urgency: str) -> None:
    group = exam_of(analysed(score=score, subtypes=[Subtype.SDH]).sr())
    assert evaluation(group, codes.INTRACRANIAL_HEMORRHAGE) == "52101004"
    assert evaluation(group, codes.URGENCY) == urgency
    assert number(group, codes.PROBABILITY) == score
    assert comments(group)[0] == f"Intracranial hemorrhage suspected: probability {score:.3f}, suspected from 0.5."


def test_a_negative_report_says_absent_and_nothing_urgent() -> None:
    case = analysed(subtypes=[], score=NEGATIVE)
    encoded = case.sr()
    group = exam_of(encoded)
    assert evaluation(group, codes.INTRACRANIAL_HEMORRHAGE) == "272519000"
    assert group.get_qualitative_evaluations(name=codes.URGENCY.concept()) == []
    assert number(group, codes.PROBABILITY) == NEGATIVE
    assert comments(group)[0] == "Intracranial hemorrhage not suspected: probability 0.120, suspected from 0.5."
    assert group.get_measurements(name=codes.VOLUME.concept()) == []
    assert segments_of(encoded) == {}
    assert set(references(dataset(encoded).CurrentRequestedProcedureEvidenceSequence)) == {
        s.sop_instance_uid for s in case.volume.sources
    }


def test_a_suspicion_without_any_segment_is_still_reported() -> None:
    encoded = analysed(subtypes=[], score=0.8).sr()
    assert evaluation(exam_of(encoded), codes.INTRACRANIAL_HEMORRHAGE) == "52101004"
    assert segments_of(encoded) == {}


@pytest.mark.parametrize("subtypes", [(s,) for s in SUBTYPES] + [tuple(SUBTYPES)], ids=str)
def test_each_segment_has_its_group(subtypes: tuple[Subtype, ...]) -> None:
    case = analysed(subtypes=subtypes)
    encoded = case.seg()
    groups, seg = segments_of(case.sr(segmentation=encoded)), dataset(encoded)
    assert set(groups) == set(subtypes)
    segments = {s.TrackingID: s for s in seg.SegmentSequence}
    for subtype, group in groups.items():
        names, finding = codes.SUBTYPE_CODES[Subtype(subtype)], case.result.subtypes[Subtype(subtype)]
        assert number(group, codes.VOLUME) == finding.volume_ml
        assert number(group, codes.PROBABILITY) == finding.probability
        assert group.finding_type == (names.disorder or codes.HEMORRHAGE).concept()
        assert [site.value for site in group.finding_sites] == [names.site.concept()]
        segment = segments[group.tracking_identifier]
        assert group.tracking_uid == segment.TrackingUID
        referenced = group.referenced_segment
        assert referenced.referenced_segment_numbers == [segment.SegmentNumber]
        assert referenced.referenced_sop_instance_uid == encoded.sop_instance_uid
        series = referenced.source_series_for_segmentation
        assert series.value == seg.ReferencedSeriesSequence[0].SeriesInstanceUID


@pytest.mark.parametrize("kind", ["plain", "enhanced", "tilted"])
def test_report_and_segmentation_agree_on_millilitres(kind: str) -> None:
    series = ct_series(9, heights_mm=[0, 4, 8, 12, 13, 20, 27, 34, 41], tilt_degrees=18.5 if kind == "tilted" else 0)
    case = analysed([part10(enhanced_ct(series))] if kind == "enhanced" else [part10(ds) for ds in series])
    seg = hd.seg.segread(io.BytesIO(case.seg().content))
    voxel_ml = {
        (s.sop_instance_uid, s.frame_number): ml
        for s, ml in zip(case.volume.sources, case.volume.voxel_ml, strict=True)
    }
    read = dict.fromkeys(SUBTYPES, 0.0)
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        segment = seg.SegmentSequence[frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        key = (image.ReferencedSOPInstanceUID, int(image.get("ReferencedFrameNumber", 1)))
        read[Subtype(segment.SegmentLabel[:3])] += int(np.count_nonzero(pixels)) * voxel_ml[key]
    encoded = case.sr()
    groups = segments_of(encoded)
    for subtype in SUBTYPES:
        assert number(groups[subtype], codes.VOLUME) == pytest.approx(read[subtype], rel=1e-9)
    assert number(exam_of(encoded), codes.VOLUME) == pytest.approx(sum(read.values()), rel=1e-9)


def test_numbers_are_readable_beside_exact() -> None:
    case = analysed(score=0.123456789012345678, subtypes=[])
    (value,) = [e.value[0] for e in dataset(case.sr()).iterall() if e.keyword == "MeasuredValueSequence"]
    assert str(value.NumericValue) == "0.1235"
    assert value.FloatingPointValue == 0.123456789012345678


def test_volume_is_said_to_be_a_sum_of_voxels_in_millilitres() -> None:
    (measured,) = exam_of(analysed().sr()).get_measurements(name=codes.VOLUME.concept())
    assert measured.method == codes.SUM_OF_VOXELS.concept()
    assert (measured.unit.value, measured.unit.scheme_designator) == ("ml", "UCUM")


def test_the_report_is_of_the_imaging_procedure_by_a_device() -> None:
    encoded = analysed().sr()
    (root,) = report_of(encoded)
    assert root.name == codes.TRIAGE_NOTIFICATION.concept()
    (procedure,) = [i for i in root.ContentSequence if i.name.value == "121058"]
    assert procedure.value == codes.CT_OF_HEAD.concept()
    (observer,) = report_of(encoded).get_observer_contexts()
    assert observer.observer_type == CodedConcept("121007", "DCM", "Device")
    device = observer.observer_identifying_attributes
    assert device.name == device.manufacturer_name == "ich-triage"
    assert device.uid == dataset(encoded).ContributingEquipmentSequence[0].DeviceUID


def test_the_model_its_version_and_its_limits_are_named() -> None:
    items = exam_of(analysed().sr())[0].ContentSequence
    said = {str(i.name.meaning): i.value for i in items if i.name.value in ("111001", "111003", "122405", "111000")}
    assert (said["Algorithm Name"], said["Algorithm Version"]) == ("demo-heads", "1.2")
    assert said["Algorithm Manufacturer"] == "ich-triage"
    assert said["Algorithm Family"] == codes.ARTIFICIAL_INTELLIGENCE.concept()
    parameters = [i.value for i in items if i.name.value == "111002"]
    assert "suspected at probability >= 0.5" in parameters
    assert "emergent at probability >= 0.9" in parameters
    assert f"bundle sha256 {PROVENANCE.bundle_digest}" in parameters


@pytest.mark.parametrize("score", [0.97, NEGATIVE])
def test_every_report_says_what_it_is_not(score: float) -> None:
    said = comments(exam_of(analysed(subtypes=[], score=score).sr()))
    assert any("Notification only" in text and "Not for primary diagnosis" in text for text in said)
    assert any(text.startswith("DEMONSTRATION: the model is not for use in care") for text in said)


@pytest.mark.parametrize("score", [0.97, NEGATIVE])
def test_every_report_says_what_was_measured_after_what_it_is_not(score: float) -> None:
    case = analysed(subtypes=[], score=score)
    said = comments(exam_of(case.sr()))
    assert said[-len(case.provenance.measured) :] == list(case.provenance.measured)
    assert said[-len(case.provenance.measured) - 1].startswith("DEMONSTRATION")


def test_what_a_card_says_is_cut_and_made_plain() -> None:
    long = replace(PROVENANCE, measured=("Gelernt aus K\u00f6pfen \\ " + "x" * 5000,))
    (*_, last) = comments(exam_of(analysed(provenance=long).sr()))
    assert last.startswith("Gelernt aus K?pfen / xxx")
    assert len(last) == 1024


def test_only_a_demonstration_says_demonstration() -> None:
    encoded = analysed(provenance=REAL).sr()
    assert len(comments(exam_of(encoded))) == 2
    assert b"DEMONSTRATION" not in encoded.content
    assert dataset(encoded).SeriesDescription == "ICH triage: report"


def test_nobody_has_verified_it() -> None:
    ds = dataset(analysed().sr())
    assert (ds.PreliminaryFlag, ds.VerificationFlag, ds.CompletionFlag) == ("PRELIMINARY", "UNVERIFIED", "COMPLETE")
    assert "VerifyingObserverSequence" not in ds
    assert ds["ReferencedPerformedProcedureStepSequence"].is_empty
    assert ds["PerformedProcedureCodeSequence"].is_empty


def test_the_evidence_is_every_source_instance_and_the_segmentation() -> None:
    case = analysed()
    ds = dataset(case.sr())
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == ds.StudyInstanceUID
    found = references([study])
    seg = case.seg()
    assert found.pop(seg.sop_instance_uid) == seg.sop_class_uid
    assert set(found) == {s.sop_instance_uid for s in case.volume.sources}
    assert len({s.SeriesInstanceUID for s in study.ReferencedSeriesSequence}) == 2
    assert "PertinentOtherEvidenceSequence" not in ds


def test_an_instance_of_a_private_class_is_evidence_too() -> None:
    case = analysed(subtypes=[])
    odd = ct_series(1, SOPClassUID="1.2.840.113619.4.26", SOPInstanceUID="1.1")[0]
    odd.StudyInstanceUID, odd.SeriesInstanceUID = _study(case), "1.2.3.9"
    ds = dataset(case.sr(contents=[*case.contents, part10(odd)]))
    assert references(ds.CurrentRequestedProcedureEvidenceSequence)["1.1"] == "1.2.840.113619.4.26"


def test_everything_referred_to_is_evidence() -> None:
    ds = dataset(analysed().sr())
    evidence = set(references(ds.CurrentRequestedProcedureEvidenceSequence))
    content = Dataset()
    content.ContentSequence = ds.ContentSequence
    named = {e.value for e in content.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    assert named
    assert named <= evidence


@pytest.mark.parametrize("kind", ["single-frame", "enhanced"])
def test_the_slice_to_look_at_first_is_named(kind: str) -> None:
    series = ct_series(9)
    case = analysed([part10(enhanced_ct(series))] if kind == "enhanced" else [part10(ds) for ds in series])
    (image,) = exam_of(case.sr()).source_images
    key = case.result.key_slice
    assert key is not None
    assert image.referenced_sop_instance_uid == key.sop_instance_uid
    assert image.referenced_frame_numbers == ([key.frame_number] if kind == "enhanced" else None)


def test_without_a_key_slice_no_image_is_named() -> None:
    assert exam_of(analysed(subtypes=[]).sr()).source_images == []


def test_a_key_slice_from_elsewhere_is_refused() -> None:
    case = analysed()
    with pytest.raises(ValueError, match="key slice"):
        case.sr(result=replace(case.result, key_slice=KeySlice("1.2.3", 1, 0)))


def test_a_new_revision_names_the_report_that_it_supersedes() -> None:
    ds = dataset(analysed().sr(predecessor=EARLIER))
    (study,) = ds.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == EARLIER.study_instance_uid
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == EARLIER.series_instance_uid
    assert references([study]) == {EARLIER.sop_instance_uid: EARLIER.sop_class_uid}
    assert "PredecessorDocumentsSequence" not in dataset(analysed().sr())


def test_a_report_does_not_supersede_itself() -> None:
    case = analysed()
    first = case.sr()
    own = ObjectReference("1.2.3.1", first.series_instance_uid, first.sop_class_uid, first.sop_instance_uid)
    assert case.sr(predecessor=own) == first


def test_a_late_slice_makes_another_report() -> None:
    case = analysed()
    first, late = dataset(case.seg()), ct_series(1)[0]
    late.StudyInstanceUID = first.StudyInstanceUID
    late.SeriesInstanceUID = first.ReferencedSeriesSequence[0].SeriesInstanceUID
    contents = [*case.contents, part10(late)]
    second = case.sr(contents=contents, segmentation=case.seg(contents=contents))
    assert second.sop_instance_uid != case.sr().sop_instance_uid
    assert late.SOPInstanceUID in references(dataset(second).CurrentRequestedProcedureEvidenceSequence)


def test_a_segmentation_of_something_else_is_refused() -> None:
    case = analysed()
    for wrong in (None, analysed().seg(), case.seg(provenance=REAL), analysed(case.contents, [Subtype.IPH]).seg()):
        with pytest.raises(ValueError, match="does not hold the segments"):
            case.sr(segmentation=wrong)


@pytest.mark.parametrize("subtypes", [(), tuple(SUBTYPES)], ids=str)
def test_the_same_inputs_make_the_same_bytes(subtypes: tuple[Subtype, ...]) -> None:
    case = analysed(subtypes=subtypes)
    once = case.sr()
    assert case.sr(contents=case.contents[::-1]) == once
    assert b"highdicom" not in once.content


def test_every_identifier_inside_is_derived_or_referred_to() -> None:
    case = analysed()
    given = {s.sop_instance_uid for s in case.volume.sources} | {_study(case)}
    ds = dataset(case.sr())
    made = {str(e.value) for e in ds.iterall() if e.VR == "UI" and e.value} - given
    made -= {dataset(case.seg()).ReferencedSeriesSequence[0].SeriesInstanceUID}
    made = {uid for uid in made if not uid.startswith("1.2.840.10008.")}
    assert all(uid.startswith("2.25.") for uid in made)
    # Report, its series, the exam; segmentation, its series, five segments; device and coding scheme.
    assert len(made) == 3 + 2 + len(SUBTYPES) + 2


def _study(case: Analysed) -> str:
    return str(dataset(EncodedObject(ObjectKind.SR, "", "", "", "", case.contents[0])).StudyInstanceUID)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_a_patient_name_is_the_one_that_came(kind: str) -> None:
    _, name = NAMES[kind]
    content = analysed([part10_named(ds, kind) for ds in ct_series(9)]).sr().content
    padded = name.ljust(len(name) + len(name) % 2)
    assert b"\x10\x00\x10\x00PN" + len(padded).to_bytes(2, "little") + padded in content


def test_study_and_patient_are_those_of_the_source() -> None:
    series = ct_series(9, PatientSex="F", PatientAge="061Y", AccessionNumber="SYN0042", StudyTime="070809.10")
    ds, source = dataset(analysed([part10(one) for one in series]).sr()), series[0]
    for keyword in ("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription", "StudyID"):
        assert ds[keyword].value == source[keyword].value
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge"):
        assert ds[keyword].value == source[keyword].value
    assert ds.SeriesInstanceUID != source.SeriesInstanceUID
    assert ds.SeriesNumber == 9_200_002


def test_the_object_says_what_it_is() -> None:
    encoded = analysed().sr()
    ds = dataset(encoded)
    assert (encoded.kind, encoded.sop_class_uid) == ("SR", Comprehensive3DSRStorage)
    assert encoded.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert encoded.sop_instance_uid == ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert (ds.ContentDate, ds.ContentTime) == ("20240102", "030405.678900")
    assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99ICHTRIAGE"


def test_long_and_foreign_bundle_names_fit() -> None:
    odd = replace(PROVENANCE, bundle_name="頭部\\" + "x" * 80, bundle_version="v" * 80, software_version="ü" * 80)
    case = analysed(provenance=odd)
    for encoded in (case.seg(), case.sr()):
        ds = dataset(encoded)
        assert all(len(text) <= 64 and text.isascii() for text in ds.SoftwareVersions)
        assert ds.ContributingEquipmentSequence[0].ManufacturerModelName.startswith("??/xxx")


def test_a_real_tilted_head_is_reported(shared_data: Path) -> None:
    case = analysed([path.read_bytes() for path in sorted((shared_data / "ge_head_tilt").glob("*.dcm"))])
    encoded = case.sr()
    assert case.sr(contents=case.contents[::-1]) == encoded
    assert set(segments_of(encoded)) == set(SUBTYPES)
    assert len(references(dataset(encoded).CurrentRequestedProcedureEvidenceSequence)) == 28 + 1
