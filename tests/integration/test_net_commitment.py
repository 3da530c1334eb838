"""Storage commitment with a real Orthanc, and with archives that report at once, oddly, late or not at all."""

import threading
import time
from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

from tests.builders import ct_series
from tests.peers import CT, Memory, in_memory, keep_answers, listening, outgoing, remote
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, StoreUnavailable
from triage.net.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    CommitmentReport,
    commitment_service,
    request_commitment,
)
from triage.net.scu import RemoteAe, send

TRANSACTION = "2.25.20261"


class Ear:
    """What was reported. ``fail`` is raised instead of hearing, once."""

    def __init__(self, fail=None):
        self.reports, self.fail = [], fail
        self._changed = threading.Condition()

    def __call__(self, report):
        failure, self.fail = self.fail, None
        if failure is not None:
            raise failure
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()

    def wait(self, count=1):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.reports) >= count, 20), self.reports
        return self.reports[-1]


def item(uid, reason=None):
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = CT, uid
    if reason is not None:
        ds.FailureReason = reason
    return ds


def event(committed=(), failed=(), transaction=TRANSACTION):
    ds = Dataset()
    ds.TransactionUID = transaction
    if committed:
        ds.ReferencedSOPSequence = [item(uid) for uid in committed]
    if failed:
        ds.FailedSOPSequence = [item(*pair) for pair in failed]
    return ds


@contextmanager
def archive(on_action, contexts=(PUSH_MODEL,)):
    """A pynetdicom commitment SCP; ``on_action(event)`` gives the status of the N-ACTION."""
    entity, seen = AE("ARCHIVE"), []
    entity.supported_contexts = [build_context(uid) for uid in contexts] or [build_context(CT)]

    def handle(action):
        seen.append((action.request, action.action_information))
        return on_action(action), None

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, handle)])
    try:
        yield RemoteAe("ARCHIVE", "127.0.0.1", server.server_address[1]), seen
    finally:
        server.shutdown()


def report_to(scp, ds, *, role=True, event_type=None, raw=None):
    """What an archive does on an association of its own; the status that it gets."""
    entity = AE("ARCHIVE")
    entity.add_requested_context(PUSH_MODEL, "1.2.840.10008.1.2")
    roles = [build_role(PUSH_MODEL, scp_role=True)] if role else []
    assoc = entity.associate(
        "127.0.0.1", scp.port, ae_title="ICHTRIAGE", ext_neg=roles, evt_handlers=[(evt.EVT_CONN_OPEN, keep_answers)]
    )
    assert assoc.is_established
    request = N_EVENT_REPORT()
    request.MessageID = 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(PUSH_MODEL), UID(PUSH_MODEL_INSTANCE)
    request.EventTypeID = event_type or (2 if "FailedSOPSequence" in ds else 1)
    request.EventInformation = BytesIO(encode(ds, True, True) if raw is None else raw)
    assoc.dimse.send_msg(request, assoc.accepted_contexts[0].context_id)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc.release()
    return answer.Status


def test_orthanc_commits_to_what_it_has_and_not_to_what_it_has_not(orthanc):
    head, ear = outgoing(ct_series(3, rows=16, columns=16)), Ear()
    there = RemoteAe(orthanc.ae_title, orthanc.host, orthanc.dicom_port)
    with listening(Memory(), [commitment_service(ear)]) as scp:
        orthanc.know("ICHTRIAGE", scp.port)
        send(there, head)
        request_commitment(there, "2.25.1", [(CT, i.sop_instance_uid) for i in head])
        whole = ear.wait(1)
        request_commitment(there, "2.25.2", [(CT, head[0].sop_instance_uid), (CT, "2.25.404")], on_report=ear)
        part = ear.wait(2)

    assert whole == CommitmentReport("2.25.1", tuple(i.sop_instance_uid for i in head), ())
    assert (part.transaction_uid, part.committed) == ("2.25.2", (head[0].sop_instance_uid,))
    assert part.failed == (("2.25.404", "the archive does not have this object (0x0112)"),)


def test_orthanc_that_does_not_know_us_says_so(orthanc):
    there = RemoteAe(orthanc.ae_title, orthanc.host, orthanc.dicom_port, calling_ae_title="STRANGER")

    with pytest.raises((DeliveryRefused, DeliveryUnconfirmed), match="storage commitment"):
        request_commitment(there, "2.25.1", [(CT, "2.25.404")])


def test_the_request_names_transaction_and_objects():
    with archive(lambda action: 0x0000) as (there, seen):
        request_commitment(there, TRANSACTION, [(CT, "2.25.7"), (CT, "2.25.8")])

    ((request, information),) = seen
    assert (request.RequestedSOPClassUID, request.RequestedSOPInstanceUID) == (PUSH_MODEL, PUSH_MODEL_INSTANCE)
    assert request.ActionTypeID == 1
    assert information.TransactionUID == TRANSACTION
    named = [(i.ReferencedSOPClassUID, i.ReferencedSOPInstanceUID) for i in information.ReferencedSOPSequence]
    assert named == [(CT, "2.25.7"), (CT, "2.25.8")]


