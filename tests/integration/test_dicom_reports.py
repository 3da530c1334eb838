"""Independent programs judge every kind of report and key object selection, as they do SEG and SR elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.builders import ct_series, encode, localizer, part10, part10_named, rgb_screen, structured_report
from tests.cases import CASES
from tests.results import PROVENANCE, Analysed, analysed, dataset
from tests.services import OrthancServer, Programs
from triage.dicom.key_objects import encode_key_objects, encode_rejection
from triage.dicom.undetermined import encode_undetermined
from triage.domain.encoded import SR_KINDS, EncodedObject, ObjectKind, ObjectReference
from triage.domain.finding import ReasonCode, Subtype
from triage.domain.key_slices import key_slices

KINDS = sorted(SR_KINDS)
LABEL_MAP_UNKNOWN = "Shall not be present for Referenced SOP Class that is not segmentation"
"""What dicom3tools says of a reference to a segment of a label map: it does not know that class yet."""
SENTENCE = "A gap of 12 mm lies between two slices."


def reference(made: EncodedObject, study_instance_uid: str) -> ObjectReference:
    return ObjectReference(study_instance_uid, made.series_instance_uid, made.sop_class_uid, made.sop_instance_uid)


def undetermined(contents: list[bytes], predecessor: ObjectReference | None = None) -> list[EncodedObject]:
    return [
        encode_undetermined(contents, ReasonCode.GAP, SENTENCE, PROVENANCE, predecessor=predecessor, kind=kind)
        for kind in KINDS
    ]


def documents(case: Analysed) -> list[EncodedObject]:
    """Segmentations that reports refer to, then every kind of report on the case, and both kinds of selection."""
    segmentations = [case.seg()] if case.labels.any() else []
    segmentation = segmentations[0] if segmentations else None
    reports = [case.sr(kind=kind, segmentation=segmentation) for kind in KINDS]
    study = dataset(reports[0]).StudyInstanceUID
    chosen = key_slices(case.labels, case.volume, case.result)
    selection = encode_key_objects(case.contents, case.volume, chosen, [reports[0], *segmentations], case.provenance)
    old = [reference(made, study) for made in (*segmentations, *reports)]
    return [
        *segmentations,
        *reports,
        *undetermined(case.contents, old[-1]),
        selection,
        encode_rejection(case.contents, old, case.provenance),
    ]


def write(contents: Iterable[bytes], folder: Path) -> list[Path]:
    files = []
    for number, content in enumerate(contents):
        files.append(folder / f"{number:03}.dcm")
        files[-1].write_bytes(content)
    return files


def judge(
    sources: list[bytes],
    made: list[EncodedObject],
    tools: tuple[Programs, Programs],
    folder: Path,
    *dump_options: str,
) -> None:
    """Each object by itself, then all of them with their sources: one patient, one study."""
    dicom3tools, dcmtk = tools
    files = write([*sources, *(one.content for one in made)], folder)
    for one, file in zip(made, files[len(sources) :], strict=True):
        errors = [line for line in dicom3tools.conformance_errors(file) if LABEL_MAP_UNKNOWN not in line]
        assert errors == [], one.kind
        if one.kind is ObjectKind.SEG:
            continue
        dumped = dcmtk.run("dsrdump", *dump_options, file)
        assert dumped.returncode == 0, (one.kind, dumped.stderr)
        assert not [line for line in dumped.stderr.splitlines() if line.startswith(("E:", "F:"))], one.kind
    assert disagreements(files, dicom3tools) == []


def disagreements(files: list[Path], dicom3tools: Programs) -> list[str]:
    """What the files say differently of one patient, study or series."""
    ran = dicom3tools.run("dcentvfy", *files)
    return [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("Error")]


@pytest.fixture(scope="session")
def tools(dicom3tools: Programs, dcmtk: Programs) -> tuple[Programs, Programs]:
    return dicom3tools, dcmtk


@pytest.mark.parametrize("name", CASES)
def test_every_kind_conforms_and_agrees_with_its_source(
    name: str, shared_data: Path, tools: tuple[Programs, Programs], tmp_path: Path
) -> None:
    case = CASES[name](shared_data)
    made = documents(case)
    assert len({one.sop_instance_uid for one in made}) == len(made) == (11 if case.labels.any() else 10)
    judge(case.contents, made, tools, tmp_path)


@pytest.mark.parametrize("kind", [ObjectKind.SEG_LABELMAP, ObjectKind.SEG_FRACTIONAL])
def test_reports_on_other_segmentations_conform(
    kind: ObjectKind, tools: tuple[Programs, Programs], tmp_path: Path
) -> None:
    case = analysed(subtypes=[Subtype.SDH, Subtype.SAH])
    probabilities = {s: ((case.labels > 0) * 200).astype("uint8") for s in Subtype}
    segmentation = case.seg(kind=kind, probabilities=probabilities)
    reports = [case.sr(kind=one, segmentation=segmentation) for one in KINDS]
    chosen = key_slices(case.labels, case.volume, case.result)
    selection = encode_key_objects(case.contents, case.volume, chosen, [*reports, segmentation], case.provenance)
    # Nor does dcmtk know a label map to be an image.
    known = kind is ObjectKind.SEG_FRACTIONAL
    judge(case.contents, [*reports, selection], tools, tmp_path, *([] if known else ["--invalid-item-value"]))


def magnetic(**overrides: object) -> list[bytes]:
    return [part10(ds) for ds in ct_series(4, Modality="MR", **overrides)]


def without_geometry() -> list[bytes]:
    gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    return [part10(ds) for ds in ct_series(4, **gone)]


def broken_pixels() -> list[bytes]:
    """Headers are whole, the pixels end in the middle."""
    return [part10(ds)[:-500] for ds in ct_series(4)]


def single(*others: object) -> list[bytes]:
    return [part10(ds) for ds in others]


UNUSABLE = {
    "not CT": magnetic,
    "no geometry": without_geometry,
    "broken pixels": broken_pixels,
    "a scout": lambda: single(localizer()),
    "a screen": lambda: single(rgb_screen()),
    "a report": lambda: single(structured_report()),
    "a broken name": lambda: [part10_named(ds, "utf8") for ds in ct_series(2)],
    "compressed": lambda: single(*(encode(ds, "1.2.840.10008.1.2.5") for ds in ct_series(2))),
    "another study too": lambda: single(*ct_series(2), *ct_series(1, StudyInstanceUID=generate_uid(None))),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_analysed_is_reported_all_the_same(
    name: str, tools: tuple[Programs, Programs], tmp_path: Path
) -> None:
    contents = UNUSABLE[name]()
    dicom3tools, dcmtk = tools
    made = undetermined(contents)
    files = write([*contents, *(one.content for one in made)], tmp_path)
    # The checker cannot read sources whose pixels end too early.
    compared = files[len(contents) :] if name == "broken pixels" else files
    assert disagreements(compared, dicom3tools) == []
    for file in files[len(contents) :]:
        assert dicom3tools.conformance_errors(file) == []
        dumped = dcmtk.run("dsrdump", file)
        assert dumped.returncode == 0, dumped.stderr
        assert "Undetermined" in dumped.stdout
        assert "Absent" not in dumped.stdout


def test_warnings_are_only_about_what_is_meant(dicom3tools: Programs, tmp_path: Path) -> None:
    for file in write((one.content for one in documents(analysed())), tmp_path):
        ran = dicom3tools.run("dciodvfy", "-new", file)
        warnings = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("Warning")]
        meant = ("99ICHTRIAGE", "CodingSchemeUID", "DeviceUID")
        assert [line for line in warnings if not any(word in line for word in meant)] == []


def test_a_text_report_reads_well(dcmtk: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[Subtype.IPH], score=0.93)
    (file,) = write([case.sr(kind=ObjectKind.SR_TEXT).content], tmp_path)
    html = dcmtk.run("dsr2html", file).stdout
    for text in (
        "Intracranial hemorrhage suspected: probability 0.930",
        "Present",
        "ACR Category 1 Actionable Finding",
        "IPH intraparenchymal hemorrhage",
        "demo-heads",
        "Not for primary diagnosis",
        "DEMONSTRATION",
    ):
        assert text in html


@pytest.mark.parametrize("name", ["enhanced", "japanese name", "empty values"])
def test_an_archive_keeps_every_kind_as_it_is(name: str, shared_data: Path, orthanc: OrthancServer) -> None:
    made = documents(CASES[name](shared_data))
    study = str(dataset(made[0]).StudyInstanceUID)
    for one in made:
        orthanc.store(one.content)
        assert orthanc.retrieve(study, one.series_instance_uid, one.sop_instance_uid) == one.content, one.kind
