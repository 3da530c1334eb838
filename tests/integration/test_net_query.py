"""What an archive has, asked and fetched from a real Orthanc in both protocols; and archives that answer badly."""

from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from tests.builders import ct_series, part10, segmentation, structured_report
from tests.dicomweb_server import Reply, dicomweb_server
from tests.peers import CT, outgoing
from tests.services import free_port
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net import query, wado
from triage.net.dicomweb import DicomWebTarget
from triage.net.part10 import dataset_offset
from triage.net.query import STUDY_ROOT_FIND, STUDY_ROOT_GET
from triage.net.scu import RemoteAe, send

STUDY, SERIES = "2.25.11", "2.25.12"


@pytest.fixture(scope="module")
def datasets():
    return [*ct_series(3, rows=16, columns=16), segmentation(), structured_report()]


@pytest.fixture
def filled(orthanc, datasets):
    """Orthanc with the objects, ready to be asked: its DIMSE address and its DICOMweb root."""
    orthanc.know("ICHTRIAGE", free_port())
    there = RemoteAe(orthanc.ae_title, orthanc.host, orthanc.dicom_port)
    assert all(o.error is None for o in send(there, outgoing(datasets)))
    return there, DicomWebTarget(orthanc.dicomweb_url)


def data_of(content):
    return content[dataset_offset(content) :]


def test_both_protocols_find_what_is_there_and_nothing_else(filled, datasets):
    there, web = filled
    for ds in datasets:
        asked = {ds.SOPInstanceUID, "2.25.404"}
        assert query.present(there, ds.StudyInstanceUID, asked) == {ds.SOPInstanceUID}
        assert wado.present(web, ds.StudyInstanceUID, asked) == {ds.SOPInstanceUID}
    assert query.present(there, "2.25.404", {datasets[0].SOPInstanceUID}) == set()
    assert wado.present(web, "2.25.404", {datasets[0].SOPInstanceUID}) == set()
    assert query.present(there, datasets[0].StudyInstanceUID, []) == set()


def test_all_of_a_study_in_several_series(filled, datasets):
    there, web = filled
    study = datasets[0].StudyInstanceUID
    wanted = {ds.SOPInstanceUID for ds in datasets if ds.StudyInstanceUID == study}
    assert len(wanted) >= 3

    assert query.present(there, study, wanted) == wanted
    assert wado.present(web, study, wanted) == wanted


def test_both_protocols_give_the_bytes_back(filled, datasets):
    there, web = filled
    for ds in datasets:
        uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID)
        by_get = query.retrieve(there, *uids, ds.SOPClassUID, ds.SOPInstanceUID)
        by_wado = wado.retrieve(web, *uids, ds.SOPInstanceUID)

        assert data_of(by_get) == data_of(by_wado) == data_of(part10(ds))


def test_what_is_not_there_is_not_found(filled, datasets):
    there, web = filled
    uids = (datasets[0].StudyInstanceUID, datasets[0].SeriesInstanceUID)

    with pytest.raises(NotFound, match="does not find the object"):
        wado.retrieve(web, *uids, "2.25.404")
    with pytest.raises((NotFound, DeliveryRefused)):
        query.retrieve(there, *uids, CT, "2.25.404")


def test_orthanc_does_not_delete_over_dicomweb_and_that_is_said(filled, datasets):
    _, web = filled

    with pytest.raises(DeliveryRefused, match="answered the deletion of a study with HTTP 405"):
        wado.delete_study(web, datasets[0].StudyInstanceUID)


@contextmanager
def archive(on_find=None, on_get=None):
    """A pynetdicom SCP of queries; without handlers it offers none."""
    entity = AE("ARCHIVE")
    entity.add_supported_context(CT, scu_role=True, scp_role=True)
    handlers = []
    for event, sop_class, handler in (
        (evt.EVT_C_FIND, STUDY_ROOT_FIND, on_find),
        (evt.EVT_C_GET, STUDY_ROOT_GET, on_get),
    ):
        if handler is not None:
            entity.add_supported_context(sop_class)
            handlers.append((event, handler))
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield RemoteAe("ARCHIVE", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()


def answer(**values):
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_the_levels_are_asked_one_after_the_other_until_all_is_found():
    asked = []

    def on_find(event):
        asked.append(event.identifier)
        if event.identifier.QueryRetrieveLevel == "SERIES":
            yield 0xFF00, answer(SeriesInstanceUID="2.25.21")
            yield 0xFF01, answer(SeriesInstanceUID="2.25.22")
            yield 0xFF00, answer(Modality="CT")  # without the key that was asked for
        else:
            yield 0xFF00, answer(SOPInstanceUID="2.25.31")
        yield 0x0000, None

    with archive(on_find) as there:
        assert query.present(there, STUDY, ["2.25.31"]) == {"2.25.31"}

    assert [ds.QueryRetrieveLevel for ds in asked] == ["SERIES", "IMAGE"]
    assert [ds.StudyInstanceUID for ds in asked] == [STUDY, STUDY]
    assert asked[1].SeriesInstanceUID == "2.25.21"


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(0xA700, DeliveryUnconfirmed, "out of resources"), (0xC000, DeliveryRefused, "answered the C-FIND with")],
)
def test_an_archive_that_fails_to_look(status, error, words):
    def on_find(event):
        yield status, None

    with archive(on_find) as there, pytest.raises(error, match=words):
        query.present(there, STUDY, ["2.25.31"])


