"""QIDO-RS, WADO-RS and DELETE at a real Orthanc, and at servers that refuse, break off, or answer nonsense."""

import threading
from dataclasses import replace

import pytest

from tests.builders import ct_series, part10, segmentation, structured_report
from tests.certificates import Authority
from tests.dicomweb_server import SECRET, Reply, dicomweb_server, token_file
from tests.peers import EXPLICIT, outgoing
from tests.services import free_port
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net import stow
from triage.net.dicomweb import DicomWebTarget
from triage.net.part10 import dataset_offset
from triage.net.wado import delete_study, present, retrieve

IMPLICIT, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
STUDY, SERIES, WANTED = "2.25.11", "2.25.12", "2.25.31"
FILE = bytes(128) + b"DICM and what follows"


@pytest.fixture
def token(tmp_path):
    return token_file(tmp_path)


ASKING = {
    "QIDO-RS": lambda target: present(target, STUDY, [WANTED]),
    "WADO-RS": lambda target: retrieve(target, STUDY, SERIES, WANTED),
    "the deletion of a study": lambda target: delete_study(target, STUDY),
}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, RLE])
def test_orthanc_gives_back_what_it_was_sent(orthanc, syntax):
    datasets = ct_series(2, rows=16, columns=16, transfer_syntax=syntax)
    if syntax == EXPLICIT:
        datasets += [segmentation(), structured_report()]
    target = DicomWebTarget(orthanc.dicomweb_url)
    assert [o.error for o in stow.send(target, outgoing(datasets))] == [None] * len(datasets)

    for ds in datasets:
        ours, kept = part10(ds), retrieve(target, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert kept[dataset_offset(kept) :] == ours[dataset_offset(ours) :]
        assert ds.file_meta.TransferSyntaxUID.encode() in kept[: dataset_offset(kept)]
        assert present(target, ds.StudyInstanceUID, [ds.SOPInstanceUID, WANTED]) == {ds.SOPInstanceUID}


def test_orthanc_does_not_have_what_was_never_sent(orthanc):
    target = DicomWebTarget(orthanc.dicomweb_url)

    assert present(target, STUDY, [WANTED]) == set()
    with pytest.raises(NotFound, match="does not find the object"):
        retrieve(target, STUDY, SERIES, WANTED)


def test_many_objects_of_a_study(orthanc):
    series = ct_series(30, rows=8, columns=8)
    target = DicomWebTarget(orthanc.dicomweb_url)
    stow.send(target, outgoing(series[:20]))

    found = present(target, series[0].StudyInstanceUID, [ds.SOPInstanceUID for ds in series])

    assert found == {ds.SOPInstanceUID for ds in series[:20]}


def test_each_request_says_who_asks_and_what_for(token):
    def answer(asked):
        if asked.method == "DELETE":
            return Reply(204, b"")
        return Reply(200, FILE, "application/dicom") if WANTED in asked.path.split("/") else Reply(200, b"[]")

    with dicomweb_server(answer) as (target, seen):
        for ask in ASKING.values():
            ask(replace(target, token_file=token))

    assert [(asked.method, asked.path) for asked in seen] == [
        ("GET", f"/dicom-web/studies/{STUDY}/instances?SOPInstanceUID={WANTED}"),
        ("GET", f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{WANTED}"),
        ("DELETE", f"/dicom-web/studies/{STUDY}"),
    ]
    assert {asked.headers["Authorization"] for asked in seen} == {f"Bearer {SECRET}"}
    assert seen[0].headers["Accept"] == "application/dicom+json"
    assert seen[1].headers["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize("doing", ASKING)
@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (301, DeliveryRefused, "the address that it redirects to"),
        (401, DeliveryRefused, "set token_file or the client certificate"),
        (403, DeliveryRefused, "give our bearer token or client certificate the right"),
        (405, DeliveryRefused, "does not offer this"),
        (429, DeliveryUnconfirmed, "it will be tried again"),
        (500, DeliveryUnconfirmed, "it will be tried again"),
    ],
)
def test_each_http_status_says_what_to_do(doing, code, error, words, token):
    with (
        dicomweb_server(lambda _: Reply(code, b"<html>no</html>", "text/html")) as (target, _),
        pytest.raises(error, match=words) as caught,
    ):
        ASKING[doing](replace(target, token_file=token))

    assert f"answered {doing} with HTTP {code}" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("doing", "code", "error", "words"),
    [
        ("QIDO-RS", 404, DeliveryRefused, "must be the root of the DICOMweb service"),
        ("WADO-RS", 404, NotFound, "does not find the object"),
        ("WADO-RS", 410, NotFound, "does not find the object"),
        ("WADO-RS", 406, DeliveryRefused, "does not give objects back as application/dicom"),
        ("the deletion of a study", 404, DeliveryRefused, "does not offer to delete one"),
    ],
)
def test_what_a_status_means_depends_on_the_question(doing, code, error, words):
    with dicomweb_server(lambda _: Reply(code, b"", "text/html")) as (target, _), pytest.raises(error, match=words):
        ASKING[doing](target)


