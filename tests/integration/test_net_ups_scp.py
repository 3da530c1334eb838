"""Our worklist of procedure steps, asked by a workstation over a real association beside the storage service."""

import logging
import threading
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from tests.builders import NAMES, ct_series, part10_named
from tests.notices import negative, notice
from tests.peers import Memory, keep_answers, outgoing, remote
from triage.dicom.demographics import read_demographics
from triage.dicom.source import read_source
from triage.dicom.ups import encode_ups
from triage.domain.errors import NotFound, StoreUnavailable
from triage.net.scp import ListenerOptions, StorageScp
from triage.net.scu import send
from triage.net.ups_scp import UPS_PULL, UPS_PUSH, UPS_QUERY, Asked, Step, StepQuery, ups_service

# One step has a character set that does not exist; pynetdicom writes it as it is, and pydicom warns meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:.*Unknown encoding")

NIGHT = "20240102000000+0000"
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


def a_step(uid, said=None, kind="utf8", **overrides):
    contents = [part10_named(ds, kind) for ds in ct_series(1, rows=8, columns=8, **overrides)]
    source = read_source(contents, None)
    base = said or notice()
    fields = {name: getattr(base, name) for name in ("provenance", "result", "reason", "revision")}
    of_this = notice(
        **fields,
        study_instance_uid=source.study_instance_uid,
        series_instance_uid=source.series_instance_uid,
        demographics=read_demographics(contents[0]),
        objects=(),
    )
    return Step(uid, encode_ups(of_this, source, uid, retrieve_ae_title="PACS").content)


@pytest.fixture(scope="module")
def steps():
    return [
        a_step("2.25.1", PatientID="P1", AccessionNumber="ACC1"),
        a_step("2.25.2", negative(), PatientID="P2", AccessionNumber="ACC2"),
        a_step("2.25.3", kind="ir87", PatientID="P3", AccessionNumber="ACC3"),
        a_step("2.25.4", negative(), kind="broken", PatientID="P4", AccessionNumber="ACC4"),
    ]


class Worklist:
    """Steps as the services keep them, and what was asked for."""

    def __init__(self, steps, fault=None):
        self.steps, self.fault, self.asked, self.told = steps, fault, [], []

    def find(self, query):
        self.asked.append(query)
        if self.fault is not None:
            raise self.fault
        return iter(self.steps)

    def on_asked(self, peer, asked):
        self.told.append((peer.calling_ae_title, peer.address, asked))

    def get(self, uid):
        if self.fault is not None:
            raise self.fault
        return next((step for step in self.steps if step.sop_instance_uid == uid), None)


@contextmanager
def offering(worklist, memory=None):
    memory = memory or Memory()
    service = ups_service(worklist.find, worklist.get, worklist.on_asked)
    scp = StorageScp(ListenerOptions(port=0), memory.on_instance, memory.on_ended, memory.on_refused, [service])
    scp.start()
    try:
        yield scp
    finally:
        scp.stop(grace_seconds=2)


@contextmanager
def asking(scp, sop_class=UPS_PULL, syntax=SYNTAXES[0]):
    entity = AE("WORKSTATION")
    entity.requested_contexts = [build_context(sop_class, syntax)]
    handlers = [(evt.EVT_CONN_OPEN, keep_answers)]
    assoc = entity.associate("127.0.0.1", scp.port, ae_title="ICHTRIAGE", evt_handlers=handlers)
    assert assoc.accepted_contexts
    try:
        yield assoc
    finally:
        assoc.release()


def keys(**values):
    ds = Dataset()
    for keyword, value in {"SOPInstanceUID": "", **values}.items():
        setattr(ds, keyword, value)
    return ds


def asked_of(worklist, question, sop_class=UPS_PULL, syntax=SYNTAXES[0]):
    with offering(worklist) as scp, asking(scp, sop_class, syntax) as assoc:
        return [(status.Status, answer) for status, answer in assoc.send_c_find(question, sop_class)]


def found(worklist, **values):
    *pending, (last, _) = asked_of(worklist, keys(**values))
    assert last == 0x0000
    return [str(answer.SOPInstanceUID) for _, answer in pending]


