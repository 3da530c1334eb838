"""``docs/conformance.md`` says what the code does: its tables are made from the code and from encoded objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import get_args

import pytest
from pydantic import BaseModel
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from tests import notices
from tests.builders import ct_series, part10
from tests.conformance import BEHAVIOUR, DOCUMENT, FAMILIES, GENERATED, attribute_tables, table
from tests.every_kind import not_analysed, samples
from tests.notices import negative, notice
from tests.results import dataset
from triage.dicom.codes import PRIVATE_SCHEME, all_codes
from triage.domain.encoded import MESSAGE_KINDS, ObjectKind
from triage.domain.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from triage.net import commitment, contexts, incoming, scp, status, ups_scp
from triage.net.hl7 import STUDY, Hl7Names, encode_oru
from triage.net.status import Verdict, classify
from triage.services import circuit
from triage.services.commit import ASK
from triage.settings import DestinationSettings, ListenerSettings, NotifierSettings
from triage.settings.audit import AuditSettings

TEXT = DOCUMENT.read_text("utf-8")
HEAD = ("attribute", "tag", "VR", "presence")


def block(mark: str, end: str = "<!-- end -->") -> str:
    """What stands between a mark of the document and its end."""
    assert TEXT.count(f"<!-- {mark} -->") == 1, f"the document has not one place for {mark}"
    return TEXT.split(f"<!-- {mark} -->")[1].split(end)[0].strip()


def rows(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    lines = text.strip().split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def status_tables(name: str) -> list[list[list[str]]]:
    """Every table under a mark ``status: NAME``."""
    return [rows(part) for part in TEXT.split(f"<!-- status: {name} -->")[1:]]


def named_statuses(name: str) -> set[int]:
    return {int(row[0].strip("`"), 16) for found in status_tables(name) for row in found if "0x" in row[0]}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_table_is_that_of_the_code(name: str) -> None:
    assert block(f"generated: {name}") == GENERATED[name](), "run python -m tests.conformance"


def test_nothing_else_is_called_generated() -> None:
    assert re.findall(r"<!-- generated: (.*?) -->", TEXT) == list(dict.fromkeys(GENERATED_ORDER))


GENERATED_ORDER = sorted(GENERATED, key=lambda name: TEXT.index(f"<!-- generated: {name} -->"))


@pytest.mark.parametrize("name", ["common", *FAMILIES, "UPS", "IAN"])
def test_an_attribute_table_names_what_objects_really_have(name: str) -> None:
    found = attribute_tables()[name]
    written = rows(block(f"attributes: {name}"))
    assert [row[:4] for row in written] == [list(a) for a in found], "write this:\n" + table(HEAD, found)
    assert all(len(row) == 5 and row[4] for row in written), "every attribute says where its value comes from"


@pytest.mark.parametrize("name", [*FAMILIES])
def test_values_said_to_be_fixed_are_those_of_every_object(name: str) -> None:
    """A value that is one quoted word, and nothing but that, stands in every object that has the attribute."""
    fixed = {
        row[0]: row[4].strip("`") for row in rows(block(f"attributes: {name}")) if re.fullmatch(r"`[^`]+`", row[4])
    }
    opened = [dataset(one) for kind in FAMILIES[name] for one in samples()[kind]]
    for keyword, value in fixed.items():
        values = {_shown(ds[keyword].value) for ds in opened if keyword in ds}
        assert values == {value}, keyword
    assert fixed or name == "KOS"


def _shown(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def test_no_object_has_a_private_attribute() -> None:
    for objects in samples().values():
        for one in objects:
            assert not [element.tag for element in dataset(one).iterall() if element.tag.is_private]


_GROUPS = (0x0008, 0x0010, 0x0012, 0x0032, 0x0038, 0x0040)


def test_what_is_copied_is_listed() -> None:
    """A source with every attribute of the dictionary that may describe patient, study or visit."""
    source = ct_series(1)[0]
    for tag, (vr, vm, _, retired, _) in DicomDictionary.items():
        if tag >> 16 in _GROUPS and len(vr) == 2 and not retired and tag not in source:
            source.add_new(tag, vr, _value(vr, vm))
    source.DeidentificationMethod = "SYNTHETIC"
    out = {element.tag for element in dataset(not_analysed([part10(source)]))}
    always = {Tag(int(a.tag[1:5] + a.tag[6:10], 16)) for name in ("common", "SR") for a in attribute_tables()[name]}
    copied = {keyword_for_tag(tag) for tag in out - always if tag.group not in (0x0010, 0x0012)}
    assert copied == set(re.findall(r"\w+", block("copied", "<!-- end of copied -->")))
    patient = {tag for tag in source.keys() if tag.group in (0x0010, 0x0012)}  # noqa: SIM118
    left = {keyword_for_tag(tag) for tag in patient - out}
    assert left == set(re.findall(r"\w+", block("left out", "<!-- end of left out -->")))


def _value(vr: str, vm: str) -> object:
    if vr == "SQ":
        return [Dataset()]
    plain = {"DA": "20240102", "TM": "0102", "DT": "20240102", "UI": "1.2", "AS": "050Y", "IS": "1", "DS": "1"}
    value = 1 if vr in ("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT") else plain.get(vr, "X")
    count = int(vm[0]) if vm[0].isdigit() else 1
    return b"\0\0" if vr in ("OB", "OW", "UN") else value if count == 1 else [value] * count


def test_the_statuses_of_the_storage_scp_are_those_it_answers() -> None:
    answers = {status.SUCCESS, status.OUT_OF_RESOURCES, status.CANNOT_UNDERSTAND, status.UNEXPECTED_FAILURE}
    assert named_statuses("storage SCP") == answers


def test_the_statuses_of_the_worklist_are_those_it_answers() -> None:
    names = ("PENDING", "SUCCESS", "CANCELLED", "OUT_OF_RESOURCES", "PROCESSING_FAILURE", "UNABLE_TO_PROCESS")
    answers = {getattr(ups_scp, name) for name in (*names, "UNRECOGNIZED_OPERATION", "NO_SUCH_STEP")}
    assert named_statuses("UPS SCP") == answers


def test_the_statuses_of_our_answer_to_a_report_are_those_of_the_code() -> None:
    names = ("SUCCESS", "PROCESSING_FAILURE", "NO_SUCH_EVENT_TYPE", "INVALID_ARGUMENT")
    assert named_statuses("commitment report") == {getattr(commitment, name) for name in names}


COMMITMENT: Mapping[Verdict, str] = {
    Verdict.ACCEPTED: "the report is waited for",
    Verdict.LATER: "asked by C-FIND later",
    Verdict.REFUSED: "asked by C-FIND at once",
}


@pytest.mark.parametrize(("place", "behaviour"), [(0, COMMITMENT), (1, BEHAVIOUR)], ids=["commitment", "creating"])
def test_what_a_status_leads_to_is_what_the_code_does(place: int, behaviour: Mapping[Verdict, str]) -> None:
    found = [row for row in status_tables("SCU")[place] if "0x" in row[0]]
    assert len(found) > 4
    for number, _, said in found:
        assert said == behaviour[classify(int(number.strip("`"), 16))], number


def test_what_a_status_of_a_query_leads_to_is_what_the_code_does() -> None:
    (found,) = status_tables("query")
    final = {
        Verdict.LATER: "asked again later",
        Verdict.REFUSED: "refused; asked again later",
        Verdict.ACCEPTED: "end of the answers",
    }
    assert {"read on"} == {said for number, _, said in found if number in ("`0xFF00`", "`0xFF01`")}
    for number, _, said in found[2:-1]:
        assert said == final[classify(int(number.strip("`"), 16))], number
    assert f"{ASK.max_attempts} attempts that were refused or had no answer\nend the asking" in TEXT
    assert f"{ASK.max_attempts} attempts were refused or had no answer" in TEXT


def test_the_fields_of_the_message_are_those_it_has() -> None:
    used: dict[str, set[int]] = {}
    for said in (notice(), negative(), notices.not_analysed()):
        for segment in encode_oru(said, Hl7Names("RIS", "HOSPITAL", "ICHTRIAGE", "CT"), "2.25.1").content.split(b"\r"):
            name, *fields = segment.decode().split("|")
            first = 2 if name == "MSH" else 1  # MSH-1 is the delimiter itself
            used.setdefault(name, set()).update(number for number, field in enumerate(fields, first) if field)
    written: dict[str, set[int]] = {"": set()}
    for name, numbers, _ in rows(block("HL7 fields")):
        written.setdefault(name, set()).update(map(int, numbers.split(", ")))
    assert written == used


def test_rejections_are_those_of_the_listener() -> None:
    section = TEXT.split("**Acceptance.**")[1].split("**Our own association rejected.**")[0]
    written = {tuple(int(cell[0]) for cell in row[:3]) for row in rows(section[section.index("| result") :])}
    assert written == {scp.CALLER_NOT_RECOGNISED, scp.CALLED_NOT_RECOGNISED, scp.LIMIT_EXCEEDED}


def test_the_parameters_of_associations_are_those_of_the_code() -> None:
    said = {row[0]: row[1] for row in rows(TEXT.split("looked at.\n\n")[1])}
    options = incoming.ListenerOptions()
    assert said["Implementation Class UID"] == f"`{IMPLEMENTATION_CLASS_UID}`"
    assert said["Implementation Version Name"] == f"`{IMPLEMENTATION_VERSION_NAME}`"
    assert said["maximum PDU received"] == f"{contexts.MAXIMUM_PDU_BYTES} bytes"
    assert said["associations accepted at the same time"].endswith(f"{options.max_associations} unless set")
    assert said["a peer that asks for no association is left after"] == f"{options.request_timeout_seconds:g} s"
    assert said["an association on which nothing arrives is ended after"] == f"{options.idle_timeout_seconds:g} s"


def test_a_destination_that_is_down_is_left_alone_for_as_long_as_it_says() -> None:
    said = re.sub(r"\s+", " ", TEXT)
    assert circuit.TRIES == 3
    times = f"{circuit.COOLDOWN.base_seconds:g} s to {circuit.COOLDOWN.cap_seconds:g} s"
    assert f"After three tries in a row without any answer a destination is left alone for {times}" in said


def test_every_kind_and_message_is_described() -> None:
    for kind in ObjectKind:
        assert f"`{kind}`" in TEXT
    assert set(samples()) == set(ObjectKind) - MESSAGE_KINDS == {k for kinds in FAMILIES.values() for k in kinds}


def test_every_setting_it_names_exists() -> None:
    groups: dict[str, type[BaseModel]] = {"listener": ListenerSettings, "audit": AuditSettings}
    groups |= {"destinations": DestinationSettings, "notify": NotifierSettings}
    for group, key in re.findall(r"`(listener|audit|destinations|notify)\.(\w+)`", TEXT):
        assert key in groups[group].model_fields, f"{group}.{key}"


def test_every_way_out_is_described() -> None:
    ways = (DestinationSettings, NotifierSettings)
    kinds = [kind for way in ways for kind in get_args(way.model_fields["kind"].annotation)]
    words = {"dicom": "C-STORE", "stow": "STOW-RS", "folder": "`folder`", "hl7": "ORU^R01", "ups": "Push SCU"}
    words |= {"pull": "`pull`", "ian": "Instance Availability Notification SCU"}
    words |= {"webhook": "webhook", "email": "e-mail by SMTP"}
    assert all(words[kind] in TEXT for kind in kinds)


def test_codes_it_writes_out_are_in_the_table() -> None:
    outside_trees = re.sub(r"```text.*?```", "", TEXT, flags=re.DOTALL)
    known = {(c.value, c.scheme): c.meaning for c in all_codes()} | {(STUDY[0], STUDY[2]): STUDY[1]}
    written = re.findall(r'\((\w+), (\w+)(?:, "([^"]*)")?\)', outside_trees)
    assert len(written) > 10
    for value, scheme, meaning in written:
        assert meaning in ("", known[value, scheme])
    assert f"`{PRIVATE_SCHEME}`" in TEXT


def test_attributes_it_writes_out_exist() -> None:
    for row in (row for name in ("common", *FAMILIES, "UPS", "IAN") for row in rows(block(f"attributes: {name}"))):
        assert tag_for_keyword(row[0]) is not None
        assert dictionary_VR(tag_for_keyword(row[0]) or 0)[:2] == row[2]