@pytest.mark.parametrize("fail", [None, StoreUnavailable("The database did not answer.")], ids=["heard", "failed"])
def test_a_report_on_the_same_association(fail):
    ear, answers = Ear(fail), []

    def report(action):
        def later():
            time.sleep(0.1)
            status, _ = action.assoc.send_n_event_report(event(["2.25.7"]), 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            answers.append(status.Status)

        thread = threading.Thread(target=later)
        threads.append(thread)
        thread.start()
        return 0x0000

    threads = []
    with archive(report) as (there, _):
        request_commitment(there, TRANSACTION, [(CT, "2.25.7")], on_report=ear, report_wait_seconds=5)
        threads[0].join(10)

    assert answers == [0x0110 if fail else 0x0000]
    assert ear.reports == ([] if fail else [CommitmentReport(TRANSACTION, ("2.25.7",), ())])


def test_no_report_on_the_same_association_is_not_waited_for_long():
    ear = Ear()
    with archive(lambda action: 0x0000) as (there, _):
        request_commitment(there, TRANSACTION, [(CT, "2.25.7")], on_report=ear, report_wait_seconds=0.1)

    assert ear.reports == []


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0x0110, DeliveryUnconfirmed, "processing failure"),
        (0x0213, DeliveryUnconfirmed, "resource limitation"),
        (0x0124, DeliveryRefused, "not authorized"),
        (0x0122, DeliveryRefused, "SOP class not supported"),
    ],
)
def test_a_request_that_is_not_taken(status, error, words):
    with archive(lambda action: status) as (there, _), pytest.raises(error, match=words):
        request_commitment(there, TRANSACTION, [(CT, "2.25.7")])


def test_an_archive_without_storage_commitment_says_what_to_configure():
    with (
        archive(lambda action: 0, contexts=()) as (there, _),
        pytest.raises(DeliveryRefused, match="does not offer storage commitment: switch it on in the archive"),
    ):
        request_commitment(there, TRANSACTION, [(CT, "2.25.7")])


def test_an_archive_that_gives_no_answer():
    hold = threading.Event()
    with archive(lambda action: hold.wait(10) and 0) as (there, _):
        with pytest.raises(DeliveryUnconfirmed, match="gave no answer to the request for storage commitment"):
            request_commitment(there, TRANSACTION, [(CT, "2.25.7")], timeout_seconds=0.3)
        hold.set()


def test_commitment_of_nothing_is_a_fault_of_the_caller():
    with pytest.raises(ValueError, match="of nothing"):
        request_commitment(RemoteAe("ARCHIVE", "127.0.0.1", 104), TRANSACTION, [])


@pytest.mark.parametrize("role", [True, False], ids=["role negotiated", "role not negotiated"])
def test_a_report_on_an_association_of_the_archive_s_own(role):
    ear = Ear()
    with listening(Memory(), [commitment_service(ear)]) as scp:
        status = report_to(scp, event(["2.25.7"], [("2.25.8", 0x0112), ("2.25.9", None)]), role=role)

    assert status == 0x0000
    assert ear.reports == [
        CommitmentReport(
            TRANSACTION,
            ("2.25.7",),
            (("2.25.8", "the archive does not have this object (0x0112)"), ("2.25.9", "the archive gave no reason")),
        )
    ]


def test_a_report_that_we_cannot_keep_comes_again():
    ear = Ear(StoreUnavailable("The database did not answer."))
    with listening(Memory(), [commitment_service(ear)]) as scp:
        assert report_to(scp, event(["2.25.7"])) == 0x0110
        assert report_to(scp, event(["2.25.7"])) == 0x0000

    assert len(ear.reports) == 1


def test_reports_that_cannot_be_understood_are_refused_and_the_listener_lives():
    ear, memory = Ear(), Memory()
    with listening(memory, [commitment_service(ear)]) as scp:
        assert report_to(scp, event(["2.25.7"], transaction="")) == 0x0115
        assert report_to(scp, event([""])) == 0x0115
        assert report_to(scp, Dataset(), raw=b"\xff" * 99) == 0x0115
        assert report_to(scp, event(["2.25.7"]), event_type=3) == 0x0113
        outcomes = send(remote(scp), [in_memory(CT, "2.25.5", "1.2.840.10008.1.2.1", ct_file())])

    assert ear.reports == []
    assert outcomes[0].error is None


def ct_file():
    return outgoing(ct_series(1, rows=8, columns=8))[0].read()


def test_a_listener_without_the_service_does_not_offer_it():
    entity = AE("ARCHIVE")
    entity.add_requested_context(PUSH_MODEL)
    with listening(Memory()) as scp:
        assoc = entity.associate("127.0.0.1", scp.port, ae_title="ICHTRIAGE")

    assert not assoc.is_established