@pytest.mark.parametrize("sop_class", [UPS_PULL, UPS_QUERY])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_workstation_finds_the_suspected_studies(steps, sop_class, syntax):
    question = keys(ScheduledProcedureStepPriority="HIGH", ProcedureStepState="SCHEDULED", PatientName="", PatientID="")
    *pending, last = asked_of(Worklist(steps), question, sop_class, syntax)

    assert last[0] == 0x0000
    assert [status for status, _ in pending] == [0xFF00, 0xFF00]
    assert [answer.SOPInstanceUID for _, answer in pending] == ["2.25.1", "2.25.3"]
    assert {answer.SOPClassUID for _, answer in pending} == {UPS_PUSH}
    assert [answer.PatientID for _, answer in pending] == ["P1", "P3"]
    assert pending[1][1].PatientName.ideographic == "山田^太郎"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({}, ["2.25.1", "2.25.2", "2.25.3", "2.25.4"]),
        ({"ScheduledProcedureStepPriority": "MEDIUM"}, ["2.25.2", "2.25.4"]),
        ({"ProcedureStepState": "COMPLETED"}, []),
        ({"PatientID": "P2"}, ["2.25.2"]),
        ({"PatientID": "P*", "ScheduledProcedureStepPriority": "HIGH"}, ["2.25.1", "2.25.3"]),
        ({"PatientName": "yamada^*"}, ["2.25.3"]),
        ({"WorklistLabel": "ICH*"}, ["2.25.1", "2.25.2", "2.25.3", "2.25.4"]),
        ({"WorklistLabel": "NEURO"}, []),
        ({"SOPInstanceUID": ["2.25.4", "2.25.1"]}, ["2.25.1", "2.25.4"]),
        (
            {"ScheduledProcedureStepStartDateTime": "20240102000000+0000-20240102235959+0000"},
            ["2.25.1", "2.25.2", "2.25.3", "2.25.4"],
        ),
        ({"ScheduledProcedureStepStartDateTime": "20240103000000+0000-"}, []),
    ],
)
def test_matching(steps, question, answer):
    assert found(Worklist(steps), **question) == answer


def test_each_association_that_asks_is_told_of_once_in_numbers(steps):
    worklist = Worklist(steps)
    with offering(worklist) as scp:
        with asking(scp) as assoc:
            for patient in ("P1", "P*", "NOBODY"):
                list(assoc.send_c_find(keys(PatientID=patient), UPS_PULL))
            assoc.send_n_get([], UPS_PUSH, "2.25.3", meta_uid=UPS_PULL)
            assoc.send_n_get([], UPS_PUSH, "2.25.9", meta_uid=UPS_PULL)
            assert worklist.told == []
        with asking(scp, UPS_QUERY) as assoc:
            list(assoc.send_c_find(keys(), UPS_QUERY))
            assoc.abort()
        with asking(scp):
            pass
    first, second = sorted(worklist.told, key=lambda told: -told[2].questions)
    assert first == ("WORKSTATION", "127.0.0.1", Asked(UPS_PULL, 5, 6))
    assert second == ("WORKSTATION", "127.0.0.1", Asked(UPS_QUERY, 1, 4))


def test_matching_by_the_order(steps):
    request = Dataset()
    request.AccessionNumber, request.RequestedProcedureID = "ACC3", ""
    *pending, _ = asked_of(Worklist(steps), keys(ReferencedRequestSequence=[request]))
    ((_, answer),) = pending

    assert answer.SOPInstanceUID == "2.25.3"
    assert answer.ReferencedRequestSequence[0].AccessionNumber == "ACC3"
    assert {element.keyword for element in answer.ReferencedRequestSequence[0]} == {
        "AccessionNumber",
        "RequestedProcedureID",
    }


def test_what_narrows_the_search_is_handed_on(steps):
    worklist, request = Worklist(steps), Dataset()
    request.AccessionNumber, request.StudyInstanceUID = "ACC1", "2.25.9"
    found(
        worklist,
        ScheduledProcedureStepPriority="HIGH",
        ProcedureStepState="SCHEDULED",
        WorklistLabel="ICH TRIAGE",
        PatientID="P1",
        ReferencedRequestSequence=[request],
    )

    assert worklist.asked == [StepQuery("2.25.9", "ACC1", "P1", "ICH TRIAGE", "HIGH", "SCHEDULED")]
    assert "P1" not in repr(worklist.asked[0])


def test_what_was_not_asked_for_is_not_told(steps):
    *pending, _ = asked_of(Worklist(steps[:1]), keys(ProcedureStepLabel="", TransactionUID="", MedicalAlerts=""))
    ((_, answer),) = pending

    assert answer.ProcedureStepLabel == "Suspected ICH: priority read, DEMONSTRATION"
    assert answer.MedicalAlerts in ("", None)
    assert not answer.get("TransactionUID")
    assert "PatientName" not in answer


