"""The report in its four kinds: the same content, as far as each kind can hold it, and UIDs that keep them apart."""

from __future__ import annotations

import io
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
)

from tests.builders import NAMES, ct_series, ellipse_head, enhanced_ct, part10, part10_named
from tests.results import REAL, Analysed, analysed, dataset
from triage.dicom import codes
from triage.domain.encoded import SEG_KINDS, SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import KINDS, SUBTYPES, Subtype

CLASSES = {
    ObjectKind.SR: Comprehensive3DSRStorage,
    ObjectKind.SR_COMPREHENSIVE: ComprehensiveSRStorage,
    ObjectKind.SR_ENHANCED: EnhancedSRStorage,
    ObjectKind.SR_TEXT: BasicTextSRStorage,
}
MEASURING = [kind for kind in CLASSES if kind is not ObjectKind.SR_TEXT]
BASIC_VALUE_TYPES = {"TEXT", "CODE", "UIDREF", "IMAGE", "CONTAINER"}
EARLIER = ObjectReference("1.2.3.1", "1.2.3.2", str(EnhancedSRStorage), "1.2.3.4")


def segmented(case: Analysed, kind: ObjectKind) -> EncodedObject:
    probabilities = {s: (case.labels == i).astype(np.uint8) * 255 for i, s in enumerate(KINDS, start=1)}
    return case.seg(kind=kind, probabilities=probabilities)


def items(encoded: EncodedObject) -> list[tuple[str, str, str]]:
    """Value type, concept and value of each item under the root of a text report."""
    found = []
    for item in dataset(encoded).ContentSequence:
        value = ""
        if item.ValueType == "TEXT":
            value = item.TextValue
        elif item.ValueType == "CODE":
            value = item.ConceptCodeSequence[0].CodeMeaning
        elif item.ValueType == "IMAGE":
            value = item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        found.append((item.ValueType, item.ConceptNameCodeSequence[0].CodeMeaning, value))
    return found


def texts(encoded: EncodedObject, name: codes.Code) -> list[str]:
    return [value for _, meaning, value in items(encoded) if meaning == name.meaning]


