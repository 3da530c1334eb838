"""Questions and retrievals at archives that know less, answer oddly, stop in the middle, or never stop."""

import logging
import threading
from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_FIND, C_GET

from tests.builders import ct_series, part10, segmentation, structured_report
from tests.peers import CT, EXPLICIT, outgoing
from tests.services import free_port
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, NotFound
from triage.net.contexts import TRANSFER_SYNTAXES, UNCOMPRESSED
from triage.net.part10 import dataset_offset, file_meta
from triage.net.query import STUDY_ROOT_FIND, STUDY_ROOT_GET, present, retrieve
from triage.net.scu import RemoteAe, send

IMPLICIT, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
STUDY, SERIES, WANTED = "2.25.11", "2.25.12", "2.25.31"


@contextmanager
def serving(contexts, handlers):
    """An archive called ARCHIVE. A context is (SOP class, transfer syntaxes, whether it agrees to other roles)."""
    entity = AE("ARCHIVE")
    for sop_class, syntaxes, role in contexts:
        entity.add_supported_context(sop_class, syntaxes, scu_role=role, scp_role=role)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield RemoteAe("ARCHIVE", "127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()


def asking(on_find, syntaxes=(EXPLICIT, IMPLICIT)):
    return serving([(STUDY_ROOT_FIND, list(syntaxes), None)], [(evt.EVT_C_FIND, on_find)])


def giving(on_get, sop_class=CT, syntaxes=TRANSFER_SYNTAXES, roles=True):
    return serving(
        [(STUDY_ROOT_GET, list(UNCOMPRESSED), None), (sop_class, list(syntaxes), roles)], [(evt.EVT_C_GET, on_get)]
    )


def keys(**values):
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


class Holdings:
    """An archive of series and their objects, which may know no lists of UIDs, or refuse them."""

    def __init__(self, series, lists="known"):
        self.series, self.lists = series, lists
        self.asked = []

    def on_find(self, event):
        asked = event.identifier
        named = asked.get("SOPInstanceUID") or []
        named = [named] if isinstance(named, str) else list(named)
        self.asked.append((asked.QueryRetrieveLevel, asked.get("SeriesInstanceUID"), named))
        if asked.QueryRetrieveLevel == "SERIES":
            for uid in self.series:
                yield 0xFF00, keys(SeriesInstanceUID=uid, PatientName="SECRET^NAME")
        elif len(named) > 1 and self.lists != "known":
            if self.lists == "refused":
                yield 0xC001, None
        else:
            for uid in self.series[asked.SeriesInstanceUID]:
                if not named or uid in named:
                    yield 0xFF01, keys(SOPInstanceUID=uid, PatientID="SECRET")


def test_only_what_is_wanted_is_asked_for():
    archive = Holdings({"2.25.1": [f"2.25.5{n}" for n in range(300)], "2.25.2": ["2.25.7", "2.25.8"], "2.25.3": []})
    with asking(archive.on_find) as there:
        assert present(there, STUDY, ["2.25.8", "2.25.7"]) == {"2.25.7", "2.25.8"}

    assert archive.asked == [
        ("SERIES", "", []),
        ("IMAGE", "2.25.1", ["2.25.7", "2.25.8"]),
        ("IMAGE", "2.25.2", ["2.25.7", "2.25.8"]),
    ]


@pytest.mark.parametrize("lists", ["unknown", "refused"])
def test_an_archive_that_knows_no_lists_of_uids_is_asked_for_everything(lists):
    archive = Holdings({"2.25.1": ["2.25.6", "2.25.7"], "2.25.2": ["2.25.8"], "2.25.3": ["2.25.9"]}, lists)
    with asking(archive.on_find) as there:
        assert present(there, STUDY, ["2.25.8", "2.25.7", "2.25.404"]) == {"2.25.7", "2.25.8"}


def test_more_objects_than_a_question_can_name():
    held = [f"2.25.{n}" for n in range(1000, 1250)]
    archive = Holdings({SERIES: held})
    with asking(archive.on_find) as there:
        assert present(there, STUDY, held) == set(held)

    assert [named for _, _, named in archive.asked] == [[], []]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_an_archive_that_knows_one_transfer_syntax(syntax):
    with asking(Holdings({SERIES: [WANTED]}).on_find, [syntax]) as there:
        assert present(there, STUDY, [WANTED, "2.25.404"]) == {WANTED}


def test_no_patient_of_an_answer_reaches_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    with asking(Holdings({SERIES: [WANTED]}).on_find) as there:
        present(there, STUDY, [WANTED])

    ours = [record for record in caplog.records if "Acceptor" not in record.threadName]
    assert "SECRET" not in " ".join(record.getMessage() for record in ours)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0xA700, DeliveryUnconfirmed, r"out of resources \(0xA700\); it can be asked again"),
        (0xA900, DeliveryRefused, r"\(0xA900\); asking again cannot help"),
        (0xC001, DeliveryRefused, r"unable to process \(0xC001\)"),
        (0x0122, DeliveryRefused, "SOP class not supported"),
        (0x0124, DeliveryRefused, "not authorized"),
        (0xFE00, DeliveryUnconfirmed, "0xFE00"),
    ],
)
def test_a_question_that_fails(status, error, words):
    def on_find(event):
        yield status, None

    with asking(on_find) as there, pytest.raises(error, match=words) as caught:
        present(there, STUDY, [WANTED])

    assert caught.value.status == status
    assert str(there) in str(caught.value)