@pytest.mark.parametrize("kind", NAMES)
def test_names_are_answered_as_they_were_sent(kind):
    with offering(Worklist([a_step("2.25.1", kind=kind)])) as scp, asking(scp) as assoc:
        (_, answer), _ = assoc.send_c_find(keys(PatientName=""), UPS_PULL)

    assert answer.get_item("PatientName").value.rstrip() == NAMES[kind][1].rstrip()


@pytest.mark.parametrize(
    ("fault", "status"), [(StoreUnavailable("down"), 0xA700), (NotFound("gone"), 0xC000), (RuntimeError("x"), 0xC000)]
)
def test_a_fault_is_answered_and_the_association_goes_on(steps, fault, status):
    worklist = Worklist(steps, fault)
    with offering(worklist) as scp, asking(scp) as assoc:
        first = [status.Status for status, _ in assoc.send_c_find(keys(), UPS_PULL)]
        got, _ = assoc.send_n_get([], UPS_PUSH, "2.25.1", meta_uid=UPS_PULL)
        worklist.fault = None
        second = [status.Status for status, _ in assoc.send_c_find(keys(PatientID="P1"), UPS_PULL)]

    assert (first, second) == ([status], [0xFF00, 0x0000])
    assert got.Status == 0x0110


def test_a_cancelled_question_ends(steps):
    go_on = threading.Event()

    class Slow(Worklist):
        def find(self, query):
            yield self.steps[0]
            assert go_on.wait(10)
            yield from self.steps[1:]

    with offering(Slow(steps)) as scp, asking(scp) as assoc:
        answers = assoc.send_c_find(keys(), UPS_PULL, msg_id=7)
        statuses = [next(answers)[0].Status]
        assoc.send_c_cancel(7, query_model=UPS_PULL)
        threading.Timer(0.3, go_on.set).start()
        statuses += [status.Status for status, _ in answers]

    assert statuses[0] == 0xFF00
    assert statuses[-1] == 0xFE00
    assert len(statuses) < 5


def test_a_step_is_read_whole_or_in_part(steps):
    with offering(Worklist(steps)) as scp, asking(scp) as assoc:
        whole = assoc.send_n_get([], UPS_PUSH, "2.25.1", meta_uid=UPS_PULL)
        part = assoc.send_n_get([0x00741204, 0x00741200], UPS_PUSH, "2.25.1", meta_uid=UPS_PULL)
        none = assoc.send_n_get([], UPS_PUSH, "2.25.99", meta_uid=UPS_PULL)

    assert whole[0].Status == 0x0000
    assert whole[1].InputInformationSequence[0].DICOMRetrievalSequence[0].RetrieveAETitle == "PACS"
    assert whole[1].ScheduledProcedureStepModificationDateTime == "20240102030405+0000"
    assert "TransactionUID" not in whole[1]
    assert {element.keyword for element in part[1]} == {
        "SpecificCharacterSet",
        "ScheduledProcedureStepPriority",
        "ProcedureStepLabel",
    }
    assert none[0].Status == 0xC307


def test_claiming_a_step_is_not_possible_here(steps):
    claim = keys(ProcedureStepState="IN PROGRESS", TransactionUID="2.25.5")
    with offering(Worklist(steps)) as scp, asking(scp) as assoc:
        claimed, _ = assoc.send_n_action(claim, 1, UPS_PUSH, "2.25.1", meta_uid=UPS_PULL)
        changed, _ = assoc.send_n_set(claim, UPS_PUSH, "2.25.1", meta_uid=UPS_PULL)

    assert (claimed.Status, changed.Status) == (0x0211, 0x0211)


def test_storage_goes_on_beside_it(steps):
    memory = Memory()
    with offering(Worklist(steps), memory) as scp:
        outcomes = send(remote(scp), outgoing(ct_series(2, rows=8, columns=8)))
        memory.wait(ended=1)

    assert [o.error for o in outcomes] == [None, None]


def test_questions_and_answers_are_not_logged(steps, caplog):
    with caplog.at_level(logging.DEBUG):
        found(Worklist(steps), PatientID="P1", PatientName="")

    assert "SYNTHETIC^" not in caplog.text
