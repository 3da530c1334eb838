"""The code table against the dictionaries of pydicom, and what no dictionary could confirm."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts

from triage.dicom import codes
from triage.dicom.codes import ACTIONABLE, PRIVATE_SCHEME, SUBTYPE_CODES, Code, all_codes, private_scheme
from triage.domain.finding import KINDS, SUBTYPES, Urgency

# Not in pydicom's dictionaries; from the DICOM or UCUM tables themselves.
ELSEWHERE = {
    ("SCT", "274100004"),
    ("SCT", "21454007"),
    ("SCT", "35486000"),
    ("UCUM", "ml"),
}


def known() -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for scheme, by_keyword in concepts.items():
        for by_code in by_keyword.values():
            for value, (meaning, _) in by_code.items():
                found.setdefault((scheme, value), set()).add(meaning)
    return found


def test_what_is_unverified_is_listed() -> None:
    assert sorted(c.value for c in all_codes() if c.unverified) == ["EDH", "IVH"]


def test_an_unverified_code_is_never_public() -> None:
    assert {c.scheme for c in all_codes() if c.unverified} == {PRIVATE_SCHEME}


def test_every_public_code_is_in_a_dictionary() -> None:
    public = {(c.scheme, c.value) for c in all_codes() if c.scheme != PRIVATE_SCHEME}
    assert public - set(known()) == ELSEWHERE


@pytest.mark.parametrize("code", [c for c in all_codes() if (c.scheme, c.value) in known()], ids=lambda c: c.value)
def test_a_meaning_is_that_of_the_dictionary(code: Code) -> None:
    # 126030 has a longer name in later editions; 1386000 carries a wrong name in one context group.
    meanings = {m.removesuffix(" (disorder)").removesuffix(" (procedure)") for m in known()[code.scheme, code.value]}
    meanings = {m.removesuffix(" (qualifier value)").lower() for m in meanings}
    own = {"sum of segmented voxel volumes": "sum of segmented voxel method for volume"}
    assert own.get(code.meaning.lower(), code.meaning.lower()) in meanings


@pytest.mark.parametrize("subtype", KINDS)
def test_a_subtype_without_disorder_is_told_by_its_site_and_private_code(subtype: object) -> None:
    names = SUBTYPE_CODES[subtype]  # type: ignore[index]
    assert names.subtype.scheme == PRIVATE_SCHEME
    assert names.subtype.value == subtype
    assert names.label.startswith(str(subtype))
    assert (names.disorder is None) == names.subtype.unverified
    assert names.site.scheme == "SCT"


def test_subtypes_are_told_apart_by_everything() -> None:
    assert set(SUBTYPE_CODES) == set(KINDS)
    for attribute in ("label", "subtype", "colour"):
        assert len({getattr(names, attribute) for names in SUBTYPE_CODES.values()}) == len(KINDS)
    assert len({SUBTYPE_CODES[subtype].site for subtype in SUBTYPES}) == len(SUBTYPES)


def test_only_a_suspicion_is_actionable() -> None:
    assert set(ACTIONABLE) == set(Urgency) - {Urgency.NONE}
    assert [ACTIONABLE[u].value for u in (Urgency.EMERGENT, Urgency.URGENT)] == ["RID49480", "RID49481"]


def test_the_private_scheme_is_declared() -> None:
    item = private_scheme()
    assert item.CodingSchemeDesignator == PRIVATE_SCHEME
    assert item.CodingSchemeUID.startswith("2.25.")
    assert item.CodingSchemeResponsibleOrganization == "ich-triage"


def test_a_code_becomes_a_concept() -> None:
    concept = codes.PRESENT.concept()
    assert (concept.value, concept.scheme_designator, concept.meaning) == ("52101004", "SCT", "Present")


@pytest.mark.parametrize(
    "wrong",
    [
        ("", "SCT", "x"),
        ("1" * 17, "SCT", "x"),
        ("1", "", "x"),
        ("1", "SCT", ""),
        ("1", "SCT", "é"),
        ("1", "S", "x" * 65),
    ],
)
def test_a_code_that_no_object_can_hold_is_refused(wrong: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match="code"):
        Code(*wrong)