@pytest.mark.parametrize("doing", ASKING)
def test_a_server_that_hangs_up_hangs_or_is_not_there(doing):
    hold = threading.Event()
    with dicomweb_server(lambda _: None) as (target, _), pytest.raises(DeliveryUnconfirmed, match="broke before"):
        ASKING[doing](target)
    with dicomweb_server(lambda _: hold.wait(10) and None) as (target, _):
        with pytest.raises(DeliveryUnconfirmed, match="no answer in time"):
            ASKING[doing](replace(target, timeout_seconds=0.3))
        hold.set()
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
        ASKING[doing](DicomWebTarget(f"http://127.0.0.1:{free_port()}"))


def related(*parts, boundary="b"):
    """A multipart body."""
    head = b"--%b\r\nContent-Type: application/dicom\r\n\r\n" % boundary.encode()
    return b"".join(head + part + b"\r\n" for part in parts) + b"--%b--\r\n" % boundary.encode()


@pytest.mark.parametrize(
    "content",
    [FILE + b"\r\n", FILE + b"\r\n--", b"".join([FILE, b"\r\n--a\r\n\r\n", bytes(range(256))]), FILE + b"\n\r\n\r"],
    ids=["line end", "dashes", "like a part", "mixed line ends"],
)
def test_the_bytes_between_the_boundaries(content):
    reply = Reply(200, related(content), 'multipart/related; type="application/dicom"; boundary=b')
    with dicomweb_server(lambda _: reply) as (target, _):
        assert retrieve(target, STUDY, SERIES, WANTED) == content


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("application/dicom", b"", "no DICOM file"),
        ("application/dicom", b"<html>", "no DICOM file"),
        ("multipart/related; boundary=b", related(b"<html>"), "no DICOM file"),
        ("multipart/related; boundary=b", related(FILE)[:-9], "no multipart message"),
        ("multipart/related; boundary=other", related(FILE), "no multipart message"),
        ("multipart/related; boundary=\xe4", related(FILE), "no multipart message"),
        ("text/html", b"<html>", "no multipart message"),
    ],
)
def test_an_answer_that_is_no_object(content_type, body, words):
    with (
        dicomweb_server(lambda _: Reply(200, body, content_type)) as (target, _),
        pytest.raises(DeliveryUnconfirmed, match=words),
    ):
        retrieve(target, STUDY, SERIES, WANTED)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"5", b"\xff\xfe", b"[" * 100_000, b" " * (5 << 20)], ids=range(7)
)
def test_an_answer_that_is_no_list_of_objects_does_not_say_that_nothing_is_there(body):
    with (
        dicomweb_server(lambda _: Reply(200, body)) as (target, _),
        pytest.raises(DeliveryUnconfirmed),
    ):
        present(target, STUDY, [WANTED])


def test_certificates_on_both_sides(tmp_path):
    site, stranger = Authority.make(tmp_path, "site"), Authority.make(tmp_path, "stranger")
    with dicomweb_server(lambda _: Reply(200, FILE, "application/dicom"), tls=site.files("web.example")) as (target, _):
        trusted = replace(target, tls=site.files(expected_name="web.example"))
        assert retrieve(trusted, STUDY, SERIES, WANTED) == FILE
        with pytest.raises(DeliveryUnconfirmed, match="is not trusted"):
            retrieve(replace(target, tls=stranger.files(expected_name="web.example")), STUDY, SERIES, WANTED)
