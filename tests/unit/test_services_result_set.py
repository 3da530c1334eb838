"""Which objects are made of one result for whom, each once, in an order that an archive can follow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.results import Analysed, analysed, dataset
from triage.domain.encoded import Addressed, ObjectKind, ObjectReference
from triage.domain.finding import SUBTYPES, Subtype
from triage.domain.profile import Profile
from triage.inference.predict import Analysis
from triage.services.result_set import Case, result_set

SEG, SR, KOS, SC, GSPS = (ObjectKind(name) for name in ("SEG", "SR", "KOS", "SC", "GSPS"))
EVERYTHING = Profile((SEG, SR, KOS, SC, GSPS))


@pytest.fixture(scope="module")
def positive() -> Analysed:
    return analysed(subtypes=[Subtype.IPH, Subtype.SDH])


@pytest.fixture(scope="module")
def negative() -> Analysed:
    return analysed(subtypes=[], score=0.1)


def case(made: Analysed, **more: object) -> Case:
    probabilities = {s: (made.labels == i).astype(np.uint8) * 200 for i, s in enumerate(SUBTYPES, start=1)}
    found = {s: p for s, p in probabilities.items() if p.any()}
    evidence = np.zeros((len(made.labels), 6))
    analysis = Analysis(made.result, made.labels, made.labels, evidence, len(made.labels), found)
    return Case(made.contents, made.volume, analysis, made.provenance, **more)


def kinds(addressed: Iterable[Addressed], destination: str = "pacs") -> list[ObjectKind]:
    return [item.encoded.kind for item in addressed if destination in item.destinations]


def referenced(ds: Dataset) -> set[str]:
    """Every SOP Instance UID that the data set refers to."""
    return {str(e.value) for e in ds.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


def test_what_is_referred_to_comes_first(positive: Analysed) -> None:
    made = kinds(result_set(case(positive), {"pacs": EVERYTHING}))
    assert made[:2] == [SEG, SR]
    assert made[-1] is KOS
    assert set(made) == {SEG, SR, SC, GSPS, KOS}


def test_a_negative_result_is_a_report_and_a_page(negative: Analysed) -> None:
    assert kinds(result_set(case(negative), {"pacs": EVERYTHING})) == [SR, SC]


def test_an_object_that_two_want_is_made_once(positive: Analysed) -> None:
    made = result_set(case(positive), {"pacs": EVERYTHING, "ward": Profile((SEG, SR))})
    uids = [item.encoded.sop_instance_uid for item in made]
    assert len(set(uids)) == len(uids)
    assert kinds(made, "ward") == [SEG, SR]
    assert [item.destinations for item in made if item.encoded.kind is SEG] == [["pacs", "ward"]]


def test_a_destination_that_takes_reports_alone_gets_no_segmentation_though_there_is_one(positive: Analysed) -> None:
    made = result_set(case(positive), {"pacs": Profile((SR,))})
    assert kinds(made) == [SR]
    (seg,) = [item for item in made if item.encoded.kind is SEG]
    assert seg.destinations == []
    (sr,) = [item for item in made if item.encoded.kind is SR]
    assert seg.encoded.sop_instance_uid in referenced(dataset(sr.encoded))


def test_without_destinations_the_result_can_still_be_shown(positive: Analysed) -> None:
    made = result_set(case(positive), {})
    assert [(item.encoded.kind, item.destinations) for item in made] == [(SEG, []), (SR, [])]


def test_only_suspected_studies(positive: Analysed, negative: Analysed) -> None:
    profiles = {"pacs": Profile((SEG, SR), only_suspected=True)}
    assert kinds(result_set(case(positive), profiles)) == [SEG, SR]
    assert result_set(case(negative), profiles) == []


def test_an_archive_that_holds_a_suspected_revision_hears_that_it_is_no_longer_so(negative: Analysed) -> None:
    study = str(dataset(negative.sr()).StudyInstanceUID)
    before = [ObjectReference(study, "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.4")]
    profiles = {"pacs": Profile((SEG, SR), only_suspected=True), "ward": Profile((SR,), only_suspected=True)}
    made = result_set(case(negative, superseded={"pacs": before}), profiles)
    assert kinds(made, "pacs") == [SR]
    assert kinds(made, "ward") == []


@pytest.mark.parametrize("seg", [SEG, ObjectKind.SEG_LABELMAP, ObjectKind.SEG_FRACTIONAL])
@pytest.mark.parametrize("sr", [SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED])
def test_a_report_names_the_segmentation_that_its_archive_gets(
    positive: Analysed, seg: ObjectKind, sr: ObjectKind
) -> None:
    made = {item.encoded.kind: item.encoded for item in result_set(case(positive), {"pacs": Profile((seg, sr))})}
    assert set(made) == {seg, sr}
    assert made[seg].sop_instance_uid in referenced(dataset(made[sr]))


def test_archives_with_different_segmentations_get_different_reports(positive: Analysed) -> None:
    profiles = {"new": Profile((ObjectKind.SEG_LABELMAP, SR)), "old": Profile((SEG, SR))}
    made = result_set(case(positive), profiles)
    reports = [item for item in made if item.encoded.kind is SR]
    assert sorted(item.destinations for item in reports) == [["new"], ["old"]]
    assert len({item.encoded.sop_instance_uid for item in reports}) == 2


def test_key_objects_name_only_what_their_archive_gets(positive: Analysed) -> None:
    made = result_set(case(positive), {"pacs": Profile((SR, KOS)), "ward": Profile((SEG, KOS))})
    by_kind = {item.encoded.kind: item.encoded.sop_instance_uid for item in made}
    notes = {item.destinations[0]: referenced(dataset(item.encoded)) for item in made if item.encoded.kind is KOS}
    assert by_kind[SR] in notes["pacs"]
    assert by_kind[SEG] not in notes["pacs"]
    assert by_kind[SEG] in notes["ward"]


def test_a_report_names_the_one_before_it_of_its_own_kind(positive: Analysed) -> None:
    study = dataset(positive.sr()).StudyInstanceUID
    before = ObjectReference(str(study), "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.4")
    made = result_set(
        case(positive, predecessors={SR: before}), {"a": Profile((SR,)), "b": Profile((ObjectKind.SR_TEXT,))}
    )
    named = {
        item.encoded.kind: "PredecessorDocumentsSequence" in dataset(item.encoded) for item in made if item.destinations
    }
    assert named == {SR: True, ObjectKind.SR_TEXT: False}


def test_a_report_names_the_one_before_it_that_its_archive_was_sent(positive: Analysed) -> None:
    study = str(dataset(positive.sr()).StudyInstanceUID)
    seg = ObjectReference(study, "1.2.3.2", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.3")
    first, of_a, of_b = (
        ObjectReference(study, "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", uid)
        for uid in ("1.2.3.4", "1.2.3.5", "1.2.3.6")
    )
    profiles = {
        "a": Profile((SEG, SR)),
        "b": Profile((ObjectKind.SEG_LABELMAP, SR)),
        "c": Profile((ObjectKind.SEG_FRACTIONAL, SR)),
    }
    made = result_set(
        case(positive, predecessors={SR: of_b}, superseded={"a": [first, of_a, seg], "b": [of_b]}), profiles
    )
    named = {
        item.destinations[0]: referenced(dataset(item.encoded).PredecessorDocumentsSequence[0])
        for item in made
        if item.encoded.kind is SR
    }
    assert named == {"a": {"1.2.3.5"}, "b": {"1.2.3.6"}, "c": {"1.2.3.6"}}, "one that was sent none names the newest"


def test_what_a_new_revision_supersedes_is_rejected_where_that_is_asked_for(positive: Analysed) -> None:
    study = str(dataset(positive.sr()).StudyInstanceUID)
    before = [ObjectReference(study, "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.4")]
    profiles = {"pacs": Profile((SR,), reject_superseded=True), "ward": Profile((SR,))}
    made = result_set(case(positive, superseded={"pacs": before}), profiles)
    assert kinds(made, "pacs") == [SR, ObjectKind.KOS_REJECTED]
    assert kinds(made, "ward") == [SR]
    (note,) = [item.encoded for item in made if item.encoded.kind is ObjectKind.KOS_REJECTED]
    assert "1.2.3.4" in referenced(dataset(note))
    assert kinds(result_set(case(positive), profiles), "pacs") == [SR], "a first revision supersedes nothing"


def test_what_is_made_again_is_not_rejected(positive: Analysed) -> None:
    profiles = {"pacs": Profile((SEG, SR), reject_superseded=True)}
    study = str(dataset(positive.sr()).StudyInstanceUID)
    same = [item.encoded.reference(study) for item in result_set(case(positive), profiles)]
    assert kinds(result_set(case(positive, superseded={"pacs": same}), profiles)) == [SEG, SR]
    old = ObjectReference(study, "1.2.3.2", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3.4")
    made = result_set(case(positive, superseded={"pacs": [*same, old]}), profiles)
    (note,) = [item.encoded for item in made if item.encoded.kind is ObjectKind.KOS_REJECTED]
    assert referenced(dataset(note)) == {"1.2.3.4"}


def test_the_same_again_is_the_same_to_the_byte(positive: Analysed) -> None:
    first, second = (result_set(case(positive), {"pacs": EVERYTHING}) for _ in range(2))
    assert [item.encoded for item in first] == [item.encoded for item in second]
