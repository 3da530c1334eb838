"""``triage selftest`` as an administrator runs it, on archives that keep, alter, forget, refuse or are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import OrthancServer, free_port

pytestmark = pytest.mark.slow

RESULTS = {"SEG", "SR", "SC", "GSPS", "KOS", "SEG_FRACTIONAL", "SEG_LABELMAP", "SR_COMPREHENSIVE", "SR_ENHANCED"}
EVERYTHING = {"CT (source)", *RESULTS, "SR_TEXT"}
UNALTERED = ("yes", "yes", "yes", "unaltered")

COERCES = """
-- Everything is altered before the first query is answered. With OnStoredInstance, which runs in a thread of its
-- own, the test would have to wait for it.
function IncomingFindRequestFilter(query, origin)
  for _, id in ipairs(ParseJson(RestApiGet('/instances'))) do
    local tags = ParseJson(RestApiGet('/instances/' .. id .. '/simplified-tags'))
    if tags['PatientID'] ~= 'HOSPITAL-1' then
      local change = {Replace = {PatientID = 'HOSPITAL-1'}, Keep = {KEPT}, Force = true}
      local altered = RestApiPost('/instances/' .. id .. '/modify', DumpJson(change, true))
      RestApiDelete('/instances/' .. id)
      RestApiPost('/instances', altered)
    end
  end
  return query
end
"""
COERCES_PATIENT = COERCES.replace("KEPT", "'StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID'")
COERCES_UIDS = COERCES.replace("KEPT", "'SOPInstanceUID'")
FORGETS_SEGMENTATIONS = """
function ReceivedInstanceFilter(dicom, origin)
  return dicom.Modality ~= 'SEG'
