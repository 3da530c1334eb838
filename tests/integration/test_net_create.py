"""N-CREATE of steps and notifications at SCPs that take, refuse, break off, or know implicit VR only.

There is no UPS SCP of another make at hand that can be installed here: the SCP is written with pynetdicom, on the
other side of a real socket.
"""

import threading
from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom.filereader import read_dataset
from pynetdicom import AE, evt

from tests.builders import NAMES, ct_series, part10_named
from tests.notices import notice
from tests.results import dataset
from tests.services import free_port
from triage.dicom.availability import INSTANCE_AVAILABILITY_NOTIFICATION, encode_availability
from triage.dicom.demographics import read_demographics
from triage.dicom.source import read_source
from triage.dicom.ups import UPS_PUSH, encode_ups
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net.create import send
from triage.net.outgoing import OutgoingInstance, RemoteAe
from triage.net.part10 import dataset_offset

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def step(kind="utf8", uid="2.25.77"):
    contents = [part10_named(ds, kind) for ds in ct_series(2, rows=8, columns=8)]
    source = read_source(contents, None)
    said = notice(
        study_instance_uid=source.study_instance_uid,
        series_instance_uid=source.series_instance_uid,
        demographics=read_demographics(contents[0]),
    )
    return encode_ups(said, source, uid, retrieve_ae_title="PACS")


def outgoing(encoded):
    return OutgoingInstance(
        encoded.sop_class_uid, encoded.sop_instance_uid, encoded.transfer_syntax_uid, lambda: encoded.content
    )


class Manager:
    """Holds what was created, as a worklist manager does; ``answer`` sees each request before it is."""

    def __init__(self, answer=None):
        self.answer = answer or (lambda event: None)
        self.created = {}
        self.asked = []

    def on_create(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        self.asked.append(uid)
        status = self.answer(event)
        if status is not None:
            return status, None
        if uid in self.created:
            return 0x0111, None
        self.created[uid] = (event.request.AttributeList.getvalue(), str(event.context.transfer_syntax))
        return 0x0000, event.attribute_list


@contextmanager
def managing(manager, syntaxes=(EXPLICIT, IMPLICIT), classes=(UPS_PUSH, INSTANCE_AVAILABILITY_NOTIFICATION)):
    entity = AE("MANAGER")
    for sop_class in classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    handlers = [(evt.EVT_N_CREATE, manager.on_create)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield RemoteAe("MANAGER", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()


def test_a_step_and_a_notification_are_created_as_they_are_kept():
    manager, encoded = Manager(), step()
    available = encode_availability([one for _, one in notice().objects], "PACS", "2.25.9")
    with managing(manager) as there:
        outcomes = send(there, [outgoing(encoded), outgoing(available)])

    assert [(o.sop_instance_uid, o.error, o.status) for o in outcomes] == [("2.25.77", None, 0), ("2.25.9", None, 0)]
    for one in (encoded, available):
        kept = one.content[dataset_offset(one.content) :]
        assert manager.created[one.sop_instance_uid] == (kept, EXPLICIT)


def test_creating_again_is_no_error():
    manager = Manager()
    with managing(manager) as there:
        first = send(there, [outgoing(step())])
        second = send(there, [outgoing(step())])

    assert [(o.error, o.status) for o in first + second] == [(None, 0x0000), (None, 0x0111)]
    assert len(manager.created) == 1


@pytest.mark.parametrize("kind", NAMES)
def test_an_scp_that_knows_implicit_vr_only_gets_the_same_values(kind):
    manager, encoded = Manager(lambda event: None), step(kind)
    manager.on_create = lambda event: (
        manager.created.update({"kept": event.request.AttributeList.getvalue()}) or 0x0000,
        None,
    )
    with managing(manager, syntaxes=[IMPLICIT]) as there:
        (outcome,) = send(there, [outgoing(encoded)])

    assert outcome.error is None
    assert NAMES[kind][1].rstrip() in manager.created["kept"]
    if kind != "broken":
        read, ours = read_dataset(BytesIO(manager.created["kept"]), True, True), dataset(encoded)
        assert read == type(read)({element.tag: element for element in ours})


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0xB300, None, ""),
        (0x0110, DeliveryUnconfirmed, "processing failure"),
        (0x0213, DeliveryUnconfirmed, "resource limitation"),
        (0x0106, DeliveryRefused, "invalid attribute value"),
        (0x0120, DeliveryRefused, "missing attribute"),
        (0x0124, DeliveryRefused, "not authorized"),
        (0xC309, DeliveryRefused, "not SCHEDULED"),
    ],
)
def test_each_status(status, error, words):
    with managing(Manager(lambda event: status)) as there:
        (outcome,) = send(there, [outgoing(step())])

    assert outcome.status == status
    assert (type(outcome.error) if outcome.error else None) is error
    if error is not None:
        assert outcome.error.status == status
        assert words in str(outcome.error)
        assert "MANAGER" in str(outcome.error)


