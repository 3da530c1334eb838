"""Matching of C-FIND keys, one kind at a time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from triage.net.matching import matches


def ds(**values):
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


CANDIDATE = ds(
    PatientName="Doe^Jane=山田^太郎",
    PatientID="P1.x",
    StudyDate="20240102",
    StudyTime="030405",
    InstanceNumber=3,
    ImageType=["ORIGINAL", "PRIMARY"],
    StudyInstanceUID="1.2.3",
    ScheduledProcedureStepStartDateTime="20240102030405+0000",
    ReferencedRequestSequence=[ds(AccessionNumber="A1"), ds(AccessionNumber="A2", StudyID="")],
)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, True),
        ({"PatientID": ""}, True),
        ({"PatientID": "*"}, True),
        ({"Manufacturer": ""}, True),
        ({"Manufacturer": "*"}, True),
        ({"Manufacturer": "A"}, False),
        ({"PatientID": "P1.x"}, True),
        ({"PatientID": "p1.x"}, False),
        ({"PatientID": "P1?x"}, True),
        ({"PatientID": "P1xx"}, False),
        ({"PatientID": "P*"}, True),
        ({"PatientName": "DOE^J*"}, True),
        ({"PatientName": "doe^jane"}, True),
        ({"PatientName": "山田*"}, True),
        ({"PatientName": "Doe"}, False),
        ({"InstanceNumber": 3}, True),
        ({"InstanceNumber": 4}, False),
        ({"ImageType": "PRIMARY"}, True),
        ({"StudyInstanceUID": "1.2.3"}, True),
        ({"StudyInstanceUID": ["9.9", "1.2.3"]}, True),
        ({"StudyInstanceUID": ["9.9", "1.2"]}, False),
        ({"StudyDate": "20240102"}, True),
        ({"StudyDate": "20240101-20240103"}, True),
        ({"StudyDate": "20240103-"}, False),
        ({"StudyDate": "-20240102"}, True),
        ({"StudyDate": "-20240101"}, False),
        ({"StudyTime": "03-04"}, True),
        ({"StudyTime": "0304-0304"}, True),
        ({"StudyTime": "04-"}, False),
        ({"ReferencedRequestSequence": []}, True),
        ({"ReferencedRequestSequence": [ds(AccessionNumber="")]}, True),
        ({"ReferencedRequestSequence": [ds(AccessionNumber="A2")]}, True),
        ({"ReferencedRequestSequence": [ds(AccessionNumber="A3")]}, False),
        ({"ReferencedImageSequence": [ds(ReferencedSOPInstanceUID="1.2")]}, False),
        ({"PatientID": "P*", "StudyDate": "20250101"}, False),
    ],
    ids=str,
)
def test_keys(keys, expected):
    assert matches(ds(**keys), CANDIDATE) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("20240102030405+0000", True),
        ("20240102040405+0100", True),
        ("20240102", None),
        ("20240102030405+0000-", True),
        ("-20240102030405+0000", True),
        ("-20240102030404+0000", False),
        ("20240102030406+0000-", False),
        ("20240102+0000-20240102+0000", True),
        ("202401020304+0000-202401020304+0000", True),
        ("2024010203+0000-2024010203+0000", True),
        ("2024+0000-2024+0000", True),
        ("20240102040000+0100-20240102040500+0100", True),
        ("20240102030405.000000+0000", True),
        ("yesterday", False),
        ("20241399+0000-", False),
    ],
)
def test_instants_in_any_zone_and_precision(wanted, expected):
    key = Dataset()
    key.add_new(0x00404005, "DT", "")
    key[0x00404005]._value = wanted  # also what is no date and time, as a peer may send it

    if expected is None:
        assert matches(key, CANDIDATE) in (True, False)  # by the zone of this machine
    else:
        assert matches(key, CANDIDATE) is expected


@pytest.mark.parametrize(("zone", "expected"), [("+0000", True), ("-1000", False)])
def test_an_instant_without_a_zone_is_in_that_of_the_asker(zone, expected):
    keys = ds(TimezoneOffsetFromUTC=zone, ScheduledProcedureStepStartDateTime="20240102030400-20240102030500")

    assert matches(keys, CANDIDATE) is expected


@given(st.text(alphabet=st.characters(blacklist_characters="\\*?", blacklist_categories=("Cs", "Cc")), max_size=40))
def test_a_value_without_wildcards_matches_itself_and_nothing_else(value):
    stripped = value.strip()
    other = ds(ProcedureStepLabel=stripped + "x")

    assert matches(ds(ProcedureStepLabel=stripped), ds(ProcedureStepLabel=stripped))
    assert matches(ds(ProcedureStepLabel=stripped), other) is (stripped == "")


@pytest.mark.parametrize("stars", [60, 1000])
@pytest.mark.parametrize("text", ["a" * 64, "a" * 63 + "b"], ids=["differs", "ends alike"])
def test_a_key_of_many_stars_is_answered_at_once(stars, text):
    key = ds(ImageComments="*a" * stars + "*b")

    assert matches(key, ds(ImageComments=text)) is (stars < len(text) and text.endswith("b"))


@given(st.text(alphabet="ab?*", max_size=8), st.text(alphabet="ab\n?", min_size=1, max_size=8))
def test_wildcards_mean_what_the_same_regular_expression_means(wanted, value):
    means = "".join({"*": ".*", "?": "."}.get(character, character) for character in wanted)
    expected = wanted == "" or re.fullmatch(means, value, re.DOTALL) is not None

    assert matches(ds(WorklistLabel=wanted), ds(WorklistLabel=value)) is expected
