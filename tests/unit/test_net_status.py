import pytest

from triage.net.status import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    SUCCESS,
    UNEXPECTED_FAILURE,
    Verdict,
    classify,
    meaning,
)


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0x0107, 0x0111, 0x0116, 0xB000, 0xB006, 0xB007, 0xB123])
def test_success_and_every_warning_mean_that_the_archive_has_it(status):
    assert classify(status) is Verdict.ACCEPTED


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0210])
def test_a_busy_archive_is_asked_again(status):
    assert classify(status) is Verdict.LATER


@pytest.mark.parametrize("status", [0xFF00, 0xFE00, 0x7777, 0xA123])
def test_a_status_without_meaning_is_unknown_and_asked_again(status):
    assert classify(status) is Verdict.LATER


@pytest.mark.parametrize("status", [0xA800, 0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0117, 0x0122, 0x0124, 0x0211, 0x0212])
def test_what_would_be_refused_again_waits_for_a_person(status):
    assert classify(status) is Verdict.REFUSED


def test_every_possible_status_has_a_verdict_and_words():
    for status in range(0x10000):
        assert isinstance(classify(status), Verdict)
        assert f"(0x{status:04X})" in meaning(status)


def test_only_the_defined_values_and_ranges_are_success():
    accepted = [status for status in range(0x10000) if classify(status) is Verdict.ACCEPTED]

    assert accepted[:5] == [0x0000, 0x0001, 0x0107, 0x0111, 0x0116]
    assert accepted[5:] == list(range(0xB000, 0xC000))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0x0000, "success"),
        (0xA700, "out of resources"),
        (0xA7AB, "out of resources"),
        (0xA901, "does not match its SOP class"),
        (0xB00F, "warning"),
        (0xC123, "cannot understand"),
        (0x0124, "not authorized"),
        (0x1234, "without a meaning"),
        (0x0B01, "without a meaning"),
        (0x0C01, "without a meaning"),
    ],
)
def test_a_status_is_said_in_words(status, words):
    assert words in meaning(status)


def test_what_our_own_listener_answers_means_the_same_to_our_own_sender():
    assert classify(SUCCESS) is Verdict.ACCEPTED
    assert classify(OUT_OF_RESOURCES) is Verdict.LATER
    assert classify(CANNOT_UNDERSTAND) is Verdict.REFUSED
    assert classify(UNEXPECTED_FAILURE) is Verdict.REFUSED
