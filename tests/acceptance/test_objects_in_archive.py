"""Every kind of result object, of every kind of exam, goes into a real archive and comes back as it was.

Back by WADO-RS, and by C-MOVE: dcmtk's ``movescu`` has the archive send them to dcmtk's ``storescp``. That they
conform is judged in tests/integration (test_dicom_conformance, test_dicom_reports, test_dicom_pictures) on the same
exams.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.cases import CASES
from tests.results import Analysed
from tests.services import OrthancServer, Programs, free_port, start_child, wait_until
from triage.dicom.comparison import changes
from triage.dicom.header import read_header
from triage.dicom.undetermined import encode_undetermined
from triage.dicom.volume import read_volume
from triage.domain.encoded import MESSAGE_KINDS, SEG_KINDS, SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import KINDS, ReasonCode
from triage.domain.profile import Profile
from triage.domain.volume import Volume
from triage.inference.predict import Analysis
from triage.net.part10 import dataset_offset
from triage.net.scu import OutgoingInstance, RemoteAe, send
from triage.services.result_set import Case, result_set

pytestmark = pytest.mark.slow

PROFILES = {
    "first": Profile(
        (ObjectKind.SEG, ObjectKind.SR, ObjectKind.KOS, ObjectKind.SC, ObjectKind.GSPS), reject_superseded=True
    ),
    "label map": Profile((ObjectKind.SEG_LABELMAP, ObjectKind.SR_COMPREHENSIVE)),
    "probabilities": Profile((ObjectKind.SEG_FRACTIONAL, ObjectKind.SR_ENHANCED)),
    "text": Profile((ObjectKind.SR_TEXT,)),
}
OUTLINED = {ObjectKind.SEG, ObjectKind.SEG_LABELMAP, ObjectKind.SEG_FRACTIONAL, ObjectKind.GSPS}
"""Not made where nothing was segmented."""

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
VOLUME_CODE, REFERENCED_SEGMENT = "118565006", "121191"
MOVER = "MOVER"


@dataclass(frozen=True)
class Receiver:
    """dcmtk's ``storescp``: it writes what it gets into a folder, bit by bit."""

    port: int
    folder: Path

    def take(self) -> dict[str, bytes]:
        """Files by SOP Instance UID; the folder is empty after."""
        found = {}
        for file in self.folder.iterdir():
            content = file.read_bytes()
            found[read_header(content).sop_instance_uid] = content
            file.unlink()
        return found


