"""STOW-RS to a real Orthanc, and to servers that refuse, answer nonsense, or close the socket."""

import json
import threading
from dataclasses import replace

import pytest

from tests.builders import ct_series, part10, segmentation, structured_report
from tests.certificates import Authority
from tests.dicomweb_server import SECRET, Reply, dicomweb_server, token_file
from tests.peers import in_memory, outgoing
from tests.services import free_port
from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net.dicomweb import DicomWebTarget
from triage.net.part10 import dataset_offset
from triage.net.stow import send
from triage.net.tls import TlsFiles


@pytest.fixture(scope="module")
def head():
    return outgoing(ct_series(3, rows=32, columns=32))


@pytest.fixture
def token(tmp_path):
    return token_file(tmp_path)


def stored(*uids, failed=(), warning=None):
    """A STOW-RS answer in the DICOM JSON Model."""
    good = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]
    for item in good:
        if warning is not None:
            item["00081196"] = {"vr": "US", "Value": [warning]}
    bad = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
        for uid, reason in failed
    ]
    return json.dumps({"00081199": {"vr": "SQ", "Value": good}, "00081198": {"vr": "SQ", "Value": bad}}).encode()


def test_orthanc_keeps_our_bytes(orthanc):
    datasets = [segmentation(), structured_report(), ct_series(1, rows=16, columns=16)[0]]
    items = outgoing(datasets)
    target = DicomWebTarget(orthanc.dicomweb_url)
    for _ in range(2):  # sending again is no error
        outcomes = send(target, items)
        assert [(o.sop_instance_uid, o.error) for o in outcomes] == [(i.sop_instance_uid, None) for i in items]

    for ds in datasets:
        kept = orthanc.retrieve(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        ours = part10(ds)
        assert kept[dataset_offset(kept) :] == ours[dataset_offset(ours) :]


def test_orthanc_refuses_what_is_no_dicom_and_takes_the_rest(orthanc, head):
    broken = in_memory(head[0].sop_class_uid, "2.25.5", head[0].transfer_syntax_uid, b"no DICOM at all")

    outcomes = send(DicomWebTarget(orthanc.dicomweb_url), [head[0], broken, head[1]])

    assert [o.error is None for o in outcomes] == [True, False, True]
    assert orthanc.sop_instance_uids() == sorted(i.sop_instance_uid for i in head[:2])


def test_the_request_says_what_it_carries(head, token):
    with dicomweb_server(lambda _: Reply(200, stored(head[0].sop_instance_uid))) as (target, seen):
        (outcome,) = send(replace(target, token_file=token), head[:1])
        send(target, head[:1])

    assert (outcome.error, outcome.status) == (None, 0x0000)
    _, path, headers, body = seen[0]
    boundary = headers["Content-Type"].rpartition("boundary=")[2]
    assert path == "/dicom-web/studies"
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; ')
    assert headers["Accept"] == "application/dicom+json"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert "Authorization" not in seen[1].headers
    start = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
    assert body == start.encode() + head[0].read() + f"\r\n--{boundary}--\r\n".encode()
    assert body == seen[1].body


def test_each_object_has_its_own_outcome(head):
    uids = [item.sop_instance_uid for item in head]
    answers = iter(
        [
            Reply(200, stored(uids[0], warning=0xB000)),
            Reply(409, stored(failed=[(uids[1], 0xA900)])),
            Reply(202, stored(uids[2])),
        ]
    )
    told = []
    with dicomweb_server(lambda _: next(answers)) as (target, _):
        outcomes = send(target, head, on_sent=told.append)

    assert told == outcomes
    assert [o.status for o in outcomes] == [0xB000, 0xA900, 0x0000]
    assert [type(o.error) for o in outcomes] == [type(None), DeliveryRefused, type(None)]
    assert "the data set does not match its SOP class (0xA900)" in str(outcomes[1].error)


def test_a_server_without_room_is_tried_again(head):
    failed = stored(failed=[(head[0].sop_instance_uid, 0xA700)])
    with dicomweb_server(lambda _: Reply(409, failed)) as (target, _):
        (outcome,) = send(target, head[:1])

    assert (type(outcome.error), outcome.status) == (DeliveryUnconfirmed, 0xA700)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (401, DeliveryRefused, "set token_file or the client certificate"),
        (403, DeliveryRefused, "give our bearer token or client certificate the right"),
        (404, DeliveryRefused, "must be the root of the DICOMweb service"),
        (413, DeliveryRefused, "whose limit must be raised"),
        (415, DeliveryRefused, "does not take application/dicom"),
        (301, DeliveryRefused, "the address that it redirects to"),
        (400, DeliveryRefused, "sending it again cannot help"),
        (429, DeliveryUnconfirmed, "it will be tried again"),
        (503, DeliveryUnconfirmed, "Service Unavailable; it will be tried again"),
        (599, DeliveryUnconfirmed, "HTTP 599"),
    ],
)
def test_each_http_status_says_what_to_do(head, code, error, words, token):
    with dicomweb_server(lambda _: Reply(code, b"<html>no</html>")) as (target, seen):
        outcomes = send(replace(target, token_file=token), head[:2])

    assert [type(o.error) for o in outcomes] == [error, error]
    assert words in str(outcomes[0].error)
    assert SECRET not in str(outcomes[0].error) + repr(target)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Welcome</html>", b"[]", b"[1]", b'"text"', b'{"00081199": 5}', b"\xff\xfe", stored("2.25.1"),
     b'{"00081199": {"Value": [null, {"00081155": {"Value": []}}]}}', b"[" * 100_000],
    ids=["empty", "page", "list", "number", "text", "wrong", "binary", "other", "holes", "deep"],
)  # fmt: skip
def test_an_answer_that_says_nothing_of_the_object_confirms_nothing(head, body):
    with dicomweb_server(lambda _: Reply(200, body)) as (target, _):
        (outcome,) = send(target, head[:1])

    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "without a word on this object" in str(outcome.error)


