from copy import deepcopy

import pytest
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, _config, build_context, evt
from pynetdicom.presentation import negotiate_as_acceptor

from triage.net.contexts import (
    IMPLEMENTATION_CLASS_UID,
    MAXIMUM_PDU_BYTES,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED,
    ListenerService,
    introduce,
    supported_contexts,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"


def negotiated(*transfer_syntaxes, sop_class_uid=CT):
    asked = build_context(sop_class_uid, list(transfer_syntaxes))
    asked.context_id = 1
    (answer,), _ = negotiate_as_acceptor([asked], supported_contexts())
    return answer


def test_every_storage_class_is_offered_in_every_transfer_syntax():
    offered = {str(cx.abstract_syntax): [str(ts) for ts in cx.transfer_syntax] for cx in supported_contexts()}

    for known in AllStoragePresentationContexts:
        assert offered[str(known.abstract_syntax)] == list(TRANSFER_SYNTAXES)
    assert offered[VERIFICATION] == list(UNCOMPRESSED)


def test_transfer_syntaxes_are_known_and_listed_once():
    assert len(set(TRANSFER_SYNTAXES)) == len(TRANSFER_SYNTAXES) == 13
    assert all(UID(uid).is_transfer_syntax for uid in TRANSFER_SYNTAXES)


def test_each_listed_syntax_alone_is_accepted():
    for uid in TRANSFER_SYNTAXES:
        answer = negotiated(uid)
        assert (answer.result, answer.transfer_syntax) == (0x00, [uid])


def test_what_cannot_be_decoded_or_is_lossy_jpeg_is_not_accepted():
    for uid in (JPEG_BASELINE, "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.203"):
        assert negotiated(uid).result == 0x04


def test_a_sender_with_a_choice_is_asked_for_plain_pixels():
    assert negotiated(JPEG_BASELINE, "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1").transfer_syntax == [
        "1.2.840.10008.1.2.1"
    ]


def test_other_services_are_not_offered():
    assert negotiated("1.2.840.10008.1.2", sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1").result == 0x03


def test_connections_share_one_list():
    contexts = supported_contexts()

    assert deepcopy(contexts) is contexts


def test_negotiation_leaves_the_shared_list_as_it_is():
    contexts = supported_contexts()
    before = [(str(cx.abstract_syntax), list(cx.transfer_syntax), cx.result, cx.context_id) for cx in contexts]
    asked = build_context(CT, list(UNCOMPRESSED))
    asked.context_id = 1

    negotiate_as_acceptor([asked], contexts, {UID(CT): (True, True)})

    assert [(str(cx.abstract_syntax), list(cx.transfer_syntax), cx.result, cx.context_id) for cx in contexts] == before


def test_who_we_say_we_are():
    entity = introduce(AE("SOMEONE"))

    assert entity.ae_title == "SOMEONE"
    assert entity.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert entity.implementation_version_name == "ICHTRIAGE"
    assert _config.LOG_HANDLER_LEVEL == "none"


def test_the_pdu_holds_what_dcmtk_sends_at_once():
    assert MAXIMUM_PDU_BYTES >= 128 * 1024


def test_a_service_of_the_listener_is_offered_beside_storage():
    service = ListenerService((build_context("1.2.840.10008.1.20.1"),), ((evt.EVT_N_EVENT_REPORT, lambda event: 0),))
    offered = [str(cx.abstract_syntax) for cx in supported_contexts([service])]

    assert offered[-1] == "1.2.840.10008.1.20.1"
    assert len(offered) == len(supported_contexts()) + 1


def test_two_services_cannot_answer_the_same_request():
    service = ListenerService((), ((evt.EVT_N_EVENT_REPORT, lambda event: 0),))

    with pytest.raises(ValueError, match="two services of the listener answer EVT_N_EVENT_REPORT"):
        supported_contexts([service, service])