@pytest.fixture(scope="module")
def receiver(dcmtk: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    folder = tmp_path_factory.mktemp("moved")
    log = tmp_path_factory.mktemp("log") / "storescp.log"
    port = free_port()
    options = ["-aet", MOVER, "--bit-preserving", "--accept-all", "--promiscuous", "-od", str(folder), str(port)]
    process = start_child([dcmtk.path("storescp"), *options], log)
    try:
        wait_until(lambda: dcmtk.run("echoscu", "127.0.0.1", str(port)).returncode == 0, "storescp", process, log)
        yield Receiver(port, folder)
    finally:
        process.terminate()  # SIGINT it ignores when this process does
        process.wait(20)


def every_object(exam: Analysed) -> list[EncodedObject]:
    """What the profiles ask for, with the notes that reject an earlier set, and every report of no analysis."""
    probabilities = {s: np.where(exam.labels == i, 200, 0).astype(np.uint8) for i, s in enumerate(KINDS, start=1)}
    found = {s: p for s, p in probabilities.items() if p.any()}
    evidence = np.zeros((len(exam.labels), 6))
    analysis = Analysis(exam.result, exam.labels, exam.labels, evidence, len(exam.labels), found)
    undetermined = [
        encode_undetermined(
            exam.contents, ReasonCode.GAP, "A gap of 12 mm.", exam.provenance, predecessor=None, kind=kind
        )
        for kind in sorted(SR_KINDS)
    ]
    study = read_header(exam.contents[0]).study_instance_uid
    earlier = [
        ObjectReference(study, one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid) for one in undetermined
    ]
    made = result_set(
        Case(exam.contents, exam.volume, analysis, exam.provenance, superseded={"first": earlier}), PROFILES
    )
    return [*undetermined, *(item.encoded for item in made)]


def outgoing(content: bytes) -> OutgoingInstance:
    header = read_header(content)
    return OutgoingInstance(header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid, lambda: content)


def data_set(content: bytes) -> bytes:
    """The file without its meta information, which is each program's own."""
    return content[dataset_offset(content) :]


@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_kept_and_given_back(
    name: str,
    shared_data: Path,
    orthanc: OrthancServer,
    receiver: Receiver,
    dcmtk: Programs,
) -> None:
    exam = CASES[name](shared_data)
    objects = every_object(exam)
    left_out = set() if exam.labels.any() else OUTLINED | ({ObjectKind.KOS} if exam.result.key_slice is None else set())
    assert {one.kind for one in objects} | left_out == set(ObjectKind) - MESSAGE_KINDS
    sent = {read_header(c).sop_instance_uid: c for c in [*exam.contents, *(one.content for one in objects)]}
    assert len(sent) == len(exam.contents) + len(objects)

    # In: every status is success, not a warning.
    archive = RemoteAe(orthanc.ae_title, orthanc.host, orthanc.dicom_port)
    outcomes = send(archive, [outgoing(content) for content in sent.values()])
    assert [(outcome.error, outcome.status) for outcome in outcomes] == [(None, 0x0000)] * len(sent)

    # Back by WADO-RS: the same bytes in the same transfer syntax.
    returned = {}
    for uid, content in sent.items():
        header = read_header(content)
        returned[uid] = orthanc.retrieve(header.study_instance_uid, header.series_instance_uid, uid)
        assert read_header(returned[uid]).transfer_syntax_uid == header.transfer_syntax_uid
        assert data_set(returned[uid]) == data_set(content)

    # Back by C-MOVE: nothing is altered.
    moved = move_study(read_header(exam.contents[0]).study_instance_uid, orthanc, receiver, dcmtk)
    assert set(moved) == set(sent)
    assert [change for uid, content in sent.items() for change in changes(content, moved[uid])] == []

    # What the reports say is what the segmentations hold.
    compare_volumes(exam, objects, returned)


def move_study(study: str, orthanc: OrthancServer, receiver: Receiver, dcmtk: Programs) -> Mapping[str, bytes]:
    """Have the archive send a whole study to the receiver."""
    orthanc.know(MOVER, receiver.port)
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    titles = ["-aet", MOVER, "-aec", orthanc.ae_title, "-aem", MOVER]
    ran = dcmtk.run("movescu", "-v", "-S", *titles, *keys, orthanc.host, str(orthanc.dicom_port))
    assert ran.returncode == 0, ran.stderr
    return receiver.take()


def compare_volumes(exam: Analysed, objects: Sequence[EncodedObject], returned: Mapping[str, bytes]) -> None:
    """Per report: the ml of each of its measurement groups is that of the segment that the group refers to."""
    volume = read_volume([returned[read_header(content).sop_instance_uid] for content in exam.contents])
    segmentations = {
        one.sop_instance_uid: hd.seg.segread(io.BytesIO(returned[one.sop_instance_uid]))
        for one in objects
        if one.kind in SEG_KINDS
    }
    compared = []
    for one in objects:
        for uid, number, said_ml in measured(dcmread(io.BytesIO(returned[one.sop_instance_uid]))):
            assert said_ml == pytest.approx(segment_ml(segmentations[uid], number, volume), rel=1e-3), one.kind
            compared.append((one.kind, number))
    with_numbers = SR_KINDS - {ObjectKind.SR_TEXT}
    segments = len(np.unique(exam.labels[exam.labels > 0]))
    assert sorted(compared) == sorted((kind, n) for kind in with_numbers for n in range(1, segments + 1))


def measured(ds: Dataset) -> list[tuple[str, int, float]]:
    """SOP Instance UID, segment number and ml of each group of a report that refers to a segment."""
    found = []
    for group in with_content(ds):
        items = {
            i.ConceptNameCodeSequence[0].CodeValue: i for i in group.ContentSequence if "ConceptNameCodeSequence" in i
        }
        if REFERENCED_SEGMENT in items:
            (segment,) = items[REFERENCED_SEGMENT].ReferencedSOPSequence
            (value,) = items[VOLUME_CODE].MeasuredValueSequence
            assert value.MeasurementUnitsCodeSequence[0].CodeValue == "ml"
            found.append(
                (str(segment.ReferencedSOPInstanceUID), int(segment.ReferencedSegmentNumber), float(value.NumericValue))
            )
    return found


def with_content(item: Dataset) -> Iterator[Dataset]:
    """The item and all below it that have items of their own."""
    if "ContentSequence" in item:
        yield item
        for below in item.ContentSequence:
            yield from with_content(below)


def segment_ml(seg: hd.seg.Segmentation, number: int, volume: Volume) -> float:
    """The volume of a segment, frame by frame on the source frames that the frames name."""
    places = {(s.sop_instance_uid, s.frame_number): index for index, s in enumerate(volume.sources)}
    mask = np.zeros(volume.hu.shape, dtype=np.bool_)
    frames = seg.pixel_array.reshape(-1, *volume.hu.shape[1:])
    (shared,) = seg.SharedFunctionalGroupsSequence
    for frame, own in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (source,) = own.DerivationImageSequence[0].SourceImageSequence
        place = places[(str(source.ReferencedSOPInstanceUID), int(source.get("ReferencedFrameNumber", 1)))]
        if seg.SOPClassUID == LABEL_MAP:
            mask[place] = frame == number
            continue
        # A segment that is the only one may be named once for all frames.
        (segment,) = (own if "SegmentIdentificationSequence" in own else shared).SegmentIdentificationSequence
        if segment.ReferencedSegmentNumber == number:
            mask[place] = frame > 0
    return volume.mask_ml(mask)
