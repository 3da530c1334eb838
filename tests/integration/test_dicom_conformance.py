"""Independent programs judge what is sent back: dicom3tools the conformance, dcmtk the structure of the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from tests.cases import CASES
from tests.results import Analysed, analysed
from tests.services import Programs
from triage.domain.encoded import ObjectReference
from triage.domain.finding import KINDS, Subtype

EARLIER = ObjectReference("1.2.3.1", "1.2.3.2", str(Comprehensive3DSRStorage), "1.2.3.4")
Written = tuple[Analysed, list[Path]]


@pytest.fixture(params=CASES)
def written(request: pytest.FixtureRequest, shared_data: Path, tmp_path: Path) -> Written:
    """An analysis with the files of its source, its segmentation (when there is one) and its report, in this order."""
    case = CASES[request.param](shared_data)
    return case, write(case, tmp_path)


def write(case: Analysed, folder: Path, predecessor: ObjectReference | None = None) -> list[Path]:
    objects = [case.seg()] if case.labels.any() else []
    objects.append(case.sr(predecessor=predecessor))
    contents = [*case.contents, *(one.content for one in objects)]
    files = [folder / f"{number:03}.dcm" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


def test_objects_conform_and_agree(
    written: tuple[Analysed, list[Path]], dicom3tools: Programs, dcmtk: Programs
) -> None:
    case, files = written
    made = files[len(case.contents) :]
    assert len(made) == (2 if case.labels.any() else 1)
    for file in made:
        assert dicom3tools.conformance_errors(file) == []
    report = dcmtk.run("dsrdump", made[-1])
    assert report.returncode == 0, report.stderr
    assert "Triage notification, not a diagnosis" in report.stdout
    assert not [line for line in (report.stderr).splitlines() if line.startswith(("E:", "F:"))]
    # The entities: one patient, one study, one frame of reference over source, segmentation and report.
    entities = dicom3tools.run("dcentvfy", *files)
    assert entities.returncode == 0
    assert not [line for line in (entities.stdout + entities.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("subtype", KINDS)
def test_each_subtype_alone_conforms(subtype: Subtype, dicom3tools: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[subtype])
    for file in write(case, tmp_path)[len(case.contents) :]:
        assert dicom3tools.conformance_errors(file) == []


def test_a_superseding_report_conforms(dicom3tools: Programs, dcmtk: Programs, tmp_path: Path) -> None:
    report = write(analysed(subtypes=[]), tmp_path, EARLIER)[-1]
    assert dicom3tools.conformance_errors(report) == []
    assert dcmtk.run("dsrdump", report).returncode == 0


def test_warnings_are_only_about_what_is_meant(dicom3tools: Programs, tmp_path: Path) -> None:
    case = analysed()
    for file in write(case, tmp_path)[len(case.contents) :]:
        ran = dicom3tools.run("dciodvfy", "-new", file)
        warnings = [line for line in (ran.stdout + ran.stderr).splitlines() if line.startswith("Warning")]
        # The private scheme we declare, its UID, and the Device UID that the checker does not know there yet.
        meant = ("99ICHTRIAGE", "CodingSchemeUID", "DeviceUID")
        assert [line for line in warnings if not any(word in line for word in meant)] == []


def test_a_source_of_another_patient_would_be_noticed(dicom3tools: Programs, tmp_path: Path) -> None:
    # The check above means something: the same report under another name is an error.
    case = analysed()
    files = write(case, tmp_path)
    files[-1].write_bytes(files[-1].read_bytes().replace(b"SYNTHETIC^HEAD", b"SYNTHETIC^TAIL"))
    ran = dicom3tools.run("dcentvfy", *files)
    assert "PatientName" in ran.stdout + ran.stderr


def test_html_of_the_report_reads_well(dcmtk: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[Subtype.IPH])
    case = replace(case, result=replace(case.result, score=0.93))
    html = dcmtk.run("dsr2html", write(case, tmp_path)[-1]).stdout
    for text in (
        "Intracranial hemorrhage suspected: probability 0.930",
        "Present",
        "ACR Category 1 Actionable Finding",
        "Cerebral hemorrhage",
    ):
        assert text in html
    assert "Not for primary diagnosis" in html
    assert "DEMONSTRATION" in html
