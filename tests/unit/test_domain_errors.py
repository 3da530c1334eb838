"""The error tree: stable codes, honest retry flags, and a drawing that matches the classes."""

from __future__ import annotations

import re

import pytest

from triage.domain import errors
from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError, UnusableSeries
from triage.domain.finding import ReasonCode

LEAVES = sorted(
    (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, TriageError) and c is not TriageError),
    key=lambda c: c.__name__,
)


def test_the_drawing_names_every_class_and_who_may_retry() -> None:
    drawn = dict(re.findall(r"── (\w+)(.*)", errors.__doc__ or ""))
    assert sorted(drawn) == [c.__name__ for c in LEAVES]
    assert sorted(name for name, text in drawn.items() if "(retry)" in text) == [c.__name__ for c in LEAVES if c.retry]


def test_codes_are_the_names_in_snake_case_and_unique() -> None:
    codes = {c.code: c for c in LEAVES}
    assert len(codes) == len(LEAVES)
    for code, cls in codes.items():
        assert code == re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


@pytest.mark.parametrize("cls", LEAVES)
def test_every_error_speaks_its_sentence(cls: type[TriageError]) -> None:
    raised = cls(ReasonCode.GAP, "A sentence.") if cls is UnusableSeries else cls("A sentence.")
    assert str(raised) == "A sentence."
    assert isinstance(raised, TriageError)


def test_an_unusable_series_carries_its_reason() -> None:
    assert UnusableSeries(ReasonCode.LOCALIZER, "A scout.").reason is ReasonCode.LOCALIZER


@pytest.mark.parametrize("cls", [DeliveryRefused, DeliveryUnconfirmed])
def test_a_delivery_error_keeps_the_status_when_there_was_one(
    cls: type[DeliveryRefused] | type[DeliveryUnconfirmed],
) -> None:
    assert cls("Refused.", 0xA900).status == 0xA900
    assert cls("No answer.").status is None


def test_only_the_unconfirmed_delivery_is_tried_again() -> None:
    assert DeliveryUnconfirmed.retry
    assert not DeliveryRefused.retry