end
"""


@dataclass(frozen=True)
class Said:
    """What one run printed, and how it ended."""

    status: int
    out: str
    errors: str

    @property
    def rows(self) -> dict[str, tuple[str, ...]]:
        """The cells of the table by object: stored, found by query, came back, remarks."""
        lines = [line for line in self.out.splitlines() if line.startswith("│")]
        cells = [tuple(cell.strip() for cell in line.strip("│").split("│")) for line in lines]
        return {row[0]: row[1:] for row in cells}


def selftest(folder: Path, destination: str, *options: str, asked: str = "pacs") -> Said:
    """Run the command with one destination, named pacs."""
    config = folder / "triage.toml"
    config.write_text(f'[[destinations]]\nname = "pacs"\n{destination}\n')
    command = [sys.executable, "-m", "triage", "--config", str(config), "selftest", asked, *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    return Said(ran.returncode, ran.stdout, ran.stderr)


def by_dicom(archive: OrthancServer, ae_title: str = OrthancServer.ae_title) -> str:
    return f'ae_title = "{ae_title}"\nhost = "{archive.host}"\nport = {archive.dicom_port}'


def by_web(archive: OrthancServer) -> str:
    return f'kind = "stow"\nurl = "{archive.dicomweb_url}"'


@contextmanager
def behaving(*, known: bool = True, script: str = "", **changed: object) -> Iterator[OrthancServer]:
    """An archive of its own that behaves otherwise, and knows our AE title or not."""
    archive = OrthancServer(script=script, **changed)
    try:
        archive.start()
        if known:
            archive.know("ICHTRIAGE", free_port())
        yield archive
    finally:
        archive.remove()


def one_sentence(said: Said) -> str:
    """What is on standard error, which is a single line of the program and no traceback."""
    (line,) = said.errors.splitlines()
    assert line.startswith("triage: ")
    assert line.endswith((".", "?"))
    return line


def test_an_archive_that_keeps_everything_by_dicom(orthanc: OrthancServer, tmp_path: Path) -> None:
    orthanc.know("ICHTRIAGE", free_port())
    said = selftest(tmp_path, by_dicom(orthanc))
    assert (said.status, said.errors) == (0, "")
    # This Orthanc is older than the label map's SOP class: it stores and finds it, and does not send it.
    label_map = said.rows["SEG_LABELMAP"]
    assert label_map[:3] == ("yes", "yes", "no")
    assert "does not give back" in label_map[3]
    assert {**said.rows, "SEG_LABELMAP": UNALTERED} == dict.fromkeys(EVERYTHING, UNALTERED)
    assert 'Recommended for this destination: objects = ["SEG", "SR", "KOS"].' in said.out
    (study,) = orthanc.get_json("/studies?expand")
    assert study["PatientMainDicomTags"]["PatientID"].startswith("SELFTEST-")
    assert f"study {study['MainDicomTags']['StudyInstanceUID']}." in said.out


def test_an_archive_that_keeps_everything_by_dicomweb(orthanc: OrthancServer, tmp_path: Path) -> None:
    said = selftest(tmp_path, by_web(orthanc) + '\nobjects = ["KOS", "SR", "SEG"]')
    assert (said.status, said.errors) == (0, "")
    assert said.rows == dict.fromkeys(EVERYTHING, UNALTERED)
    assert 'objects = ["SEG", "SR", "KOS"], as it is.' in said.out
    assert "could not be deleted" in said.out  # Orthanc's DICOMweb does not delete


def test_the_same_as_json(orthanc: OrthancServer, tmp_path: Path) -> None:
    said = selftest(tmp_path, by_web(orthanc), "--json")
    assert (said.status, said.errors) == (0, "")
    told = json.loads(said.out)
    assert told["recommended"] == ["SEG", "SR", "KOS"]
    assert {trial["kind"] for trial in told["trials"]} == {"CT", "SR_TEXT", *RESULTS}
    assert all(trial["kept"] and trial["found"] and trial["altered"] == [] for trial in told["trials"])
    assert told["study_instance_uid"] == orthanc.get_json("/studies?expand")[0]["MainDicomTags"]["StudyInstanceUID"]


def test_an_archive_that_coerces_the_patient_id(tmp_path: Path) -> None:
    with behaving(script=COERCES_PATIENT) as archive:
        said = selftest(tmp_path, by_dicom(archive))
    assert (said.status, said.errors) == (0, "")
    coerced = ("yes", "yes", "yes", "PatientID changed")
    assert {**said.rows, "SEG_LABELMAP": coerced} == dict.fromkeys(EVERYTHING, coerced)
    assert "It alters what it stores: PatientID.\n" in said.out
    assert "UIDs" not in said.out


def test_an_archive_that_gives_new_uids(tmp_path: Path) -> None:
    with behaving(script=COERCES_UIDS) as archive:
        said = selftest(tmp_path, by_dicom(archive))
    stored, found, _, remark = said.rows["SEG"]
    assert (stored, found) == ("yes", "no")
    assert remark == "PatientID changed; StudyInstanceUID changed; SeriesInstanceUID changed"
    assert "have the archive keep UIDs" in said.out


def test_an_archive_that_says_yes_and_keeps_no_segmentation(tmp_path: Path) -> None:
    with behaving(script=FORGETS_SEGMENTATIONS) as archive:
        said = selftest(tmp_path, by_dicom(archive))
    assert said.status == 1
    assert one_sentence(said) == "triage: pacs did not give back SEG, which its settings send it."
    assert said.rows["SEG"][:3] == ("yes", "no", "no")
    assert said.rows["SR"] == UNALTERED
    assert 'objects = ["SR", "KOS", "SC", "GSPS"].' in said.out


def test_an_archive_that_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with behaving(UnknownSopClassAccepted=False) as archive:
        said = selftest(tmp_path, by_dicom(archive) + '\nobjects = ["SEG_LABELMAP", "SR"]')
    assert said.status == 1
    assert one_sentence(said) == "triage: pacs did not store SEG_LABELMAP, which its settings send it."
    assert said.rows["SEG_LABELMAP"][:3] == ("no", "-", "-")
    assert "does not accept" in said.rows["SEG_LABELMAP"][3]
    assert said.rows["SEG"] == UNALTERED


def test_an_archive_that_lets_us_store_and_not_ask(tmp_path: Path) -> None:
    with behaving(known=False) as archive:
        said = selftest(tmp_path, by_dicom(archive))
    assert said.status == 1
    assert one_sentence(said) == "triage: pacs did not give back SEG, SR, which its settings send it."
    assert said.rows["SR"][:3] == ("yes", "?", "no")
    assert "No result object came back, so nothing can be recommended." in said.out
    (sentence,) = [line for line in said.out.splitlines() if line.startswith("It could not be queried: ")]
    assert "our AE title 'ICHTRIAGE'" in sentence


def test_an_archive_that_does_not_know_us(tmp_path: Path) -> None:
    with behaving(known=False, DicomAlwaysAllowStore=False) as archive:
        said = selftest(tmp_path, by_dicom(archive))
    assert (said.status, said.out) == (1, "")
    assert "they do not know our AE title 'ICHTRIAGE'" in one_sentence(said)


def test_an_archive_of_another_name(tmp_path: Path) -> None:
    with behaving(DicomCheckCalledAet=True) as archive:
        said = selftest(tmp_path, by_dicom(archive, "OTHER"))
    assert (said.status, said.out) == (1, "")
    assert "is not called 'OTHER'" in one_sentence(said)


@pytest.mark.parametrize(
    "destination",
    ['ae_title = "NOBODY"\nhost = "127.0.0.1"\nport = {}', 'kind = "stow"\nurl = "http://127.0.0.1:{}/dicom-web"'],
    ids=["dicom", "stow"],
)
def test_a_dead_port_is_one_sentence(destination: str, tmp_path: Path) -> None:
    port = free_port()
    said = selftest(tmp_path, destination.format(port))
    assert (said.status, said.out) == (1, "")
    sentence = one_sentence(said)
    assert "Cannot connect to " in sentence
    assert f"127.0.0.1:{port}" in sentence
    assert "is it running, and are host and port right?" in sentence


def test_what_cannot_be_asked_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    folder = f"kind = 'folder'\nfolder = '{tmp_path / 'drop'}'"
    said = selftest(tmp_path, folder)
    assert (said.status, said.out) == (78, "")
    assert one_sentence(said) == "triage: pacs is a folder: there is nobody to ask what it keeps."
    assert not (tmp_path / "drop").exists()
    said = selftest(tmp_path, folder, asked="pcas")
    assert (said.status, said.out) == (78, "")
    assert one_sentence(said) == "triage: There is no destination 'pcas'; the settings name: pacs."
