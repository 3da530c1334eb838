"""Demographics of real-life instances: several scripts, missing and wrong character sets, orders in odd places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.builders import NAMES, ct_series, part10, part10_named
from triage.dicom.demographics import read_demographics
from triage.domain.notice import Demographics, PersonName

SMALL = {"rows": 8, "columns": 8}


def read(**overrides):
    (ds,) = ct_series(1, **SMALL, **overrides)
    return read_demographics(part10(ds))


def request(**values):
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def test_what_a_scanner_writes():
    found = read(
        PatientID="P1",
        IssuerOfPatientID="HOSPITAL",
        PatientName="Doe^Jane^M^Dr^III",
        PatientBirthDate="19500102",
        PatientSex="F",
        ReferringPhysicianName="House^G",
        TimezoneOffsetFromUTC="+0100",
        AdmissionID="A1",
    )

    assert found == Demographics(
        patient_id="P1",
        issuer_of_patient_id="HOSPITAL",
        name=PersonName("Doe", "Jane", "M", "Dr", "III"),
        birth_date="19500102",
        sex="F",
        admission_id="A1",
        accession_number="SYN0001",
        study_id="1",
        study_date="20240102",
        study_time="030405",
        utc_offset="+0100",
        study_description="CT HEAD",
        referring_physician=PersonName("House", "G"),
        body_part="HEAD",
    )


@pytest.mark.parametrize(
    ("kind", "alphabetic", "ideographic"),
    [
        ("ir87", PersonName("Yamada", "Tarou"), PersonName("山田", "太郎")),
        ("utf8", PersonName("SYNTHETIC", "Größe 頭部"), PersonName()),
        ("undeclared", PersonName("SYNTHETIC", "Größe"), PersonName()),
    ],
)
def test_names_in_their_character_set(kind, alphabetic, ideographic):
    found = read_demographics(part10_named(ct_series(1, **SMALL)[0], kind))

    assert (found.name, found.name_ideographic) == (alphabetic, ideographic)


def test_a_character_set_that_does_not_exist_costs_letters_not_the_message():
    found = read_demographics(part10_named(ct_series(1, **SMALL)[0], "broken"))

    assert found.name.family == "SYNTHETIC"
    assert found.name.given.isprintable()
    assert found.accession_number == "SYN0001"


@pytest.mark.parametrize(
    "name", [b"Gr\xf6\xdfe", b"SYNTHETIC", b"Yamada=\x1b$B;3ED\x1b(B"], ids=["latin", "ascii", "escapes"]
)
@pytest.mark.parametrize(
    "declared", ["undefined", "idna", "punycode", "base64", "zlib", "rot13", "hex", "unicode_escape"]
)
def test_a_codec_of_python_is_no_character_set(declared, name):
    """A script that prints an unset variable writes ``undefined``, and Python has a codec of that name."""
    content = part10(ct_series(1, **SMALL, SpecificCharacterSet="ISO_IR 100", PatientName="N" * 20)[0])
    value = declared.encode().ljust(len(declared) + len(declared) % 2)
    content = content.replace(
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
    )

    found = read_demographics(content.replace(b"N" * 20, name.ljust(20)))
    assert found.name.family.isprintable()
    assert found.name.family[:2] == name[:2].decode()
    assert found.accession_number == "SYN0001"


def test_a_set_that_python_alone_spells_so_is_understood():
    content = part10(ct_series(1, **SMALL, SpecificCharacterSet="ISO_IR 100", PatientName="N" * 6)[0])
    content = content.replace(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", b"\x08\x00\x05\x00CS\x06\x00UTF-8 ")

    assert read_demographics(content.replace(b"N" * 6, "Größ".encode())).name.family == "Größ"


def test_bytes_that_the_declared_set_cannot_decode_are_replaced():
    content = part10_named(ct_series(1, **SMALL)[0], "utf8").replace("ö".encode(), b"\xff\xfe")

    found = read_demographics(content)
    assert "\N{REPLACEMENT CHARACTER}" in found.name.given
    assert found.patient_id == "SYNTHETIC"


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_in_every_encoding(syntax):
    found = read(
        transfer_syntax=syntax, PatientName="Doe^Jane", RequestAttributesSequence=[request(RequestedProcedureID="R")]
    )

    assert (found.name, found.requested_procedure_id) == (PersonName("Doe", "Jane"), "R")


def test_orders_stand_in_the_image_or_in_its_request():
    inside = read(
        RequestAttributesSequence=[
            request(
                RequestedProcedureID="RP1",
                ScheduledProcedureStepID="SPS1",
                PlacerOrderNumberImagingServiceRequest="PL1",
                FillerOrderNumberImagingServiceRequest="FI1",
            ),
            request(RequestedProcedureID="RP2"),
        ]
    )
    outside = read(RequestedProcedureID="TOP", RequestAttributesSequence=[request(RequestedProcedureID="RP1")])

    assert (inside.requested_procedure_id, inside.scheduled_step_id) == ("RP1", "SPS1")
    assert (inside.placer_order_number, inside.filler_order_number) == ("PL1", "FI1")
    assert outside.requested_procedure_id == "TOP"


def test_what_is_missing_or_empty_is_empty():
    gone = ("PatientID", "PatientName", "StudyDate", "AccessionNumber", "BodyPartExamined", "SpecificCharacterSet")

    found = read(**dict.fromkeys(gone, None), PatientSex="")
    assert (found.patient_id, found.name, found.study_date, found.sex) == ("", PersonName(), "", "")
    assert (found.accession_number, found.body_part) == ("", "")


def test_control_characters_do_not_come_through():
    found = read_demographics(
        part10(ct_series(1, **SMALL, PatientID="PATIENTXX")[0]).replace(b"PATIENTXX", b"PAT\x0b\x1c\rENT")
    )

    assert found.patient_id == "PATENT"


@pytest.mark.parametrize("kind", NAMES)
@given(noise=st.binary(min_size=20, max_size=20))
def test_no_bytes_in_a_name_are_an_error(kind, noise):
    content = part10_named(BUILT, kind)
    name = NAMES[kind][1]
    spoilt = (noise * 3)[: len(name)]

    found = read_demographics(content.replace(name, spoilt))
    assert found.accession_number == "SYN0001"
    assert found.name.family.isprintable()


(BUILT,) = ct_series(1, **SMALL)