def evidence(encoded: EncodedObject) -> set[str]:
    return {
        one.ReferencedSOPInstanceUID
        for study in dataset(encoded).CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def test_there_is_a_class_for_every_kind_of_report() -> None:
    assert set(CLASSES) == SR_KINDS


@pytest.mark.parametrize("kind", CLASSES)
def test_each_kind_is_of_its_class(kind: ObjectKind) -> None:
    encoded = analysed().sr(kind=kind)
    ds = dataset(encoded)
    assert encoded.kind is kind
    assert encoded.sop_class_uid == ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == CLASSES[kind]
    assert encoded.sop_instance_uid == ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
    assert encoded.transfer_syntax_uid == ExplicitVRLittleEndian
    assert (ds.Modality, ds.PreliminaryFlag, ds.VerificationFlag) == ("SR", "PRELIMINARY", "UNVERIFIED")


@pytest.mark.parametrize("kind", MEASURING)
@pytest.mark.parametrize("subtypes", [(), (Subtype.IVH,), tuple(SUBTYPES), (Subtype.ICH,)], ids=str)
def test_the_measuring_kinds_hold_the_same_tree(kind: ObjectKind, subtypes: tuple[Subtype, ...]) -> None:
    case = analysed(subtypes=subtypes)
    usual, other = dataset(case.sr()), dataset(case.sr(kind=kind))
    assert other.ContentSequence == usual.ContentSequence
    assert other.CurrentRequestedProcedureEvidenceSequence == usual.CurrentRequestedProcedureEvidenceSequence


@pytest.mark.parametrize("kind", MEASURING)
@pytest.mark.parametrize("segmentation", sorted(SEG_KINDS))
def test_a_report_refers_to_the_segmentation_that_its_archive_gets(kind: ObjectKind, segmentation: ObjectKind) -> None:
    case = analysed(subtypes=[Subtype.EDH, Subtype.SAH])
    seg = segmented(case, segmentation)
    encoded = case.sr(kind=kind, segmentation=seg)
    groups = hd.sr.srread(io.BytesIO(encoded.content)).content.get_volumetric_roi_measurement_groups()
    said = {
        group.tracking_uid: (
            group.referenced_segment.referenced_sop_class_uid,
            group.referenced_segment.referenced_sop_instance_uid,
            group.referenced_segment.referenced_segment_numbers,
        )
        for group in groups
    }
    assert said == {
        segment.TrackingUID: (seg.sop_class_uid, seg.sop_instance_uid, [segment.SegmentNumber])
        for segment in dataset(seg).SegmentSequence
    }
    assert seg.sop_instance_uid in evidence(encoded)


def test_every_pairing_of_report_and_segmentation_has_its_own_uid() -> None:
    case = analysed(subtypes=[Subtype.IPH])
    made = [case.sr(kind=kind, segmentation=segmented(case, seg)) for kind in MEASURING for seg in SEG_KINDS]
    assert len({one.sop_instance_uid for one in made}) == len(MEASURING) * len(SEG_KINDS)
    assert len({one.series_instance_uid for one in made}) == len(MEASURING)
    assert len({dataset(one).SeriesNumber for one in made}) == len(MEASURING)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_same_inputs_make_the_same_bytes(kind: ObjectKind) -> None:
    case = analysed(subtypes=[Subtype.IPH, Subtype.SDH])
    once = case.sr(kind=kind)
    assert case.sr(kind=kind, contents=case.contents[::-1]) == once
    assert b"highdicom" not in once.content


@pytest.mark.parametrize("kind", CLASSES)
def test_a_report_of_any_kind_names_what_it_supersedes(kind: ObjectKind) -> None:
    case = analysed(subtypes=[])
    (study,) = dataset(case.sr(predecessor=EARLIER, kind=kind)).PredecessorDocumentsSequence
    (one,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID) == (EARLIER.sop_class_uid, "1.2.3.4")
    first = case.sr(kind=kind)
    own = ObjectReference("1.2.3.1", first.series_instance_uid, first.sop_class_uid, first.sop_instance_uid)
    assert case.sr(predecessor=own, kind=kind) == first


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ValueError, match="KOS is no report"):
        analysed(subtypes=[]).sr(kind=ObjectKind.KOS)


def test_a_text_report_says_it_all_in_words() -> None:
    case = analysed(subtypes=[Subtype.IPH, Subtype.SAH], score=0.93)
    encoded = case.sr(kind=ObjectKind.SR_TEXT)
    found = case.result.subtypes
    assert texts(encoded, codes.CONCLUSION) == [
        "Intracranial hemorrhage suspected: probability 0.930, suspected from 0.5."
    ]
    assert texts(encoded, codes.INTRACRANIAL_HEMORRHAGE) == ["Present"]
    assert texts(encoded, codes.URGENCY) == ["ACR Category 1 Actionable Finding"]
    assert texts(encoded, codes.PROBABILITY) == ["0.930"]
    assert texts(encoded, codes.FINDING) == [
        f"IPH intraparenchymal hemorrhage: {found[Subtype.IPH].volume_ml:.1f} ml, probability 0.620",
        f"SAH subarachnoid hemorrhage: {found[Subtype.SAH].volume_ml:.1f} ml, probability 0.840",
    ]
    assert texts(encoded, codes.VOLUME) == [f"{case.result.total_volume_ml:.1f} ml in all"]
    assert texts(encoded, codes.ALGORITHM_NAME) == ["demo-heads"]
    assert texts(encoded, codes.ALGORITHM_VERSION) == ["1.2"]
    assert f"bundle sha256 {case.provenance.bundle_digest}" in texts(encoded, codes.ALGORITHM_PARAMETERS)
    notice, demonstration, *measured = texts(encoded, codes.COMMENT)
    assert "Not for primary diagnosis" in notice
    assert demonstration.startswith("DEMONSTRATION")
    assert measured == list(case.provenance.measured)


