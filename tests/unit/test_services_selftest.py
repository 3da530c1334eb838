"""The self-test against archives that keep, refuse, lose and alter, made of dictionaries."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle

import pydicom
import pytest

from triage.dicom.comparison import Change, changes
from triage.dicom.header import read_header
from triage.dicom.synthetic import PATIENT_NAME, synthetic_study
from triage.dicom.volume import read_volume
from triage.domain.encoded import MESSAGE_KINDS, ObjectKind, ObjectReference
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.services.selftest import SOURCE, Archive, Sample, Verdict, recommended, selftest, synthetic_samples

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SEG, SR, KOS, SC, GSPS = (ObjectKind(name) for name in ("SEG", "SR", "KOS", "SC", "GSPS"))


@dataclass
class Memory:
    """An archive that refuses some SOP classes, forgets others, and rewrites what it hands out."""

    refuses: Collection[str] = ()
    forgets: Collection[str] = ()
    patient_id: str | None = None
    kept: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def store(self, instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        return [self._store(instance) for instance in instances]

    def _store(self, instance: OutgoingInstance) -> SendOutcome:
        if instance.sop_class_uid in self.refuses:
            return SendOutcome(instance.sop_instance_uid, DeliveryRefused("SYNTHETIC: no such class."), 0x0122)
        if instance.sop_class_uid not in self.forgets:
            self.kept[instance.sop_instance_uid] = instance.read()
        return SendOutcome(instance.sop_instance_uid, None, 0)

    def find(self, study: str, wanted: Collection[str]) -> set[str]:
        self.asked.append(study)
        return set(self.kept) & set(wanted)

    def fetch(self, reference: ObjectReference) -> bytes:
        if reference.sop_instance_uid not in self.kept:
            raise DeliveryRefused("SYNTHETIC: there is no such object.")
        ds = pydicom.dcmread(io.BytesIO(self.kept[reference.sop_instance_uid]))
        if self.patient_id is not None:
            ds.PatientID = self.patient_id
        out = io.BytesIO()
        ds.save_as(out)
        return out.getvalue()

    def tried(self, **more: object) -> Verdict:
        archive = Archive(self.store, self.find, self.fetch, **more)
        return selftest(archive, run="a run", at=AT, tell=lambda _: None, settle_seconds=0)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return synthetic_samples("a run", AT)


def class_of(samples: Sequence[Sample], name: str) -> str:
    return next(s.reference.sop_class_uid for s in samples if s.name == name)


def test_the_study_says_that_it_is_no_patient_s() -> None:
    for content in synthetic_study("a run", AT):
        ds = pydicom.dcmread(io.BytesIO(content))
        assert str(ds.PatientName) == PATIENT_NAME
        assert "SYNTHETIC" in ds.StudyDescription
        assert "SYNTHETIC" in ds.SeriesDescription
        assert ds.PatientID.startswith("SELFTEST")


def test_the_study_is_a_volume_of_its_own() -> None:
    first, second = synthetic_study("one", AT), synthetic_study("two", AT)
    assert read_volume(first).hu.shape == (12, 128, 128)
    assert read_header(first[0]).study_instance_uid != read_header(second[0]).study_instance_uid
    assert first == synthetic_study("one", AT)


def test_every_kind_of_object_is_tried(samples: list[Sample]) -> None:
    tried = {sample.name for sample in samples}
    assert tried == {SOURCE, *ObjectKind} - MESSAGE_KINDS - {ObjectKind.KOS_REJECTED}
    uids = [sample.reference.sop_instance_uid for sample in samples]
    assert len(set(uids)) == len(uids)
    assert {s.reference.study_instance_uid for s in samples} == {samples[0].reference.study_instance_uid}


def test_an_archive_that_keeps_everything() -> None:
    memory = Memory()
    verdict = memory.tried()
    assert all(trial.kept and trial.found and not trial.changed for trial in verdict.trials)
    assert verdict.recommended == (SEG, SR, KOS)
    assert verdict.left_because is not None
    assert verdict.not_found_because is None
    assert set(memory.asked) == {verdict.study_instance_uid}


def test_an_archive_that_knows_no_segmentation_gets_pictures(samples: list[Sample]) -> None:
    classes = {class_of(samples, kind) for kind in (SEG, "SEG_LABELMAP")}
    verdict = Memory(refuses=classes).tried()
    refused = [trial for trial in verdict.trials if trial.error is not None]
    assert {trial.name for trial in refused} == {SEG, "SEG_LABELMAP", "SEG_FRACTIONAL"}
    assert not any(trial.kept for trial in refused)
    assert verdict.recommended == (SR, KOS, SC, GSPS)


def test_an_old_archive_gets_the_best_report_that_it_keeps(samples: list[Sample]) -> None:
    verdict = Memory(refuses={class_of(samples, SR), class_of(samples, "SR_COMPREHENSIVE")}).tried()
    assert verdict.recommended == (SEG, ObjectKind.SR_ENHANCED, KOS)


def test_an_archive_that_says_yes_and_keeps_nothing_is_found_out(samples: list[Sample]) -> None:
    verdict = Memory(forgets={class_of(samples, SR)}).tried()
    (lost,) = [trial for trial in verdict.trials if trial.name == SR]
    assert (lost.error, lost.found, lost.kept) == (None, False, False)
    assert lost.lost == "SYNTHETIC: there is no such object."
    assert verdict.recommended[1] is ObjectKind.SR_COMPREHENSIVE


def test_what_an_archive_alters_is_named() -> None:
    verdict = Memory(patient_id="HOSPITAL-1").tried()
    altered = {str(change) for trial in verdict.trials for change in trial.changed}
    assert altered == {"PatientID changed"}
    assert all(trial.kept for trial in verdict.trials)


def test_an_archive_that_answers_no_query_is_said() -> None:
    def silent(study: str, wanted: Collection[str]) -> set[str]:
        raise DeliveryRefused("SYNTHETIC: no C-FIND.")

    memory = Memory()
    archive = Archive(memory.store, silent, memory.fetch)
    verdict = selftest(archive, run="a run", at=AT, tell=lambda _: None, settle_seconds=0)
    assert verdict.not_found_because == "SYNTHETIC: no C-FIND."
    assert all(trial.kept and not trial.found for trial in verdict.trials)


def test_the_study_is_removed_where_that_is_possible() -> None:
    removed: list[str] = []
    verdict = Memory().tried(remove=removed.append)
    assert removed == [verdict.study_instance_uid]
    assert verdict.left_because is None

    def forbidden(study: str) -> None:
        raise DeliveryRefused("SYNTHETIC: not allowed.")

    assert Memory().tried(remove=forbidden).left_because == "SYNTHETIC: not allowed."


def test_an_archive_that_is_not_there_ends_the_test() -> None:
    def nobody(instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        raise DeliveryUnconfirmed("SYNTHETIC: cannot connect.")

    memory = Memory()
    with pytest.raises(DeliveryUnconfirmed, match="cannot connect"):
        selftest(Archive(nobody, memory.find, memory.fetch), run="r", at=AT, tell=lambda _: None)


def answering(*errors: TriageError) -> Archive:
    """An archive that gives the objects these errors in turn."""

    def store(instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
        return [
            SendOutcome(one.sop_instance_uid, error, None) for one, error in zip(instances, cycle(errors), strict=False)
        ]

    return Archive(store, lambda study, wanted: set(), Memory().fetch)


def test_one_reason_for_everything_ends_the_test() -> None:
    for errors in (
        [DeliveryRefused("SYNTHETIC: no valid token.")],
        [DeliveryUnconfirmed("SYNTHETIC: no answer."), DeliveryUnconfirmed("SYNTHETIC: not sent, for no answer.")],
    ):
        with pytest.raises(type(errors[0])) as raised:
            selftest(answering(*errors), run="r", at=AT, tell=lambda _: None)
        assert raised.value is errors[0]


def test_several_reasons_are_a_table() -> None:
    archive = answering(DeliveryRefused("SYNTHETIC: no CT."), DeliveryRefused("SYNTHETIC: no SEG."))
    verdict = selftest(archive, run="r", at=AT, tell=lambda _: None, settle_seconds=0)
    assert {trial.error for trial in verdict.trials} == {"SYNTHETIC: no CT.", "SYNTHETIC: no SEG."}
    assert verdict.recommended == ()


def test_nothing_kept_is_nothing_recommended() -> None:
    assert recommended([]) == ()


def test_changes_name_elements_and_not_their_coding() -> None:
    (content, *_) = synthetic_study("a run", AT)
    ds = pydicom.dcmread(io.BytesIO(content))
    ds.PatientID, ds.InstitutionName = "other", "added"
    del ds.KVP
    ds.RetrieveAETitle = "PACS"
    out = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    ds.save_as(out, implicit_vr=True, little_endian=True)
    found = changes(content, out.getvalue())
    assert [str(change) for change in found] == ["InstitutionName added", "PatientID changed", "KVP removed"]
    assert found[1] == Change("PatientID", "SELFTEST-a run", "other")
    assert changes(content, content) == []
