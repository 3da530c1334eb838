"""Every reason has a sentence, and none of them can be taken for a finding."""

from __future__ import annotations

import re

import pytest

from triage.domain.finding import ReasonCode
from triage.domain.reason_texts import READ_AS_USUAL, REASON_TEXTS


def test_every_reason_has_a_text() -> None:
    assert set(REASON_TEXTS) == set(ReasonCode)
    assert len(set(REASON_TEXTS.values())) == len(ReasonCode)


def test_time_runs_out_in_the_analysis_and_not_in_the_intake() -> None:
    assert "never came to an end" in REASON_TEXTS[ReasonCode.TIMED_OUT]


@pytest.mark.parametrize("reason", ReasonCode)
def test_the_text_says_what_to_do_and_nothing_of_a_finding(reason: ReasonCode) -> None:
    told = REASON_TEXTS[reason]
    assert told.endswith(f"{READ_AS_USUAL}.")
    assert not re.search(
        r"negative|normal\b(?! order)|clear|haemorrhage|bleed|no finding|unremarkable", told, re.IGNORECASE
    )
