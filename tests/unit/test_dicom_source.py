"""What is taken over from the source: patient and study as sent, in whatever encoding and state they came."""

from __future__ import annotations

import copy
import io
from datetime import UTC, datetime, timedelta

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests.builders import LOOSE_SEQUENCE, NAMES, ct_series, part10, part10_damaged, part10_named
from triage.dicom.demographics import read_demographics
from triage.dicom.header import read_header
from triage.dicom.source import Source, read_dataset, read_source
from triage.dicom.verbatim import carry, text_of
from triage.dicom.volume import read_volume
from triage.domain.errors import UnreadableInstance

AT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def source_of(series: list[Dataset]) -> Source:
    contents = [part10(ds) for ds in series]
    return read_source(contents, read_volume(contents))


def value(source: Source, tag: int) -> bytes | None:
    element = source.copied.get(Tag(tag))
    return None if element is None else element.value


def code_item(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "CTHEAD", "99SITE", meaning
    return item


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_values_are_the_same_whatever_the_transfer_syntax(syntax: str) -> None:
    series = ct_series(
        3,
        transfer_syntax=syntax,
        PatientWeight="71.5",
        PregnancyStatus=4,
        ProcedureCodeSequence=DicomSequence([code_item("CT head")]),
    )
    source = source_of(series)
    assert value(source, 0x00100010) == b"SYNTHETIC^HEAD"
    assert value(source, 0x00101030) == b"71.5"
    assert value(source, 0x001021C0) == (4).to_bytes(2, "little")
    assert source.copied[Tag(0x001021C0)].VR == "US"
    sequence = source.copied[Tag(0x00081032)]
    assert sequence.VR == "SQ"
    assert sequence.value.startswith(b"\xfe\xff\x00\xe0")
    assert b"\x08\x00\x04\x01LO\x08\x00CT head " in sequence.value


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_names_leave_as_they_came(kind: str) -> None:
    character_set, name = NAMES[kind]
    contents = [part10_named(ds, kind) for ds in ct_series(3)]
    source = read_source(contents, read_volume(contents))
    assert (value(source, 0x00100010) or b"").rstrip(b" ") == name
    assert (value(source, 0x00080005) or b"").rstrip(b" ") == character_set


def test_names_inside_sequences_leave_as_they_came_from_an_implicit_source() -> None:
    item = code_item("N" * 8)
    series = ct_series(3, transfer_syntax=ImplicitVRLittleEndian, ProcedureCodeSequence=DicomSequence([item]))
    contents = [part10(ds).replace(b"N" * 8, b"\xff\xfe\x1b$B\x80\x81\x82") for ds in series]
    source = read_source(contents, read_volume(contents))
    assert b"\xff\xfe\x1b$B\x80\x81\x82" in (value(source, 0x00081032) or b"")


def test_sequences_of_undefined_length_are_taken_over() -> None:
    item = code_item("CT head ")
    item.is_undefined_length_sequence_item = True
    (ds, *rest) = ct_series(3, ProcedureCodeSequence=DicomSequence([item]))
    ds["ProcedureCodeSequence"].is_undefined_length = True
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    assert b"\xff\xff\xff\xff" in out.getvalue()
    source = source_of([ds, *rest])
    assert b"CT head" in (value(source, 0x00081032) or b"")
    assert b"\xff\xff\xff\xff" not in (value(source, 0x00081032) or b"")


def test_empty_and_missing_values_are_never_invented() -> None:
    series = ct_series(
        3, PatientBirthDate="", PatientSex=None, StudyID=None, ReferringPhysicianName=None, PatientAge=""
    )
    source = source_of(series)
    for tag in (0x00100030, 0x00100040, 0x00200010, 0x00080090):
        assert value(source, tag) == b""  # type 2: present and empty
    assert value(source, 0x00101010) == b""  # type 3, sent empty
    assert value(source, 0x00101030) is None  # type 3, not sent


def test_a_value_against_its_vr_is_taken_over() -> None:
    series = ct_series(3, PatientSex="X" * 4)
    contents = [part10(ds).replace(b"XXXX", b"?\xff\xfe!") for ds in series]
    contents = [content.replace(b"20240102", b"2O24\xff102") for content in contents]
    source = read_source(contents, read_volume(contents))
    assert value(source, 0x00100040) == b"?\xff\xfe!"
    assert value(source, 0x00080020) == b"2O24\xff102"


def test_the_series_and_the_pixels_are_not_taken_over() -> None:
    source = source_of(ct_series(3, ClinicalTrialSeriesID="S1", ClinicalTrialSubjectID="C1", ContrastBolusAgent=""))
    groups = {tag.group for tag in source.copied}
    assert groups <= {0x0008, 0x0010, 0x0012, 0x0020, 0x0032, 0x0038}
    assert value(source, 0x00120071) is None
    assert value(source, 0x00120040) == b"C1"
    for tag in (0x00080018, 0x0020000E, 0x00080060, 0x0008103E, 0x00080070, 0x00200011):
        assert value(source, tag) is None


@pytest.mark.parametrize(("method", "kept"), [("removed by a tool", True), ("", False), (None, False)])
def test_a_statement_of_deidentification_needs_its_method(method: str | None, kept: bool) -> None:
    source = source_of(ct_series(3, PatientIdentityRemoved="YES", DeidentificationMethod=method))
    assert (value(source, 0x00120062) is not None) == kept
    assert (value(source, 0x00120063) is not None) == kept


def test_every_given_instance_is_known_once_and_in_order() -> None:
    contents = [part10(ds) for ds in ct_series(4)]
    volume = read_volume(contents)
    source = read_source([*contents, contents[1]], volume)
    first, *others = (s.sop_instance_uid for s in volume.sources)
    assert list(source.sop_instance_uids) == [first, *sorted(others)]
    assert read_source(contents[::-1], volume).copied == source.copied


def test_without_a_volume_the_lowest_uid_names_the_patient() -> None:
    series = ct_series(3, SOPInstanceUID=lambda i: f"1.2.{3 - i}", PatientID=lambda i: f"SYN{i}", PixelSpacing=None)
    source = read_source([part10(ds) for ds in series], None)
    assert source.sop_instance_uids == ("1.2.1", "1.2.2", "1.2.3")
    assert text_of(source.copied[Tag("PatientID")]) == "SYN2"
    assert source.study_instance_uid == series[0].StudyInstanceUID


def test_nothing_has_no_source() -> None:
    with pytest.raises(ValueError, match="at least one source instance"):
        read_source([], None)


def test_a_slice_from_elsewhere_is_refused() -> None:
    contents = [part10(ds) for ds in ct_series(4)]
    volume = read_volume(contents)
    with pytest.raises(ValueError, match="1 source instances of the volume are not among"):
        read_source(contents[1:], volume)


@pytest.mark.parametrize(
    ("declared", "hour", "offset_hours"),
    [("+0900", 12, 9), ("-0530", 21, -5.5), (None, 3, 0), ("junk", 3, 0), ("+9900", 3, 0)],
)
def test_an_instant_is_told_in_the_zone_that_the_source_declares(
    declared: str | None, hour: int, offset_hours: float
) -> None:
    local = source_of(ct_series(3, TimezoneOffsetFromUTC=declared)).local(AT)
    assert local == AT
    assert local.hour == hour
    assert local.utcoffset() == timedelta(hours=offset_hours)


def test_a_value_of_odd_length_gets_its_padding() -> None:
    contents = [part10(ds) for ds in ct_series(3)]
    name = b"\x10\x00\x10\x00PN"
    whole, odd = name + b"\x0e\x00SYNTHETIC^HEAD", name + b"\x0d\x00SYNTHETIC^HEA"
    contents = [content.replace(whole, odd) for content in contents]
    assert value(read_source(contents, read_volume(contents)), 0x00100010) == b"SYNTHETIC^HEA "


@pytest.mark.parametrize(("number", "read"), [(2, 2), (None, 0), ("", 0), ("-3", 0)])
def test_a_series_number_is_read_or_none(number: object, read: int) -> None:
    assert source_of(ct_series(3, SeriesNumber=number)).series_number == read


@pytest.mark.parametrize(("flag", "kept"), [("01", True), ("00", False), (None, False)])
def test_lossy_compression_of_the_source_is_remembered(flag: str | None, kept: bool) -> None:
    ratio = "12.5" if flag == "01" else None
    source = source_of(ct_series(3, LossyImageCompression=flag, LossyImageCompressionRatio=ratio))
    assert {text_of(element) for element in source.lossy.values()} == ({"01", "12.5"} if kept else set())


def test_carry_takes_only_what_is_there() -> None:
    (ds,) = ct_series(1)
    read = copy.deepcopy(ds)
    read.set_original_encoding(False, True, "iso8859")
    carried = carry(read, [Tag(0x00100010), Tag(0x00104000)])
    assert [text_of(element) for element in carried.values()] == ["SYNTHETIC^HEAD"]
    assert text_of(None) == ""


@pytest.mark.parametrize("how", ["sequence", "deflated"])
def test_a_header_that_ends_in_the_middle_is_unreadable_for_everybody(how: str) -> None:
    content = part10_damaged(ct_series(1)[0], how)
    assert read_header(content).modality == "CT"
    for read in (read_dataset, read_demographics, lambda one: read_source([one], None)):
        with pytest.raises(UnreadableInstance, match="header of the instance is damaged"):
            read(content)


def test_a_sequence_that_cannot_be_converted_is_left_out_and_the_head_is_read() -> None:
    item = code_item("N" * 8)
    series = ct_series(3, transfer_syntax=ImplicitVRLittleEndian, ProcedureCodeSequence=DicomSequence([item]))
    contents = []
    for content in map(part10, series):
        start = content.index(bytes.fromhex("08003210")) + 4
        end = start + 4 + int.from_bytes(content[start : start + 4], "little")
        contents.append(content[:start] + len(LOOSE_SEQUENCE).to_bytes(4, "little") + LOOSE_SEQUENCE + content[end:])
    source = read_source(contents, read_volume(contents))
    assert value(source, 0x00081032) is None
    assert value(source, 0x00100010) == b"SYNTHETIC^HEAD"