def test_an_endless_answer_is_cut_off(head):
    with dicomweb_server(lambda _: Reply(200, b" " * (5 << 20))) as (target, _):
        (outcome,) = send(target, head[:1])

    assert "more than" in str(outcome.error)


def test_a_socket_closed_in_the_middle_leaves_the_rest_untried(head):
    answers = iter([Reply(200, stored(head[0].sop_instance_uid)), None])
    with dicomweb_server(lambda _: next(answers)) as (target, seen):
        outcomes = send(target, head)

    assert [type(o.error) for o in outcomes] == [type(None), DeliveryUnconfirmed, DeliveryUnconfirmed]
    assert "broke before there was an answer" in str(outcomes[1].error)
    assert "Not sent, because" in str(outcomes[2].error)
    assert len(seen) == 2


def test_a_server_that_hangs_costs_one_timeout(head):
    hold = threading.Event()
    with dicomweb_server(lambda _: hold.wait(10) and None) as (target, seen):
        outcomes = send(replace(target, timeout_seconds=0.3), head)
        hold.set()

    assert "gave no answer in time" in str(outcomes[0].error)
    assert [type(o.error) for o in outcomes] == [DeliveryUnconfirmed] * 3
    assert len(seen) == 1


def test_nobody_listens(head):
    (outcome,) = send(DicomWebTarget(f"http://127.0.0.1:{free_port()}"), head[:1])

    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "Cannot connect" in str(outcome.error)


def test_an_object_that_is_gone_is_its_own_error(head):
    def read():
        raise NotFound("The file is gone.")

    with dicomweb_server(lambda _: Reply(200, stored(head[1].sop_instance_uid))) as (target, _):
        outcomes = send(target, [replace(head[0], read=read), head[1]])

    assert isinstance(outcomes[0].error, NotFound)
    assert outcomes[1].error is None


def test_certificates_on_both_sides(head, tmp_path):
    site, stranger = Authority.make(tmp_path, "site"), Authority.make(tmp_path, "stranger")
    answer = Reply(200, stored(head[0].sop_instance_uid))
    with dicomweb_server(lambda _: answer, tls=site.files("web.example")) as (target, _):

        def said(tls):
            return send(replace(target, tls=tls), head[:1])[0].error

        assert said(site.files(expected_name="web.example")) is None
        assert "is for another name" in str(said(site.files()))
        assert "is not trusted" in str(said(TlsFiles(ca_file=stranger.ca_file, expected_name="web.example")))
        refused = said(TlsFiles(ca_file=site.ca_file, expected_name="web.example"))
        assert isinstance(refused, DeliveryUnconfirmed)


def test_targets_that_cannot_work(token):
    for url in ("", "pacs", "ftp://pacs/x", "https://", "https://u:p@pacs/", "https://pacs/?a=1", "http://[::1"):
        with pytest.raises(ConfigurationError) as caught:
            DicomWebTarget(url)
        assert "u:p" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="in the clear: use https"):
        DicomWebTarget("http://pacs.example/dicom-web", token_file=token)
    with pytest.raises(ConfigurationError, match="write https"):
        DicomWebTarget("http://pacs.example", tls=TlsFiles())


def test_a_token_is_read_anew_for_each_connection(head, token):
    with dicomweb_server(lambda _: Reply(200, stored(head[0].sop_instance_uid))) as (target, seen):
        known = replace(target, token_file=token)
        send(known, head[:1])
        token.write_text("renewed")
        send(known, head[:1])
        for wrong in ("", "two\r\nlines", "two words", "\xfc"):
            token.write_text(wrong, "utf-8")
            with pytest.raises(ConfigurationError, match="is empty or holds characters that no token has"):
                send(known, head[:1])
        token.unlink()
        with pytest.raises(ConfigurationError, match="cannot be read"):
            send(known, head[:1])

    assert [asked.headers["Authorization"] for asked in seen] == [f"Bearer {SECRET}", "Bearer renewed"]
