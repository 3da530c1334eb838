"""The ORU^R01, read and validated by hl7apy, which is not what wrote it."""

import hypothesis.strategies as st
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message
from hypothesis import given

from tests.notices import IDENTIFIER, PATIENT, SEG, SR, STUDY, negative, not_analysed, notice, pages, real, result
from triage.dicom import codes
from triage.domain.encoded import ObjectKind
from triage.domain.errors import ConfigurationError
from triage.domain.finding import KINDS, ReasonCode
from triage.domain.notice import Demographics, PersonName, short_identifier
from triage.net import hl7 as ours
from triage.net.hl7 import Hl7Names, encode_oru, escape

NAMES = Hl7Names("RIS", "HOSPITAL")
UNESCAPED = {"\\F\\": "|", "\\S\\": "^", "\\R\\": "~", "\\T\\": "&"}


def text(said, names=NAMES):
    return encode_oru(said, names, IDENTIFIER).content.decode("utf-8")


def segments(said, names=NAMES):
    return [line.split("|") for line in text(said, names).rstrip("\r").split("\r")]


def only(said, name):
    (found,) = [s for s in segments(said) if s[0] == name]
    return found


def observations(said):
    return [s for s in segments(said) if s[0] == "OBX"]


def unescape(value):
    for written, character in UNESCAPED.items():
        value = value.replace(written, character)
    return value.replace("\\E\\", "\\")


@pytest.mark.parametrize(
    "said",
    [notice(), negative(), not_analysed(), real(notice())],
    ids=["suspected", "negative", "not analysed", "real bundle"],
)
def test_another_library_finds_the_message_valid(said):
    message = parse_message(text(said), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)

    assert message.validate()
    assert message.name == "ORU_R01"
    assert message.msh.msh_12.value == "2.5.1"


def test_the_other_library_would_find_a_fault():
    broken = text(notice()).replace("|P|2.5.1", "||2.5.1")

    with pytest.raises(HL7apyException):
        parse_message(broken, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True).validate()


def test_another_library_reads_what_was_meant():
    order = parse_message(text(notice()), find_groups=True).oru_r01_patient_result
    patient, observation = order.oru_r01_patient.pid, order.oru_r01_order_observation

    assert unescape(patient.pid_3.cx_1.value) == PATIENT.patient_id
    assert unescape(patient.pid_3.cx_4.value) == PATIENT.issuer_of_patient_id
    assert unescape(patient.pid_5[0].xpn_1.value) == PATIENT.name.family
    assert unescape(patient.pid_5[0].xpn_2.value) == PATIENT.name.given
    assert [name.xpn_8.value for name in patient.pid_5] == ["A", "I"]
    assert patient.pid_5[1].xpn_1.value == "山田"
    assert (patient.pid_7.value, patient.pid_8.value) == ("19500102", "F")
    assert unescape(observation.obr.obr_18.value) == PATIENT.accession_number
    assert observation.oru_r01_timing_qty.tq1.tq1_9.value == "S"


def test_the_header_names_sender_receiver_and_message():
    header = segments(notice())[0]

    assert header[:6] == ["MSH", "^~\\&", "ICHTRIAGE", "", "RIS", "HOSPITAL"]
    assert header[6] == "20240102030405+0000"
    assert header[8:12] == ["ORU^R01^ORU_R01", short_identifier(IDENTIFIER), "P", "2.5.1"]
    assert header[17] == "UNICODE UTF-8"


def test_the_same_notice_is_the_same_message():
    first, again = encode_oru(notice(), NAMES, IDENTIFIER), encode_oru(notice(), NAMES, IDENTIFIER)
    other = encode_oru(notice(), NAMES, "2.25.43")

    assert first == again
    assert (first.kind, first.sop_instance_uid, first.sop_class_uid) == (ObjectKind.ORU, IDENTIFIER, "")
    assert first.content.split(b"|")[9] != other.content.split(b"|")[9]
    assert len(first.content.split(b"|")[9]) == 20


def test_the_order_is_preliminary_and_carries_the_accession_number():
    request = only(notice(), "OBR")

    assert request[2:5] == ["PLACER1", "ACC\\E\\7", "303653007^Computed tomography of head^SCT"]
    assert request[7] == "20240102030405+0100"
    assert request[16] == "^House^G"
    assert request[18:21] == ["ACC\\E\\7", "RP1", "SPS1"]
    assert (request[22], request[24], request[25]) == ("20240102030405+0000", "CT", "P")


def test_a_filler_number_of_the_order_comes_before_the_accession_number():
    ordered = Demographics(accession_number="ACC", filler_order_number="FILLER")

    assert only(notice(demographics=ordered), "OBR")[3] == "FILLER"
    assert only(notice(demographics=ordered), "ORC")[3] == "FILLER"
    assert only(notice(demographics=ordered), "OBR")[18] == "ACC"


@pytest.mark.parametrize(
    ("said", "finding", "flag", "status", "priority"),
    [
        (notice(), "52101004^Present^SCT", "AA", "P", "S"),
        (notice(result=result(0.6)), "52101004^Present^SCT", "A", "P", "S"),
        (negative(), "272519000^Absent^SCT", "N", "P", "R"),
        (not_analysed(), "373068000^Undetermined^SCT", "", "X", "R"),
    ],
    ids=["emergent", "urgent", "negative", "not analysed"],
)
def test_the_finding_its_flag_and_the_priority(said, finding, flag, status, priority):
    first = observations(said)[0]

    assert first[1:6] == ["1", "CWE", "1386000^Intracranial hemorrhage^SCT", "1", finding]
    assert (first[8], first[11]) == (flag, status)
    assert only(said, "TQ1")[9] == priority
    assert only(said, "OBR")[27] == f"^^^^^{priority}"