def test_an_archive_that_breaks_off_has_not_said_that_nothing_is_there():
    def on_find(event):
        yield 0xFF00, answer(SeriesInstanceUID="2.25.21")
        event.assoc.abort()

    with archive(on_find) as there, pytest.raises(DeliveryUnconfirmed, match="no whole answer to the C-FIND"):
        query.present(there, STUDY, ["2.25.31"], timeout_seconds=5)


def test_an_archive_without_these_services_says_what_to_allow():
    with archive() as there:
        with pytest.raises(DeliveryRefused, match="does not offer C-FIND: allow it in the archive"):
            query.present(there, STUDY, ["2.25.31"])
        with pytest.raises(DeliveryRefused, match="does not offer C-GET"):
            query.retrieve(there, STUDY, SERIES, CT, "2.25.31")


def test_a_retrieval_that_ends_without_the_object():
    def on_get(event):
        yield 0
        yield 0x0000, None

    with archive(on_get=on_get) as there, pytest.raises(NotFound):
        query.retrieve(there, STUDY, SERIES, CT, "2.25.31")


def web_server(code, body, content_type="application/dicom+json"):
    """A server that gives every request the same answer."""
    return dicomweb_server(lambda _: Reply(code, body, content_type))


@pytest.mark.parametrize(
    ("code", "body", "found"),
    [
        (204, b"", set()),
        (200, b"[]", set()),
        (200, b'[{"00080018": {"vr": "UI", "Value": ["2.25.31"]}}, 5, {"00080018": 5}]', {"2.25.31"}),
        (200, b'[{"00080018": {"vr": "UI", "Value": ["2.25.32"]}}]', set()),
    ],
)
def test_qido_answers(code, body, found):
    with web_server(code, body) as (web, seen):
        assert wado.present(web, STUDY, ["2.25.31"]) == found

    assert [(asked.method, asked.path) for asked in seen] == [
        ("GET", f"/dicom-web/studies/{STUDY}/instances?SOPInstanceUID=2.25.31")
    ]


@pytest.mark.parametrize(
    ("code", "body", "error", "words"),
    [
        (200, b"<html>", DeliveryUnconfirmed, "no JSON"),
        (200, b"{}", DeliveryUnconfirmed, "no list"),
        (401, b"", DeliveryRefused, "set token_file"),
        (404, b"<html>", DeliveryRefused, "must be the root of the DICOMweb service"),
        (500, b"", DeliveryUnconfirmed, "it will be tried again"),
    ],
)
def test_qido_answers_that_say_nothing(code, body, error, words):
    with web_server(code, body) as (web, _), pytest.raises(error, match=words):
        wado.present(web, STUDY, ["2.25.31"])


def test_wado_answers():
    multipart = 'multipart/related; type="application/dicom"; boundary="b b"'
    part = bytes(128) + b"DICM\r\n--\x00\r\n"
    body = b"preamble\r\n--b b\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n--b b--\r\n"
    for content_type, content in ((multipart, body), ("application/dicom", part)):
        with web_server(200, content, content_type) as (web, _):
            assert wado.retrieve(web, STUDY, SERIES, "2.25.31") == part
    for content_type, content in ((multipart, body[:-12]), ("text/html", b"<html>"), ("multipart/related", body)):
        with (
            web_server(200, content, content_type) as (web, _),
            pytest.raises(DeliveryUnconfirmed, match="no multipart message"),
        ):
            wado.retrieve(web, STUDY, SERIES, "2.25.31")


@pytest.mark.parametrize("code", [200, 202, 204])
def test_a_study_is_deleted(code):
    with web_server(code, b"") as (web, seen):
        wado.delete_study(web, STUDY)

    assert [(asked.method, asked.path) for asked in seen] == [("DELETE", f"/dicom-web/studies/{STUDY}")]


def test_no_url_is_made_of_what_is_no_uid():
    web = DicomWebTarget("http://127.0.0.1:9")
    for ask in (
        lambda: wado.delete_study(web, "../x"),
        lambda: wado.present(web, STUDY, ["a"]),
        lambda: wado.retrieve(web, STUDY, "?", "1"),
    ):
        with pytest.raises(ValueError, match="only a UID"):
            ask()