def answering(*answers):
    """A handler that sends messages of its own making to the first request: status, identifier, message id."""

    def on_find(event):
        for status, identifier, message_id in answers:
            answer = C_FIND()
            answer.MessageIDBeingRespondedTo = message_id
            answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
            answer.Status = status
            answer.Identifier = BytesIO(identifier) if identifier is not None else None
            event.assoc.dimse.send_msg(answer, event.context.context_id)
        yield 0x0000, None

    return on_find


@pytest.mark.parametrize(
    "answers",
    [
        [(0xFF00, b"\x00\x01\x02", 1)],
        [(0xFF00, b"\x08\x00\x05\x00SQ\x00\x00\xff\xff\xff\xff" + b"\x01" * 30, 1)],
        [(0xFF00, b"\x20\x00\x0e\x00ZZ\xff\xff\xff\xff\xff\xff" * 3, 1)],
        [(0xFF00, b"\x20\x00\x0e\x00UI\x04\x001.2\x00", 9)],
        [(0x0000, None, 9)],
    ],
    ids=["short", "endless", "nonsense", "to another question", "the end of another question"],
)
def test_an_answer_that_cannot_be_read_does_not_say_that_nothing_is_there(answers):
    with asking(answering(*answers)) as there, pytest.raises(DeliveryUnconfirmed, match="with something else"):
        present(there, STUDY, [WANTED], timeout_seconds=5)


def test_an_answer_without_a_uid_does_no_harm_when_all_is_found():
    def on_find(event):
        if event.identifier.QueryRetrieveLevel == "SERIES":
            yield 0xFF00, keys(Modality="CT")
            yield 0xFF00, keys(SeriesInstanceUID=SERIES)
        else:
            yield 0xFF00, keys(SOPInstanceUID=WANTED)

    with asking(on_find) as there:
        assert present(there, STUDY, [WANTED]) == {WANTED}
        with pytest.raises(DeliveryUnconfirmed, match="with something else"):
            present(there, STUDY, [WANTED, "2.25.404"])


def test_another_message_than_an_answer():
    def on_find(event):
        answer = C_GET()
        answer.MessageIDBeingRespondedTo = 1
        answer.AffectedSOPClassUID = event.request.AffectedSOPClassUID
        answer.Status = 0x0000
        event.assoc.dimse.send_msg(answer, event.context.context_id)
        yield 0x0000, None

    with asking(on_find) as there, pytest.raises(DeliveryUnconfirmed, match="with something else"):
        present(there, STUDY, [WANTED], timeout_seconds=5)


def test_an_archive_that_is_lost_between_two_questions():
    def on_find(event):
        if event.identifier.QueryRetrieveLevel == "IMAGE":
            event.assoc.abort()
            return
        yield 0xFF00, keys(SeriesInstanceUID=SERIES)

    with asking(on_find) as there, pytest.raises(DeliveryUnconfirmed, match=r"no whole answer|ended before"):
        present(there, STUDY, [WANTED])