def test_a_failure_is_that_message_s_own():
    manager = Manager(lambda event: 0x0110 if event.request.AffectedSOPInstanceUID == "2.25.1" else None)
    with managing(manager) as there:
        outcomes = send(there, [outgoing(step(uid="2.25.1")), outgoing(step(uid="2.25.2"))])

    assert [type(o.error) for o in outcomes] == [DeliveryUnconfirmed, type(None)]


def test_an_scp_without_the_service_refuses_it():
    with managing(Manager(), classes=[INSTANCE_AVAILABILITY_NOTIFICATION]) as there:
        (outcome,) = send(there, [outgoing(step())])

    assert isinstance(outcome.error, DeliveryRefused)
    assert "does not accept Unified Procedure Step" in str(outcome.error)


def test_an_abort_leaves_the_rest_unconfirmed():
    manager = Manager(lambda event: event.assoc.abort())
    with managing(manager) as there:
        outcomes = send(there, [outgoing(step(uid="2.25.1")), outgoing(step(uid="2.25.2"))])

    assert [(type(o.error), o.status) for o in outcomes] == [(DeliveryUnconfirmed, None)] * 2
    assert "may or may not" in str(outcomes[0].error)
    assert manager.asked == ["2.25.1"]


def test_an_scp_that_hangs_costs_one_timeout_and_is_tried_again():
    hold, manager = threading.Event(), Manager()
    manager.answer = lambda event: hold.wait(20) and None if len(manager.asked) == 1 else None
    with managing(manager) as there:
        slow = send(there, [outgoing(step(uid="2.25.1"))], timeout_seconds=0.5)
        hold.set()
        again = send(there, [outgoing(step(uid="2.25.1"))])

    assert [type(o.error) for o in slow + again] == [DeliveryUnconfirmed, type(None)]
    assert len(manager.created) == 1


def test_nobody_listens():
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect to MANAGER"):
        send(RemoteAe("MANAGER", "127.0.0.1", free_port()), [outgoing(step())])


def test_nothing_to_send_makes_no_association():
    assert send(RemoteAe("MANAGER", "127.0.0.1", free_port()), []) == []


def test_a_message_whose_file_is_gone_is_that_message_s_own_error():
    def read():
        raise NotFound("The file is gone.")

    with managing(Manager()) as there:
        outcomes = send(there, [OutgoingInstance(UPS_PUSH, "2.25.1", EXPLICIT, read), outgoing(step())])

    assert isinstance(outcomes[0].error, NotFound)
    assert outcomes[1].error is None


def test_dcmtk_reads_what_the_outbox_keeps(dcmtk, tmp_path):
    available = encode_availability([one for _, one in notice().objects], "PACS", "2.25.9")
    for encoded in (step(), available):
        file = tmp_path / encoded.kind
        file.write_bytes(encoded.content)
        ran = dcmtk.run("dcmdump", file)

        assert (ran.returncode, ran.stderr) == (0, "")
        assert encoded.sop_instance_uid in ran.stdout
