"""Which reading list is told of which study, and that telling again is the same message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import ct_series, part10
from tests.results import PROVENANCE
from tests.stores import SERIES, STUDY, encoded, result
from triage.dicom.source import Source, read_source
from triage.domain.encoded import Addressed, EncodedObject, ObjectKind
from triage.domain.finding import ReasonCode
from triage.domain.notice import Demographics, Notice
from triage.services.notify import Notifier, messages

FILES = [part10(ds) for ds in ct_series(2, 16, 16)]
SOURCE = read_source(FILES, None)
SUSPECTED = Notice(STUDY, SERIES, Demographics(), PROVENANCE, result(0.9))
QUIET = replace(SUSPECTED, result=result(0.1))
REFUSED = replace(SUSPECTED, result=None, reason=ReasonCode.GAP)
MADE = [Addressed(encoded("SEG", "2.25.1"), ["pacs"]), Addressed(encoded("SR", "2.25.2"), ["pacs", "ward"])]


def spell_out(notice: Notice, source: Source, identifier: str) -> EncodedObject:
    """A driver that writes down what it is told."""
    named = sorted(f"{kind}={reference.sop_instance_uid}" for kind, reference in notice.objects)
    text = f"{notice.status} {' '.join(named)}"
    return EncodedObject(ObjectKind.WEBHOOK, "", identifier, "", "", text.encode())


def told(notifier: Notifier, notice: Notice = SUSPECTED, source: Source = SOURCE) -> list[Addressed]:
    return messages({"ris": notifier}, notice, source, MADE)


def test_a_list_is_told_with_the_objects_that_were_made() -> None:
    (message,) = told(Notifier(spell_out))
    assert message.destinations == ["ris"]
    assert message.encoded.content == b"suspected SEG=2.25.1 SR=2.25.2"


@pytest.mark.parametrize(
    ("changes", "tells_of"),
    [
        ({}, [SUSPECTED]),
        ({"only_suspected": False}, [SUSPECTED, QUIET]),
        ({"undetermined": True}, [SUSPECTED, REFUSED]),
        ({"only_suspected": False, "undetermined": True}, [SUSPECTED, QUIET, REFUSED]),
    ],
)
def test_who_is_told_of_what(changes: dict[str, bool], tells_of: list[Notice]) -> None:
    notifier = Notifier(spell_out, **changes)
    assert [notice for notice in (SUSPECTED, QUIET, REFUSED) if told(notifier, notice)] == tells_of


def test_telling_again_is_the_same_message() -> None:
    turned = read_source(FILES[::-1], None)
    assert told(Notifier(spell_out))[0].encoded == told(Notifier(spell_out), source=turned)[0].encoded


def test_another_list_another_slice_or_another_outcome_is_another_message() -> None:
    notifier = Notifier(spell_out, only_suspected=False, undetermined=True)
    both = messages({"ris": notifier, "ward": notifier}, SUSPECTED, SOURCE, MADE)
    later = told(notifier, source=read_source(FILES[:1], None))
    refused = told(notifier, REFUSED)
    identifiers = [message.encoded.sop_instance_uid for message in (*both, *later, *refused)]
    assert len(set(identifiers)) == 4


def test_a_list_that_heard_of_an_earlier_revision_hears_that_it_is_no_longer_suspected() -> None:
    told_before = {"ris"}
    (message,) = messages({"ris": Notifier(spell_out)}, QUIET, SOURCE, MADE, told_before)
    assert message.encoded.content.startswith(b"not_suspected")
    (message,) = messages({"ris": Notifier(spell_out)}, REFUSED, SOURCE, MADE, told_before)
    assert message.encoded.content.startswith(b"not_analysed")
    assert messages({"ward": Notifier(spell_out)}, QUIET, SOURCE, MADE, told_before) == []


def test_a_list_that_pulls_is_sent_nothing() -> None:
    (message,) = told(Notifier(spell_out, pulled=True))
    assert message.destinations == []


def test_every_object_of_a_kind_is_named() -> None:
    pages = [Addressed(encoded("SC", f"2.25.{number}"), ["pacs"]) for number in (3, 4)]
    (message,) = messages({"ris": Notifier(spell_out)}, SUSPECTED, SOURCE, [*MADE, *pages])
    assert message.encoded.content == b"suspected SC=2.25.3 SC=2.25.4 SEG=2.25.1 SR=2.25.2"


def test_a_message_about_an_archive_names_what_goes_there() -> None:
    (message,) = told(Notifier(spell_out, after="ward"))
    assert message.encoded.content == b"suspected SR=2.25.2"


def test_nothing_is_said_of_an_archive_that_gets_nothing() -> None:
    assert told(Notifier(spell_out, after="elsewhere")) == []