def test_an_archive_that_is_too_slow():
    hold = threading.Event()

    def on_find(event):
        hold.wait(10)
        yield 0x0000, None

    with asking(on_find) as there:
        with pytest.raises(DeliveryUnconfirmed, match="no whole answer to the C-FIND"):
            present(there, STUDY, [WANTED], timeout_seconds=0.3)
        hold.set()


def test_nobody_is_there():
    there = RemoteAe("ARCHIVE", "127.0.0.1", free_port())
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
        present(there, STUDY, [WANTED])
    with pytest.raises(DeliveryUnconfirmed, match="Cannot connect"):
        retrieve(there, STUDY, SERIES, CT, WANTED)


def fetch(there, ds, **options):
    return retrieve(there, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPClassUID, ds.SOPInstanceUID, **options)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, RLE])
def test_orthanc_gives_back_what_it_was_sent_in_the_syntax_it_came_in(orthanc, syntax):
    orthanc.know("ICHTRIAGE", free_port())
    there = RemoteAe(orthanc.ae_title, orthanc.host, orthanc.dicom_port)
    datasets = ct_series(2, rows=16, columns=16, transfer_syntax=syntax)
    if syntax == EXPLICIT:
        datasets += [segmentation(), structured_report()]
    assert [o.error for o in send(there, outgoing(datasets))] == [None] * len(datasets)

    for ds in datasets:
        ours, kept = part10(ds), fetch(there, ds)
        assert kept[dataset_offset(kept) :] == ours[dataset_offset(ours) :]
        assert kept.startswith(file_meta(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID))


def test_of_several_objects_the_one_that_was_asked_for():
    first, wanted, last = ct_series(3, rows=8, columns=8)

    def on_get(event):
        yield 3
        for ds in (first, wanted, last):
            yield 0xFF00, ds

    with giving(on_get) as there:
        kept = fetch(there, wanted)

    ours = part10(wanted)
    assert kept[dataset_offset(kept) :] == ours[dataset_offset(ours) :]


def test_an_archive_that_only_gives_it_in_implicit_vr():
    (ds,) = ct_series(1, rows=8, columns=8, transfer_syntax=IMPLICIT)

    def on_get(event):
        yield 1
        yield 0xFF00, ds

    with giving(on_get, syntaxes=[IMPLICIT]) as there:
        kept = fetch(there, ds)

    assert kept[: dataset_offset(kept)] == file_meta(CT, ds.SOPInstanceUID, IMPLICIT)


@pytest.mark.parametrize(
    ("statuses", "error", "words"),
    [
        ([0x0000], NotFound, "does not find the object"),
        ([0xA701], DeliveryUnconfirmed, "out of resources"),
        ([0xA900], DeliveryRefused, "asking again cannot help"),
        ([0xC003], DeliveryRefused, "unable to process"),
        ([0xB000], DeliveryUnconfirmed, "0xB000"),
    ],
)
def test_a_retrieval_without_the_object(statuses, error, words):
    def on_get(event):
        yield len(statuses)
        for status in statuses:
            yield status, None

    (ds,) = ct_series(1, rows=8, columns=8)
    with giving(on_get) as there, pytest.raises(error, match=words):
        fetch(there, ds)


def test_an_archive_that_will_not_send():
    (ds,) = ct_series(1, rows=8, columns=8)
    with (
        giving(lambda event: iter(()), roles=False) as there,
        pytest.raises(DeliveryRefused, match="does not give back CT Image Storage by C-GET"),
    ):
        fetch(there, ds)
    with (
        giving(lambda event: iter(()), sop_class=SECONDARY_CAPTURE) as there,
        pytest.raises(DeliveryRefused, match="does not give back CT Image Storage by C-GET"),
    ):
        fetch(there, ds)


def test_a_retrieval_that_is_cut_off_or_takes_too_long():
    hold = threading.Event()
    (ds,) = ct_series(1, rows=8, columns=8)

    def cut(event):
        yield 1
        event.assoc.abort()

    def slow(event):
        yield 1
        hold.wait(10)
        yield 0xFF00, ds

    with giving(cut) as there, pytest.raises(DeliveryUnconfirmed, match="no whole answer to the C-GET"):
        fetch(there, ds)
    with giving(slow) as there:
        with pytest.raises(DeliveryUnconfirmed, match="no whole answer to the C-GET"):
            fetch(there, ds, timeout_seconds=0.3)
        hold.set()
