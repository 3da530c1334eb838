"""Our C-STORE responses against those of the installed pynetdicom."""

import io

import pytest
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode

from triage.net.responses import PromptResponder, store_response

CT = "1.2.840.10008.5.1.4.1.1.2"


def response(status=0x0000, instance="2.25.123", comment=None, message_id=7):
    rsp = C_STORE()
    rsp.MessageID = rsp.MessageIDBeingRespondedTo = message_id
    rsp.AffectedSOPClassUID, rsp.AffectedSOPInstanceUID = CT, instance
    rsp.Status = status
    if comment is not None:
        rsp.ErrorComment = comment
    return rsp


@pytest.mark.parametrize("instance", ["2.25.12", "2.25.123", "1." * 31 + "1", "1." * 31 + "10"])
@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xC001])
@pytest.mark.parametrize("comment", [None, "odd", "even", "x" * 64])
def test_the_same_bytes_as_pynetdicom(instance, status, comment):
    rsp = response(status, instance, comment, message_id=65535)
    theirs = C_STORE_RSP()
    theirs.primitive_to_message(rsp)

    assert store_response(rsp) == encode(theirs.command_set, True, True)


def test_it_reads_back():
    ds = decode(io.BytesIO(store_response(response(0xA700, comment="disk full"))), True, True)

    assert (ds.Status, ds.ErrorComment, ds.MessageIDBeingRespondedTo) == (0xA700, "disk full", 7)
    assert (ds.CommandField, ds.CommandDataSetType, ds.AffectedSOPInstanceUID) == (0x8001, 0x0101, "2.25.123")


class Sent:
    """Stands in for the upper layer and its association."""

    def __init__(self, maximum_length=16384):
        self.sent = []
        self.requestor = type("User", (), {"maximum_length": maximum_length})()
        self.is_requestor = False
        self.dul = self

    def send_pdu(self, primitive):
        self.sent.extend(primitive.presentation_data_value_list)

    def get_handlers(self, event):
        return []


@pytest.mark.parametrize("maximum_length", [0, 16384])
def test_one_fragment_carries_the_response(maximum_length):
    upper = Sent(maximum_length)

    PromptResponder(upper).send_msg(response(), 3)

    assert upper.sent == [(3, b"\x03" + store_response(response()))]


def test_a_peer_with_tiny_pdus_gets_it_in_pieces():
    upper = Sent(maximum_length=64)

    PromptResponder(upper).send_msg(response(), 3)

    assert len(upper.sent) > 1
    assert all(len(data) <= 64 for _, data in upper.sent)
    assert b"".join(data[1:] for _, data in upper.sent) == store_response(response())


def test_other_messages_go_the_usual_way():
    upper, rsp = Sent(), C_ECHO()
    rsp.MessageIDBeingRespondedTo, rsp.AffectedSOPClassUID, rsp.Status = 1, "1.2.840.10008.1.1", 0

    PromptResponder(upper).send_msg(rsp, 1)

    ds = decode(io.BytesIO(upper.sent[0][1][1:]), True, True)
    assert ds.CommandField == 0x8030


def test_a_request_is_not_a_response():
    upper, rq = Sent(), C_STORE()
    rq.MessageID, rq.AffectedSOPClassUID, rq.AffectedSOPInstanceUID, rq.Priority = 1, CT, "2.25.1", 0
    rq.DataSet = io.BytesIO(b"data")

    PromptResponder(upper).send_msg(rq, 1)

    assert [data[0] for _, data in upper.sent] == [0x03, 0x02]
    assert decode(io.BytesIO(upper.sent[0][1][1:]), True, True).CommandField == 0x0001
