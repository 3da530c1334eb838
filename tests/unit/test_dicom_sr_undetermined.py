"""The report on a series that was not analysed: it says so, why, and never that nothing is there."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import highdicom as hd
import pytest
from pydicom.uid import Comprehensive3DSRStorage

from tests.builders import ct_series, enhanced_ct, localizer, part10, part10_named, rgb_screen
from tests.results import PROVENANCE, REAL, analysed, dataset
from triage.dicom import codes
from triage.dicom.undetermined import encode_undetermined
from triage.domain.encoded import SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.domain.errors import UnreadableInstance
from triage.domain.finding import ReasonCode

KINDS = sorted(SR_KINDS)
MEASURING = [kind for kind in KINDS if kind is not ObjectKind.SR_TEXT]
SENTENCE = "The slices do not share one pixel size."
EARLIER = ObjectReference("1.2.3.1", "1.2.3.2", str(Comprehensive3DSRStorage), "1.2.3.4")


def undetermined(contents: list[bytes] | None = None, **changes: Any) -> EncodedObject:
    given = {"reason": ReasonCode.MIXED_ORIENTATION, "sentence": SENTENCE, "provenance": PROVENANCE}
    files = contents if contents is not None else [part10(ds) for ds in ct_series(4)]
    return encode_undetermined(files, **{**given, "predecessor": None, **changes})


def group_of(encoded: EncodedObject) -> Any:
    (group,) = hd.sr.srread(io.BytesIO(encoded.content)).content.get_image_measurement_groups()
    return group


def said(encoded: EncodedObject) -> list[str]:
    return [str(e.value) for e in dataset(encoded).iterall() if e.keyword == "TextValue"]


def meanings(encoded: EncodedObject) -> set[str]:
    return {str(e.value) for e in dataset(encoded).iterall() if e.keyword == "CodeMeaning"}


def evidence(encoded: EncodedObject) -> list[tuple[str, str]]:
    """Sequence and SOP Instance UID of everything that the report rests on."""
    ds = dataset(encoded)
    return [
        (keyword, one.ReferencedSOPInstanceUID)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in ds.get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


@pytest.mark.parametrize("kind", MEASURING)
def test_the_finding_is_undetermined(kind: ObjectKind) -> None:
    group = group_of(undetermined(kind=kind))
    (finding,) = group.get_qualitative_evaluations(name=codes.INTRACRANIAL_HEMORRHAGE.concept())
    assert (finding.value.value, finding.value.scheme_designator) == ("373068000", "SCT")
    assert group.get_measurements() == []
    assert group.finding_sites == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_said_to_be_there_or_not(kind: ObjectKind) -> None:
    encoded = undetermined(kind=kind)
    assert "Undetermined" in meanings(encoded)
    assert not meanings(encoded) & {"Absent", "Present", "Probability", "Urgency", "Volume"}
    assert not meanings(encoded) & {code.meaning for code in codes.ACTIONABLE.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_reason_is_given(kind: ObjectKind) -> None:
    assert f"Not analysed (mixed_orientation): {SENTENCE}" in said(undetermined(kind=kind))


def test_every_reason_can_be_given() -> None:
    contents = [part10(ds) for ds in ct_series(1)]
    for reason in ReasonCode:
        assert f"Not analysed ({reason.value}): {SENTENCE}" in said(undetermined(contents, reason=reason))


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_says_what_it_is_not(kind: ObjectKind) -> None:
    assert any("Not for primary diagnosis" in text for text in said(undetermined(kind=kind)))
    assert any(text.startswith("DEMONSTRATION") for text in said(undetermined(kind=kind)))
    assert b"DEMONSTRATION" not in undetermined(kind=kind, provenance=REAL).content


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_has_verified_it(kind: ObjectKind) -> None:
    ds = dataset(undetermined(kind=kind))
    assert (ds.PreliminaryFlag, ds.VerificationFlag, ds.CompletionFlag) == ("PRELIMINARY", "UNVERIFIED", "COMPLETE")
    assert ds.ContributingEquipmentSequence[0].DeviceUID.startswith("2.25.")


@pytest.mark.parametrize("kind", KINDS)
def test_it_rests_on_every_instance(kind: ObjectKind) -> None:
    series = ct_series(5)
    encoded = undetermined([part10(ds) for ds in series], kind=kind)
    assert {uid for _, uid in evidence(encoded)} == {ds.SOPInstanceUID for ds in series}
    assert len(evidence(encoded)) == len(series)


def test_an_instance_of_another_study_is_other_evidence() -> None:
    one, other = ct_series(2, SOPInstanceUID=lambda i: f"1.2.{i}"), ct_series(1, SOPInstanceUID="1.3")
    encoded = undetermined([part10(ds) for ds in (*one, *other)])
    assert dataset(encoded).StudyInstanceUID == one[0].StudyInstanceUID
    assert ("PertinentOtherEvidenceSequence", "1.3") in evidence(encoded)


SOURCES = {
    "magnetic": lambda: ct_series(2, Modality="MR"),
    "no geometry": lambda: ct_series(2, ImagePositionPatient=None, PixelSpacing=None),
    "scout": lambda: [localizer()],
    "screen": lambda: [rgb_screen()],
    "enhanced": lambda: [enhanced_ct(ct_series(4))],
    "twice": lambda: [ct_series(1, SOPInstanceUID="1.5")[0]] * 2,
}


@pytest.mark.parametrize("name", SOURCES)
def test_whatever_has_a_header_can_be_reported(name: str) -> None:
    instances = SOURCES[name]()
    encoded = undetermined([part10(ds) for ds in instances])
    assert {uid for _, uid in evidence(encoded)} == {ds.SOPInstanceUID for ds in instances}
    assert dataset(encoded).StudyInstanceUID == instances[0].StudyInstanceUID


def test_pixels_are_not_needed() -> None:
    whole = [part10(ds) for ds in ct_series(2)]
    assert undetermined([content[:-3000] for content in whole]) == undetermined(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_the_patient_is_the_one_that_came(kind: ObjectKind) -> None:
    name = "SYNTHETIC^Größe 頭部".encode()
    contents = [part10_named(ds, "utf8") for ds in ct_series(2, PatientID="SYN7", AccessionNumber="SYN0042")]
    encoded = undetermined(contents, kind=kind)
    assert encoded.content.count(name) == 1
    assert (dataset(encoded).PatientID, dataset(encoded).AccessionNumber) == ("SYN7", "SYN0042")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_inputs_make_the_same_bytes(kind: ObjectKind) -> None:
    contents = [part10(ds) for ds in ct_series(3)]
    assert undetermined(contents, kind=kind) == undetermined(contents[::-1], kind=kind)


def test_it_is_never_taken_for_an_analysed_report() -> None:
    case = analysed(subtypes=[], score=0.1)
    made = [case.sr(kind=kind) for kind in KINDS]
    made += [undetermined(case.contents, kind=kind) for kind in KINDS]
    assert len({one.sop_instance_uid for one in made}) == 2 * len(KINDS)


def test_another_reason_is_another_report() -> None:
    contents = [part10(ds) for ds in ct_series(2)]
    made = [
        undetermined(contents),
        undetermined(contents, reason=ReasonCode.FAILED),
        undetermined(contents, sentence="Other words."),
    ]
    assert len({one.sop_instance_uid for one in made}) == len(made)


def test_a_sentence_in_any_script_fits() -> None:
    encoded = undetermined(sentence="頭部 größer\\" + "x" * 2000)
    (text,) = [text for text in said(encoded) if text.startswith("Not analysed")]
    assert text.startswith("Not analysed (mixed_orientation): ?? gr??er/xxx")
    assert text.isascii()


@pytest.mark.parametrize("kind", KINDS)
def test_it_names_the_report_that_it_supersedes(kind: ObjectKind) -> None:
    (study,) = dataset(undetermined(kind=kind, predecessor=EARLIER)).PredecessorDocumentsSequence
    (one,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert one.ReferencedSOPInstanceUID == EARLIER.sop_instance_uid


def test_a_report_does_not_supersede_itself() -> None:
    contents = [part10(ds) for ds in ct_series(2)]
    first = undetermined(contents)
    assert undetermined(contents, predecessor=replace(EARLIER, sop_instance_uid=first.sop_instance_uid)) == first


def test_what_cannot_be_reported_is_refused() -> None:
    with pytest.raises(ValueError, match="SEG is no report"):
        undetermined(kind=ObjectKind.SEG)
    with pytest.raises(ValueError, match="at least one source instance"):
        undetermined([])
    with pytest.raises(UnreadableInstance):
        undetermined([b"no DICOM at all"])
