"""Key object selections through their bytes: what they select, in which order, and what they reject."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.uid import KeyObjectSelectionDocumentStorage

from tests.builders import ct_series, enhanced_ct, part10, part10_named
from tests.results import PROVENANCE, REAL, Analysed, analysed, dataset
from triage.dicom.key_objects import encode_key_objects, encode_rejection
from triage.domain.encoded import EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import Subtype

SUBTYPES = [Subtype.IPH, Subtype.SDH]


def key_objects(case: Analysed, slices: list[int], referenced: list[EncodedObject], **changes: Any) -> EncodedObject:
    given = {"contents": case.contents, "volume": case.volume, "provenance": case.provenance}
    return encode_key_objects(key_slices=slices, referenced=referenced, **{**given, **changes})


def document(encoded: EncodedObject) -> Any:
    return hd.ko.KeyObjectSelectionDocument.from_dataset(dcmread(io.BytesIO(encoded.content)))


def selected(encoded: EncodedObject) -> list[tuple[str, str, int | None]]:
    """Value type, SOP Instance UID and frame number of each reference, in order."""
    return [
        (
            item.value_type.value,
            item.referenced_sop_instance_uid,
            item.ReferencedSOPSequence[0].get("ReferencedFrameNumber"),
        )
        for item in document(encoded).content.get_references()
    ]


def title(encoded: EncodedObject) -> tuple[str, str]:
    name = dataset(encoded).ConceptNameCodeSequence[0]
    return name.CodeValue, name.CodeMeaning


def description(encoded: EncodedObject) -> str:
    (text,) = [
        item.TextValue
        for item in dataset(encoded).ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "113012"
    ]
    return str(text)


def evidence(encoded: EncodedObject) -> set[tuple[str, str]]:
    return {
        (series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for study in dataset(encoded).CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def old_objects(case: Analysed) -> list[ObjectReference]:
    """References to what an earlier revision in the same study was told."""
    study = dataset(case.sr()).StudyInstanceUID
    return [
        ObjectReference(study, one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid)
        for one in (case.seg(), case.sr())
    ]


def test_slices_come_first_then_the_results() -> None:
    case = analysed(subtypes=SUBTYPES)
    encoded = key_objects(case, [6, 2, 9], [case.sr(), case.seg()])
    assert selected(encoded) == [
        *(("IMAGE", case.volume.sources[index].sop_instance_uid, None) for index in (6, 2, 9)),
        ("COMPOSITE", case.sr().sop_instance_uid, None),
        ("IMAGE", case.seg().sop_instance_uid, None),
    ]


def test_a_selection_is_of_interest() -> None:
    case = analysed(subtypes=SUBTYPES)
    encoded = key_objects(case, [1], [])
    ds = dataset(encoded)
    assert encoded.kind is ObjectKind.KOS
    assert encoded.sop_class_uid == ds.SOPClassUID == KeyObjectSelectionDocumentStorage
    assert ds.Modality == "KO"
    assert title(encoded) == ("113000", "Of Interest")
    assert ds.ContentTemplateSequence[0].TemplateIdentifier == "2010"
    assert ds.SeriesNumber == 9_300_002
    assert ds.ContributingEquipmentSequence[0].DeviceUID == _device(encoded)


def _device(encoded: EncodedObject) -> str:
    (context,) = document(encoded).content.get_observer_contexts()
    return str(context.observer_identifying_attributes.uid)


def test_frames_of_a_multi_frame_source_are_told_apart() -> None:
    case = analysed([part10(enhanced_ct(ct_series(9)))], subtypes=SUBTYPES)
    instance = case.volume.sources[0].sop_instance_uid
    encoded = key_objects(case, [4, 7], [])
    assert selected(encoded) == [("IMAGE", instance, case.volume.sources[index].frame_number) for index in (4, 7)]
    assert {uid for _, uid in evidence(encoded)} == {instance}


@pytest.mark.parametrize("kind", [ObjectKind.SEG, ObjectKind.SEG_LABELMAP])
def test_a_segmentation_is_an_image_whatever_its_kind(kind: ObjectKind) -> None:
    case = analysed(subtypes=SUBTYPES)
    seg = case.seg(kind=kind)
    assert selected(key_objects(case, [], [seg])) == [("IMAGE", seg.sop_instance_uid, None)]


def test_evidence_is_all_that_is_selected_and_no_more() -> None:
    case = analysed(subtypes=SUBTYPES)
    sr, seg = case.sr(), case.seg()
    source = dcmread(io.BytesIO(case.contents[0])).SeriesInstanceUID
    assert evidence(key_objects(case, [3, 5], [sr, seg])) == {
        (source, case.volume.sources[3].sop_instance_uid),
        (source, case.volume.sources[5].sop_instance_uid),
        (sr.series_instance_uid, sr.sop_instance_uid),
        (seg.series_instance_uid, seg.sop_instance_uid),
    }


def test_a_selection_says_what_it_is_not() -> None:
    case = analysed(subtypes=SUBTYPES)
    assert "selected by software" in description(key_objects(case, [1], []))
    assert "Not for primary diagnosis" in description(key_objects(case, [1], []))
    assert "DEMONSTRATION" in description(key_objects(case, [1], []))
    assert b"DEMONSTRATION" not in key_objects(case, [1], [], provenance=REAL).content


@pytest.mark.parametrize(
    ("slices", "why"),
    [
        ([0, 1, 2, 3, 4, 5], "up to 5"),
        ([2, 2], "named once"),
        ([12], "12 slices"),
        ([-1], "12 slices"),
        ([], "at least one object"),
    ],
    ids=str,
)
def test_a_selection_that_makes_no_sense_is_refused(slices: list[int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        key_objects(analysed(subtypes=[]), slices, [])


def test_the_same_inputs_make_the_same_bytes() -> None:
    case = analysed(subtypes=SUBTYPES)
    made = [key_objects(case, [1, 2], [case.sr()], contents=files) for files in (case.contents, case.contents[::-1])]
    assert made[0] == made[1]
    assert b"highdicom" not in made[0].content


def test_another_selection_is_another_object() -> None:
    case = analysed(subtypes=SUBTYPES)
    made = [
        key_objects(case, [1, 2], [case.sr()]),
        key_objects(case, [2, 1], [case.sr()]),
        key_objects(case, [1, 2], [case.sr(kind=ObjectKind.SR_ENHANCED)]),
        key_objects(case, [1, 2], []),
        key_objects(case, [1, 2], [case.sr()], provenance=replace(PROVENANCE, bundle_digest="ab" * 32)),
    ]
    assert len({one.sop_instance_uid for one in made}) == len(made)


@pytest.mark.parametrize("name", ["utf8", "ir87"])
def test_the_patient_is_the_one_that_came(name: str) -> None:
    contents = [part10_named(ds, name) for ds in ct_series(9)]
    case = analysed(contents, subtypes=[])
    sent = dcmread(io.BytesIO(contents[0]))
    for encoded in (key_objects(case, [1], []), encode_rejection(contents, old_of(sent), PROVENANCE)):
        assert dataset(encoded).PatientName == sent.PatientName
        assert dataset(encoded).get_item("SpecificCharacterSet") is not None
        assert dataset(encoded).SpecificCharacterSet == sent.SpecificCharacterSet


def old_of(source: Any) -> list[ObjectReference]:
    return [ObjectReference(source.StudyInstanceUID, "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.4")]


def test_a_rejection_names_what_no_longer_counts() -> None:
    case = analysed(subtypes=SUBTYPES)
    seg, sr = old_objects(case)
    encoded = encode_rejection(case.contents, [seg, sr], PROVENANCE)
    assert encoded.kind is ObjectKind.KOS_REJECTED
    assert title(encoded) == ("113001", "Rejected for Quality Reasons")
    assert {(kind, uid) for kind, uid, _ in selected(encoded)} == {
        ("IMAGE", seg.sop_instance_uid),
        ("COMPOSITE", sr.sop_instance_uid),
    }
    assert evidence(encoded) == {(one.series_instance_uid, one.sop_instance_uid) for one in (seg, sr)}
    assert "Superseded" in description(encoded)


def test_a_rejection_never_names_a_source_image() -> None:
    case = analysed(subtypes=SUBTYPES)
    rejected = {uid for _, uid, _ in selected(encode_rejection(case.contents, old_objects(case), PROVENANCE))}
    assert not rejected & {s.sop_instance_uid for s in case.volume.sources}


def test_a_rejection_needs_no_volume() -> None:
    series = ct_series(2, ImagePositionPatient=None)
    encoded = encode_rejection([part10(ds)[:-1000] for ds in series], old_of(series[0]), PROVENANCE)
    assert [uid for _, uid, _ in selected(encoded)] == ["1.2.3.4"]
    assert dataset(encoded).SeriesDescription == "ICH triage: rejection note, DEMONSTRATION, NOT FOR CARE"


def test_the_order_of_what_is_rejected_does_not_matter_but_what_it_is_does() -> None:
    case = analysed(subtypes=SUBTYPES)
    seg, sr = old_objects(case)
    once = encode_rejection(case.contents, [seg, sr], PROVENANCE)
    assert encode_rejection(case.contents[::-1], [sr, seg, sr], PROVENANCE) == once
    assert encode_rejection(case.contents, [sr], PROVENANCE).sop_instance_uid != once.sop_instance_uid


def test_a_rejection_of_nothing_or_of_another_study_is_refused() -> None:
    case = analysed(subtypes=SUBTYPES)
    with pytest.raises(ValueError, match="at least one object"):
        encode_rejection(case.contents, [], PROVENANCE)
    with pytest.raises(ValueError, match="one study"):
        encode_rejection(case.contents, [replace(old_objects(case)[0], study_instance_uid="1.2.9")], PROVENANCE)