def test_a_negative_text_report_says_absent_and_measures_nothing() -> None:
    encoded = analysed(subtypes=[], score=0.12).sr(kind=ObjectKind.SR_TEXT)
    assert texts(encoded, codes.INTRACRANIAL_HEMORRHAGE) == ["Absent"]
    assert texts(encoded, codes.CONCLUSION)[0].startswith("Intracranial hemorrhage not suspected")
    assert [texts(encoded, name) for name in (codes.URGENCY, codes.FINDING, codes.VOLUME)] == [[], [], []]
    assert not [kind for kind, _, _ in items(encoded) if kind == "IMAGE"]


def test_a_speck_is_not_rounded_to_nothing() -> None:
    tiny = ct_series(12, spacing_mm=0.4, step_mm=1.0, thickness_mm=1.0, hu=ellipse_head(64, 64))
    case = analysed([part10(ds) for ds in tiny], [Subtype.SAH])
    assert 0 < case.result.total_volume_ml < 0.05
    encoded = case.sr(kind=ObjectKind.SR_TEXT)
    assert texts(encoded, codes.FINDING) == ["SAH subarachnoid hemorrhage: less than 0.1 ml, probability 0.840"]
    assert texts(encoded, codes.VOLUME) == ["less than 0.1 ml in all"]


def test_a_text_report_of_a_trained_bundle_is_no_demonstration() -> None:
    encoded = analysed(provenance=REAL).sr(kind=ObjectKind.SR_TEXT)
    assert len(texts(encoded, codes.COMMENT)) == 1
    assert b"DEMONSTRATION" not in encoded.content


def test_a_text_report_keeps_to_what_basic_text_allows() -> None:
    ds = dataset(analysed().sr(kind=ObjectKind.SR_TEXT))
    assert {item.ValueType for item in ds.ContentSequence} <= BASIC_VALUE_TYPES
    relations = {item.RelationshipType for item in ds.ContentSequence}
    assert relations == {"CONTAINS", "HAS OBS CONTEXT", "HAS CONCEPT MOD"}
    assert "ContentTemplateSequence" not in ds
    assert all("ContentSequence" not in item for item in ds.ContentSequence)


@pytest.mark.parametrize("source", ["single-frame", "enhanced"])
def test_a_text_report_shows_the_slice_to_look_at_first(source: str) -> None:
    series = ct_series(9)
    case = analysed([part10(enhanced_ct(series))] if source == "enhanced" else [part10(ds) for ds in series])
    (image,) = [item for item in dataset(case.sr(kind=ObjectKind.SR_TEXT)).ContentSequence if item.ValueType == "IMAGE"]
    (one,) = image.ReferencedSOPSequence
    key = case.result.key_slice
    assert key is not None
    assert one.ReferencedSOPInstanceUID == key.sop_instance_uid
    assert one.get("ReferencedFrameNumber") == (key.frame_number if source == "enhanced" else None)


def test_a_text_report_rests_on_the_images_alone() -> None:
    case = analysed(subtypes=[Subtype.IPH])
    made: list[Any] = [
        case.sr(kind=ObjectKind.SR_TEXT, segmentation=one)
        for one in (None, case.seg(), segmented(case, ObjectKind.SEG_LABELMAP))
    ]
    assert made[0] == made[1] == made[2]
    assert evidence(made[0]) == {s.sop_instance_uid for s in case.volume.sources}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_patient_name_is_the_one_that_came(kind: ObjectKind, name: str) -> None:
    _, sent = NAMES[name]
    content = analysed([part10_named(ds, name) for ds in ct_series(9)], subtypes=[]).sr(kind=kind).content
    padded = sent.ljust(len(sent) + len(sent) % 2)
    assert b"\x10\x00\x10\x00PN" + len(padded).to_bytes(2, "little") + padded in content
    assert content.count(sent) == 1  # nothing else of ours quotes it


@pytest.mark.parametrize("kind", CLASSES)
def test_our_own_text_is_ascii(kind: ObjectKind) -> None:
    for element in dataset(analysed().sr(kind=kind)).iterall():
        if element.VR in ("LO", "SH", "LT", "ST", "UT", "UC", "PN", "CS"):
            assert str(element.value).isascii(), element.keyword