def test_every_outlined_subtype_has_its_probability_and_volume():
    values = [(o[3].split("^")[0], o[4], o[5], o[6] if len(o) > 6 else "") for o in observations(notice())]

    assert values[1:9] == [
        ("122157", "1", "0.9700", ""),
        ("118565006", "1", "15.00", "mL^milliliter^UCUM"),
        ("SUBTYPE", "2", "IPH^Intraparenchymal hemorrhage^99ICHTRIAGE", ""),
        ("122157", "2", "0.9000", ""),
        ("118565006", "2", "7.50", "mL^milliliter^UCUM"),
        ("SUBTYPE", "3", "SAH^Subarachnoid hemorrhage^99ICHTRIAGE", ""),
        ("122157", "3", "0.9000", ""),
        ("118565006", "3", "7.50", "mL^milliliter^UCUM"),
    ]


def test_a_negative_measures_nothing():
    assert not [o for o in observations(negative()) if o[3].startswith("118565006")]


def test_text_says_what_the_result_is_for():
    lines = [o[5] for o in observations(notice()) if o[2] == "TX"]
    of_a_real_bundle = [o[5] for o in observations(real(notice())) if o[2] == "TX"]

    assert lines[0] == "Intracranial haemorrhage suspected: probability 0.970."
    assert lines[1].startswith("Notification only")
    assert lines[2].startswith("DEMONSTRATION")
    assert lines[:2] == of_a_real_bundle


def test_study_and_result_objects_can_be_found():
    found = {o[3].split("^")[0]: o[5] for o in observations(notice()) if o[2] == "ST"}

    assert (found["113014"], found["SR"], found["SEG"]) == (STUDY, SR, SEG)
    assert found["BUNDLE"] == f"demo-heads 1.2, sha256 {notice().provenance.bundle_digest}"


def test_objects_of_one_kind_are_told_apart_by_their_sub_identifier():
    named = [o[3:6] for o in observations(notice(objects=pages())) if o[3].startswith("S")]
    found = [(name.split("^")[0], number, uid) for name, number, uid in named if uid.startswith("2.25.")]

    assert found == [("SC", "1", "2.25.1010"), ("SC", "2", "2.25.1009"), ("SEG", "", SEG), ("SR", "", SR)]


def test_no_flag_never_reads_as_negative():
    said = not_analysed()
    values = {o[3].split("^")[0]: o[5] for o in observations(said)}

    assert values["REASON"] == ReasonCode.GAP
    assert "this says nothing about the presence of haemorrhage" in text(said)
    assert "Absent" not in text(said)


def test_observations_are_numbered():
    assert [o[1] for o in observations(notice())] == [str(n) for n in range(1, len(observations(notice())) + 1)]


@pytest.mark.parametrize(
    ("date", "time", "zone", "written"),
    [
        ("20240102", "030405", "", "20240102030405"),
        ("2024.01.02", "03:04:05", "", "20240102030405"),
        ("20240102", "0304", "-0500", "202401020304-0500"),
        ("20240102", "", "+0100", "20240102"),
        ("tomorrow", "030405", "", ""),
    ],
)
def test_times_as_scanners_write_them(date, time, zone, written):
    patient = Demographics(study_date=date, study_time=time, utc_offset=zone)

    request = only(notice(demographics=patient), "OBR")
    assert request[7] == written


def test_nothing_known_of_the_patient_is_still_a_valid_message():
    said = notice(demographics=Demographics(sex="X"))

    assert only(said, "PID") == ["PID", "1"]
    assert parse_message(text(said), find_groups=True).msh.msh_9.value == "ORU^R01^ORU_R01"


@given(st.text())
def test_text_survives_and_never_breaks_the_message(value):
    said = notice(demographics=Demographics(patient_id=value, name=PersonName(family=value)))
    written = escape(value)

    assert not set(written) & set("|^~&\r\n\x0b\x1c")
    assert len(segments(said)) == len(segments(notice()))
    if value.isprintable():
        assert unescape(written) == value


def test_a_line_feed_and_an_end_of_block_are_spelt_out():
    assert escape("a\r\n\x1c\x0b|") == "a\\X0D\\\\X0A\\\\X1C\\\\X0B\\\\F\\"


def test_codes_are_those_of_the_structured_report():
    """Rooms do not import each other, so the codes stand in both; they must not drift apart."""

    def named(code):
        return (code.value, code.meaning, code.scheme)

    assert named(codes.INTRACRANIAL_HEMORRHAGE) == ours.FINDING
    assert (named(codes.PRESENT), named(codes.ABSENT)) == (ours.PRESENT, ours.ABSENT)
    assert (named(codes.PROBABILITY), named(codes.VOLUME)) == (ours.PROBABILITY, ours.VOLUME)
    assert named(codes.SUBTYPE) == ours.SUBTYPE
    assert Hl7Names().exam_code == named(codes.CT_OF_HEAD)
    for subtype in KINDS:
        said = codes.SUBTYPE_CODES[subtype].subtype
        assert named(said) == (str(subtype), ours.SUBTYPE_NAMES[subtype], ours.SCHEME)


def test_an_exam_code_must_be_whole():
    with pytest.raises(ConfigurationError, match="exam code"):
        Hl7Names(exam_code=("24725-4", "", "LN"))
